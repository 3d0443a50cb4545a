"""
What does a failure cost its caller while other threads run Python code?

A call that gives up the GIL, for a write or a lock, stands in line for it again behind
every busy thread, each of which may keep it for a switch interval (5 ms).
"""

from __future__ import annotations

import functools
import threading
import time

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
from bench.rows import rival_row, total_row
from bench.workload import CONTEXT, REQUEST_ID, failure

TICK_NS = 1_000_000
THREADS = 4
SECONDS = 2.0

HOW = f"""\
The same call with {THREADS} threads that run Python code all the time, at 1,000
calls a second for {SECONDS:g} seconds. A thread that slept through several ticks,
because it had to wait for the GIL, makes the calls that are due one after the other,
without giving it up between them. A logger that does give it up in each call cannot
keep the pace: how many calls it came to a second is in the table."""

READ = """\
Look at the calls a second before anything else: a logger far below 1,000 blocks its
caller for milliseconds in every call. Its p99.9 is then one of a few hundred calls."""


def measure(adapter: str, job: Job) -> Figures:
    """Time calls at a pace among busy threads."""
    logger = open_logger(adapter, job.directory)
    logger.log_error(REQUEST_ID, failure(), CONTEXT)
    logger.flush()
    stop = threading.Event()
    threads = [
        threading.Thread(target=_be_busy, args=(stop,), daemon=True)
        for _ in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    calls: list[int] = []
    clock = time.perf_counter_ns
    start = due = clock()
    end = start + int(job.effort.count(int(SECONDS * 1000), least=200) * 1e6)
    try:
        while due < end and clock() < end:
            due += TICK_NS
            if (early := due - clock()) > 0:
                time.sleep(early / 1e9)
            error = failure()
            before = clock()
            logger.log_error(REQUEST_ID, error, CONTEXT)
            calls.append(clock() - before)
        seconds = (clock() - start) / 1e9
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    logger.flush()
    dropped = logger.dropped()
    logger.close()
    return {
        "median": quantile(calls, 0.5),
        "p99": quantile(calls, 0.99),
        "p999": quantile(calls, 0.999),
        "rate": len(calls) / seconds,
        "dropped": dropped,
    }


def _be_busy(stop: threading.Event) -> None:
    total = 0
    while not stop.is_set():
        for number in range(1_000):
            total += number * number % 7


def judge(samples: Samples) -> list[Row]:
    """Compare the tail with the best peer's."""
    return [
        rival_row(
            samples,
            "p99.9 of the best peer ({}), over ours",
            "p999",
            at_least(1),
        ),
        rival_row(samples, "median of the best peer ({}), over ours", "median"),
        total_row(samples, "dropped meanwhile", [(OURS, "dropped")], at_most(0)),
    ]


SCENARIO = Scenario(
    name="caller_busy",
    title="A failure, among four busy threads: what its caller pays",
    how=HOW,
    read=READ,
    rounds=3,
    measurements={name: functools.partial(measure, name) for name in ADAPTERS},
    judge=judge,
    columns=(
        Column("median", "median", "µs", 1e-3),
        Column("p99", "p99", "µs", 1e-3),
        Column("p99.9", "p999", "µs", 1e-3),
        Column("calls a second", "rate"),
    ),
    may_fail=frozenset(ADAPTERS) - {OURS},
)

__all__ = ["SCENARIO", "judge", "measure"]
