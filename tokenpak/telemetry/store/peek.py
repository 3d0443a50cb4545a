"""
Look into a spool from outside: no lock, no write, nothing that its owner could notice.

R1  A reader takes no lock.  Adopting works by the lock of the spool, and whoever tries
    it while another one only looks finds it held and takes the owner for alive: a
    recovery would pass over the very records that it is there for.  So a spool is read
    as it stands, whether its owner lives or not.

What is seen is a snapshot of the notes: where the range begins that is not in the log.
Lines lie in the chain from there on, so what is pending at that moment is all of it.
A noted range whose append is under way is compared with the log, by judge(), as
recovery does it; whole lines that are there are not pending.

The bytes may be read later than the notes.  An orphan's never change again: recovery
appends and unlinks, and an open file stays.  A living owner uses a slot again when its
lines are in the log; the head says so before a byte of it is zeroed, so bytes are
believed only if the slot still holds their segment after they were read.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import Final, NamedTuple, Self

from tokenpak.telemetry.errors import SpoolError
from tokenpak.telemetry.store import meters
from tokenpak.telemetry.store.boot import current_boot
from tokenpak.telemetry.store.files import READ_FLAGS
from tokenpak.telemetry.store.lock import only_shared
from tokenpak.telemetry.store.meters import Reading
from tokenpak.telemetry.store.names import day_file_name
from tokenpak.telemetry.store.notes import (
    HEADER_WORDS,
    WORD,
    Note,
    Notes,
)
from tokenpak.telemetry.store.pieces import Piece, judge, whole_lines
from tokenpak.telemetry.store.spool import HEAD_BYTES, ident_of

_CHUNK: Final = 256 * 1024
_PROBE: Final = 4096
"""Bytes; enough to see that nothing waits."""
_TRIES: Final = 100
"""How often a head is read until it stands still; it changes some 50 times a second."""
HEAD_SIZE: Final = HEADER_WORDS * WORD
_COUNTS: Final = slice(32 * WORD, 64 * WORD)
"""Of drops, in the head: they change all the time, and do not matter here."""
_SLOTS: Final = 64


class Lines(NamedTuple):
    """A stretch of a spool that holds lines which are not in the log."""

    slot: int
    sequence: int
    """Of the segment that was in it."""
    start: int
    """In the segment."""


class SpoolView:
    """
    One spool, as it is at this moment.

    Args:
        path: of the spool.
        log_dir: where its records go; a pending note is compared with the file there.

    Attributes:
        path: as given.
        stream: which stream its records are for.
        owner: the process id of its owner, in that one's own pid namespace.
        started: when its owner made it, in seconds since the epoch.
        drops: what its owner dropped.
        identity: device and inode of the file.
        of_this_boot: whether its notes can be believed.  Otherwise the log may have
            what they call pending, synced before the power failed.

    Raises:
        SpoolError: it is no spool, one of another version, or damaged.
        OSError: it, or the log file that its note names, cannot be read.

    """

    def __init__(self, path: str, log_dir: str) -> None:
        self.path = path
        if not hasattr(os, "pread"):  # Windows, where no spool is made
            raise SpoolError(path, "cannot be read on this system")
        self._fd = os.open(path, READ_FLAGS)
        try:
            status = os.fstat(self._fd)
            if not stat.S_ISREG(status.st_mode):
                raise SpoolError(path, "is no regular file")
            self.identity = (status.st_dev, status.st_ino)
            head = self._steady_head()
            notes = Notes(memoryview(head).cast("Q"))
            self.stream, self.owner = notes.stream, notes.owner
            self.started, self.drops = notes.started, notes.drops()
            self.of_this_boot = notes.boot in {0, current_boot()}
            self._segment_bytes = notes.segment_bytes
            self._slots = sorted(
                (notes.slot(index), index)
                for index in range(notes.slots)
                if notes.slot(index)
            )
            self._begin = self._first_not_in_log(notes.current(), log_dir)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file.  Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        # Of whoever asked for records and never looked at one.
        if hasattr(self, "_fd"):
            self.close()

    def is_locked(self) -> bool:
        """Return whether its owner lives, by trying its lock for a moment."""
        return not only_shared(self._fd)

    @property
    def begin(self) -> tuple[int, int]:
        """Sequence and offset of the first line that is not in the log."""
        return self._begin

    def counters(self) -> Reading:
        """
        Return what the owner has counted of its own work.

        Raises:
            OSError: the file cannot be read.

        """
        # A kernel's copy may see a word in the middle of a store; not twice alike.
        offset, size = meters.FIRST * WORD, meters.BLOCK * WORD
        block = os.pread(self._fd, size, offset)
        for _ in range(_TRIES):
            before, block = block, os.pread(self._fd, size, offset)
            if len(block) == size and before == block:
                break
        words = memoryview(block.ljust(size, b"\0")).cast("Q")
        return meters.parse(words, self.drops, self.stream, ident_of(self.path))

    def places_behind(self, position: tuple[int, int]) -> list[int]:
        """
        Return where in the file the next line can begin, behind *position*.

        As long as each of these bytes is zero, nothing was put behind it.

        Args:
            position: sequence and offset, behind the last line that is known.

        """
        sequence, offset = position
        places = []
        for number, index in self._slots:
            start = offset if number == sequence else 0
            if number >= sequence and start < self._segment_bytes:
                places.append(HEAD_BYTES + index * self._segment_bytes + start)
        return places

    def stretches(self) -> list[Lines]:
        """Return where lines are pending, in order; no line lies in two of them."""
        sequence, offset = self._begin
        return [
            Lines(index, number, offset if number == sequence else 0)
            for number, index in self._slots
            if number >= sequence
        ]

    def offset_of(self, lines: Lines) -> int:
        """Return where in the file *lines* begin."""
        return HEAD_BYTES + lines.slot * self._segment_bytes + lines.start

    def waiting(self) -> tuple[int, int]:
        """
        Return how many bytes, and whole lines, are not in the log.

        Raises:
            OSError: the file cannot be read on.

        """
        size = count = 0
        for lines in self.stretches():
            for chunk in self.chunks(lines, _PROBE):
                used = chunk.find(b"\0")
                part = chunk if used < 0 else chunk[:used]
                size += len(part)
                count += part.count(b"\n")
                if used >= 0:
                    break
        return size, count

    def chunks(self, lines: Lines, first: int = _CHUNK) -> Iterator[bytes]:
        """
        Yield the bytes of *lines*, to the end of their segment.

        Behind the lines come zeros.  It ends early when the owner has used the slot
        again: then they are in the log.

        Args:
            lines: one of stretches().
            first: bytes of the first chunk.

        Raises:
            OSError: the file cannot be read on.

        """
        start = lines.start
        size = first
        while start < self._segment_bytes:
            size = min(size, self._segment_bytes - start)
            offset = HEAD_BYTES + lines.slot * self._segment_bytes + start
            chunk = os.pread(self._fd, size, offset)
            if not chunk or not self._still_holds(lines):
                return
            yield chunk
            start += len(chunk)
            size = _CHUNK

    def _still_holds(self, lines: Lines) -> bool:
        word = os.pread(self._fd, WORD, (_SLOTS + lines.slot) * WORD)
        return word == lines.sequence.to_bytes(WORD, sys.byteorder)

    def _steady_head(self) -> bytes:
        head = os.pread(self._fd, HEAD_SIZE, 0)
        for _ in range(_TRIES):
            if len(head) < HEAD_SIZE:
                raise SpoolError(self.path, "is shorter than the head of a spool")
            # A note could be overwritten while it is read; not twice in a row alike.
            before, head = head, os.pread(self._fd, HEAD_SIZE, 0)
            if without_counts(before) == without_counts(head):
                problem = Notes(memoryview(head).cast("Q")).problem()
                if problem is not None:
                    raise SpoolError(self.path, problem)
                return head
        raise SpoolError(self.path, "changes too fast to be read")

    def _first_not_in_log(self, note: Note | None, log_dir: str) -> tuple[int, int]:
        """Return sequence and offset of the first line that is not in the log."""
        if note is None:
            return 0, 0
        if note.done:
            return note.consumed
        if note.given_up is not None:  # dropped: whoever settles it appends nothing
            return note.last, note.end
        path = os.path.join(log_dir, day_file_name(self.stream, note.day))
        try:
            log = os.open(path, READ_FLAGS)
        except FileNotFoundError:
            return note.consumed
        try:
            return self._compare(note, log)
        finally:
            os.close(log)

    def _compare(self, note: Note, log: int) -> tuple[int, int]:
        status = os.fstat(log)
        mask = 2**64 - 1  # as a note has them
        identity = (status.st_dev & mask, status.st_ino & mask)
        offset = note.offset
        for sequence, index in self._slots:
            if not note.first <= sequence <= note.last:
                continue
            start = note.start if sequence == note.first else 0
            end = note.end if sequence == note.last else None
            data = self._lines_of(index, start, end)
            # Of one segment at a time, so that no more than that is held.
            piece = Piece(sequence, memoryview(data), 0, len(data))
            there = judge(
                note._replace(offset=offset),
                [piece],
                identity,
                lambda size, at: os.pread(log, size, at),
            )
            if there < len(data):
                # A line that lacks nothing but its newline is read as a record.
                whole = whole_lines([piece], there)
                if data[there : there + 1] == b"\n":
                    whole = there + 1
                return sequence, start + whole
            offset += there
        return note.last, note.end

    def _lines_of(self, index: int, start: int, end: int | None) -> bytes:
        stop = self._segment_bytes if end is None else min(end, self._segment_bytes)
        base = HEAD_BYTES + index * self._segment_bytes
        data = os.pread(self._fd, max(0, stop - start), base + start)
        return data if end is not None else data[: data.rfind(b"\n") + 1]


def without_counts(head: bytes) -> tuple[bytes, bytes]:
    """Return what of *head* changes only when segments or notes do."""
    return head[: _COUNTS.start], head[_COUNTS.stop :]


__all__ = ["HEAD_SIZE", "Lines", "SpoolView", "without_counts"]
