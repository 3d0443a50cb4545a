"""Q6: scopes in signal handlers, finalizers, collections and exit callbacks."""

from __future__ import annotations

import gc
import itertools
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tokenpak.telemetry.error_logger import ErrorLogger, bind, bound, log_exception

from .rig import records_of, run_program

Make = Callable[..., ErrorLogger]


@pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="there is no interval timer"
)
def test_q6_a_signal_handler_enters_scopes_in_the_middle_of_scopes(
    make_logger: Make,
) -> None:
    """
    Five hundred signals, one soon after the other: each exception is recorded once,
    with what was bound where it was raised.
    """
    logger = make_logger(linger=0.001)
    numbers = itertools.count()
    handled: list[int] = []
    over = False

    @bind(of="handler")
    @log_exception(request_id=lambda kind, number: f"{kind}-{number}", logger=logger)
    def fail(kind: str, number: int) -> None:
        with bind(number=number), log_exception(logger=logger):
            raise ValueError(kind)

    def handler(*_: object) -> None:
        number = next(numbers)
        with bind("handler"):
            try:
                fail("handler", number)
            except ValueError:
                handled.append(number)
        # The next one only now: on a busy machine they would pile up on each other.
        if not over:
            signal.setitimer(signal.ITIMER_REAL, 0.001)

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    calls = 0
    try:
        while len(handled) < 500:
            with bind("main"):
                try:
                    fail("main", calls)
                except ValueError:
                    calls += 1
    finally:
        over = True  # or one on its way asks for another, which nobody would handle
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    found = Counter(
        (r["request_id"], r["message"], r["context"]["number"])
        for r in records_of(logger)
    )
    expected = Counter(("main", "main", number) for number in range(calls))
    expected.update(("handler", "handler", number) for number in handled)
    assert found == expected
    assert bound() == {}


def test_q6_finalizers_enter_scopes_in_the_middle_of_scopes(make_logger: Make) -> None:
    """Cyclic garbage that fails is collected at any point of a scope."""
    logger = make_logger()
    died: list[int] = []

    class Mortal:
        def __init__(self, number: int) -> None:
            self.number = number
            self.itself = self

        @log_exception(request_id=lambda self: f"dead-{self.number}", logger=logger)
        def fail(self) -> None:
            raise ValueError("x")

        def __del__(self) -> None:
            try:
                self.fail()
            except ValueError:
                died.append(self.number)

    @log_exception(request_id=lambda number: f"alive-{number}", logger=logger)
    def fail(number: int) -> None:
        with bind(number=[{}, {}]), log_exception("block", logger=logger):
            Mortal(number)
        raise ValueError("x")

    threshold = gc.get_threshold()
    gc.set_threshold(5)
    try:
        for number in range(300):
            try:
                fail(number)
            except ValueError:
                pass
    finally:
        gc.set_threshold(*threshold)
    in_the_middle = len(died)
    gc.collect()

    expected = Counter(f"alive-{number}" for number in range(300))
    expected.update(f"dead-{number}" for number in range(300))
    assert in_the_middle > 0
    assert Counter(r["request_id"] for r in records_of(logger)) == expected


def test_q6_collections_may_call_what_fails(make_logger: Make) -> None:
    """The callbacks of the collector are in scopes."""
    logger = make_logger()
    runs: list[int] = []

    @log_exception(request_id=lambda phase, _: phase, logger=logger)
    def fail(phase: str, _: object) -> None:
        raise ValueError("x")

    def callback(phase: str, info: dict[str, Any]) -> None:
        try:
            fail(phase, info)
        except ValueError:
            runs.append(1)

    gc.callbacks.append(callback)
    try:
        for _ in range(20):
            gc.collect()
    finally:
        gc.callbacks.remove(callback)

    found = Counter(r["request_id"] for r in records_of(logger))
    assert sum(found.values()) == len(runs) >= 40
    assert set(found) == {"start", "stop"}


def test_q6_what_fails_at_the_exit_of_a_process_is_kept(tmp_path: Path) -> None:
    """In exit callbacks before and after the logger's own, decorated and not."""
    status, printed, records = run_program(
        "import atexit\n"
        "from tokenpak.telemetry.error_logger import *\n"
        "@log_exception('decorated')\n"
        "def decorated(): raise ValueError(1)\n"
        "def plain(): raise ValueError(2)\n"
        "atexit.register(decorated); atexit.register(plain)\n"
        "install()\n"
        "log_error('first', ValueError(0))\n"
        "atexit.register(decorated); atexit.register(plain)\n",
        tmp_path,
        recovered=True,
    )

    assert status == 0
    assert printed.count("ValueError: ") == 4
    found = Counter(r["request_id"] for r in records)
    assert found == {"first": 1, "decorated": 2, None: 2}
