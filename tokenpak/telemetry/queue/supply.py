"""
The segments of a chain: prepared ahead of need, used again, given back (Q4).

A producer that finds no link drops its record, so some segments must always be linked
ahead: they cost address space until they are touched.  How many follows from how many
were used up between two looks; never more than the bound.

Writer thread only, but for open_chain(), which any thread may call for itself.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.segment import Segment, chill, is_first_unshared, warm
from tokenpak.telemetry.store.spool import SpoolFile

AHEAD: Final = 8
"""Segments linked behind the active one at least: 16 MiB.  Eight threads at full speed
fill that in about 100 ms, and for as long the writer may have to wait for the GIL."""

FAST: Final = 3
"""Segments used up between two looks from which on more of them than the next one are
kept warm.  Below that it is not worth it: pages in the table are memory of the process,
and most of what is linked ahead is never come to."""

KEPT: Final = 16
"""Drained segments that may keep their mapping, if no more are linked ahead: each takes
a descriptor, and after an outage there may be hundreds."""


def new_spool(
    files: OsFiles,
    directories: Sequence[str],
    stream: str,
    slots: int,
    trouble: Callable[[str, OSError], None],
) -> SpoolFile:
    """
    Create a spool in the first of *directories* that can have one, else in memory.

    Args:
        files: the logger's.
        directories: candidates, best first.
        stream: which stream.
        slots: how many segments it may grow to.
        trouble: told of each directory that cannot have one.

    """
    for directory in directories:
        try:
            spool = SpoolFile.create(files, directory, stream, slots)
        except OSError as error:
            trouble(directory, error)
            continue
        try:
            spool.reserve(0, 1)
        except OSError as error:
            spool.remove()
            trouble(directory, error)
            continue
        return spool
    return SpoolFile.in_memory(files, stream, slots)


def open_chain(spool: SpoolFile) -> Segment:
    """
    Return the first segment of a chain in the new *spool*, with AHEAD linked.

    Raises:
        OSError: no mapping can be had.

    """
    ahead = min(AHEAD, spool.notes.slots - 1)
    try:
        spool.reserve(1, ahead)
    except OSError:  # the disk is nearly full: the writer tries for fewer
        ahead = 0
    first = tail = _take(spool, 0, 1)
    for index in range(1, 1 + ahead):
        tail.next = _take(spool, index, index + 1)
        tail = tail.next
    return first


def _take(spool: SpoolFile, index: int, sequence: int) -> Segment:
    segment = spool.map(index, sequence)
    # In the head before any line is in it, or recovery would not look there.
    spool.notes.set_slot(index, sequence)
    return segment


class Supply:
    """
    Links segments ahead of the producers, and takes back what is drained.

    Args:
        tail: the last segment of the chain.
        adopt: told of each segment before it is linked.

    """

    def __init__(self, first: Segment, adopt: Callable[[Segment], None]) -> None:
        self._adopt = adopt
        self._spool = first.spool
        self._used: deque[Segment] = deque()  # drained: they hold old lines
        self._empty: list[int] = []  # free slots without disk space: reserve it
        # Drained for good.  Somebody may have one still, for as long as an exception
        # with the frame of a producer is kept.
        self._let: list[weakref.ref[Segment]] = []
        self._wanted = AHEAD
        self._seen = first.sequence
        self._fast = False
        self.tail = first
        while self.tail.next is not None:
            self.tail = self.tail.next
        used = self.tail.index + 1
        self._empty.extend(range(self._spool.notes.slots - 1, used - 1, -1))

    @property
    def spool(self) -> SpoolFile:
        """The spool in which segments are linked now."""
        return self._spool

    @property
    def durable(self) -> bool:
        """Whether what is put into it survives the process."""
        return self._spool.durable

    def provide(self, active: Segment, *, grow: bool = True) -> None:
        """
        Link as many segments behind *active* as are wanted, if there is room.

        Args:
            active: the segment that is written to.
            grow: whether disk space may be taken: not where the log has none, or the
                spool would take what comes free, and what it holds never be written.

        """
        while active.sealed and active.next is not None:
            active = active.next
        # By what producers used up since the last look; not by what was drained, which
        # after an outage is all at once and no reason to expect more.
        used_up = active.sequence - self._seen
        self._seen = active.sequence
        self._fast = used_up >= FAST or (self._fast and used_up > 0)
        most = self._spool.notes.slots - 1
        self._wanted = min(max(AHEAD, 2 * used_up, self._wanted // 2), most)
        ahead = self.tail.sequence - active.sequence - self.tail.sealed
        self._lead_on(active)
        try:
            while ahead < self._wanted and self._used:
                ahead += self._link_used(self._wanted - ahead)
            if ahead < self._wanted and (grow or not self._spool.durable):
                self._link_fresh(self._wanted - ahead)
        except OSError:
            # No descriptor or no memory for a mapping: what is linked must do for now,
            # and draining it needs neither.
            pass
        # The pages of the active one and the next, and at full speed of as many as
        # will be used up until the next look: out of the producers' way.
        coming = used_up + 1 if self._fast else 1
        segment: Segment | None = active
        while segment is not None and segment.sequence <= active.sequence + coming:
            warm(segment)
            segment = segment.next

    def _link_used(self, count: int) -> int:
        """Link up to *count* slots that hold old lines, neighbours at once."""
        index, run = self._used[0].index, 1
        while (
            run < min(count, len(self._used)) and self._used[run].index == index + run
        ):
            run += 1
        self._spool.zero(index, run)
        for _ in range(run):
            if self._spool.durable and is_first_unshared(self._used):
                # No mapping is made, and its pages may still be in the table.
                segment = self._used.popleft()
                segment.renew()
                self._append(segment)
            else:
                # A producer or a reader that was stopped half-way has it still: it must
                # stay sealed, and the slot comes back under another mapping.
                segment = self._used.popleft()
                try:
                    self._link(segment.index)
                except OSError:
                    self._used.appendleft(segment)
                    raise
                self._let_go(segment)
        return run

    def _link_fresh(self, count: int) -> None:
        """Link up to *count* slots that have no disk space yet, neighbours at once."""
        while count > 0 and self._empty:
            index, run = self._empty[-1], 1
            while (
                run < min(count, len(self._empty))
                and self._empty[-1 - run] == index + run
            ):
                run += 1
            try:
                self._spool.reserve(index, run)
            except OSError:
                if run == 1:  # disk full: the bound is where the disk ends
                    return
                count = 1  # but it may have room for one
                continue
            for _ in range(run):
                self._link(self._empty[-1])
                self._empty.pop()
            count -= run

    def _link(self, index: int) -> None:
        self._append(self._spool.map(index, 0))

    def _append(self, segment: Segment) -> None:
        """Put *segment*, which is empty, at the end of the chain."""
        segment.sequence = self.tail.sequence + 1
        # In the head before any line is in the segment, or recovery would not look
        # there; and after it is zero, or recovery would find old lines.
        segment.spool.notes.set_slot(segment.index, segment.sequence)
        self._adopt(segment)
        self.tail.next = segment
        self.tail = segment

    def _let_go(self, segment: Segment) -> None:
        """Forget *segment*, which is drained and sealed for good."""
        self._let.append(weakref.ref(segment))

    def _lead_on(self, active: Segment) -> None:
        """Link what was let go, and somebody still has, to *active*."""
        # A late producer must find its way from there.  Through the segments that came
        # next, that would keep all of them alive, and their descriptors, for as long.
        kept = []
        for reference in self._let:
            segment = reference()
            if segment is not None:
                segment.next = active
                kept.append(reference)
        self._let = kept

    def take_back(self, segment: Segment) -> None:
        """Free *segment*, which is drained and sealed."""
        # Only now: the newest note is in a later segment or at this one's end, and
        # either says that this one is consumed.
        segment.spool.notes.set_slot(segment.index, 0)
        if segment.spool is not self._spool:
            self._let_go(segment)
            return
        # With its link: a producer that was stopped on its way finds it sealed, and
        # goes on from here.
        if len(self._used) < max(KEPT, self._wanted):
            if not self._fast:
                chill(segment)
            self._used.append(segment)
        else:
            self._give_back(segment)

    def give_back(self, active: Segment | None) -> None:
        """
        Return disk space and memory of the segments.  When nothing is going on.

        Args:
            active: the segment that is written to; those behind it are linked ahead.

        """
        self._wanted, self._fast = AHEAD, False
        while active is not None:
            active = active.next
            if active is not None:
                chill(active)
        for _ in range(len(self._used)):
            self._give_back(self._used.popleft())

    def _give_back(self, segment: Segment) -> None:
        if self._spool.give_back(segment):
            self._empty.append(segment.index)
            self._empty.sort(reverse=True)  # neighbours are reserved in one call
            self._let_go(segment)
        else:
            self._used.append(segment)

    def switch(self, spool: SpoolFile, active: Segment) -> None:
        """Go on in *spool*, which is new: the chain from *active* on is in memory."""
        segment = _take(spool, 0, self.tail.sequence + 1)
        self._adopt(segment)
        self._spool = spool
        for used in self._used:
            self._let_go(used)
        self._used, self._empty = deque(), list(range(spool.notes.slots - 1, 0, -1))
        self.tail.next = segment
        self.tail = segment
        # Only now: a producer that is turned away finds the link.
        while active is not segment:
            active.seal()
            assert active.next is not None
            active = active.next


__all__ = ["AHEAD", "Supply", "new_spool", "open_chain"]
