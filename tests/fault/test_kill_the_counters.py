"""M1 at each system call: a dead process's counters are saved once, whoever dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fault.nursery import Nursery, nursery
from tests.fault.test_kill_at_each_call import RECOVERY
from tests.fault.tracing import needs_strace, run_traced
from tests.metrics.logs import log_size, pipeline
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.queue.recovery import recover
from tokenpak.telemetry.store import meters
from tokenpak.telemetry.store.names import ERRORS

pytestmark = [
    pytest.mark.fault,
    needs_strace,
]
CALLS = ("openat", "flock", "writev", "rename", "unlink", "close")
MOST = 60
BATCHES = 3
SAMPLED = 7


@pytest.fixture(scope="module")
def programs() -> Iterator[Nursery]:
    """From which who recovers is started."""
    with nursery() as programs:
        yield programs


def leave_orphan(log_dir: Path) -> None:
    """Log, have it written, and be killed: all of it is counted."""
    pid = os.fork()
    if pid == 0:  # pragma: no cover  (another process)
        logger = ErrorLogger(log_dir, sample={"KeyError": 0}, recovery_interval=3600)
        for number in range(BATCHES):
            logger.log_error(f"r{number}", ValueError())
            logger.flush(60)
        for _ in range(SAMPLED):
            logger.log_error("sampled", KeyError())
        logger.flush(60)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)


def counted(log_dir: Path) -> tuple[int, int, int, int]:
    """Return appends, their bytes, what was sampled away, and what was left out."""
    totals = pipeline(log_dir)
    shown = totals.histogram(meters.BATCH)[(ERRORS,)]
    sampled = totals.by_label(meters.SUPPRESSED)[(meters.SAMPLED,)]
    left_out = sum(totals.by_label(meters.LEFT_OUT).values())
    return sum(shown.buckets), int(shown.total), sampled, left_out


@pytest.mark.parametrize(
    ("call", "asked"),
    [
        *((call, True) for call in CALLS),
        *((call, False) for call in CALLS),
        ("mkdir", False),  # by who asks first, else
    ],
)
def test_m1_who_saves_counters_is_killed_at_each_system_call(
    call: str, asked: bool, tmp_path: Path, programs: Nursery
) -> None:
    """Seen at every moment, by who asks in between; and saved once, by the next."""
    for number in range(1, MOST):
        log_dir = tmp_path / f"{number}" / "logs"
        log_dir.parent.mkdir()
        leave_orphan(log_dir)
        expected = (BATCHES, log_size(log_dir), SAMPLED, 0)
        before = counted(log_dir) if asked else expected
        recovery = programs.start(RECOVERY, log_dir)
        status = run_traced(recovery, f"{call}:signal=KILL:when={number}")
        between = counted(log_dir) if asked else expected
        recover(str(log_dir))
        after = counted(log_dir)

        assert [before, between, after] == [expected] * 3, number
        totals = pipeline(log_dir)
        assert totals.by_stream(meters.RECOVERED, meters.SPOOLS)[(ERRORS,)] == 1
        assert list((log_dir / "spool").iterdir()) == []
        if status == 0:
            break
        assert status == -signal.SIGKILL
    else:
        pytest.fail(f"{call} never ran out")
    assert number > 1, "the call is not made at all"
