"""Ten thousand day files cost a batch nothing: the same system calls as with one."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from tests.fault.tracing import STRACE, needs_strace, wait_until_traced

pytestmark = [
    pytest.mark.fault,
    needs_strace,
]

MANY = 10_000
BATCHES = 60

LOGGER = """
import sys
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.queue import upkeep
upkeep.FIRST = (3600, 3600)  # see tests/queue/test_upkeep for the look itself
logger = ErrorLogger(sys.argv[1], recovery_interval=3600)
for _ in range(3):  # behind the first one it still looks for dead processes
    logger.log_event("warm", {})
    assert logger.flush(60)
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[2])):
    logger.log_event("batch", {"number": number})
    assert logger.flush(60)
print("done", flush=True)
sys.stdin.readline()
logger.close()
"""


def make_days(log_dir: Path, count: int) -> None:
    log_dir.mkdir()
    today = datetime.now(UTC).date()
    for number in range(count):
        day: date = today - timedelta(days=2 + number)
        (log_dir / f"events-{day}.jsonl").touch()


def trace(log_dir: Path, batches: int) -> list[str]:
    """Return the system calls of a process that logs, one a line."""
    assert STRACE is not None
    logger = subprocess.Popen(
        [sys.executable, "-c", LOGGER, str(log_dir), str(batches)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert logger.stdin is not None
    assert logger.stdout is not None
    output = log_dir.parent / f"{log_dir.name}.trace"
    tracer = None
    try:
        assert logger.stdout.readline() == "ready\n"
        tracer = subprocess.Popen(
            [
                *(STRACE, "-f", "-qq", "-o", str(output), "-p", str(logger.pid)),
                *("-e", "trace=%file,%desc"),
            ],
            stderr=subprocess.PIPE,
        )
        wait_until_traced(logger.pid)
        logger.stdin.write("go\n")
        logger.stdin.flush()
        assert logger.stdout.readline() == "done\n"
    finally:
        logger.kill()
        logger.communicate()
        if tracer is not None:
            tracer.communicate(timeout=60)
    return output.read_text().splitlines()


def calls_of_a_batch(lines: list[str]) -> tuple[tuple[str, ...], int]:
    """Return the calls from one append to the next that are most common, and how."""
    batches: Counter[tuple[str, ...]] = Counter()
    calls: list[str] = []
    for line in lines:
        match = re.match(r"\d+ +(?:<\.\.\. )?(\w+)", line)
        if match is None or "unfinished" in line:
            continue
        calls.append(match[1])
        if match[1] == "writev":
            batches[tuple(calls)] += 1
            calls = []
    (found, count), *_ = batches.most_common(1)
    return found, count


def test_s4_a_batch_makes_the_same_system_calls_with_10000_days_as_with_one(
    tmp_path: Path,
) -> None:
    """And lists no directory."""
    found = []
    for count in (1, MANY):
        log_dir = tmp_path / f"logs{count}"
        make_days(log_dir, count)
        lines = trace(log_dir, BATCHES)
        batch, times = calls_of_a_batch(lines)
        assert times > BATCHES // 2
        assert not [line for line in lines if "getdents" in line]
        found.append(batch)

    assert found[0] == found[1]
    assert "flock" in found[0]
