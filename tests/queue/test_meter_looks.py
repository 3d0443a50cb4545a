"""Who flushes has all counted that was counted before, though another one looks."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.metrics.logs import pipeline
from tokenpak.telemetry.queue import housekeeping
from tokenpak.telemetry.queue import pipeline as pipeline_module
from tokenpak.telemetry.queue.meter import LOOK, Meters
from tokenpak.telemetry.store import meters

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs spools")


class Stopped:
    """
    What was sampled away, of which the first look is stopped half-way.

    Attributes:
        only: of that thread; None: of any.

    """

    def __init__(self, counts: Callable[[], Mapping[str, int]]) -> None:
        self.inside, self.go_on = threading.Event(), threading.Event()
        self.only: int | None = None
        self._counts = counts
        self._first = [True]

    def __call__(self) -> Mapping[str, int]:
        """Return the counts; the first time as they were long before."""
        found = self._counts()
        if self._first and self.only in {None, threading.get_ident()}:
            self._first.clear()
            self.inside.set()
            assert self.go_on.wait(60)
        return found


class Lock:
    """A lock that tells when somebody comes to wait for it."""

    def __init__(self, lock: Any, somebody_waits: threading.Event) -> None:
        self._lock = lock
        self._somebody_waits = somebody_waits

    def acquire(self, *, timeout: float) -> bool:
        """Tell, if it is taken and that is waited for, and wait."""
        if self._lock.acquire(blocking=False):
            return True
        if timeout > 0:
            self._somebody_waits.set()
        return bool(self._lock.acquire(timeout=timeout))

    def release(self) -> None:
        """Let go."""
        self._lock.release()

    def _is_owned(self) -> bool:
        return bool(self._lock._is_owned())


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no busy machine end the waiting."""
    monkeypatch.setattr(housekeeping, "LOOK_PATIENCE", 60.0)
    monkeypatch.setattr(pipeline_module, "LOOK_PATIENCE", 60.0)


def stop_the_writer(logger: Any, monkeypatch: pytest.MonkeyPatch) -> Stopped:
    """Have the writer stopped in its first look until somebody waits for it."""
    looking: Meters = logger._pipeline._meters
    assert looking._suppressed is not None
    stopped = Stopped(looking._suppressed)
    monkeypatch.setattr(looking, "_suppressed", stopped)
    lock = Lock(looking._looking, stopped.go_on)
    monkeypatch.setattr(looking, "_looking", lock)
    return stopped


@pytest.mark.parametrize("way", ["flush", "before_exit"])
def test_m1_who_flushes_while_the_writer_looks_looks_when_it_has(
    log_dir: Path, make_logger: Any, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """What was counted since the writer looked is in the spool, too."""
    logger = make_logger(sample=0)
    stopped = stop_the_writer(logger, monkeypatch)
    logger.log_error("r", KeyError())  # starts the writer, which looks
    assert stopped.inside.wait(60)
    for _ in range(4):
        logger.log_error("r", KeyError())

    if way == "flush":
        assert logger.flush(60)
    else:
        logger._pipeline.before_exit()

    shown = pipeline(log_dir).by_label(meters.SUPPRESSED)
    assert shown[(meters.SAMPLED,)] == 5


def test_m1_a_logger_that_is_closed_while_somebody_looks_counts_all(
    log_dir: Path, make_logger: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer looks a last time, and that is no look that may be left out."""
    logger = make_logger(sample=0)
    logger.log_error("r", KeyError())
    assert logger.flush(60)
    stopped = stop_the_writer(logger, monkeypatch)
    stopped.only = 0  # not the writer, which may look again just now

    def look() -> None:
        stopped.only = threading.get_ident()
        logger._pipeline._meters.look()

    thread = threading.Thread(target=look)
    thread.start()
    assert stopped.inside.wait(60)
    for _ in range(4):
        logger.log_error("r", KeyError())

    assert logger.close(60)
    thread.join(60)

    shown = pipeline(log_dir).by_label(meters.SUPPRESSED)
    assert shown[(meters.SAMPLED,)] == 5


def test_a_look_that_waits_for_nobody_comes_again() -> None:
    """The writer does not wait for a thread that is at it."""
    looking = Meters([])
    with looking._looking:
        said = []
        thread = threading.Thread(target=lambda: said.append(looking.look()))
        thread.start()
        thread.join(60)

    assert said == [LOOK]


def test_x2_what_a_signal_raises_when_it_is_taken_leaves_no_look_locked() -> None:
    """Ctrl-C may come right after the lock was taken, and nobody waits for ever."""
    looking = Meters([])
    lock = looking._looking

    class Interrupted:
        def acquire(self, *, timeout: float) -> bool:
            lock.acquire(timeout=timeout)
            raise KeyboardInterrupt

        def release(self) -> None:
            lock.release()

        def _is_owned(self) -> bool:
            return False

    looking._looking = Interrupted()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        looking.look()

    assert not lock._is_owned()  # type: ignore[attr-defined]


def test_q5_a_signal_handler_that_forks_while_its_thread_looks_leaves_both_at_work(
    log_dir: Path, make_logger: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child has a lock of its own, and goes on in the middle of the look."""
    logger = make_logger(sample=0)
    logger.log_error("r", KeyError())
    assert logger.flush(60)
    looking: Meters = logger._pipeline._meters
    suppressed = looking._suppressed
    assert suppressed is not None
    me = threading.get_ident()
    once, children = [True], list[int]()

    def interrupted() -> Mapping[str, int]:
        if threading.get_ident() == me and once:
            once.clear()
            signal.raise_signal(signal.SIGUSR1)
        return suppressed()

    monkeypatch.setattr(looking, "_suppressed", interrupted)
    was = signal.signal(signal.SIGUSR1, lambda *_: children.append(os.fork()))
    try:
        status = 1
        try:
            status = 0 if logger.flush(60) and logger.flush(60) else 2
        finally:
            if children == [0]:
                os._exit(status)
    finally:
        signal.signal(signal.SIGUSR1, was)

    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0
    assert status == 0
