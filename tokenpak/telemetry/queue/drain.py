"""
From the chain to the day files: what the writer does, batch by batch.

One step appends what was accepted since the last one, straight from the mappings: one
write for all segments of a day, no work in Python for a record.  (One, because a write
gives up the GIL, and with busy threads it takes long to get it back.)  Steps are
bounded, so a thread that logs in a loop cannot keep the writer from anything else.

Q2  Segments are drained in the order of the chain.
Q3  What was drained is published as one object, Progress, so that a reader of it sees
    counts that belong together.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from tokenpak.telemetry.queue.chain import Chain
from tokenpak.telemetry.queue.daywatch import DayWatch
from tokenpak.telemetry.queue.meter import Meter
from tokenpak.telemetry.queue.supply import Supply
from tokenpak.telemetry.store.append import Appender
from tokenpak.telemetry.store.dayfiles import Contended, DayFiles
from tokenpak.telemetry.store.days import LINE_HEAD, Run, day_of, split_days
from tokenpak.telemetry.store.limits import Limits
from tokenpak.telemetry.store.notes import CLOSED, DAMAGED, LIMITS, Note
from tokenpak.telemetry.store.pieces import Piece
from tokenpak.telemetry.store.segment import Segment
from tokenpak.telemetry.store.totals import Totals

SEGMENTS_A_STEP: Final = 40
"""80 MiB.  More cannot be pending with the default bound: each pass catches up."""

NO_SPACE: Final = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})


class Progress(NamedTuple):
    """How far one chain is drained, and what became of it."""

    segment: Segment | None = None
    """The one being drained."""
    position: int = 0
    """What of it is in the log."""
    written_bytes: int = 0
    batches: int = 0
    given_up: Mapping[str, int] = MappingProxyType({})
    """Records that a bound had no room for, by reason: accepted, then dropped."""


class _Batch:
    """Lines of one day and one spool, which are appended as one range."""

    def __init__(self, day: str) -> None:
        self.day = day
        self.pieces: list[Piece] = []
        self.segments: list[Segment] = []
        self.lines = 0

    def add(self, segment: Segment, run: Run) -> None:
        """Append *run*, which lies in *segment*, to the range."""
        self.pieces.append(
            Piece(segment.sequence, memoryview(segment), run.start, run.end)
        )
        self.segments.append(segment)
        self.lines += run.lines


def _runs(segment: Segment, start: int, end: int, *, one_day: bool) -> list[Run]:
    if one_day:
        day = day_of(segment[start : start + LINE_HEAD])
        if day:
            return [Run(day, start, end, 0)]
    return split_days(segment, start, end)


def _from(pieces: Sequence[Piece], note: Note) -> list[Piece]:
    """Return those of *pieces* that are in the range of *note*."""
    found = []
    for piece in pieces:
        if note.first <= piece.sequence <= note.last:
            start = note.start if piece.sequence == note.first else piece.start
            end = note.end if piece.sequence == note.last else piece.end
            found.append(piece._replace(start=start, end=end))
    return found


def _plus(counts: Mapping[str, int], more: Mapping[str, int]) -> Mapping[str, int]:
    added = {reason: counts.get(reason, 0) + count for reason, count in more.items()}
    return MappingProxyType({**counts, **added})


def _size_until(piece: Piece, end: tuple[int, int]) -> int:
    """Return how many bytes of *piece* are before *end*, a place of the chain."""
    if piece.sequence != end[0]:
        return piece.end - piece.start if piece.sequence < end[0] else 0
    return max(0, min(piece.end, end[1]) - piece.start)


class Drain:
    """
    Drains one chain.  Writer thread only, but for ``progress``.

    Args:
        chain: the queue.
        day_files: where the lines go.
        watch: tells when lines of several days may be among them.
        sync: whether each append is forced to the disk.
        limits: beyond which records are dropped.
        totals: where the counters of the pipeline are saved; None: nowhere.

    Attributes:
        meter: the counters of the pipeline.

    """

    def __init__(
        self,
        chain: Chain,
        day_files: DayFiles,
        watch: DayWatch,
        *,
        sync: bool,
        limits: Limits | None = None,
        totals: Totals | None = None,
    ) -> None:
        self.chain = chain
        self.meter = Meter(chain.stream)
        self._totals = totals
        self._day_files = day_files
        self._watch = watch
        self._sync = sync
        self._limits = limits
        self._begin()

    def reset(self) -> None:
        """Begin anew: in a forked child."""
        # A call of the parent's may be under way in the thread that forked.
        self._watch.reset(quiet=False)
        self.meter.reset()
        self._begin()

    def _begin(self) -> None:
        self.progress = Progress()
        """Set by the writer thread, read by any."""
        self.ended = False
        """Whether end() was called: the spool is not ours any more."""
        self.left = self.lost = 0
        """Records that end() left to be recovered, and that it gave up."""
        self.uncounted = False
        """Whether the counters of the pipeline are lost: neither saved nor left."""
        self.starved = False
        """Whether the last append failed for want of disk space."""
        self.bounded = False
        """Whether the last append met a bound: not all of it had room."""
        self._supply: Supply | None = None
        self._under_way: _Batch | None = None  # an append whose end was not seen
        self._tried: float | None = None  # since when a lock is waited for
        self._took = (0.0, 0.0)  # the last append: seconds, and those of waiting

    @property
    def supply(self) -> Supply | None:
        """The segments' supply; None before the first record."""
        return self._supply

    def step(self) -> bool:
        """
        Append what is there, up to a bound; return whether there was anything.

        Raises:
            Contended: somebody else holds a day file's lock; try again.
            OSError: trouble with the disk; try again.

        """
        head = self.chain.head
        if head is None:
            return False
        supply = self._supply
        if supply is None:
            supply = self._supply = Supply(head, self.chain.adopt_segment)
            self.progress = Progress(segment=head)
            self.meter.attach(supply.spool)
        # Producers first: they don't wait for a disk or a lock.
        if not self.chain.closed:
            supply.provide(head, grow=self._may_grow(supply))
        try:
            worked = self._settle()
            self._watch.before_look()
            for batch in self._batches(*self._pending_segments()):
                self._append(supply, batch)
                worked = True
        except OSError as error:
            self.starved = error.errno in NO_SPACE
            raise
        self.starved = False
        self._pass_finished(supply)
        return worked

    def _may_grow(self, supply: Supply) -> bool:
        """Return whether the spool may take disk space: not what the log waits for."""
        log_dir = self._day_files.log_dir
        return not (self.starved and supply.spool.shares_disk_with(log_dir))

    def _append(self, supply: Supply, batch: _Batch) -> None:
        if batch.day:
            self._under_way = batch
            self.chain.ease(batch.segments[-1], supply.tail)
            appender = self._appender(batch)
            self._timed(lambda: appender.append(batch.day, batch.pieces))
            self._publish_noted(supply, batch)
        else:
            # Somebody wrote to the spool's file: nothing that we put there.
            self.chain.drops.add_many(DAMAGED, batch.lines)
            last = batch.pieces[-1]
            self._publish(supply, batch, (last.sequence, last.end), 0, {})

    def _timed(self, append: Callable[[], object]) -> None:
        began = time.monotonic()
        if self._tried is None:
            self._tried = began
        try:
            append()
        except Contended:  # another attempt goes on waiting
            raise
        except BaseException:
            self._tried = None
            raise
        self._took = time.monotonic() - began, began - self._tried
        self._tried = None

    def _appender(self, batch: _Batch) -> Appender:
        notes = batch.segments[-1].spool.notes
        return Appender(self._day_files, notes, sync=self._sync, limits=self._limits)

    def _pending_segments(self) -> tuple[list[tuple[Segment, int, int]], bool]:
        """Return what is pending: (segment, start, end); and whether that is all."""
        found: list[tuple[Segment, int, int]] = []
        segment = self.chain.head
        position = self.progress.position
        while segment is not None:
            if len(found) >= SEGMENTS_A_STEP:
                return found, False
            sealed = segment.sealed  # before the end, or that would not be final
            end = segment.end()
            if end > position:
                found.append((segment, position, end))
            if not sealed:
                break
            segment, position = segment.next, 0
        return found, True

    def _batches(
        self, segments: list[tuple[Segment, int, int]], whole: bool
    ) -> list[_Batch]:
        """Return what is to be appended in one go: of one day, in one spool."""
        if not segments:
            return []
        (first, start, _), (final, _, end) = segments[0], segments[-1]
        one_day = self._watch.one_day(
            (first.sequence, start), (final.sequence, end), whole=whole
        )
        batches: list[_Batch] = []
        for segment, start, end in segments:
            for run in _runs(segment, start, end, one_day=one_day):
                last = batches[-1] if batches else None
                if (
                    last is None
                    or last.day != run.day
                    or last.segments[-1].spool is not segment.spool
                ):
                    last = _Batch(run.day)
                    batches.append(last)
                last.add(segment, run)
        return batches

    def _settle(self) -> bool:
        """Finish the append whose end was not seen: an error came in between."""
        batch, self._under_way = self._under_way, None
        if batch is None:
            return False
        notes = batch.segments[-1].spool.notes
        note = notes.current()
        first = batch.pieces[0]
        if note is None or (note.last, note.end) <= (first.sequence, first.start):
            return False  # it failed before it was noted
        self._under_way = batch
        appender = self._appender(batch)
        self._timed(lambda: appender.settle(lambda note: _from(batch.pieces, note)))
        assert self._supply is not None
        self._publish_noted(self._supply, batch)
        return True

    def _publish_noted(self, supply: Supply, batch: _Batch) -> None:
        """Publish what the newest note says became of *batch*."""
        # The note and its counts, not what a call returned: that may have been an error
        # which came when all was done.  Nor the batch's own end: a bound may have had
        # room for its beginning only, and the rest not have been given up yet.
        notes = batch.segments[-1].spool.notes
        note = notes.current()
        assert note is not None
        end = (note.last, note.end)
        size = sum(_size_until(piece, end) for piece in batch.pieces)
        self.bounded = note.given_up is not None
        if self.bounded:
            size -= sum(p.end - p.start for p in _from(batch.pieces, note))
        drops = self.chain.drops
        given_up = {r: notes.drop_count(r) - drops.count(r) for r in LIMITS}
        # Before anybody can see that the batch is in the log.
        self.meter.appended(size, *self._took)
        self._publish(supply, batch, end, size, given_up)

    def _publish(
        self,
        supply: Supply,
        batch: _Batch,
        end: tuple[int, int],
        size: int,
        given_up: Mapping[str, int],
    ) -> None:
        """Tell that *batch* is done with up to *end*, and *size* bytes are written."""
        self._under_way = None
        was = self.progress
        more = {reason: count for reason, count in given_up.items() if count > 0}
        reached = next(s for s in batch.segments if s.sequence == end[0])
        # In one step, and before any segment is freed for another turn.
        self.progress = Progress(
            segment=reached,
            position=end[1],
            written_bytes=was.written_bytes + size,
            batches=was.batches + 1,
            given_up=_plus(was.given_up, more) if more else was.given_up,
        )
        for reason, count in more.items():
            self.chain.drops.add_many(reason, count)
        self._free_until(supply, reached)

    def _free_until(self, supply: Supply, reached: Segment) -> None:
        segment = self.chain.head
        while segment is not None and segment is not reached:
            following = segment.next
            assert following is not None
            self.chain.drained(following)
            supply.take_back(segment)
            if following.spool is not segment.spool:
                segment.spool.release()
            segment = following

    def _pass_finished(self, supply: Supply) -> None:
        """Step from a segment that is done to the next, if there is one."""
        segment = self.progress.segment
        while (
            segment is not None
            and segment.next is not None
            and segment.sealed
            and self.progress.position >= segment.end()
        ):
            following = segment.next
            self.progress = self.progress._replace(segment=following, position=0)
            self._free_until(supply, following)
            segment = following

    def _finished(self, segment: Segment) -> bool:
        return segment.sealed and self.progress.position >= segment.end()

    def caught_up(self, target: tuple[int, int]) -> bool:
        """Return whether the log has all up to *target*, a position of the chain."""
        segment = self.progress.segment
        if segment is None:
            return False
        sequence, offset = target
        if segment.sequence != sequence:
            return segment.sequence > sequence
        return self.progress.position >= offset or self._finished(segment)

    def end(self) -> None:
        """
        Delete the spool if it is empty, else leave it to be recovered.

        The chain must be closed.  What a queue in memory still holds is dropped: nobody
        can recover it.
        """
        self.ended = True
        segment = self.progress.segment
        if segment is None:
            return
        lost = 0
        records, _ = pending(self.progress, None)
        spools = set()
        link: Segment | None = segment
        while link is not None:
            spools.add(link.spool)
            link = link.next
        if any(not spool.durable for spool in spools):
            lost = records
        self.chain.drops.add_many(CLOSED, lost)
        # What is left to be recovered is saved by who recovers it.
        saved = records > lost or self.save_counters(ended=True)
        self.uncounted = not (saved or self._is_left())
        for spool in spools:
            if records == 0 and saved:
                spool.remove()
            else:
                spool.release()
        self.left = records - lost
        self.lost = lost
        self.progress = self.progress._replace(segment=None, position=0)

    def _is_left(self) -> bool:
        try:
            return self._supply is not None and self._supply.spool.exists()
        except OSError:  # who changes its user cannot look at it, either
            return False

    def save_counters(self, *, ended: bool) -> bool:
        """Save the counters of the pipeline; return False if they cannot be."""
        if self._totals is None:
            return True
        head = self.chain.head
        ident = 0 if head is None else head.spool.ident
        reading = self.meter.reading(self.chain.drops.by_reason(), ident)
        return self.meter.save(self._totals, reading, ended=ended)

    def empty(self) -> bool:
        """Return whether nothing is pending."""
        target = self.chain.position()
        return target is None or self.caught_up(target)


def pending(progress: Progress, head: Segment | None) -> tuple[int, int]:
    """
    Count what is accepted and not in the log: (records, bytes).  Any thread.

    Args:
        progress: how far the chain is drained.
        head: where the chain begins, if nothing was drained yet.

    """
    segment = progress.segment or head
    position = progress.position
    records = size = 0
    while segment is not None:
        end = segment.end()
        if end > position:
            records += segment[position:end].count(b"\n")
            size += end - position
        position = 0
        segment = segment.next
    return records, size


__all__ = ["Drain", "Progress", "pending"]
