"""Back-pressure: who may wait for room in the queue, how long, and for whom not."""

from __future__ import annotations

import gc
import signal
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from tests.queue.rig import SEGMENT, Rig, make_line
from tests.store.fakes import Disk
from tokenpak.telemetry.queue import chain as chain_module
from tokenpak.telemetry.queue import reentry
from tokenpak.telemetry.queue.reentry import (
    may_wait,
    register_writer,
    unregister_writer,
)
from tokenpak.telemetry.store.notes import CLOSED, QUEUE_FULL

HALF = SEGMENT // 2
"""The size of a line of which one fits a segment, and two do not."""


def fill(rig: Rig) -> int:
    """Put until a record is dropped; return how many were accepted."""
    while rig.put(make_line("fill", HALF + 1)):
        pass
    return rig.chain.accepted


def use_clock(
    patch: pytest.MonkeyPatch,
    monotonic: Callable[[], float],
    sleep: Callable[[float], object],
) -> None:
    """Give the chain, and only the chain, another time."""
    patch.setattr(
        chain_module, "time", SimpleNamespace(monotonic=monotonic, sleep=sleep)
    )


def test_q3_a_record_that_may_wait_is_accepted_when_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    full_wait: the writer makes room while the caller sleeps.
    """
    rig = Rig(Disk(), slots=2, full_wait=3_600)
    monkeypatch.setattr(reentry, "_writers", {threading.get_ident()})
    fill(rig)
    monkeypatch.setattr(reentry, "_writers", set())
    sleeps = []

    def drain_instead(seconds: float) -> None:
        sleeps.append(seconds)
        if len(sleeps) == 3:
            rig.drain.step()
            rig.drain.step()

    use_clock(monkeypatch, time.monotonic, drain_instead)

    assert rig.put(make_line("patient", HALF + 1))
    assert len(sleeps) == 3
    assert rig.chain.drops.by_reason() == {QUEUE_FULL: 1}


def test_q4_a_record_that_may_wait_is_dropped_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    full_wait is a bound.
    """
    rig = Rig(Disk(), slots=2, full_wait=0.5)
    now = [100.0]

    def pass_time(seconds: float) -> None:
        now[0] += max(seconds, 1e-3)

    use_clock(monkeypatch, lambda: now[0], pass_time)
    fill(rig)

    assert rig.chain.drops.by_reason() == {QUEUE_FULL: 1}
    assert 100.5 <= now[0] < 101


def test_q6_closing_ends_the_waiting_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Nobody makes room any more: the record is dropped as closed, at once.
    """
    rig = Rig(Disk(), slots=2, full_wait=3_600)
    now = [0.0]
    sleeps = []

    def close_meanwhile(seconds: float) -> None:
        sleeps.append(seconds)
        now[0] += 100.0  # or a test of a version that waits on would take an hour
        rig.chain.close()

    use_clock(monkeypatch, lambda: now[0], close_meanwhile)
    fill(rig)

    assert len(sleeps) == 1
    assert rig.chain.drops.by_reason() == {CLOSED: 1}


def test_q6_a_writer_does_not_wait_for_itself() -> None:
    """
    And when its thread has ended, the identifier means nothing any more.
    """
    ident = threading.get_ident()
    before = may_wait(ident)
    register_writer(ident)
    as_writer = may_wait(ident)
    unregister_writer(ident)

    assert (before, as_writer, may_wait(ident)) == (True, False, True)


def test_q6_a_finalizer_does_not_wait() -> None:
    """
    Also from a function that it calls.
    """
    seen: list[bool] = []

    def ask() -> None:
        seen.append(may_wait(threading.get_ident()))

    class Finalized:
        def __del__(self) -> None:
            ask()

    finalized = Finalized()
    ask()
    del finalized
    gc.collect()

    assert seen == [True, False]


class _Handler:
    def __init__(self) -> None:
        self.seen: list[bool] = []

    def handle(self, number: int, frame: object) -> None:
        """Be a bound method."""
        self.ask()

    def ask(self) -> None:
        self.seen.append(may_wait(threading.get_ident()))


@pytest.mark.parametrize("bound", [True, False])
def test_q6_a_signal_handler_does_not_wait(*, bound: bool) -> None:
    """
    Nor what it calls, be it a function or a method; the interrupted code may.
    """
    handler = _Handler()

    def handle(number: int, frame: object) -> None:
        handler.ask()

    before = signal.signal(signal.SIGUSR1, handler.handle if bound else handle)
    try:
        signal.raise_signal(signal.SIGUSR1)
        handler.ask()
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert handler.seen == [False, True]


def test_time_is_not_asked_for_by_a_put_that_finds_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    The hot path waits for nothing (C1).
    """
    rig = Rig(Disk())
    rig.put(make_line("first"))

    def refuse(seconds: float = 0.0) -> float:
        raise AssertionError

    use_clock(monkeypatch, refuse, refuse)

    assert rig.put(make_line("second"))
