"""
The queue of one stream: any thread puts lines, the writer thread drains them.

put() is the hot path.  It copies the line into the active segment in one C call, takes
no lock, waits for nobody, and is safe in signal handlers and finalizers (C1, Q6).  When
it has returned, the line is in pages of the kernel and survives the process (Q1).

The queue is a chain of segments (see store/spool).  The writer links the next one ahead
of need.  A producer whose line does not fit seals the segment, follows the link and
tries there; no link means that the queue is full, and the record is dropped and counted
(Q3).  A segment is sealed before anything is put behind it, and drained in the order of
the chain, so a thread's lines stay in order (Q2).

What a producer writes to is the first of a list of *targets*:

    targets[:-1]  one ForkGuard for each fork under way (Q5)
    targets[-1]   the active segment (a hint: producers find their way from any
                  segment), or a stand-in before the first record and after close()

(The first, since Python comes by it faster than by the last.)

Fork.  Mapped bytes are shared with a child, but not the position in them, so a child
that put into an inherited segment would overwrite its parent's record.  From before the
fork on, a guard looks at the process id.  Guards are pushed and removed, each in one
step, so forks of several threads may overlap.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from tokenpak.telemetry.capture.sink import Bell, Sink, Target
from tokenpak.telemetry.counter import Counter
from tokenpak.telemetry.queue.drops import DropCounts
from tokenpak.telemetry.queue.reentry import may_wait
from tokenpak.telemetry.store.notes import CLOSED, NOT_ENCODED, QUEUE_FULL
from tokenpak.telemetry.store.segment import Segment, has_gil


class WriterBell(Bell, Protocol):
    """How producers and the writer reach each other."""

    def hurry(self, behind: int, ahead: int) -> None:
        """
        End the writer's lingering; press if that is not enough.

        Args:
            behind: segments that it has not come to.
            ahead: segments that are still to be filled.

        """

    def ease(self) -> None:
        """Press no longer: the writer is about to be busy without the GIL."""


class Opening:
    """Where a chain begins; made once for each process."""

    def __init__(self, head: Segment) -> None:
        self.head = head
        """The oldest segment that is not drained: the writer moves it on, or every
        segment there ever was would be kept alive by the links."""


class Chain:
    """
    The queue of one stream.

    Args:
        stream: for which stream.
        open_first: makes a spool and returns its first segment, with others linked
            behind it; must not raise.
        bell: the writer's.
        in_child: resets all that the parent had, this chain included; called when a
            forked child logs before its at-fork hook has run.
        full_wait: seconds that put() may wait for room; 0 is never.

    """

    def __init__(
        self,
        stream: str,
        open_first: Callable[[], Segment],
        bell: WriterBell,
        in_child: Callable[[], None],
        full_wait: float = 0.0,
    ) -> None:
        self.stream = stream
        self.bell = bell
        self._open_first = open_first
        self._in_child = in_child
        self._full_wait = full_wait
        self._generation = 0
        # These two are one object for ever: the hot path holds them.
        self._targets: list[Target] = []
        self._counter = Counter()
        self._count = self._counter.add
        self._unmade = Counter()
        self._reset()

    def _reset(self) -> None:
        self.pid = os.getpid()
        self.drops = DropCounts()
        self._counted_before = self._counter.value
        self._unmade_before = self._unmade.value
        self.notices = 0
        """Lines of the logger's own."""
        self.closed = False
        # Sequence numbers: what the writer has come to, and how far producers can go.
        self._taken, self._linked = 1, 1
        # Filled once, by setdefault: one step, whoever comes first.
        self._opened: dict[str, Opening] = {}
        # Never a segment, or the links would keep all that come after it alive.
        self._entry: Target = _StandIn()
        self._targets[:] = [self._entry]
        # Where the GIL makes each change of the list one step, none is needed; where it
        # does not, [-1] is looked up before the list is locked.
        self._aiming: AbstractContextManager[Any] = (
            nullcontext() if has_gil() else threading.RLock()
        )

    # -- any thread -------------------------------------------------------------

    @property
    def sink(self) -> Sink:
        """What a line is put into, for who wants to save the call of put()."""
        return Sink(
            self._targets, self._count, self._refused, self._unmade.add, self.bell
        )

    def put(self, line: bytes) -> None:
        """Accept *line*, which ends with a newline, or count it as dropped.  C1."""
        target = self._targets[0]
        try:
            target.write(line)
        except ValueError:
            self._refused(target, line)
        else:
            self._count()
        if self.bell.rings:
            self.bell.answer()

    def _refused(self, target: Target, line: bytes) -> None:
        try:
            self._follow(target, line)
        except Exception:  # not even memory for a segment
            self.drops.add(QUEUE_FULL)

    def _follow(self, target: Target, line: bytes) -> None:
        """Put *line*, which *target* refused, where it belongs."""
        if isinstance(target, Segment):
            segment = target
            segment.seal()
        elif self.closed:
            self.drops.add(CLOSED)
            return
        else:
            segment = self.open()
            if self._try(segment, line):
                return
        while True:
            following = segment.next
            if following is None:
                self._no_room(segment, line)
                return
            segment = following
            if self._try(segment, line):
                self._aim(segment)
                try:
                    self._hurry(segment)
                except RecursionError:  # the line is accepted: not to be dropped, too
                    pass
                return

    def _try(self, segment: Segment, line: bytes) -> bool:
        try:
            segment.write(line)
        except ValueError:
            segment.seal()
            return False
        self._count()
        return True

    def _aim(self, target: Target) -> None:
        """Let producers put what comes next into *target*."""
        with self._aiming:
            self._targets[-1] = target

    def _no_room(self, segment: Segment, line: bytes) -> None:
        if segment.generation != self._generation:
            # A segment of the parent's, in a child that was forked while this thread
            # was about to write to it.
            self._aim(self._entry)
            self.put(line)
            return
        self._hurry(segment)
        wait = self._full_wait
        if wait > 0 and not may_wait(threading.get_ident()):
            wait = 0.0
        deadline = time.monotonic() + wait
        while not self.closed:
            if self.bell.rings:
                # The writer may only be waiting for the GIL.
                self.bell.answer()
            while segment.next is not None:
                segment = segment.next
                if self._try(segment, line):
                    self._aim(segment)
                    return
            if time.monotonic() >= deadline:
                self.drops.add(QUEUE_FULL)
                return
            time.sleep(0.001)
        self.drops.add(CLOSED)

    def _hurry(self, segment: Segment) -> None:
        number = segment.sequence
        self.bell.hurry(number - self._taken, self._linked - number)

    def ease(self, taken: Segment, tail: Segment) -> None:
        """
        Let producers run: the writer is about to append.  Writer thread only.

        Args:
            taken: up to which segment it appends.
            tail: the last one that is linked.

        """
        self._taken, self._linked = taken.sequence, tail.sequence
        self.bell.ease()

    def put_notice(self, line: bytes) -> bool:
        """Put a line of the logger's own, if there is room.  Writer thread only."""
        if self.closed:
            return False
        segment: Segment | None = self.open()
        while segment is not None:
            try:
                segment.write(line)
            except ValueError:
                segment.seal()
                segment = segment.next
            else:
                self.notices += 1
                return True
        return False

    @property
    def accepted(self) -> int:
        """How many records were accepted in this process."""
        return self._counter.value - self._counted_before

    @property
    def unmade(self) -> int:
        """How many records could not even be encoded, and are not among the drops."""
        return self._unmade.value - self._unmade_before

    @property
    def dropped(self) -> dict[str, int]:
        """How many records were given up in this process, by reason."""
        dropped = self.drops.by_reason()
        unmade = self.unmade
        if unmade:
            dropped[NOT_ENCODED] = dropped.get(NOT_ENCODED, 0) + unmade
        return dropped

    def open(self) -> Segment:
        """Return the head of the chain, which is made if there is none yet."""
        opening = self._opened.get("it")
        if opening is None:
            first = self._open_first()
            link: Segment | None = first
            while link is not None:
                link.generation = self._generation
                link = link.next
            mine = Opening(first)
            # Threads that come at the same time, or a signal handler in between, may
            # each have made one.  Nobody waits: the others throw theirs away.
            opening = self._opened.setdefault("it", mine)
            if opening is mine:
                self.drops.attach(first.spool.notes)
            else:
                first.spool.remove()
        # Whoever comes here does this: the one who opened may not have come to it yet.
        if self._targets[-1] is self._entry:
            self._aim(opening.head)
        if self.closed:  # by another thread, meanwhile
            self.close()
        return opening.head

    @property
    def head(self) -> Segment | None:
        """The oldest segment that is not drained, or None before the first record."""
        opening = self._opened.get("it")
        return None if opening is None else opening.head

    def drained(self, segment: Segment) -> None:
        """Begin the chain at *segment*.  Writer thread only."""
        self._opened["it"].head = segment

    def adopt_segment(self, segment: Segment) -> None:
        """Make *segment*, which is about to be linked, one of this process."""
        segment.generation = self._generation

    def position(self) -> tuple[int, int] | None:
        """Return (sequence, offset) behind the last line accepted; None: no line."""
        segment = self.head
        if segment is None:
            return None
        hint = self._targets[-1]
        if isinstance(hint, Segment) and hint.generation == self._generation:
            segment = hint
        while segment.sealed and segment.next is not None:
            segment = segment.next
        return segment.sequence, segment.tell()

    # -- end and fork -----------------------------------------------------------

    def close(self) -> None:
        """Accept no more: later records are counted as dropped.  Idempotent."""
        self.closed = True
        self._aim(self._entry)
        self.seal_all()

    def seal_all(self) -> None:
        """Seal every segment that a producer could still find."""
        hint = self._targets[-1]
        for start in (self.head, hint):
            segment = start if isinstance(start, Segment) else None
            while segment is not None:
                segment.seal()
                segment = segment.next

    def before_fork(self) -> ForkGuard:
        """Guard the segments; hand the result to after_fork_in_parent()."""
        guard = ForkGuard(self)
        with self._aiming:
            self._targets.insert(0, guard)
        return guard

    def after_fork_in_parent(self, guard: ForkGuard) -> None:
        """Take the guard away."""
        try:
            with self._aiming:
                self._targets.remove(guard)
        except ValueError:  # a reset in between
            pass

    def reset_in_child(self) -> None:
        """Start empty: what is pending belongs to the parent (Q5)."""
        self.seal_all()  # only here: the position is this process's own
        self._generation += 1
        self._reset()


class _StandIn:
    """Stands in before the first record, and after close()."""

    def write(self, line: bytes, /) -> None:
        """Send the caller to Chain._follow()."""
        raise ValueError(line)


class ForkGuard:
    """Stands before the active segment while a fork is under way."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._pid = os.getpid()

    def write(self, line: bytes, /) -> None:
        """Send the caller to Chain._follow(); in a child, after its reset."""
        if os.getpid() != self._pid:
            self._chain._in_child()  # noqa: SLF001
        raise ValueError(line)


__all__ = ["Chain", "ForkGuard", "Opening", "WriterBell"]
