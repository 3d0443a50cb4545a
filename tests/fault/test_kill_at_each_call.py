"""Q1 at each system call: whatever was accepted is in the log exactly once."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fault.ledger import Ledger, audit
from tests.fault.tracing import STRACE, run_traced, start_waiting
from tokenpak.telemetry.queue.recovery import recover

pytestmark = [
    pytest.mark.fault,
    pytest.mark.skipif(STRACE is None, reason="strace is not installed"),
    pytest.mark.timeout(600),
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
MOST = 60


@pytest.mark.parametrize("call", CALLS)
def test_q1_killed_at_each_system_call_of_a_batch(call: str, tmp_path: Path) -> None:
    """
    From the first record to close(), at every call of this kind.
    """
    for number in range(1, MOST):
        log_dir = tmp_path / f"{number}" / "logs"
        log_dir.parent.mkdir()
        ledger = tmp_path / f"{number}" / "ledger"
        worker = start_waiting(log_dir, ledger, "w", "2", "40", "--pause", "0.0005")
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
def test_q1_recovery_killed_at_each_system_call(call: str, tmp_path: Path) -> None:
    """
    An orphan whose last append is torn in the middle of a note is recovered by a
    process that is killed, then by one that is not.
    """
    for number in range(1, MOST):
        place = tmp_path / f"{number}"
        place.mkdir()
        log_dir, ledger = place / "logs", place / "ledger"
        worker = start_waiting(log_dir, ledger, "w", "2", "40", "--flush")
        # Killed as it enters the second append: noted, and nothing of it written.
        assert run_traced(worker, "writev:signal=KILL:when=2") == -signal.SIGKILL
        acknowledged = Ledger(ledger, 2).acknowledged()
        recovery = subprocess.Popen(
            [sys.executable, "-c", RECOVERY, str(log_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert recovery.stdout is not None
        assert recovery.stdout.readline() == "ready\n"
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
