"""
Append a range of a spool to a day's file, exactly once, whatever dies on the way.

S1  One append at a time: the exclusive lock is on the data file's own descriptor.
S2  Append only.  A torn tail is completed, or closed with a newline, before anything
    else is appended; no byte that is there is ever changed.
Q1  Under the lock: (1) close a torn tail, (2) note the file and the range in the spool,
    (3) write, (4) note that it is done.  Death between any two of these, between two
    stores of a note, or inside the write, is settled by settle().

settle() looks at what the file holds where the note says that the range went:

    note is done, or all of the range is there      -> consumed
    a prefix, and it is still the end of the file   -> write the rest, in place
    a prefix, and somebody has appended since       -> they closed our torn line; a new
                                                       note from the first line that is
                                                       not complete
    nothing of it, or the file is another one       -> a new note, for the whole range

What a bound on the file's size has no room for is given up: noted and counted, in that
order (see notes).

It serves the retry after an error, recovery, and (judge() alone) readers: one routine.
A range holds whole lines of one day.  Bytes only; nothing here knows what a record is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tokenpak.telemetry.store.dayfiles import DayFiles, LockedFile
from tokenpak.telemetry.store.limits import Limits
from tokenpak.telemetry.store.notes import Note, Notes
from tokenpak.telemetry.store.pieces import (
    Piece,
    ahead,
    behind,
    count_lines,
    judge,
    whole_lines,
)


class GivenUp(NamedTuple):
    """Records that a bound had no room for."""

    reason: str
    lines: int
    size: int
    """Bytes."""


class Settled(NamedTuple):
    """What settle() did."""

    lines: int = 0
    """Lines that were not in the log as a whole, and are now."""
    given_up: GivenUp | None = None
    """What of the range a bound had no room for."""


class Appender:
    """
    Appends the ranges of one spool.  Its owner's thread only.

    Args:
        day_files: where they go.
        notes: the head of the spool.
        sync: whether each append is forced to the disk before it is done.
        limits: beyond which records are dropped; None: nowhere.

    """

    def __init__(
        self,
        day_files: DayFiles,
        notes: Notes,
        *,
        sync: bool,
        limits: Limits | None = None,
    ) -> None:
        self._day_files = day_files
        self._notes = notes
        self._sync = sync
        self._limits = limits if limits is not None and limits.bounded else None

    def append(self, day: str, pieces: Sequence[Piece]) -> GivenUp | None:
        """
        Append *pieces*, lines of *day*, as one range; what has no room is given up.

        Args:
            day: ``YYYY-MM-DD``.
            pieces: not empty; in the order of the chain, with no line between them.

        Returns:
            What was dropped for a bound, and is counted in the notes: the last lines.

        Raises:
            Contended: nothing was done.
            OSError: the note may be pending: settle() before the next append.

        """
        with self._day_files.locked(self._notes.stream, day) as log:
            return self._append(log, day, pieces)

    def _append(
        self, log: LockedFile, day: str, pieces: Sequence[Piece]
    ) -> GivenUp | None:
        size = sum(piece.end - piece.start for piece in pieces)
        room = None if self._limits is None else self._limits.room(log.path, log.size)
        if room is None or room.size > size:  # one byte more: for a torn tail
            self._append_all(log, day, pieces)
            return None
        fits = whole_lines(pieces, max(0, room.size - 1))
        if fits:
            self._append_all(log, day, ahead(pieces, fits))
        return self._give_up(day, behind(pieces, fits), room.reason)

    def _append_all(self, log: LockedFile, day: str, pieces: Sequence[Piece]) -> None:
        log.close_torn_tail()
        self._notes.begin(day, log.identity, log.size, *_ends(pieces))
        self._finish(log, pieces)

    def _give_up(self, day: str, pieces: Sequence[Piece], reason: str) -> GivenUp:
        # Noted before it is counted, with the count that it leads to: whoever settles
        # it counts it once, at whatever point this process dies.
        lines = count_lines(pieces)
        count = self._notes.drop_count(reason) + lines
        self._notes.begin_drop(day, reason, count, *_ends(pieces))
        self._notes.raise_drops(reason, count, time.time_ns())
        self._notes.done()
        return GivenUp(reason, lines, sum(piece.end - piece.start for piece in pieces))

    def _finish(self, log: LockedFile, pieces: Sequence[Piece]) -> None:
        log.write([piece.view for piece in pieces])
        if self._sync:
            log.sync()
        self._notes.done()

    def settle(self, pieces_of: Callable[[Note], Sequence[Piece]]) -> Settled:
        """
        Find out what became of the newest note, and finish it.  Idempotent.

        Args:
            pieces_of: the pieces that a note's range consists of.

        Raises:
            Contended, OSError: try again.

        """
        note = self._notes.current()
        if note is None or note.done:
            return Settled()
        if note.given_up is not None:
            self._notes.raise_drops(note.given_up, note.offset, time.time_ns())
            self._notes.done()
            return Settled()
        pieces = pieces_of(note)
        size = sum(piece.end - piece.start for piece in pieces)
        with self._day_files.locked(self._notes.stream, note.day) as log:
            there = judge(note, pieces, log.identity, log.read)
            whole = there == size
            at_end = (
                log.identity == (note.device, note.inode)
                and note.offset + there == log.size
            )
            left = behind(pieces, whole_lines(pieces, there))
            if whole or at_end:
                self._finish(log, behind(pieces, there))
                return Settled(count_lines(left))
            given_up = self._append(log, note.day, left)
            lost = given_up.lines if given_up is not None else 0
            return Settled(count_lines(left) - lost, given_up)


def _ends(pieces: Sequence[Piece]) -> tuple[tuple[int, int], tuple[int, int]]:
    first, last = pieces[0], pieces[-1]
    return (first.sequence, first.start), (last.sequence, last.end)


__all__ = ["Appender", "GivenUp", "Settled"]
