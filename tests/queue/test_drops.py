"""Q3: what is given up is counted, and told of."""

from __future__ import annotations

import threading
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from tests.store.fakes import Died, FakeWords, Fate, Fault
from tokenpak.telemetry.queue.drops import DropCounts
from tokenpak.telemetry.store.names import ERRORS
from tokenpak.telemetry.store.notes import (
    CLOSED,
    DROP_REASONS,
    HEADER_WORDS,
    NOT_ENCODED,
    QUEUE_FULL,
    Notes,
)


class Clock:
    """Nanoseconds, which pass when they are set."""

    now = 1_000

    def __call__(self) -> int:
        return self.now


def make_notes() -> Notes:
    notes = Notes(memoryview(bytearray(HEADER_WORDS * 8)).cast("Q"))
    notes.format(ERRORS, 4096, 4)
    return notes


@given(
    before=st.lists(st.sampled_from(DROP_REASONS)),
    after=st.lists(st.sampled_from(DROP_REASONS)),
)
def test_q3_drops_are_counted_by_reason_here_and_in_the_spool(
    before: list[str], after: list[str]
) -> None:
    """
    Also those from before there was a spool.
    """
    notes, drops = make_notes(), DropCounts(Clock())
    for reason in before:
        drops.add(reason)
    drops.attach(notes)
    for reason in after:
        drops.add(reason)
    calls = before + after
    expected = {reason: calls.count(reason) for reason in set(calls)}

    assert drops.by_reason() == expected
    assert {drop.reason: drop.total for drop in notes.drops()} == expected
    assert all(drop.told == 0 for drop in notes.drops())


def test_q3_what_was_told_is_not_told_again() -> None:
    """
    The next record tells of the new ones, since the first of them.
    """
    clock, notes = Clock(), make_notes()
    drops = DropCounts(clock)
    drops.attach(notes)
    for clock.now in (10, 20, 30):
        drops.add(QUEUE_FULL)
    (first,) = drops.untold()
    drops.told(first)
    nothing = drops.untold()
    for clock.now in (500, 600):
        drops.add(QUEUE_FULL)
    (second,) = drops.untold()

    assert (first.total - first.told, first.first, first.last) == (3, 10, 30)
    assert nothing == []
    assert (second.total - second.told, second.first, second.last) == (2, 500, 600)
    assert notes.drops()[0].told == 3


def test_q3_another_spool_knows_what_was_told() -> None:
    """
    Else who recovers it tells of the same drops again.
    """
    drops, notes = DropCounts(Clock()), make_notes()
    drops.attach(make_notes())
    drops.add(QUEUE_FULL)
    drops.told(drops.untold()[0])
    drops.add(QUEUE_FULL)
    drops.attach(notes)

    assert [(drop.total, drop.told) for drop in notes.drops()] == [(2, 1)]


def test_q3_drops_of_many_threads_are_all_counted() -> None:
    """
    In the spool, too, whoever stores last.
    """
    notes, drops = make_notes(), DropCounts()
    drops.attach(notes)

    def drop() -> None:
        for _ in range(2_000):
            drops.add(CLOSED)

    threads = [threading.Thread(target=drop) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert drops.by_reason() == {CLOSED: 16_000}
    assert notes.drops()[0].total == 16_000


@pytest.mark.parametrize("step", range(12))
def test_q6_a_drop_in_the_middle_of_a_drop_is_counted(step: int) -> None:
    """
    As from a signal handler; and the writer may look, or tell, at any moment.
    """

    class Interrupted(dict[str, int]):
        """What is looked up or stored is a step, at which others act."""

        left = step

        def act(self) -> None:
            self.left -= 1
            if self.left == -1:
                drops.add(QUEUE_FULL)
                for untold in drops.untold():
                    drops.told(untold)

        def __setitem__(self, key: str, value: int) -> None:
            self.act()
            super().__setitem__(key, value)
            self.act()

        def setdefault(self, key: str, default: int = 0) -> int:
            self.act()
            found = super().setdefault(key, default)
            self.act()
            return found

        def get(self, key: str, default: Any = None) -> Any:
            self.act()
            found = super().get(key, default)
            self.act()
            return found

    notes, drops = make_notes(), DropCounts()
    drops._first = Interrupted()
    drops._last = Interrupted()
    drops._last.left = -1
    drops.attach(notes)
    drops.add(QUEUE_FULL)
    drops.add(QUEUE_FULL)
    acted = drops._first.left < 0
    drops._first.left = -1  # the writer does not interrupt itself
    for untold in drops.untold():
        drops.told(untold)

    assert drops.by_reason() == {QUEUE_FULL: 2 + acted}
    assert notes.drops()[0].total == 2 + acted
    assert drops.untold() == []


def test_q3_a_drop_is_told_of_though_the_process_died_in_the_middle_of_it() -> None:
    """
    Whatever stores it came to, the spool's count is one that was true.
    """
    seen = set()
    for step in range(6):
        words = memoryview(bytearray(HEADER_WORDS * 8)).cast("Q")
        drops = DropCounts()
        drops.attach(Notes(FakeWords(words, Fate({step: Fault("die before")}))))
        with pytest.raises(Died):
            for _ in range(2):
                drops.add(NOT_ENCODED)
        seen.add(tuple(drop.total for drop in Notes(words).drops()))

    assert seen == {(), (1,)}
