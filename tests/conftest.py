"""What all tests share: no logger, thread, descriptor or child survives a test."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.faultguard import FaultGuard
from tokenpak.telemetry.error_logger import ErrorLogger

DAY = 86_400.0
SHORT = 60.0
"""Seconds that all but a few tests take at most, on a busy machine."""
LOOKS = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE"}
"""Variables that say how wide and how coloured what is printed is to be."""
DESCRIPTORS = (4_096, 65_536)
"""How many may be open: at least, if the machine allows it, and at most."""

# No time is asserted: the machine may be busy.  In CI the examples are the same each
# time, so that a change is judged by itself; everywhere else they are new ones.
hypothesis.settings.register_profile(
    "tokenpak",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("tokenpak")


def pytest_configure(config: pytest.Config) -> None:
    """Count the fault tests of a run in CI; begin with what is usual on a machine."""
    # What is ignored or blocked is handed on to all that is started, and tests send
    # signals: under nohup SIGHUP is ignored, behind "&" in a script SIGINT, below some
    # supervisors SIGCHLD.
    for name in ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGCHLD", "SIGALRM"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_IGN:
            default = signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL
            signal.signal(number, default)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
    os.umask(0o022)  # some make what other users are to reach
    set_usual_limits()
    config.pluginmanager.register(FaultGuard(config), "faultguard")


def set_usual_limits() -> None:
    """
    Have no core dumped, and a limit of descriptors between those that are usual.

    Containers often have neither limit: then each process that a test kills leaves a
    file beside what is compared, and who goes through all numbers that a descriptor
    may have, as tests and some servers do, goes through a billion of them.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    least, most = DESCRIPTORS
    if hard != resource.RLIM_INFINITY:
        least = min(least, hard)
    wanted = most if soft == resource.RLIM_INFINITY else min(max(soft, least), most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def pytest_collection_finish() -> None:
    """
    Leave what is loaded by now out of the collector's sight.

    Where all tests are collected, that is most of a million objects, which each full
    collection of every test would go through; it is no test's garbage.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol() -> Generator[None, bool | None, bool | None]:
    """
    Begin no test right before midnight, UTC.

    Many log, and look for what they logged in the one file of the day.  What happens
    over midnight is tested with clocks that are the tests' own.  Outside of all else,
    so that the pause is not taken from the time that the test may take.
    """
    left = DAY - time.time() % DAY
    if left < SHORT:
        time.sleep(left + 0.1)
    return (yield)


@pytest.fixture(autouse=True)
def empty_environment(tmp_path_factory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """HOME is an empty directory, and no setting comes from the outside."""
    for name in list(os.environ):
        if (
            name.startswith("TOKENPAK_")
            or name in LOOKS
            or name.lower().endswith("_proxy")
        ):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture
def log_dir(tmp_path: Path) -> Path:
    """A log directory that does not exist yet."""
    return tmp_path / "logs"


@pytest.fixture
def make_logger(log_dir: Path) -> Iterator[Callable[..., ErrorLogger]]:
    """Make loggers for *log_dir* that are closed after the test."""
    made: list[ErrorLogger] = []

    def make(directory: Path | None = None, **settings: Any) -> ErrorLogger:
        logger = ErrorLogger(directory or log_dir, **settings)
        made.append(logger)
        return logger

    yield make
    for logger in made:
        logger.close(timeout=10)


@pytest.fixture(autouse=True)
def no_thread_survives() -> Iterator[None]:
    """Fail a test that leaves a thread of its own behind."""
    before = set(threading.enumerate())
    yield
    left = [t for t in set(threading.enumerate()) - before if not t.daemon]
    for thread in left:
        thread.join(60)  # it may be at its end: a server's thread for a request
    assert [thread for thread in left if thread.is_alive()] == []
