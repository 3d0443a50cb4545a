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
from collections.abc import Callable

from bench.adapters import ADAPTERS, FLOORS, OURS, Logger, open_logger
from bench.model import (
    Column,
    Figures,
    Job,
    Row,
    Samples,
    Scenario,
    at_least,
    at_most,
)
from bench.quantiles import quantile
from bench.rows import ratio_row, rival_row, total_row
from bench.workload import CONTEXT, REQUEST_ID, failure

CALLS_A_BLOCK = 200
FORMATS_A_BLOCK = 25

HOW = f"""\
The logging call for an exception ten frames deep with five context fields, against
`traceback.format_exception` of the same. Blocks of {CALLS_A_BLOCK} calls and of
{FORMATS_A_BLOCK} alternate in one thread; the exception is raised anew before each
call, outside the timed part. Each call is timed by itself with `perf_counter_ns`,
whose own cost (some tens of nanoseconds) is part of both sides. The peers do the
same work."""

READ = """\
The ratios are what counts. The markers that `traceback` has set below each line
since Python 3.11 are most of its work; loguru does without them, and so is faster
than the other peers. A queue (`stdlib-queue`, `loguru-enqueue`, `opentelemetry`)
spares the caller the write, but not the stack trace. `deque` and `os.write` are no
loggers: they take a line that is ready, as the floor below which nobody gets."""


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


def time_calls(
    logger: Logger,
    count: int,
    times: list[int],
    fail: Callable[[], BaseException] = failure,
) -> None:
    """Append the nanoseconds of each of *count* calls."""
    clock = time.perf_counter_ns
    log_error = logger.log_error
    for _ in range(count):
        error = fail()
        before = clock()
        log_error(REQUEST_ID, error, CONTEXT)
        times.append(clock() - before)


def time_formats(
    count: int, times: list[int], fail: Callable[[], BaseException] = failure
) -> None:
    """Append the nanoseconds of each of *count* formattings."""
    clock = time.perf_counter_ns
    format_exception = traceback.format_exception
    for _ in range(count):
        error = fail()
        before = clock()
        format_exception(error)
        times.append(clock() - before)


def judge(samples: Samples) -> list[Row]:
    """Compare with formatting, and with the peers."""
    return [
        ratio_row(
            samples,
            "median call, in % of format_exception",
            (OURS, "median"),
            (OURS, "format_median"),
            at_most(2.5),
            percent=True,
        ),
        rival_row(
            samples,
            "median call of the fastest peer ({}), over ours",
            "median",
            at_least(15),
        ),
        rival_row(samples, "the best p99.9 of the peers ({}), over ours", "p999"),
        total_row(samples, "dropped meanwhile", [(OURS, "dropped")], at_most(0)),
    ]


SCENARIO = Scenario(
    name="caller_burst",
    title="A failure, at full speed: what its caller pays",
    how=HOW,
    read=READ,
    rounds=3,
    # Fewer blocks for the slow: their medians settle as well.
    measurements={
        name: functools.partial(
            measure, name, blocks=60 if name in {OURS, *FLOORS} else 8
        )
        for name in ADAPTERS
    },
    judge=judge,
    columns=(
        Column("median", "median", "µs", 1e-3),
        Column("p99.9", "p999", "µs", 1e-3),
        Column("`format_exception` beside it", "format_median", "µs", 1e-3),
    ),
    may_fail=frozenset(ADAPTERS) - {OURS},
)

__all__ = ["SCENARIO", "judge", "measure", "time_calls", "time_formats"]
