"""
What does a record cost the machine, in CPU time of all threads and in bytes?

Latency can be bought with a second core; this is the bill.
"""

from __future__ import annotations

import functools
import glob
import os
import time

from bench.adapters import OURS, WRITERS, open_logger
from bench.model import Column, Figures, Job, Row, Samples, Scenario
from bench.rows import ratio_row, rival_row, value_row
from bench.workload import CONTEXT, failure

RECORDS = {OURS: 40_000, "os.write": 40_000, "loguru": 6_000, "loguru-lines": 6_000}
"""2,000 for all others."""

HOW = """\
Failures ten frames deep in a loop, then a flush. CPU time is that of the process,
user and system, all threads, by `time.process_time`; the exceptions are raised
beforehand. Bytes: of the log file, handed to `write` (`wchar` of `/proc/self/io`),
and on their way to the disk (`write_bytes` there: pages made dirty, so what is
written through a mapping counts, and a file system in memory says 0)."""

READ = """\
`to the disk` above `in the file` is what a logger writes twice: this one's spool,
whose pages are used again and again, and which no disk need ever see if the kernel
is not in a hurry."""


def measure(adapter: str, job: Job) -> Figures:
    """Log and flush; return CPU time and bytes for each record."""
    errors = [failure() for _ in range(64)]
    logger = open_logger(adapter, job.directory)
    for number in range(100):
        logger.log_error("warm-up", errors[number & 63], CONTEXT)
    logger.flush()
    count = job.effort.count(RECORDS.get(adapter, 2_000), least=256)
    size, io, cpu = _size(job.directory), _io(), time.process_time()
    for number in range(count):
        logger.log_error(f"req-{number}", errors[number & 63], CONTEXT)
    logger.flush()
    cpu = time.process_time() - cpu
    after, written = _io(), _size(job.directory) - size
    logger.close()
    return {
        "cpu": cpu / count,
        "file_bytes": written / count,
        "wchar": (after.get("wchar", 0) - io.get("wchar", 0)) / count,
        "write_bytes": (after.get("write_bytes", 0) - io.get("write_bytes", 0)) / count,
    }


def _size(directory: str) -> int:
    paths = glob.glob(os.path.join(glob.escape(directory), "*.jsonl"))
    return sum(os.stat(path).st_size for path in paths)


def _io() -> dict[str, int]:
    try:
        with open("/proc/self/io", encoding="ascii") as file:
            pairs = (line.split(":") for line in file)
            return {name: int(value) for name, value in pairs}
    except OSError:  # not Linux, or not allowed
        return {}


def judge(samples: Samples) -> list[Row]:
    """Compare with the best peer and with the floor."""
    return [
        rival_row(samples, "CPU time of the best peer ({}), over ours", "cpu"),
        ratio_row(
            samples,
            "CPU time, over that of the os.write floor",
            (OURS, "cpu"),
            ("os.write", "cpu"),
        ),
        value_row(samples, "bytes to the disk a record", (OURS, "write_bytes"), "B"),
    ]


SCENARIO = Scenario(
    name="cost",
    title="CPU time and bytes a record",
    megabytes=1_024,
    how=HOW,
    read=READ,
    rounds=3,
    measurements={name: functools.partial(measure, name) for name in WRITERS},
    judge=judge,
    columns=(
        Column("CPU", "cpu", "µs", 1e6),
        Column("bytes in the file", "file_bytes"),
        Column("to `write`", "wchar"),
        Column("to the disk", "write_bytes"),
    ),
    may_fail=frozenset(WRITERS) - {OURS},
)

__all__ = ["SCENARIO", "judge", "measure"]
