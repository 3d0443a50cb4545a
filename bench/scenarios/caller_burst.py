"""
What does a failure cost its caller, at full speed?

The call under test alternates with ``traceback.format_exception`` of an exception of
the same kind, in small blocks in one thread, so that both meet the same clock speed,
caches and neighbours.  The exception is raised anew before each call, untimed.
"""

from __future__ import annotations

import functools
import time
import traceback

from bench.adapters import Logger, open_logger
from bench.model import Figures, Job, Row, Samples, Scenario, at_most
from bench.quantiles import quantile
from bench.rows import ratio_row, total_row, value_row
from bench.workload import CONTEXT, REQUEST_ID, failure

CALLS_A_BLOCK = 200
FORMATS_A_BLOCK = 25

HOW = f"""\
`log_error` of an exception ten frames deep with five context fields, against
`traceback.format_exception` of the same. Blocks of {CALLS_A_BLOCK} calls and of
{FORMATS_A_BLOCK} alternate in one thread; the exception is raised anew before each
call, outside the timed part. Each call is timed by itself with `perf_counter_ns`,
whose own cost (some tens of nanoseconds) is part of both sides. The peers do the same
work."""


def measure(adapter: str, job: Job, blocks: int) -> Figures:
    """Time alternating blocks of the call and of ``format_exception``."""
    logger = open_logger(adapter, job.directory)
    calls: list[int] = []
    formats: list[int] = []
    # The first blocks fill caches: the logger's, linecache's, the processor's.
    time_calls(logger, CALLS_A_BLOCK, [])
    time_formats(FORMATS_A_BLOCK, [])
    for _ in range(job.effort.count(blocks, least=4)):
        time_calls(logger, CALLS_A_BLOCK, calls)
        time_formats(FORMATS_A_BLOCK, formats)
    logger.flush()
    dropped = logger.dropped()
    logger.close()
    return {
        "median": quantile(calls, 0.5),
        "p999": quantile(calls, 0.999),
        "format_median": quantile(formats, 0.5),
        "dropped": dropped,
    }


def time_calls(logger: Logger, count: int, times: list[int]) -> None:
    """Append the nanoseconds of each of *count* calls."""
    clock = time.perf_counter_ns
    log_error = logger.log_error
    for _ in range(count):
        error = failure()
        before = clock()
        log_error(REQUEST_ID, error, CONTEXT)
        times.append(clock() - before)


def time_formats(count: int, times: list[int]) -> None:
    """Append the nanoseconds of each of *count* formattings."""
    clock = time.perf_counter_ns
    format_exception = traceback.format_exception
    for _ in range(count):
        error = failure()
        before = clock()
        format_exception(error)
        times.append(clock() - before)


def judge(samples: Samples) -> list[Row]:
    """Compare with formatting, and with the peers."""
    ours = ("tokenpak", "median")
    return [
        ratio_row(
            samples,
            "median call, in % of format_exception",
            ours,
            ("tokenpak", "format_median"),
            at_most(3),
            percent=True,
        ),
        total_row(samples, "dropped meanwhile", [("tokenpak", "dropped")], at_most(0)),
        value_row(samples, "median call", ours, "µs", factor=1e-3),
        value_row(samples, "p99.9 call", ("tokenpak", "p999"), "µs", factor=1e-3),
        value_row(
            samples,
            "median of format_exception",
            ("tokenpak", "format_median"),
            "µs",
            factor=1e-3,
        ),
        value_row(
            samples, "median call: loguru", ("loguru", "median"), "µs", factor=1e-3
        ),
        value_row(
            samples, "median call: stdlib", ("stdlib", "median"), "µs", factor=1e-3
        ),
    ]


SCENARIO = Scenario(
    name="caller_burst",
    title="A failure, at full speed: what its caller pays",
    how=HOW,
    rounds=5,
    # Fewer blocks for the slow: their medians settle as well.
    measurements={
        "tokenpak": functools.partial(measure, "tokenpak", blocks=100),
        "loguru": functools.partial(measure, "loguru", blocks=25),
        "stdlib": functools.partial(measure, "stdlib", blocks=10),
    },
    judge=judge,
)

__all__ = ["SCENARIO", "judge", "measure", "time_calls", "time_formats"]
