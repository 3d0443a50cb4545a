"""Q1 at each system call: whatever was accepted is in the log exactly once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fault.ledger import Ledger, audit
from tests.fault.nursery import Nursery, nursery
from tests.fault.tracing import needs_strace, run_traced
from tokenpak.telemetry.queue.recovery import recover

pytestmark = [
    pytest.mark.fault,
    needs_strace,
]

CALLS = (
    "mkdir",
    "openat",
    "fchmod",
    "fallocate",
    "mmap",
    "flock",
    "link",
    "unlink",
    "newfstatat",
    "pread64",
    "writev",
    "madvise",
    "munmap",
    "close",
)
MOST = 120
WORKER = "from tests.fault.worker import main; main()"
DYING = """
import os, signal
from tests.fault.worker import main
from tokenpak.telemetry.store.files import OsFiles

write, writes = OsFiles.write, []

def die(files, fd, parts):
    # As it enters the second append: noted, and nothing of it written.
    writes.append(fd)
    if len(writes) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return write(files, fd, parts)

OsFiles.write = die
main()
"""


@pytest.fixture(scope="module")
def programs() -> Iterator[Nursery]:
    """From which what is to be killed is started."""
    with nursery() as programs:
        yield programs


@pytest.mark.parametrize("call", CALLS)
def test_q1_killed_at_each_system_call_of_a_batch(
    call: str, tmp_path: Path, programs: Nursery
) -> None:
    """
    From the first record to close(), at every call of this kind.
    """
    for number in range(1, MOST):
        log_dir = tmp_path / f"{number}" / "logs"
        log_dir.parent.mkdir()
        ledger = tmp_path / f"{number}" / "ledger"
        # With --flush: of one batch alone, nothing is read back.
        paced = ("2", "40", "--pause", "0.0005", "--flush", "--wait")
        worker = programs.start(WORKER, log_dir, ledger, "w", *paced)
        status = run_traced(worker, f"{call}:signal=KILL:when={number}")
        acknowledged = Ledger(ledger, 2).acknowledged()
        recovered = recover(str(log_dir))
        again = recover(str(log_dir))

        verdict = audit(log_dir, {"w": acknowledged}) if log_dir.exists() else None
        assert verdict is None or verdict.clean, (number, verdict)
        assert verdict is not None or sum(acknowledged) == 0
        assert recovered.left == ()
        assert again.spools == 0
        if status == 0:
            break
        assert status == -signal.SIGKILL
    else:
        pytest.fail(f"{call} never ran out")
    assert number > 1, "the call is not made at all"


@pytest.mark.parametrize(
    "call",
    ["openat", "mmap", "flock", "newfstatat", "pread64", "writev", "unlink", "close"],
)
def test_q1_recovery_killed_at_each_system_call(
    call: str, tmp_path: Path, programs: Nursery
) -> None:
    """
    An orphan whose last append is torn in the middle of a note is recovered by a
    process that is killed, then by one that is not.
    """
    for number in range(1, MOST):
        place = tmp_path / f"{number}"
        place.mkdir()
        log_dir, ledger = place / "logs", place / "ledger"
        twice = ("2", "40", "--flush", "--wait")
        worker = programs.start(DYING, log_dir, ledger, "w", *twice)
        worker.communicate("go\n")
        assert worker.returncode == -signal.SIGKILL
        acknowledged = Ledger(ledger, 2).acknowledged()
        recovery = programs.start(RECOVERY, log_dir)
        status = run_traced(recovery, f"{call}:signal=KILL:when={number}")
        recover(str(log_dir))

        verdict = audit(log_dir, {"w": acknowledged})
        assert verdict.clean, (number, verdict)
        assert verdict.accepted > 0
        if status == 0:
            break
        assert status == -signal.SIGKILL
    else:
        pytest.fail(f"{call} never ran out")
    assert number > 1, "the call is not made at all"


RECOVERY = """
import sys
from tokenpak.telemetry.queue.recovery import recover
print("ready", flush=True)
sys.stdin.readline()
recover(sys.argv[1])
"""
