"""M1: counts are exact."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenpak.telemetry.counter import Counter
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.metrics import counters
from tokenpak.telemetry.metrics.counters import OTHER, ErrorCounts


@pytest.fixture
def eager_switching() -> Iterator[None]:
    """Threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def in_threads(number: int, work: Callable[[int], None]) -> None:
    """Run *work* in *number* threads that begin together."""
    barrier = threading.Barrier(number)

    def run(index: int) -> None:
        barrier.wait()
        work(index)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_m1_a_counter_counts() -> None:
    """Looking at it does not move it."""
    counter = Counter()

    before = [counter.add() for _ in range(5)]

    assert before == [0, 1, 2, 3, 4]
    assert [counter.value, counter.value] == [5, 5]


def test_m1_a_counter_goes_beyond_a_machine_word() -> None:
    """Python's integers have no end."""
    counter = Counter()
    counter._count = itertools.count(2**63 - 1)
    next(counter._count)

    assert counter.value == 2**63


def test_m1_a_counter_without_the_gil_takes_a_lock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A reentrant one, because a signal handler may count too."""
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    counter = Counter()
    lock = counter._lock
    assert lock is not None

    with lock:
        assert counter.add() == 0
    assert counter.add() == 1

    assert counter.value == 2


@pytest.mark.usefixtures("eager_switching")
def test_m1_counts_are_exact_under_threads() -> None:
    """Also when they meet a class for the first time together."""
    classes = [type(f"Error{number}", (Exception,), {}) for number in range(40)]
    counts = ErrorCounts()

    def work(index: int) -> None:
        for number in range(2_000):
            counts.add(classes[(index + number) % 40])

    in_threads(8, work)

    assert counts.by_type() == {f"Error{number}": 400 for number in range(40)}
    assert sum(counts.by_type().values()) == 16_000


@given(st.lists(st.sampled_from([ValueError, KeyError, OSError, str, type(None)])))
def test_m1_counts_add_up(classes: list[type]) -> None:
    """By type, and in total."""
    counts = ErrorCounts()

    for cls in classes:
        counts.add(cls)

    names = [cls.__name__ for cls in classes]
    assert counts.by_type() == {name: names.count(name) for name in names}
    assert sum(counts.by_type().values()) == len(classes)


def test_m1_classes_of_one_name_are_added_up() -> None:
    """A metric has the name of the class only."""
    counts = ErrorCounts()

    for module in ("openai", "anthropic", "openai"):
        counts.add(type("RateLimitError", (Exception,), {"__module__": module}))

    assert counts.by_type() == {"RateLimitError": 3}


def test_m1_made_up_classes_are_counted_in_bounded_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exactly while their names are few; then the rest together."""
    monkeypatch.setattr(counters, "MAX_TYPES", 10)
    counts = ErrorCounts()

    for number in range(100):
        counts.add(type(f"Error{number % 15}", (Exception,), {}))
    few = counts.by_type()
    for number in range(100):
        counts.add(type(f"Other{number}", (Exception,), {}))

    assert sum(few.values()) == 100
    assert few["Error3"] == 7
    assert sum(counts.by_type().values()) == 200
    assert counts.by_type()[OTHER] >= 90
    assert len(counts.by_type()) <= 21


def test_m1_odd_classes_are_counted() -> None:
    """Those without a hash, without a name, and those that call themselves equal."""

    class Odd(type):  # noqa: PLW1641
        __name__ = property(lambda _: 1 / 0)

        def __eq__(cls, other: object) -> bool:
            return True

    class Equal(type):
        def __eq__(cls, other: object) -> bool:
            return True

        def __hash__(cls) -> int:
            return 1

    first: Any = Odd("FirstError", (Exception,), {})
    second: Any = Equal("SecondError", (Exception,), {})
    third: Any = Equal("ThirdError", (Exception,), {})
    counts = ErrorCounts()

    for cls in (first, second, third, first):
        counts.add(cls)

    assert counts.by_type() == {"FirstError": 2, "SecondError": 1, "ThirdError": 1}


def test_m1_a_signal_handler_may_count() -> None:
    """In the middle of a count."""
    counts = ErrorCounts()
    handled = 0

    def handler(*_: object) -> None:
        nonlocal handled
        handled += 1
        counts.add(KeyError)

    previous = signal.signal(signal.SIGUSR1, handler)
    try:
        for _ in range(2_000):
            counts.add(KeyError)
            os.kill(os.getpid(), signal.SIGUSR1)
            counts.add(KeyError)
    finally:
        signal.signal(signal.SIGUSR1, previous)

    assert handled > 0
    assert counts.by_type() == {"KeyError": 4_000 + handled}


def test_m1_metrics_are_those_of_the_calls(
    make_logger: Callable[..., ErrorLogger],
) -> None:
    """Errors by class, whatever was passed; events are no errors."""
    logger = make_logger()

    for error in (ValueError(), ValueError("x"), KeyError(), "text", TimeoutError()):
        logger.log_error("r", error)  # type: ignore[arg-type]
    logger.log_event("call_completed")

    expected = {"ValueError": 2, "KeyError": 1, "str": 1, "TimeoutError": 1}
    assert logger.get_metrics() == expected


def test_m1_errors_are_counted_when_their_records_are_dropped(
    make_logger: Callable[..., ErrorLogger],
) -> None:
    """They have happened all the same."""
    logger = make_logger()
    logger.close()

    logger.log_error("r", ValueError())

    assert logger.get_metrics() == {"ValueError": 1}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_m1_a_forked_child_starts_at_zero(
    make_logger: Callable[..., ErrorLogger],
) -> None:
    """What the parent counted is the parent's."""
    logger = make_logger()
    logger.log_error("r", ValueError())

    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:  # pragma: no cover  (another process)
        try:
            before = logger.get_metrics()
            logger.log_error("r", KeyError())
            os.write(writing, repr((before, logger.get_metrics())).encode())
            logger.close(timeout=60)
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as answer:
        told = answer.read()
    os.waitpid(pid, 0)

    assert told == b"({}, {'KeyError': 1})"
    assert logger.get_metrics() == {"ValueError": 1}
