"""
Q1, S1, S2: a process is killed inside of a write, and another appends behind it.

The kernel looks for SIGKILL between the pages of a long write, so what is written by
then ends anywhere in a line; and the death gives the lock to whoever wants it.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fault.ledger import Ledger, audit, request_id
from tests.fault.nursery import Forked, Nursery, nursery
from tests.queue.logs import eventually
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.queue.recovery import recover

fcntl = pytest.importorskip("fcntl")

pytestmark = pytest.mark.fault

WORKER = "from tests.fault.worker import main; main()"
DYING = """
import os, signal, sys
from tests.fault.worker import main
from tokenpak.telemetry.store.files import OsFiles

LINES, MORE = int(sys.argv.pop()), int(sys.argv.pop())

write = OsFiles.write

def die(files, fd, parts):
    data = b"".join(parts)
    if data.count(b"\\n") <= LINES:
        return write(files, fd, parts)  # what the writer had come to before the rest
    end = 0
    for _ in range(LINES):
        end = data.index(b"\\n", end) + 1
    os.write(fd, data[: end + MORE])
    os.kill(os.getpid(), signal.SIGKILL)

OsFiles.write = die
main()
"""
THREADS = 2
LINES = 3
"""Lines of the append that are written whole."""
KILLS = 4
MANY = 3_000
"""Calls of a thread: some megabytes in all."""


@pytest.fixture(scope="module")
def programs() -> Iterator[Nursery]:
    """From which what is to be killed is started."""
    with nursery() as programs:
        yield programs


class Other:
    """Another process's logger, as far as files and locks can tell."""

    def __init__(self, logger: ErrorLogger, log_dir: Path) -> None:
        self.calls = 0
        self._logger = logger
        for _ in range(3):  # behind the first one it still looks for dead processes
            self.log()
        (self.path,) = log_dir.glob("errors-*.jsonl")

    def log(self) -> None:
        """Append one record."""
        error = ValueError("behind")
        self._logger.log_error(request_id("other", 0, self.calls), error)
        self.calls += 1
        assert self._logger.flush(60)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the day's file."""
        with self.path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


@pytest.fixture
def other(make_logger: Callable[..., ErrorLogger], log_dir: Path) -> Other:
    """Which appends when it is told to, and recovers nothing."""
    return Other(make_logger(linger=0.0, recovery_interval=3600), log_dir)


def log_all(worker: Forked, ledger: Path, calls: int) -> None:
    """Return when *worker* has made its calls, while somebody holds the lock."""
    worker.stdin.write("go\n")
    worker.stdin.flush()
    assert eventually(lambda: Ledger(ledger, THREADS).acknowledged() == [calls] * 2)


@pytest.mark.parametrize("appended", [True, False], ids=["closed", "completed"])
@pytest.mark.parametrize("more", [0, 1, 150, -1])
def test_q1_a_write_that_a_death_cuts_off_is_finished_whoever_appends_behind_it(
    more: int,
    appended: bool,
    other: Other,
    log_dir: Path,
    tmp_path: Path,
    programs: Nursery,
) -> None:
    """
    Cut off so many bytes behind a line.  If another process appends before it is
    recovered, what there is of a line is closed, and there whole behind it; else, or
    if only its newline is lacking, nothing is to be seen of it.
    """
    ledger = tmp_path / "ledger"
    words = (log_dir, ledger, "w", THREADS, 20, "--wait", more, LINES)
    worker = programs.start(DYING, *words)
    with other.locked():
        log_all(worker, ledger, 20)
        before = other.path.read_bytes()
    status = worker.wait()
    cut = other.path.read_bytes().removeprefix(before)
    if appended:
        other.log()
    found = recover(str(log_dir))
    content = other.path.read_bytes()
    acknowledged = {"w": Ledger(ledger, THREADS).acknowledged(), "other": [other.calls]}
    verdict = audit(log_dir, acknowledged)

    torn = cut.rpartition(b"\n")[2] if more > 0 else b""
    assert status == -signal.SIGKILL
    assert cut.count(b"\n") >= LINES - (more < 0)
    assert len(torn) == max(0, more)
    assert content.startswith(before + cut)
    assert content.endswith(b"\n")
    assert found.spools == 1
    assert verdict.clean, verdict
    assert verdict.accepted == THREADS * 20 + other.calls
    assert verdict.malformed == (more > 0 and appended)
    assert verdict.malformed == content.splitlines().count(torn)


def test_s1_a_process_killed_in_a_long_write_tears_one_line_at_most(
    other: Other, log_dir: Path, tmp_path: Path, programs: Nursery
) -> None:
    """
    By the kernel, when the file has grown so far; each time another process appends
    at once, and what is left of each is recovered by the next one, or at the end.
    """
    acknowledged: dict[str, list[int]] = {}
    for number in range(KILLS):
        name = f"w{number}"
        ledger = tmp_path / name
        worker = programs.start(WORKER, log_dir, ledger, name, THREADS, MANY, "--wait")
        with other.locked():
            log_all(worker, ledger, MANY)
            size = other.path.stat().st_size
        grown = size + 700_000 * (number + 1)
        deadline = time.monotonic() + 60
        # As fast as can be: a write of a megabyte takes less than a millisecond.
        while other.path.stat().st_size < grown:
            assert time.monotonic() < deadline, "it does not write"
        worker.kill()
        other.log()
        worker.wait()
        acknowledged[name] = Ledger(ledger, THREADS).acknowledged()
    found = recover(str(log_dir))

    verdict = audit(log_dir, {**acknowledged, "other": [other.calls]})
    assert found.left == ()
    assert verdict.clean, verdict
    assert verdict.malformed <= KILLS
    assert verdict.accepted == KILLS * THREADS * MANY + other.calls
