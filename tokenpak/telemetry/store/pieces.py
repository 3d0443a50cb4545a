"""
Ranges of lines in a spool, and how much of one a log file holds.

Pure functions: the appender settles by them, and a reader that may not write judges by
them what is pending.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from tokenpak.telemetry.store.notes import Note

_WINDOW: Final = 1024 * 1024
"""Compared at a time: what is there of a range is looked at again with each retry."""


class Piece(NamedTuple):
    """Whole lines of one segment."""

    sequence: int
    data: memoryview
    """The segment."""
    start: int
    end: int

    @property
    def view(self) -> memoryview:
        """The lines, not copied."""
        return self.data[self.start : self.end]


Reader = Callable[[int, int], bytes]


def judge(
    note: Note, pieces: Sequence[Piece], identity: tuple[int, int], read: Reader
) -> int:
    """
    Return how many bytes of a note's range the log file holds at its place.

    Args:
        note: a note that is not done.
        pieces: what its range consists of.
        identity: device and inode of the file that has the day's name now.
        read: ``read(size, offset)`` of that file.

    """
    if identity != (note.device, note.inode):
        return 0
    same = 0
    for piece in pieces:
        for start in range(piece.start, piece.end, _WINDOW):
            expected = bytes(piece.data[start : min(start + _WINDOW, piece.end)])
            there = read(len(expected), note.offset + same)
            common = _common_prefix(expected, there)
            same += common
            if common < len(expected):
                return same
    return same


def _common_prefix(one: bytes, other: bytes) -> int:
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while low < high:  # by halving
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def whole_lines(pieces: Sequence[Piece], size: int) -> int:
    """Return how many of the first *size* bytes of *pieces* are whole lines."""
    whole = seen = 0
    for piece in pieces:
        part = bytes(piece.view[: max(0, size - seen)])
        found = part.rfind(b"\n")
        if found >= 0:
            whole = seen + found + 1
        seen += piece.end - piece.start
        if seen >= size:
            break
    return whole


def count_lines(pieces: Sequence[Piece]) -> int:
    """Return how many lines *pieces* hold."""
    return sum(bytes(piece.view).count(b"\n") for piece in pieces)


def ahead(pieces: Sequence[Piece], size: int) -> list[Piece]:
    """Return the first *size* bytes of *pieces*."""
    kept: list[Piece] = []
    for piece in pieces:
        take = min(size, piece.end - piece.start)
        size -= take
        if take:
            kept.append(piece._replace(end=piece.start + take))
    return kept


def behind(pieces: Sequence[Piece], size: int) -> list[Piece]:
    """Return what is left of *pieces* behind their first *size* bytes."""
    left: list[Piece] = []
    for piece in pieces:
        skip = min(size, piece.end - piece.start)
        size -= skip
        if piece.start + skip < piece.end:
            left.append(piece._replace(start=piece.start + skip))
    return left


__all__ = ["Piece", "Reader", "ahead", "behind", "count_lines", "judge", "whole_lines"]
