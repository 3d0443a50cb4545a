"""
How many failures a second get into the file, from one thread?

The clock stops when every line is in the file, not when the last call returns: a queue
that is merely filled quickly gains nothing here.
"""

from __future__ import annotations

import functools
import time

from bench.adapters import open_logger
from bench.ledger import count_lines
from bench.model import Figures, Job, Row, Samples, Scenario, at_least, at_most
from bench.rows import ratio_row, total_row, value_row
from bench.workload import CONTEXT, failure

WARM_UP = 100

HOW = """\
One thread logs failures ten frames deep in a loop, then flushes; the clock runs until
every line is in the file, and the lines are counted afterwards. Each logger gets about
as many records as it can do in half a second or a second. The exceptions are raised
beforehand, 64 in turn. stdlib: `FileHandler`, JSON formatter. loguru: its own
formatting of the exception, orjson, a 64 KiB buffer (and once more with each line
written in the call, as its own file sink does). Floor: `os.write` of a line that is
ready."""


def measure(adapter: str, job: Job, records: int) -> Figures:
    """Log *records* failures and flush; return records a second."""
    errors = [failure() for _ in range(64)]
    logger = open_logger(adapter, job.directory)
    log_error = logger.log_error
    for number in range(WARM_UP):
        log_error("warm-up", errors[number % 64], CONTEXT)
    logger.flush()

    count = job.effort.count(records, least=256)
    start = time.perf_counter()
    for number in range(count):
        log_error(f"req-{number}", errors[number & 63], CONTEXT)
    called = time.perf_counter()
    logger.flush()
    end = time.perf_counter()

    dropped = logger.dropped()
    logger.close()
    return {
        "rate": count / (end - start),
        "call_rate": count / (called - start),
        "missing": WARM_UP + count - dropped - count_lines(job.directory),
        "dropped": dropped,
    }


def judge(samples: Samples) -> list[Row]:
    """Compare with the peers and the floor."""
    ours = ("tokenpak", "rate")
    return [
        ratio_row(
            samples, "over stdlib FileHandler", ours, ("stdlib", "rate"), at_least(25)
        ),
        ratio_row(
            samples, "over loguru, buffered", ours, ("loguru", "rate"), at_least(10)
        ),
        ratio_row(samples, "over loguru, each line", ours, ("loguru-lines", "rate")),
        ratio_row(
            samples,
            "in % of the os.write floor",
            ours,
            ("os.write", "rate"),
            percent=True,
        ),
        total_row(
            samples,
            "lines missing, records dropped",
            [("tokenpak", "missing"), ("tokenpak", "dropped")],
            at_most(0),
        ),
        *(
            value_row(
                samples, f"records a second: {name}", (name, "rate"), "k/s", factor=1e-3
            )
            for name in SCENARIO.measurements
        ),
    ]


SCENARIO = Scenario(
    name="throughput",
    title="Failures a second into the file, one thread",
    how=HOW,
    rounds=9,
    measurements={
        "tokenpak": functools.partial(measure, "tokenpak", records=100_000),
        "loguru": functools.partial(measure, "loguru", records=10_000),
        "loguru-lines": functools.partial(measure, "loguru-lines", records=10_000),
        "stdlib": functools.partial(measure, "stdlib", records=3_000),
        "os.write": functools.partial(measure, "os.write", records=100_000),
    },
    judge=judge,
)

__all__ = ["SCENARIO", "judge", "measure"]
