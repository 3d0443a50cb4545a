"""
How long does an event loop stand still while failures are logged in it?

What a call takes, every other task of the loop waits for; and what a logger's thread
takes of the GIL, the loop's thread waits for.
"""

from __future__ import annotations

import asyncio
import functools
import time

from bench.adapters import ADAPTERS, OURS, Logger, open_logger
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
from bench.rows import difference_row, rival_row, total_row
from bench.workload import CONTEXT, failure

TICK = 0.001
A_SECOND = 5_000
MOST_A_TURN = 50
"""Beyond it a task gives way, or a slow logger would keep the loop for good."""
SECONDS = 1.0
CONTROL = "no logger"

HOW = f"""\
An asyncio loop with two tasks for {SECONDS:g} seconds: one sleeps for a millisecond
again and again, and notes by how much it wakes too late; the other raises and logs
{A_SECOND:,} failures a second, those that are due every millisecond, at most
{MOST_A_TURN} before it gives way. `{CONTROL}` is the same with failures that are
raised and not logged: the lag that the loop, its timer and the exceptions have by
themselves."""

READ = """\
`errors a second` says whether a logger came to the pace at all; one that did not is
busy all the time, and its lag is that of a loop which is overloaded."""


def measure(adapter: str, job: Job) -> Figures:
    """Run the loop; return the lags of the ticks."""
    logger = None if adapter == CONTROL else open_logger(adapter, job.directory)
    seconds = job.effort.count(int(SECONDS * 1000), least=200) / 1000
    lags, logged, lasted = asyncio.run(_run(logger, seconds))
    dropped = 0
    if logger is not None:
        logger.flush()
        dropped = logger.dropped()
        logger.close()
    return {
        "p50": quantile(lags, 0.5),
        "p99": quantile(lags, 0.99),
        "max": max(lags),
        "rate": logged / lasted,
        "dropped": dropped,
    }


async def _run(logger: Logger | None, seconds: float) -> tuple[list[float], int, float]:
    clock = time.perf_counter
    if logger is not None:
        logger.log_error("warm-up", failure(), CONTEXT)
        logger.flush()
    start = clock()
    storm = asyncio.create_task(_storm(logger, start, start + seconds))
    lags: list[float] = []
    while not storm.done():
        before = clock()
        await asyncio.sleep(TICK)
        lags.append(max(0.0, clock() - before - TICK))
    return lags, await storm, clock() - start


async def _storm(logger: Logger | None, start: float, end: float) -> int:
    clock = time.perf_counter
    logged = 0
    while (now := clock()) < end:
        due = int((now - start) * A_SECOND)
        for _ in range(min(due - logged, MOST_A_TURN)):
            error = failure()
            if logger is not None:
                logger.log_error(f"req-{logged}", error, CONTEXT)
            logged += 1
        await asyncio.sleep(TICK)
    return logged


def judge(samples: Samples) -> list[Row]:
    """Compare with the loop by itself, and with the best peer."""
    return [
        difference_row(
            samples,
            "p99 of the lag, over that without a logger",
            (OURS, "p99"),
            (CONTROL, "p99"),
            "ms",
            at_most(0.5),
            factor=1e3,
        ),
        rival_row(samples, "p99 of the best peer ({}), over ours", "p99", at_least(1)),
        total_row(samples, "dropped meanwhile", [(OURS, "dropped")], at_most(0)),
    ]


SCENARIO = Scenario(
    name="loop_lag",
    title="An event loop, at 5,000 failures a second",
    how=HOW,
    read=READ,
    rounds=3,
    measurements={
        name: functools.partial(measure, name) for name in (CONTROL, *ADAPTERS)
    },
    judge=judge,
    columns=(
        Column("lag: median", "p50", "ms", 1e3),
        Column("p99", "p99", "ms", 1e3),
        Column("longest", "max", "ms", 1e3),
        Column("errors a second", "rate"),
    ),
    may_fail=frozenset(ADAPTERS) - {OURS},
)

__all__ = ["SCENARIO", "judge", "measure"]
