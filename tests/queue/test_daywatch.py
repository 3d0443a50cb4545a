"""S3: when it is said that a range is of one day, it is."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from tokenpak.telemetry.queue.daywatch import DayWatch, somebody_runs

THREADS = 3
STEPS = ("begin", "read the clock", "count the change", "put")
"""What a call does, in this order; anything may come in between."""


@dataclass
class Calls:
    """The calls of some threads, the queue, and the writer that looks at it."""

    day: int = 0
    stamped: int | None = None
    changes: int = 0
    queue: list[int] = field(default_factory=list)
    under_way: dict[int, tuple[int, int]] = field(default_factory=dict)
    drained: int = 0
    said: list[bool] = field(default_factory=list)
    watch: DayWatch = field(init=False)

    def __post_init__(self) -> None:
        self.watch = DayWatch(lambda: self.changes, lambda: not self.under_way)

    def step(self, thread: int, *, drops: bool = False) -> None:
        """Let *thread* take the next step of its call."""
        number, day = self.under_way.pop(thread, (0, 0))
        if number == 1:
            day = self.day
        elif number == 2:
            if self.stamped is not None and self.stamped != day:
                self.changes += 1
            self.stamped = day
        elif number == 3:
            if not drops:
                self.queue.append(day)
            return
        self.under_way[thread] = (number + 1, day)

    def look(self, cut: int, then: list[int], *, fails: bool) -> None:
        """
        Let the writer look, with steps of threads between its two looks.

        Args:
            cut: how many of the lines it leaves for the next time.
            then: which threads come in between.
            fails: whether it cannot append what it saw.

        """
        self.watch.before_look()
        for thread in then:
            self.step(thread)
        whole = len(self.queue)
        end = max(self.drained, whole - cut)
        if end == self.drained:
            return
        one_day = self.watch.one_day((1, self.drained), (1, end), whole=end == whole)
        self.said.append(one_day)

        assert not one_day or len(set(self.queue[self.drained : end])) == 1
        if not fails:
            self.drained = end


threads = st.integers(0, THREADS - 1)
actions = st.one_of(
    st.tuples(st.just("step"), threads, st.booleans()),
    st.tuples(st.just("step"), threads, st.just(False)),
    st.tuples(st.just("rest"), threads, st.just(False)),
    st.tuples(st.just("day"), st.sampled_from((1, 1, -1)), st.just(False)),
    st.tuples(
        st.just("look"), st.integers(0, 2), st.lists(threads, max_size=4), st.booleans()
    ),
)


@settings(deadline=None, max_examples=1_000)
@given(script=st.lists(actions, min_size=6, max_size=60), forked=st.booleans())
def test_s3_a_range_said_to_be_of_one_day_is_of_one_day(
    script: list[tuple[object, ...]], *, forked: bool
) -> None:
    """
    Calls of several threads, days that change, also back, and looks, in any order.
    """
    calls = Calls()
    if forked:
        calls.watch.reset(quiet=False)
    for action in script:
        match action:
            case ("step", int(thread), bool(drops)):
                calls.step(thread, drops=drops)
            case ("rest", int(thread), _):
                calls.step(thread)
                while thread in calls.under_way:
                    calls.step(thread)
            case ("day", int(by), _):
                calls.day += by
            case ("look", int(cut), list(then), bool(fails)):
                calls.look(cut, then, fails=fails)
            case _:
                raise AssertionError(action)


def whole_call(calls: Calls, thread: int = 0) -> None:
    for _ in STEPS:
        calls.step(thread)


def test_lines_are_not_looked_at_while_the_day_stays() -> None:
    """
    From the first record on: the normal way costs nothing for a record.
    """
    calls = Calls()
    for _ in range(5):
        whole_call(calls)
        calls.look(0, [], fails=False)

    assert calls.said == [True] * 5


def test_lines_are_not_looked_at_any_more_after_a_quiet_moment() -> None:
    """
    After midnight once more, and then no longer.
    """
    calls = Calls()
    whole_call(calls)
    calls.day += 1
    for _ in range(4):
        whole_call(calls)
        calls.look(0, [], fails=False)

    assert calls.said == [False, True, True, True]


def test_s3_lines_that_could_not_be_appended_are_looked_at_again() -> None:
    """
    They are of both days, though it has been quiet since.
    """
    calls = Calls()
    whole_call(calls)
    calls.day += 1
    whole_call(calls)
    for _ in range(3):
        calls.look(0, [], fails=True)
    calls.look(0, [], fails=False)
    whole_call(calls)
    calls.look(0, [], fails=False)

    assert calls.said == [False, False, False, False, True]


def test_lines_are_looked_at_as_long_as_a_call_from_before_is_under_way() -> None:
    """
    A thread that was stamped before midnight may put at any time.
    """
    calls = Calls()
    for _ in range(3):
        calls.step(1)  # stamped, not put
    calls.day += 1
    for _ in range(3):
        whole_call(calls)
        calls.look(0, [], fails=False)
    calls.step(1)
    calls.look(0, [], fails=False)
    whole_call(calls)
    calls.look(0, [], fails=False)

    assert calls.said == [False, False, False, False, True]


# -- who is in a call ---------------------------------------------------------------


class Call:
    """A thread that is in a call until it is told to return."""

    def __init__(self) -> None:
        self.inside, self.leave = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.call)

    def call(self) -> None:
        """Be under way."""
        self.deeper()

    def deeper(self) -> None:
        """Run the application's code, in the middle of the call."""
        self.inside.set()
        self.leave.wait(60)

    def __enter__(self) -> Self:
        self.thread.start()
        self.inside.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self.leave.set()
        self.thread.join()


CODES = (Call.call.__code__, Calls.step.__code__)


def test_s3_a_call_of_any_thread_is_seen() -> None:
    """
    However deep in other code it is.
    """
    before = somebody_runs(CODES)
    with Call():
        during = somebody_runs(CODES)

    assert (before, during, somebody_runs(CODES)) == (False, True, False)


def test_s3_a_generator_that_yields_meanwhile_may_be_in_a_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    ``str(error)`` may run one.  When it yields between the look at all threads and the
    walk along its callers, it has none: that is no proof that nobody is in a call.
    """

    def generate() -> Iterator[int]:
        yield 1

    generator = generate()
    next(generator)
    frames = {1: generator.gi_frame}  # type: ignore[attr-defined]
    monkeypatch.setattr(sys, "_current_frames", lambda: frames)

    assert somebody_runs(CODES)
