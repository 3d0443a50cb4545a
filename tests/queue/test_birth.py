"""X2: a writer thread that ends before its first line, as where memory is short."""

from __future__ import annotations

import _thread
import inspect
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.queue import writer as writer_module


class Births:
    """Starts threads, of which the first ones are not what they should be."""

    def __init__(self, fate: Callable[..., bool]) -> None:
        self.count = 0
        self._fate = fate
        self._start = _thread.start_new_thread

    def start(self, function: Callable[..., Any], args: tuple[Any, ...]) -> int:
        """Start a thread, or do what the fate says."""
        self.count += 1
        if self._fate(self.count, function, args):
            return 0
        return self._start(function, args)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that has not begun is taken for dead sooner than usual."""
    monkeypatch.setattr(writer_module, "START_RETRY", 0.05)


@pytest.mark.parametrize("stillborn", [1, 3])
def test_x2_a_writer_that_dies_at_birth_is_replaced(
    stillborn: int,
    make_logger: Callable[..., ErrorLogger],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    By a flush, though no record comes any more; again if need be.
    """
    births = Births(lambda number, *_: number <= stillborn)
    monkeypatch.setattr(_thread, "start_new_thread", births.start)
    logger = make_logger()
    logger.log_error("r", ValueError("x"))

    assert logger.flush(60)
    assert logger.stats().written == 1
    # On a busy machine one that lives may be late, and be replaced, too.
    assert births.count > stillborn


def test_x2_records_replace_it_too(
    make_logger: Callable[..., ErrorLogger],
    log_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Without any flush: the first record after a while starts another thread.
    """
    births = Births(lambda number, *_: number == 1)
    monkeypatch.setattr(_thread, "start_new_thread", births.start)
    logger = make_logger()
    pause = threading.Event()
    for number in range(12_000):
        logger.log_error(f"r{number}", ValueError("x"))
        pause.wait(0.005)
        if list(log_dir.glob("errors-*.jsonl")):
            break

    assert births.count >= 2
    assert list(log_dir.glob("errors-*.jsonl"))


def test_q1_a_writer_that_is_born_late_does_not_become_a_second_one(
    make_logger: Callable[..., ErrorLogger], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It was declared dead, and another one has its place: it ends at once.
    """
    late: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []

    def keep(number: int, function: Callable[..., Any], args: tuple[Any, ...]) -> bool:
        if number == 1:
            late.append((function, args))
        return number == 1

    births = Births(keep)
    monkeypatch.setattr(_thread, "start_new_thread", births.start)
    logger = make_logger()
    logger.log_error("r", ValueError("x"))
    assert logger.flush(60)
    ((function, args),) = late
    thread = threading.Thread(target=function, args=args)
    thread.start()
    thread.join(60)

    assert not thread.is_alive()
    assert births.count >= 2
    assert logger.stats().written == 1


def test_q3_at_the_end_of_the_stack_no_permit_to_write_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Whoever finds out there that a thread was not born, or cannot be started, leaves the
    way free for the next one; or nothing would be written until the process ends.
    """
    lost: list[bool] = []

    def refuse(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    # A short stack: each level of it has an exception with a traceback of all others.
    depth = len(inspect.stack())
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(depth + 60)
    try:
        for attempt in (
            writer_module.Writer._check_birth,
            writer_module.Writer._start,
        ):
            try_at_each_depth(attempt, lost)
    finally:
        sys.setrecursionlimit(limit)

    assert len(lost) > 60
    assert not any(lost)


def try_at_each_depth(attempt: Callable[..., object], lost: list[bool]) -> None:
    """Say of each depth, from the end of the stack on, whether the permit was lost."""
    writer = writer_module.Writer(0.02)
    begun = attempt is writer_module.Writer._check_birth

    def deeper() -> None:
        try:
            deeper()
        except RecursionError:
            pass
        birth = [time.monotonic() - 60]
        writer._birth = birth if begun else []
        writer._permit[:] = [] if begun else [True]
        writer._start_failed = -60.0
        try:
            attempt(writer)
        except RecursionError:
            pass
        lost.append(not writer._permit and not (begun and birth))

    deeper()


def test_x2_a_writer_that_ends_while_somebody_waits_for_it_is_replaced(
    make_logger: Callable[..., ErrorLogger],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    By what no Exception is: a logging handler may call sys.exit.
    """
    logger = make_logger()
    logger.log_error("r", ValueError("x"))
    assert logger.flush(60)
    chores = logger._pipeline._writer._chores
    assert chores is not None
    before_drain, ends = chores.before_drain, [SystemExit]

    def before() -> None:
        if ends and logger._pipeline._writer._flushes:
            raise ends.pop()
        before_drain()

    monkeypatch.setattr(chores, "before_drain", before)
    logger.log_error("r", ValueError("x"))

    assert logger.flush(60)
    assert not ends
    assert logger.stats().written == 2
