"""Q6: signal handlers, finalizers and exit callbacks log, in the middle of anything."""

from __future__ import annotations

import gc
import itertools
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fault.test_fork import ids_of
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.queue.recovery import recover

pytestmark = pytest.mark.fault

NEXT = 0.001
"""Seconds until the next signal."""
DEEPEST = 8
"""Handlers in each other, at most."""


@pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="there is no interval timer"
)
def test_q6_a_signal_handler_that_logs_interrupts_calls_that_log(
    make_logger: Callable[..., ErrorLogger], log_dir: Path
) -> None:
    """
    Five hundred signals, a millisecond apart, from before the first record on: no
    deadlock, and the records of handler and main program are all there.
    """
    logger = make_logger(linger=0.001)
    numbers = itertools.count()
    handled: list[int] = []
    under_way: list[int] = []
    deepest, over = 0, False

    def handler(*_: object) -> None:
        nonlocal deepest
        number = next(numbers)
        under_way.append(number)
        deepest = max(deepest, len(under_way))
        # A handler is interrupted by the next signal, too; but not without end: where
        # to make the spool takes longer than a millisecond, each would be interrupted
        # while it makes one, until the stack is used up.
        if len(under_way) < DEEPEST and not over:
            signal.setitimer(signal.ITIMER_REAL, NEXT)
        logger.log_error(f"handler-{number}", ValueError("x"))
        handled.append(number)
        under_way.pop()
        if not over:
            signal.setitimer(signal.ITIMER_REAL, NEXT)

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, NEXT)
    calls = 0
    try:
        while len(handled) < 500:
            logger.log_error(f"main-{calls}", ValueError("x"))
            calls += 1
    finally:
        over = True  # one that is on its way must not ask for another
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert logger.flush(60)
    stats = logger.stats()

    expected = Counter(f"main-{n}" for n in range(calls))
    expected.update(f"handler-{n}" for n in handled)
    assert ids_of(log_dir) == expected
    assert stats.dropped == {}
    assert stats.accepted == calls + len(handled)
    assert deepest <= DEEPEST


def test_q6_finalizers_that_log_run_in_the_middle_of_calls(
    make_logger: Callable[..., ErrorLogger], log_dir: Path
) -> None:
    """
    Cyclic garbage whose ``__del__`` logs is collected while records are encoded.
    """
    logger = make_logger()
    died: list[int] = []

    class Mortal:
        def __init__(self, number: int) -> None:
            self.number = number
            self.itself = self

        def __del__(self) -> None:
            logger.log_error(f"dead-{self.number}", ValueError("x"))
            died.append(self.number)

    threshold = gc.get_threshold()
    gc.set_threshold(5)
    try:
        for number in range(500):
            Mortal(number)
            logger.log_error(f"alive-{number}", ValueError("x"), {"a": [{}, {}, {}]})
    finally:
        gc.set_threshold(*threshold)
    in_the_middle = len(died)
    gc.collect()
    assert logger.flush(60)

    expected = Counter(f"alive-{n}" for n in range(500))
    expected.update(f"dead-{n}" for n in range(500))
    assert in_the_middle > 0
    assert sorted(died) == list(range(500))
    assert ids_of(log_dir) == expected


LATE = """
import atexit, sys, threading
from tokenpak.telemetry.error_logger import ErrorLogger
logger = ErrorLogger(sys.argv[1])
atexit.register(lambda: logger.log_error("early", ValueError("x")))
logger.log_error("first", ValueError("x"))
# Registered after the logger's own hook, so called before it; the one above, after.
atexit.register(lambda: logger.log_error("before", ValueError("x")))

class Last:
    def __del__(self, logger=logger):
        logger.log_error("last", ValueError("x"))

sys.modules["last"] = Last()
"""


def test_q6_records_of_the_end_of_a_process_are_kept(log_dir: Path) -> None:
    """
    What an exit callback logs after the logger's own has run is recovered, and so is
    what a finalizer logs while the interpreter is taken down.
    """
    done = subprocess.run(
        [sys.executable, "-c", LATE, str(log_dir)],
        capture_output=True,
        check=True,
        timeout=60,
    )
    recover(str(log_dir))
    found = ids_of(log_dir)

    assert done.stderr == b""
    assert set(found.values()) == {1}
    assert {"first", "before", "early"} <= set(found)
