r"""
What a spool says of an append under way, so that its death can be settled (Q1).

A spool begins with a head of 64-bit words.  A process may die between any two stores
to it, and what it had stored by then stays, in order: its pages belong to the kernel.
So whatever must change at once is changed by the store of one word.

    word 0      magic
    word 1      version of the format
    word 2      bytes of a segment
    word 3      number of slots for segments
    word 4      stream: index into names.STREAMS
    word 5, 6   process id and start (ns since the epoch) of the owner: for people
    word 7      boot: which start of the machine the owner belongs to; 0: not known
    word 8      switch: number of the newest note * 2, + 1 when it is done
    word 16-23  note with an even number     \  day, device, inode, offset,
    word 24-31  note with an odd number      /   first, start, last, end
    word 32-    drops: for each reason, count, count told of, first and last time
    word 64-    slots: the sequence number of the segment in it, 0 if it is free
    word 1024-  what the owner counts of its own work: see meters

The switch names the newest note.  A new one is written into the other place and only
then switched to; *done* is one store, too.  The range goes from ``start`` in the
segment ``first`` to ``end`` in the segment ``last``; of those between, all lines belong
to it.
An inode of 0 says that the range is given up, not appended: beyond a bound (see
limits).  Then ``device`` is the place of the reason among DROP_REASONS, and ``offset``
what the count of drops is with this range: to raise it to that can be repeated.
So a note says what is consumed of the spool: while it is pending, the segments before
``first`` and of that one what is before ``start``; once it is done, the segments before
``last`` and of that one what is before ``end``.

Only the owner of the spool stores: the writer thread of its process, or, after the
process's death, whoever holds the spool's lock.  (Drops are counted by any thread.)
"""

from __future__ import annotations

import os
import time
from datetime import date
from typing import Final, NamedTuple, Protocol

from tokenpak.telemetry.store.names import STREAMS

MAGIC: Final = int.from_bytes(b"TPSPOOL\0", "little")
VERSION: Final = 2
READABLE: Final = (1, 2)
"""Version 1 had no boot, and no range that is given up."""
WORD: Final = 8
MAX_SLOTS: Final = 512 + 128
HEADER_WORDS: Final = 64 + MAX_SLOTS

_TOO_FAR: Final = 2**63
"""No file is as long, and no process makes as many notes."""

_SWITCH: Final = 8
_NOTES: Final = (16, 24)
_DROPS: Final = 32
_SLOTS: Final = 64

QUEUE_FULL: Final = "queue_full"
CLOSED: Final = "closed"
NOT_ENCODED: Final = "not_encoded"
DAMAGED: Final = "damaged"
DAY_FULL: Final = "day_full"
DIRECTORY_FULL: Final = "directory_full"
LIMITS: Final = frozenset({DAY_FULL, DIRECTORY_FULL})
"""Reasons for which records are dropped that were accepted: see limits."""
DROP_REASONS: Final = (
    QUEUE_FULL,
    CLOSED,
    NOT_ENCODED,
    DAMAGED,
    DAY_FULL,
    DIRECTORY_FULL,
)
"""The place of each in the head is its place here: append only."""


class Words(Protocol):
    """Where the words are: ``memoryview.cast("Q")`` of the head, or a test's."""

    def __getitem__(self, index: int, /) -> int: ...
    def __setitem__(self, index: int, value: int, /) -> None: ...


class Note(NamedTuple):
    """Which bytes of the spool go, or went, to which place of which file."""

    day: str
    device: int
    inode: int
    offset: int
    first: int
    start: int
    last: int
    end: int
    done: bool

    @property
    def given_up(self) -> str | None:
        """The reason for which the range is dropped; None: it is appended."""
        if self.inode == 0 and self.device < len(DROP_REASONS):
            return DROP_REASONS[self.device]
        return None

    @property
    def consumed(self) -> tuple[int, int]:
        """Up to where the spool is consumed: sequence number and offset."""
        return (self.last, self.end) if self.done else (self.first, self.start)


class Drops(NamedTuple):
    """How often records were dropped for one reason, and when (ns since the epoch)."""

    reason: str
    total: int
    told: int
    """How many of them a record in the log has told of."""
    first: int
    last: int


class Notes:
    """The head of a spool."""

    def __init__(self, words: Words) -> None:
        self._words = words

    def format(
        self, stream: str, segment_bytes: int, slots: int, boot: int = 0
    ) -> None:
        """Describe a new spool.  Before anybody else can open it."""
        words = self._words
        words[1], words[2], words[3] = VERSION, segment_bytes, slots
        words[4] = STREAMS.index(stream)
        words[5], words[6] = os.getpid(), time.time_ns()
        words[7] = boot
        words[0] = MAGIC

    def problem(self) -> str | None:
        """Return why this is no spool that this version can read, or None."""
        words = self._words
        if words[0] != MAGIC:
            return "is not a spool"
        if words[1] not in READABLE:
            return f"is a spool of version {words[1]}; this program reads {VERSION}"
        if (
            words[4] >= len(STREAMS)
            or not 0 < words[3] <= MAX_SLOTS
            or not 4096 <= words[2] <= 2**30
            or words[2] % 4096
        ):
            return "has a damaged head"
        if not self._has_a_day():
            # What of the spool is in the log cannot be known: for a person to look at.
            return "has a damaged note: of a day that is none"
        if not self._has_a_place():
            return "has a damaged note: of a place that is none"
        return None

    def _has_a_day(self) -> bool:
        switch = self._words[_SWITCH]
        day = self._words[_NOTES[switch // 2 % 2]]
        return switch == 0 or 0 < day <= date.max.toordinal()

    def _has_a_place(self) -> bool:
        switch = self._words[_SWITCH]
        place = _NOTES[switch // 2 % 2]
        offset = self._words[place + 3]
        ends = self._words[place + 5], self._words[place + 7]
        possible = max(switch, offset) < _TOO_FAR and max(ends) <= self.segment_bytes
        return switch == 0 or possible

    @property
    def stream(self) -> str:
        """The stream that the records are for."""
        return STREAMS[self._words[4]]

    @property
    def segment_bytes(self) -> int:
        """Size of a segment."""
        return self._words[2]

    @property
    def slots(self) -> int:
        """How many segments the file can hold."""
        return self._words[3]

    @property
    def owner(self) -> int:
        """The process id of the owner, in its own pid namespace."""
        return self._words[5]

    @property
    def boot(self) -> int:
        """Which start of the machine the owner belongs to; 0: not known."""
        return self._words[7]

    @property
    def started(self) -> float:
        """When the owner made the spool, in seconds since the epoch."""
        return self._words[6] / 1e9

    def current(self) -> Note | None:
        """Return the newest note, or None if nothing was ever appended."""
        switch = self._words[_SWITCH]
        if switch == 0:
            return None
        at = _NOTES[switch // 2 % 2]
        day, device, inode, offset, first, start, last, end = (
            self._words[index] for index in range(at, at + 8)
        )
        return Note(
            date.fromordinal(day).isoformat(),
            device,
            inode,
            offset,
            first,
            start,
            last,
            end,
            done=bool(switch & 1),
        )

    def begin(
        self,
        day: str,
        identity: tuple[int, int],
        offset: int,
        start: tuple[int, int],
        end: tuple[int, int],
    ) -> None:
        """
        Note what is about to be appended.  Owner, holding the day file's lock.

        Args:
            day: ``YYYY-MM-DD``.
            identity: device and inode of the day's file.
            offset: its size.
            start: sequence number and offset where the range begins.
            end: sequence number and offset behind its last line.

        """
        words = self._words
        number = words[_SWITCH] // 2 + 1
        at = _NOTES[number % 2]
        words[at] = date.fromisoformat(day).toordinal()
        words[at + 1], words[at + 2] = identity
        words[at + 3] = offset
        words[at + 4], words[at + 5] = start
        words[at + 6], words[at + 7] = end
        words[_SWITCH] = number * 2

    def begin_drop(
        self,
        day: str,
        reason: str,
        count: int,
        start: tuple[int, int],
        end: tuple[int, int],
    ) -> None:
        """
        Note that a range is about to be given up.  Owner.

        Args:
            day: ``YYYY-MM-DD``.
            reason: one of DROP_REASONS.
            count: what the count of its drops is with this range.
            start: sequence number and offset where the range begins.
            end: sequence number and offset behind its last line.

        """
        self.begin(day, (DROP_REASONS.index(reason), 0), count, start, end)

    def done(self) -> None:
        """Note that the newest note's range is in the log.  Owner."""
        self._words[_SWITCH] |= 1

    def slot(self, index: int) -> int:
        """Return the sequence number of the segment in slot *index*; 0: free."""
        return self._words[_SLOTS + index]

    def set_slot(self, index: int, sequence: int) -> None:
        """Take slot *index* for segment *sequence*, or free it with 0.  Owner."""
        self._words[_SLOTS + index] = sequence

    def drops(self) -> list[Drops]:
        """Return what was dropped, for each reason that occurred."""
        found = []
        for number, reason in enumerate(DROP_REASONS):
            at = _DROPS + 4 * number
            count, told, first, last = (self._words[at + i] for i in range(4))
            if count:
                found.append(Drops(reason, count, told, first, last))
        return found

    def set_drops(self, reason: str, count: int, first: int, last: int) -> None:
        """Store how often records were dropped for *reason*.  Any thread."""
        at = _DROPS + 4 * DROP_REASONS.index(reason)
        self._words[at + 2], self._words[at + 3] = first, last
        self._words[at] = count

    def drop_count(self, reason: str) -> int:
        """Return how many records were dropped for *reason*."""
        return self._words[_DROPS + 4 * DROP_REASONS.index(reason)]

    def raise_drops(self, reason: str, count: int, now: int) -> None:
        """Raise the count of *reason* to *count*, if it is less.  Owner; idempotent."""
        at = _DROPS + 4 * DROP_REASONS.index(reason)
        total, told, first = (self._words[at + i] for i in range(3))
        if total < count:
            self.set_drops(reason, count, now if total == told else first, now)

    def set_told(self, reason: str, count: int) -> None:
        """Store of how many of these drops the log tells.  Owner."""
        self._words[_DROPS + 4 * DROP_REASONS.index(reason) + 1] = count


__all__ = [
    "CLOSED",
    "DAMAGED",
    "DAY_FULL",
    "DIRECTORY_FULL",
    "DROP_REASONS",
    "HEADER_WORDS",
    "LIMITS",
    "MAX_SLOTS",
    "NOT_ENCODED",
    "QUEUE_FULL",
    "READABLE",
    "VERSION",
    "WORD",
    "Drops",
    "Note",
    "Notes",
    "Words",
]
