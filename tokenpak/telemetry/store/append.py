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

It serves the retry after an error, recovery, and (judge() alone) readers: one routine.
A range holds whole lines of one day.  Bytes only; nothing here knows what a record is.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from tokenpak.telemetry.store.files import Buffer, Files, FileStatus
from tokenpak.telemetry.store.names import day_file_name
from tokenpak.telemetry.store.notes import Note, Notes

MAX_OPEN: Final = 4
"""Day files kept open: today's and yesterday's of two streams."""
_TRIES: Final = 16
_WINDOW: Final = 1024 * 1024
"""Compared at a time: what is there of a range is looked at again with each retry."""


class Contended(Exception):  # noqa: N818  (a state, not an error)
    """Somebody else holds the day file's lock; try again."""


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


class LockedFile:
    """A day file whose lock we hold, at its end."""

    def __init__(self, files: Files, fd: int, status: FileStatus) -> None:
        self._files = files
        self._fd = fd
        self.identity = (status.device, status.inode)
        self.size = status.size

    def read(self, size: int, offset: int) -> bytes:
        """Read *size* bytes at *offset*, or what there is of them."""
        parts: list[bytes] = []
        while size > 0:
            part = self._files.read(self._fd, size, offset)
            if not part:
                break
            parts.append(part)
            size -= len(part)
            offset += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, parts: Sequence[Buffer]) -> None:
        """Append all of *parts*, continuing short writes."""
        rest = [memoryview(part) for part in parts if len(part)]
        while rest:
            taken = self._files.write(self._fd, rest)
            if taken <= 0:
                raise OSError(errno.EIO, "the file takes no more bytes")
            self.size += taken
            while rest and taken >= len(rest[0]):
                taken -= len(rest.pop(0))
            if taken:
                rest[0] = rest[0][taken:]

    def close_torn_tail(self) -> None:
        """End the last line, if a dead process left it without its newline."""
        if self.size and self.read(1, self.size - 1) != b"\n":
            self.write([b"\n"])

    def sync(self) -> None:
        """Force the file to the disk."""
        self._files.sync(self._fd)


class DayFiles:
    """The day files of one directory.  One thread at a time."""

    def __init__(self, files: Files, log_dir: str) -> None:
        self._files = files
        self._dir = log_dir
        self._open: dict[str, int] = {}
        self._dirty: set[str] = set()

    def path(self, stream: str, day: str) -> str:
        """Return the path of the file for *day* of *stream*."""
        return os.path.join(self._dir, day_file_name(stream, day))

    @contextmanager
    def locked(self, stream: str, day: str) -> Iterator[LockedFile]:
        """
        Hold the lock of the file for *day*, which is created if need be.

        Raises:
            Contended: somebody else holds the lock.
            OSError: the file cannot be opened, or is no regular file.

        """
        path = self.path(stream, day)
        fd, status = self._lock(path)
        try:
            self._dirty.add(path)
            yield LockedFile(self._files, fd, status)
        finally:
            self._files.unlock(fd)

    @property
    def dirty(self) -> bool:
        """Whether anything was appended since the last sync()."""
        return bool(self._dirty)

    def sync(self) -> None:
        """Force all that was appended to the disk."""
        for path in list(self._dirty):
            fd = self._open.get(path)
            if fd is None:  # closed meanwhile, for others
                fd = self._files.open_append(path)
                self._remember(path, fd)
            self._files.sync(fd)
            self._dirty.discard(path)

    def _lock(self, path: str) -> tuple[int, FileStatus]:
        for _ in range(_TRIES):
            fd = self._open.get(path)
            if fd is None:
                fd = self._files.open_append(path)
                self._remember(path, fd)
            if not self._files.lock(fd):
                raise Contended
            try:
                status = self._files.status(fd)
                # Archived, deleted or replaced while we did not hold the lock?
                if status.same_file(self._files.status_at(path)):
                    return fd, status
            except BaseException:
                self._files.unlock(fd)
                raise
            self._files.unlock(fd)
            self._forget(path)
        raise OSError(errno.EAGAIN, "is replaced again and again", path)

    def _remember(self, path: str, fd: int) -> None:
        if len(self._open) >= MAX_OPEN:
            self._forget(next(iter(self._open)))
        self._open[path] = fd

    def _forget(self, path: str) -> None:
        self._files.close(self._open.pop(path))

    def forget_all_in_child(self) -> None:
        """Forget the parent's descriptors, which are closed already.  After fork."""
        self._open.clear()
        self._dirty.clear()

    def close(self) -> None:
        """Close all files."""
        for path in list(self._open):
            self._forget(path)


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


def behind(pieces: Sequence[Piece], size: int) -> list[Piece]:
    """Return what is left of *pieces* behind their first *size* bytes."""
    left: list[Piece] = []
    for piece in pieces:
        skip = min(size, piece.end - piece.start)
        size -= skip
        if piece.start + skip < piece.end:
            left.append(piece._replace(start=piece.start + skip))
    return left


class Appender:
    """
    Appends the ranges of one spool.  Its owner's thread only.

    Args:
        day_files: where they go.
        notes: the head of the spool.
        sync: whether each append is forced to the disk before it is done.

    """

    def __init__(self, day_files: DayFiles, notes: Notes, *, sync: bool) -> None:
        self._day_files = day_files
        self._notes = notes
        self._sync = sync

    def append(self, day: str, pieces: Sequence[Piece]) -> None:
        """
        Append *pieces*, lines of *day*, as one range.

        Args:
            day: ``YYYY-MM-DD``.
            pieces: not empty; in the order of the chain, with no line between them.

        Raises:
            Contended: nothing was done.
            OSError: the note may be pending: settle() before the next append.

        """
        with self._day_files.locked(self._notes.stream, day) as log:
            self._append(log, day, pieces)

    def _append(self, log: LockedFile, day: str, pieces: Sequence[Piece]) -> None:
        log.close_torn_tail()
        first, last = pieces[0], pieces[-1]
        self._notes.begin(
            day,
            log.identity,
            log.size,
            (first.sequence, first.start),
            (last.sequence, last.end),
        )
        self._finish(log, pieces)

    def _finish(self, log: LockedFile, pieces: Sequence[Piece]) -> None:
        log.write([piece.view for piece in pieces])
        if self._sync:
            log.sync()
        self._notes.done()

    def settle(self, pieces_of: Callable[[Note], Sequence[Piece]]) -> list[Piece]:
        """
        Find out what became of the newest note, and finish it.  Idempotent.

        Args:
            pieces_of: the pieces that a note's range consists of.

        Returns:
            What was not in the log as whole lines, and is now.

        Raises:
            Contended, OSError: try again.

        """
        note = self._notes.current()
        if note is None or note.done:
            return []
        pieces = pieces_of(note)
        size = sum(piece.end - piece.start for piece in pieces)
        with self._day_files.locked(self._notes.stream, note.day) as log:
            there = judge(note, pieces, log.identity, log.read)
            whole = there == size
            at_end = (
                log.identity == (note.device, note.inode)
                and note.offset + there == log.size
            )
            if whole or at_end:
                self._finish(log, behind(pieces, there))
                return behind(pieces, whole_lines(pieces, there))
            left = behind(pieces, whole_lines(pieces, there))
            self._append(log, note.day, left)
            return left


__all__ = [
    "Appender",
    "Contended",
    "DayFiles",
    "LockedFile",
    "Piece",
    "behind",
    "judge",
    "whole_lines",
]
