"""
Q2 and Q3: whatever comes between whatever, each thread's lines stay in order.

One thread plays all parts, so every interleaving can be had again.  Operations come
between others in two ways: a *late* producer has fetched where to write, and goes on
after any number of other operations; and whatever is done inside a write, a seal or a
look at the position is what a signal handler or another thread would do there.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from unittest import mock

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from tests.queue.rig import (
    DAY,
    NEXT_DAY,
    SEGMENT,
    Rig,
    make_line,
    name_of,
    small_segments,
)
from tests.store.fakes import LOG_DIR, Disk, lines_of
from tokenpak.telemetry.capture.sink import Target
from tokenpak.telemetry.queue.chain import ForkGuard
from tokenpak.telemetry.queue.drain import pending
from tokenpak.telemetry.store import spool
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.names import ERRORS
from tokenpak.telemetry.store.segment import Segment
from tokenpak.telemetry.store.spool import SpoolFile

PATHS = [f"{LOG_DIR}/errors-{day}.jsonl" for day in (DAY, NEXT_DAY)]
THREADS = 4


class Interrupted(Segment):
    """A segment that lets others act before and after each of its steps."""

    __slots__ = ()
    between: Callable[[], None] = staticmethod(lambda: None)

    def write(self, line: bytes) -> int:  # type: ignore[override]
        """Let others act, and write."""
        type(self).between()
        try:
            return super().write(line)
        finally:
            type(self).between()

    def seal(self) -> None:
        """Let others act, and seal."""
        type(self).between()
        super().seal()
        type(self).between()

    def renew(self) -> None:
        """Let others act, as a signal handler in the writer's thread may, and renew."""
        type(self).between()
        super().renew()
        type(self).between()

    def tell(self) -> int:
        """Tell the position, which may be old at once."""
        position = super().tell()
        type(self).between()
        return position


@dataclass(frozen=True)
class Op:
    """What happens next, and in whose name."""

    kind: str
    thread: int
    size: int
    day: str


ops = st.builds(
    Op,
    st.sampled_from(
        (
            *("put", "put", "put", "fetch", "go on", "seal", "drain", "drain"),
            *("fork", "forked", "give back", "exchange", "keep", "forget", "count"),
        )
    ),
    st.integers(0, THREADS - 1),
    st.one_of(
        st.integers(80, 300), st.integers(SEGMENT // 3, SEGMENT - 1), st.just(SEGMENT)
    ),
    st.sampled_from((DAY, DAY, DAY, NEXT_DAY)),
)


full_ops = st.builds(
    Op,
    st.sampled_from(
        (
            *("put", "put", "put", "drain", "drain", "drain", "fetch", "go on"),
            *("keep", "forget", "give back", "count"),
        )
    ),
    st.integers(0, THREADS - 1),
    st.integers(SEGMENT // 2 + 1, SEGMENT),
    st.just(DAY),
)
"""With lines that fill a segment each, so that all of them come again soon."""


@dataclass
class Stage:
    """The parts, and what they have done."""

    rig: Rig
    script: deque[Op]
    another: Callable[[], SpoolFile] | None = None
    kept: list[Target] = field(default_factory=list)
    accepted: list[list[bytes]] = field(
        default_factory=lambda: [[] for _ in range(THREADS)]
    )
    calls: int = 0
    late: dict[int, tuple[Target, bytes]] = field(default_factory=dict)
    guards: list[ForkGuard] = field(default_factory=list)
    busy: set[int] = field(default_factory=set)
    writing: bool = False
    depth: int = 0
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    def act(self) -> None:
        """Do what comes next in the script, if anything."""
        if self.script and self.depth < 5:
            self.depth += 1
            self.do(self.script.popleft())
            self.depth -= 1

    def do(self, op: Op) -> None:
        """Do *op*, unless its thread is in the middle of something."""
        chain = self.rig.chain
        if op.kind == "drain":
            self.drain()
        elif op.kind == "fork":
            self.guards.append(chain.before_fork())
        elif op.kind == "forked" and self.guards:
            chain.after_fork_in_parent(self.guards.pop(0))
        elif op.kind == "seal":
            chain.seal_all()
        elif op.kind == "keep":
            self.kept.append(chain._targets[-1])
        elif op.kind == "forget":
            del self.kept[:1]
        elif op.kind == "count":
            self.count()
        elif op.kind in {"give back", "exchange"}:
            self.keep_house(exchange=op.kind == "exchange")
        elif op.kind == "go on" and op.thread in self.late:
            self.go_on(op.thread)
        elif op.thread in self.busy or op.thread in self.late:
            pass
        elif op.kind == "put":
            self.put(op.thread, self.new_line(op), chain.put)
        elif op.kind == "fetch":
            self.late[op.thread] = (chain._targets[0], self.new_line(op))

    def new_line(self, op: Op) -> bytes:
        """Return a line of the thread's, which no other is like."""
        return make_line(f"{op.thread}-{next(self.numbers)}", op.size, op.day)

    def go_on(self, thread: int) -> None:
        """Let a late producer write where it was about to: the rest of put()."""
        target, line = self.late.pop(thread)
        chain = self.rig.chain

        def rest(line: bytes) -> None:
            try:
                target.write(line)
            except ValueError:
                chain._follow(target, line)
            else:
                chain._count()

        self.put(thread, line, rest)

    def put(self, thread: int, line: bytes, put: Callable[[bytes], None]) -> None:
        """Put, in the name of *thread*, which does nothing else meanwhile."""
        self.busy.add(thread)
        self.calls += 1
        put(line)
        self.accepted[thread].append(line)
        self.busy.discard(thread)

    def drain(self) -> None:
        """Let the writer take a step, unless it is in the middle of one."""
        if not self.writing:
            self.writing = True
            self.rig.drain.step()
            self.writing = False

    def keep_house(self, *, exchange: bool) -> None:
        """Let the writer do a chore, unless it is in the middle of something."""
        supply, segment = self.rig.drain.supply, self.rig.drain.progress.segment
        if supply is None or segment is None or self.writing:
            return
        self.writing = True
        if not exchange:
            supply.give_back(segment)
        elif self.another is not None:
            with small_segments():
                supply.switch(self.another(), segment)
        self.writing = False

    def count(self) -> None:
        """Look at what is pending, as any thread may: segments are used again."""
        progress = self.rig.drain.progress
        records, size = pending(progress, self.rig.chain.head)
        if progress is self.rig.drain.progress:
            assert records <= self.rig.chain.accepted + len(self.busy)
            assert size >= 0

    def finish(self) -> None:
        """Let everybody come to an end."""
        self.script.clear()
        self.kept.clear()
        for thread in list(self.late):
            self.go_on(thread)
        self.rig.drain_all()


@contextlib.contextmanager
def spools(slots: int, *, durable: bool) -> Iterator[Callable[[], SpoolFile]]:
    """Return what makes spools: on disk, where segments come again, or in memory."""
    with tempfile.TemporaryDirectory() as directory:

        def make() -> SpoolFile:
            if not durable:
                return SpoolFile.in_memory(OsFiles(), ERRORS, slots)
            made = SpoolFile.create(OsFiles(), directory, ERRORS, slots)
            made.reserve(0, 1)
            return made

        yield make


@settings(deadline=None, max_examples=300)
@given(
    script=st.lists(ops, min_size=5, max_size=60),
    slots=st.integers(2, 12),
    durable=st.booleans(),
)
def test_q2_no_interleaving_loses_a_line_or_a_threads_order(
    script: list[Op], slots: int, *, durable: bool
) -> None:
    """
    Puts, late producers, seals, forks under way, exchanges of the spool and drains, at
    any point of each other.
    """
    play(script, slots, durable=durable)


@settings(deadline=None, max_examples=150)
@given(
    script=st.lists(full_ops, min_size=30, max_size=120),
    slots=st.integers(2, 5),
)
def test_q2_no_interleaving_writes_to_a_segment_that_comes_again(
    script: list[Op], slots: int
) -> None:
    """
    Late producers and whoever keeps a segment, while its slot is used again and again.
    """
    play(script, slots, durable=True)


def play(script: list[Op], slots: int, *, durable: bool) -> None:
    """Let all that is in *script* happen, and look at what came of it."""
    disk = Disk()
    with spools(slots, durable=durable) as make, spools(slots, durable=True) as another:
        stage = Stage(Rig(disk, slots=slots, make_spool=make), deque(script), another)
        with (
            mock.patch.object(spool, "Segment", Interrupted),
            mock.patch.object(Interrupted, "between", staticmethod(stage.act)),
        ):
            while stage.script:
                stage.act()
            stage.finish()
    drops = sum(stage.rig.chain.drops.by_reason().values())
    written = [lines_of(disk, path) for path in PATHS]

    assert stage.calls == stage.rig.chain.accepted + drops
    assert sum(map(len, written)) == stage.rig.chain.accepted
    for calls in stage.accepted:
        for lines, day in zip(written, (DAY, NEXT_DAY), strict=True):
            there = [line + b"\n" for line in lines]
            mine = [line for line in calls if line[14:24] == day.encode()]
            kept = set(there)
            assert [line for line in there if line in set(mine)] == [
                line for line in mine if line in kept
            ]


@settings(deadline=None, max_examples=100)
@given(script=st.lists(ops, min_size=5, max_size=60))
def test_q3_nothing_is_dropped_while_there_is_room(script: list[Op]) -> None:
    """
    With more slots than the lines can fill, every call is accepted.
    """
    disk = Disk()
    quiet = [op for op in script if op.kind != "seal"]
    stage = Stage(Rig(disk, slots=200), deque(quiet))
    with (
        mock.patch.object(spool, "Segment", Interrupted),
        mock.patch.object(Interrupted, "between", staticmethod(stage.act)),
    ):
        while stage.script:
            stage.act()
            stage.drain()
        stage.finish()

    assert stage.rig.chain.drops.by_reason() == {}
    assert stage.rig.chain.accepted == stage.calls


@pytest.mark.parametrize("at", range(40))
@pytest.mark.parametrize("sizes", [(80,), (80, SEGMENT - 50, 80), (SEGMENT - 50,) * 3])
def test_q2_lines_that_come_at_any_look_of_the_drain_are_not_passed_over(
    at: int, sizes: tuple[int, ...]
) -> None:
    """
    In particular those that seal the segment which the writer has just looked at.
    """
    disk = Disk()
    rig = Rig(disk, slots=12)
    names: list[str] = []
    looks = itertools.count()

    def put(size: int) -> None:
        names.append(f"{len(names)}")
        rig.put(make_line(names[-1], size))

    def between() -> None:
        if next(looks) == at:
            for size in sizes:
                put(size)

    with mock.patch.object(spool, "Segment", Interrupted):
        for size in (100, SEGMENT - 100, 100):
            put(size)
        with mock.patch.object(Interrupted, "between", staticmethod(between)):
            rig.drain.step()
            rig.drain.step()
        put(100)
        rig.drain_all()

    assert [name_of(line) for line in lines_of(disk, PATHS[0])] == names
