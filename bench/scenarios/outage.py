"""
What does a process that stops while it holds the log file's lock cost all others?

Another process takes the lock of the day's file, as an append does, and is stopped
with SIGSTOP for ten seconds, in which nobody can append.  Calls go on at their pace.
Then it goes on, and lets go of the lock.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator

from bench.model import Figures, Job, Row, Samples, Scenario, at_most
from bench.quantiles import quantile
from bench.rows import total_row, value_row
from bench.workload import CONTEXT, failure
from tokenpak.telemetry.error_logger import ErrorLogger

TICK_NS = 1_000_000
STOPPED = 10_000
"""Ticks, and so milliseconds, for which the holder is stopped."""
AROUND = 3_000
"""Ticks before and after."""
PATIENCE = 60.0

HOLDER = """
import fcntl, os, signal, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_APPEND)
fcntl.flock(fd, fcntl.LOCK_EX)
print("locked", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
fcntl.flock(fd, fcntl.LOCK_UN)
"""

HOW = f"""\
One thread logs a failure ten frames deep a thousand times a second, {
    STOPPED + 2 * AROUND:,} times. After {
    AROUND // 1000
} seconds another process takes the lock of the
day's file and is stopped with SIGSTOP; {STOPPED // 1000} seconds later it goes on
and lets go of the lock. The time to catch up is that from SIGCONT until all that was
accepted before is in the log, while calls go on."""


def measure(job: Job) -> Figures:
    """Time the calls before and during the outage, and the time to catch up."""
    logger = ErrorLogger(log_dir=job.directory)
    around = job.effort.count(AROUND, least=200)
    logger.log_error("first", failure(), CONTEXT)
    logger.flush(PATIENCE)
    before = _log(logger, "before", around)
    logger.flush(PATIENCE)
    holder = stopped_holder(job.directory)
    try:
        during = _log(logger, "during", job.effort.count(STOPPED, least=400))
        waiting = logger.stats().pending_records
        took: list[float] = []
        start = time.perf_counter()
        holder.send_signal(signal.SIGCONT)
        flusher = threading.Thread(target=_flush, args=(logger, start, took))
        flusher.start()
        after = _log(logger, "after", around)
        flusher.join()
    finally:
        holder.kill()
        holder.communicate()
    flushed = logger.flush(PATIENCE)
    dropped = sum(logger.stats().dropped.values())
    logger.close(PATIENCE)
    if not (took and flushed):
        raise TimeoutError(f"flush() gave up after {PATIENCE:g} s")
    counts = Counter(_request_ids(job.directory))
    accepted = 1 + len(before) + len(during) + len(after)
    return {
        "p99_before": quantile(before, 0.99),
        "p99": quantile(during, 0.99),
        "max": max(during),
        "caught_up": took[0],
        "waiting": waiting,
        "accepted": accepted,
        "lost": accepted - len(counts),
        "doubled": sum(count - 1 for count in counts.values()),
        "dropped": dropped,
    }


def _log(logger: ErrorLogger, name: str, count: int) -> list[int]:
    """Log *count* times, once a tick; return the nanoseconds of each call."""
    calls: list[int] = []
    clock = time.perf_counter_ns
    due = clock()
    for number in range(count):
        due += TICK_NS
        time.sleep(max(0, due - clock()) / 1e9)
        error, request_id = failure(), f"{name}-{number}"
        start = clock()
        logger.log_error(request_id, error, CONTEXT)
        calls.append(clock() - start)
    return calls


def _flush(logger: ErrorLogger, start: float, took: list[float]) -> None:
    if logger.flush(PATIENCE):
        took.append(time.perf_counter() - start)


def stopped_holder(directory: str) -> subprocess.Popen[str]:
    """Return a process that has the lock of the errors' file, and is stopped."""
    path = max(_log_files(directory))
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    if holder.stdout.readline() != "locked\n":
        raise RuntimeError("the holder of the lock has failed")
    os.waitid(os.P_PID, holder.pid, os.WSTOPPED)
    return holder


def _log_files(directory: str) -> Iterator[str]:
    for name in os.listdir(directory):
        if name.endswith(".jsonl"):
            yield os.path.join(directory, name)


def _request_ids(directory: str) -> Iterator[str]:
    for path in _log_files(directory):
        with open(path, "rb") as lines:
            for line in lines:
                yield json.loads(line)["request_id"]


def judge(samples: Samples) -> list[Row]:
    """Nobody may wait for the holder, and nothing may be missing afterwards."""

    def of(figure: str) -> tuple[str, str]:
        return "outage", figure

    return [
        value_row(
            samples,
            "p99 call while the holder is stopped",
            of("p99"),
            "µs",
            at_most(100),
            factor=1e-3,
        ),
        value_row(
            samples,
            "longest call meanwhile",
            of("max"),
            "ms",
            at_most(10),
            factor=1e-6,
        ),
        value_row(
            samples, "caught up after it goes on", of("caught_up"), "s", at_most(2)
        ),
        total_row(
            samples,
            "lost, doubled, dropped",
            [of("lost"), of("doubled"), of("dropped")],
            at_most(0),
        ),
        value_row(samples, "p99 call before", of("p99_before"), "µs", factor=1e-3),
        value_row(samples, "records waiting when it goes on", of("waiting"), ""),
        total_row(samples, "records accepted", [of("accepted")]),
    ]


SCENARIO = Scenario(
    name="outage",
    title="A process stops while it holds the lock of the log file",
    how=HOW,
    rounds=2,
    measurements={"outage": measure},
    judge=judge,
)

__all__ = ["SCENARIO", "judge", "measure", "stopped_holder"]
