"""
How much memory does a logger take, in use and when nothing can be written?

A queue that grows while the disk stands still takes the application with it; a call
that waits for the disk stops it.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
import subprocess
import sys
import threading
import time

from bench.adapters import ADAPTERS, FILE, OURS, PEERS, Logger, open_logger
from bench.model import Column, Figures, Job, Row, Samples, Scenario, at_most
from bench.rows import value_row
from bench.workload import CONTEXT, failure

NAMES = (OURS, *PEERS)
FLAT = "tokenpak, in use"
BURST = 100_000
SECONDS = 1.0
LIMIT_KB = 300 * 1024
"""A logger whose queue has no bound is stopped here, not the machine."""
RECORDS = 100_000

HOLDER = """
import fcntl, os, signal, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_APPEND)
fcntl.flock(fd, fcntl.LOCK_EX)
print("locked", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""

HOW = f"""\
**A disk that stands still.** For the peers the log file is a pipe that nobody reads,
which takes 64 KiB and then blocks whoever writes. For this logger, which writes
regular files only, another process holds the file's lock and is stopped. A thread
then makes up to {BURST:,} calls in {SECONDS:g} seconds, or until the process has
grown by {LIMIT_KB // 1024} MiB. Memory is `VmRSS`, mapped pages of files included.
**In use**: {RECORDS:,} failures at full speed, with a flush after every 2,000;
memory before the logger is opened, after a tenth of them, and at the end."""

READ = """\
Few calls mean that a call did not return: the application stood still with the disk.
Many calls and much memory mean a queue without a bound. This logger keeps what fits
into its spool (64 MiB by default) and then drops, which it counts and writes into
the log later; the spool's pages are those of a file, and count as memory here."""


def measure_stopped(adapter: str, job: Job) -> Figures:
    """Log against a disk that stands still; return calls made and memory taken."""
    holder = None
    if adapter == OURS:
        logger = open_logger(adapter, job.directory)
        logger.log_error("first", failure(), CONTEXT)
        logger.flush()
        holder = _stopped_holder(job.directory)
    else:
        path = os.path.join(job.directory, FILE)
        os.mkfifo(path)
        # Open for reading too: else opening it to write would wait.
        os.open(path, os.O_RDWR)
        logger = open_logger(adapter, job.directory)
    progress = [0, 0]
    before = rss_kb()
    threading.Thread(
        target=_burst,
        args=(logger, job.effort.count(BURST, least=1_000), progress),
        daemon=True,
    ).start()
    end = time.monotonic() + job.effort.count(int(SECONDS * 10), least=5) / 10
    peak = before
    while time.monotonic() < end and progress[1] == 0:
        peak = max(peak, rss_kb())
        if peak - before > LIMIT_KB:
            progress[1] = 1
        time.sleep(0.005)
    progress[1] = 1
    figures: Figures = {
        "calls": progress[0],
        "grown": max(peak, rss_kb()) - before,
        "dropped": logger.dropped(),
    }
    if holder is None:
        # Let it write what it holds, or the exit of this process would wait for ever.
        subprocess.Popen(["cat", path], stdout=subprocess.DEVNULL)
    else:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    return figures


def _burst(logger: Logger, count: int, progress: list[int]) -> None:
    for number in range(1, count + 1):
        if progress[1]:
            return
        logger.log_error(f"burst-{number}", failure(), CONTEXT)
        progress[0] = number
    progress[1] = 1


def _stopped_holder(directory: str) -> subprocess.Popen[str]:
    (name,) = (name for name in os.listdir(directory) if name.endswith(".jsonl"))
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, os.path.join(directory, name)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    if holder.stdout.readline() != "locked\n":
        raise RuntimeError("the holder of the lock has failed")
    os.waitid(os.P_PID, holder.pid, os.WSTOPPED)
    return holder


def measure_in_use(job: Job) -> Figures:
    """Log at full speed; return the memory over that of the import."""
    importlib.import_module(ADAPTERS[OURS].partition(":")[0])
    failure()
    before = rss_kb()
    logger = open_logger(OURS, job.directory)
    count = job.effort.count(RECORDS, least=4_000)
    early = 0
    for number in range(count):
        logger.log_error(f"req-{number}", failure(), CONTEXT)
        if number % 2_000 == 1_999:
            logger.flush()
            if number + 1 >= count // 10 and not early:
                early = rss_kb()
    late = rss_kb()
    dropped = logger.dropped()
    logger.close()
    return {
        "calls": count,
        "early": early - before,
        "grown": late - before,
        "flat": late - early,
        "dropped": dropped,
    }


def rss_kb() -> int:
    """Return the resident memory of this process, in KiB; 0 where it is not known."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
    except OSError:
        return 0


def judge(samples: Samples) -> list[Row]:
    """A few megabytes, and no more later than early."""
    return [
        value_row(
            samples,
            "in use, over the import",
            (FLAT, "grown"),
            "MiB",
            at_most(8),
            factor=1 / 1024,
        ),
        value_row(
            samples,
            "the last nine tenths of it, over the first",
            (FLAT, "flat"),
            "MiB",
            at_most(1),
            factor=1 / 1024,
        ),
        value_row(
            samples,
            "with a disk that stands still",
            (OURS, "grown"),
            "MiB",
            factor=1 / 1024,
        ),
    ]


SCENARIO = Scenario(
    name="memory",
    title="Memory, in use and with a disk that stands still",
    how=HOW,
    read=READ,
    rounds=2,
    measurements={
        FLAT: measure_in_use,
        **{name: functools.partial(measure_stopped, name) for name in NAMES},
    },
    judge=judge,
    columns=(
        Column("calls that returned", "calls"),
        Column("memory taken", "grown", "MiB", 1 / 1024),
        Column("dropped", "dropped"),
    ),
    may_fail=frozenset(PEERS),
    patience=30,
    side_by_side=True,
)

__all__ = ["SCENARIO", "judge", "measure_in_use", "measure_stopped", "rss_kb"]
