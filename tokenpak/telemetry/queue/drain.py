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

from collections.abc import Sequence
from typing import Final, NamedTuple

from tokenpak.telemetry.queue.chain import Chain
from tokenpak.telemetry.queue.daywatch import DayWatch
from tokenpak.telemetry.queue.supply import Supply
from tokenpak.telemetry.store.append import Appender
from tokenpak.telemetry.store.dayfiles import DayFiles
from tokenpak.telemetry.store.days import LINE_HEAD, Run, day_of, split_days
from tokenpak.telemetry.store.notes import CLOSED, DAMAGED, Note
from tokenpak.telemetry.store.pieces import Piece
from tokenpak.telemetry.store.spool import Segment

SEGMENTS_A_STEP: Final = 40
"""80 MiB.  More cannot be pending with the default bound: each pass catches up."""


class Progress(NamedTuple):
    """How far one chain is drained, and what became of it."""

    segment: Segment | None = None
    """The one being drained."""
    position: int = 0
    """What of it is in the log."""
    written_bytes: int = 0
    batches: int = 0


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
    return [
        piece._replace(start=note.start) if piece.sequence == note.first else piece
        for piece in pieces
        if piece.sequence >= note.first
    ]


class Drain:
    """
    Drains one chain.  Writer thread only, but for ``progress``.

    Args:
        chain: the queue.
        day_files: where the lines go.
        watch: tells when lines of several days may be among them.
        sync: whether each append is forced to the disk.

    """

    def __init__(
        self, chain: Chain, day_files: DayFiles, watch: DayWatch, *, sync: bool
    ) -> None:
        self.chain = chain
        self._day_files = day_files
        self._watch = watch
        self._sync = sync
        self._begin()

    def reset(self) -> None:
        """Begin anew: in a forked child."""
        # A call of the parent's may be under way in the thread that forked.
        self._watch.reset(quiet=False)
        self._begin()

    def _begin(self) -> None:
        self.progress = Progress()
        """Set by the writer thread, read by any."""
        self.ended = False
        """Whether end() was called: the spool is not ours any more."""
        self.left = self.lost = 0
        """Records that end() left to be recovered, and that it gave up."""
        self._supply: Supply | None = None
        self._under_way: _Batch | None = None  # an append whose end was not seen

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
        # Producers first: they don't wait for a disk or a lock.
        if not self.chain.closed:
            supply.provide(head)
        worked = self._settle()
        self._watch.before_look()
        for batch in self._batches(*self._pending_segments()):
            self._under_way = batch
            if batch.day:
                Appender(
                    self._day_files, batch.segments[-1].spool.notes, sync=self._sync
                ).append(batch.day, batch.pieces)
            else:
                # Somebody wrote to the spool's file: nothing that we put there.
                for _ in range(batch.lines):
                    self.chain.drops.add(DAMAGED)
            self._publish(supply, batch)
            worked = True
        self._pass_finished(supply)
        return worked

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
        if batch is None or not batch.day:
            return False
        notes = batch.segments[-1].spool.notes
        note = notes.current()
        last = batch.pieces[-1]
        if note is None or (note.last, note.end) != (last.sequence, last.end):
            return False  # it failed before it was noted
        self._under_way = batch
        Appender(self._day_files, notes, sync=self._sync).settle(
            lambda note: _from(batch.pieces, note)
        )
        assert self._supply is not None
        self._publish(self._supply, batch)
        return True

    def _publish(self, supply: Supply, batch: _Batch) -> None:
        self._under_way = None
        was = self.progress
        size = sum(piece.end - piece.start for piece in batch.pieces)
        reached = batch.segments[-1]
        # In one step, and before any segment is freed for another turn.
        self.progress = Progress(
            segment=reached,
            position=batch.pieces[-1].end,
            written_bytes=was.written_bytes + (size if batch.day else 0),
            batches=was.batches + 1,
        )
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
        for spool in spools:
            if records == 0:
                spool.remove()
            else:
                spool.release()
                lost = records if not spool.durable else lost
        for _ in range(lost):
            self.chain.drops.add(CLOSED)
        self.left = records - lost
        self.lost = lost
        self.progress = Progress(
            written_bytes=self.progress.written_bytes, batches=self.progress.batches
        )

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
