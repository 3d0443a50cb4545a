"""
What does a failure cost its caller, now and then?

At 1,000 calls a second the caches are cold, the writer wakes and sleeps between the
calls, and the tail is what an application feels.  Formatting the exception is slower at
this pace too (it asks the file system after each source file).  So it is measured both
ways, and the target is set against the faster one.
"""

from __future__ import annotations

import functools
import time
import traceback

from bench.adapters import ADAPTERS, OURS, open_logger
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
from bench.rows import ratio_row, rival_row, total_row, value_row
from bench.scenarios.caller_burst import time_formats
from bench.workload import CONTEXT, REQUEST_ID, failure

TICK_NS = 1_000_000
FORMAT_EVERY = 10
BLOCK_TICKS = 500
BLOCKS = 4
FORMATS_A_BLOCK = 25

HOW = f"""\
The same call, paced with `time.sleep` at 1,000 ticks a second, {
    BLOCKS * BLOCK_TICKS:,} ticks for each logger and round. Every {
    FORMAT_EVERY
}th tick is
`traceback.format_exception` instead, which so meets the same cold caches and the
same neighbours. After each {BLOCK_TICKS:,} ticks, {FORMATS_A_BLOCK} exceptions are
formatted back to back, as in the scenario above: that is the smaller time, and the
target is set against it."""

READ = """\
The tail is what counts: an application that logs now and then does not notice a
median. A p99.9 of so few calls is about the second longest of each round, so its
range is wide, and on a shared machine much of it is the neighbours'. Both sides of a
ratio have the same neighbours, more or less. Where a ratio to a peer is below 1, the
peer is faster."""


def measure(adapter: str, job: Job) -> Figures:
    """Time one call a tick."""
    logger = open_logger(adapter, job.directory)
    calls: list[int] = []
    paced: list[int] = []
    back_to_back: list[int] = []
    clock = time.perf_counter_ns
    logger.log_error(REQUEST_ID, failure(), CONTEXT)
    time_formats(FORMATS_A_BLOCK, [])
    logger.flush()
    for _ in range(job.effort.count(BLOCKS)):
        due = clock()
        for tick in range(job.effort.count(BLOCK_TICKS, least=100)):
            due += TICK_NS
            time.sleep(max(0, due - clock()) / 1e9)
            error = failure()
            if tick % FORMAT_EVERY:
                before = clock()
                logger.log_error(REQUEST_ID, error, CONTEXT)
                calls.append(clock() - before)
            else:
                before = clock()
                traceback.format_exception(error)
                paced.append(clock() - before)
        time_formats(FORMATS_A_BLOCK, back_to_back)
    logger.flush()
    dropped = logger.dropped()
    logger.close()
    return {
        "median": quantile(calls, 0.5),
        "p99": quantile(calls, 0.99),
        "p999": quantile(calls, 0.999),
        "format_median": quantile(back_to_back, 0.5),
        "paced_format_median": quantile(paced, 0.5),
        "paced_format_p99": quantile(paced, 0.99),
        "dropped": dropped,
    }


def judge(samples: Samples) -> list[Row]:
    """Compare the tail of the call with the median of formatting, and with peers."""
    tail = (OURS, "p999")
    return [
        ratio_row(
            samples,
            "p99.9 call, in % of format_exception's median",
            tail,
            (OURS, "format_median"),
            at_most(100),
            percent=True,
        ),
        ratio_row(
            samples,
            "the same, with format_exception at the same pace",
            tail,
            (OURS, "paced_format_median"),
            percent=True,
        ),
        rival_row(
            samples,
            "p99.9 of the best peer ({}), over ours",
            "p999",
            at_least(1),
        ),
        rival_row(samples, "median of the best peer ({}), over ours", "median"),
        total_row(samples, "dropped meanwhile", [(OURS, "dropped")], at_most(0)),
        *(
            value_row(samples, label, (OURS, figure), "µs", factor=1e-3)
            for label, figure in (
                ("median of format_exception", "format_median"),
                ("the same, at the same pace", "paced_format_median"),
                ("its p99, at the same pace", "paced_format_p99"),
            )
        ),
    ]


SCENARIO = Scenario(
    name="caller_paced",
    title="A failure, at 1,000 a second: the tail of what its caller pays",
    how=HOW,
    read=READ,
    rounds=3,
    measurements={name: functools.partial(measure, name) for name in ADAPTERS},
    judge=judge,
    columns=(
        Column("median", "median", "µs", 1e-3),
        Column("p99", "p99", "µs", 1e-3),
        Column("p99.9", "p999", "µs", 1e-3),
    ),
    may_fail=frozenset(ADAPTERS) - {OURS},
)

__all__ = ["SCENARIO", "judge", "measure"]
