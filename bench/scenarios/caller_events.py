"""
What does an event cost its caller?

The least that any crash-safe logger must do is to encode the record and to copy the
line into memory that outlives the process.  The baseline does exactly that with a
record that is ready: it asks no clock and builds nothing.
"""

from __future__ import annotations

import mmap
import os
import time

import orjson

from bench.model import Figures, Job, Row, Samples, Scenario, at_most
from bench.quantiles import quantile
from bench.rows import ratio_row, total_row, value_row
from bench.workload import CONTEXT, EVENT, REQUEST_ID
from tokenpak.telemetry.error_logger import ErrorLogger

CALLS_A_BLOCK = 500
PAGES_BYTES = 2 * 1024 * 1024

HOW = f"""\
`log_event` with five context fields, against `orjson.dumps` of the same record,
ready made, plus a copy of the line into an `mmap` whose pages are already there. Once
with what is on by default, redaction among it, and once without redaction. Blocks of
{CALLS_A_BLOCK} calls of each alternate in one thread. Each call is timed
by itself; the timer's own cost is part of both sides, as nothing is subtracted."""


def measure(job: Job) -> Figures:
    """Time alternating blocks of the call and of the baseline."""
    loggers = {
        "median": ErrorLogger(log_dir=os.path.join(job.directory, "default")),
        "off_median": ErrorLogger(
            log_dir=os.path.join(job.directory, "off"), redact="off"
        ),
    }
    times: dict[str, list[int]] = {name: [] for name in loggers}
    copies: list[int] = []
    with mmap.mmap(-1, PAGES_BYTES) as pages:
        for logger in loggers.values():
            _time_calls(logger, CALLS_A_BLOCK, [])
        _time_copies(pages, CALLS_A_BLOCK, [])
        for _ in range(job.effort.count(200, least=4)):
            for name, logger in loggers.items():
                _time_calls(logger, CALLS_A_BLOCK, times[name])
            _time_copies(pages, CALLS_A_BLOCK, copies)
    dropped = 0
    for logger in loggers.values():
        logger.flush(timeout=60)
        dropped += sum(logger.stats().dropped.values())
        logger.close(timeout=60)
    return {
        **{name: quantile(found, 0.5) for name, found in times.items()},
        "p999": quantile(times["median"], 0.999),
        "copy_median": quantile(copies, 0.5),
        "dropped": dropped,
    }


def _time_calls(logger: ErrorLogger, count: int, times: list[int]) -> None:
    clock = time.perf_counter_ns
    log_event = logger.log_event
    for _ in range(count):
        before = clock()
        log_event(EVENT, REQUEST_ID, CONTEXT)
        times.append(clock() - before)


def _time_copies(pages: mmap.mmap, count: int, times: list[int]) -> None:
    clock = time.perf_counter_ns
    dumps, copy = orjson.dumps, pages.write
    newline = orjson.OPT_APPEND_NEWLINE
    record = {
        "timestamp": "2026-03-24T17:35:22.123456Z",
        "request_id": REQUEST_ID,
        "event": EVENT,
        "context": CONTEXT,
    }
    if len(pages) - pages.tell() < count * len(dumps(record, None, newline)):
        # Not before each block: a logger's lines go to memory that is not in the cache.
        pages.seek(0)
    for _ in range(count):
        before = clock()
        copy(dumps(record, None, newline))
        times.append(clock() - before)


def judge(samples: Samples) -> list[Row]:
    """Compare with encoding and copying alone."""
    return [
        ratio_row(
            samples,
            "median call, over dumps and copy",
            ("tokenpak", "median"),
            ("tokenpak", "copy_median"),
            at_most(3),
        ),
        ratio_row(
            samples,
            "the same, without redaction",
            ("tokenpak", "off_median"),
            ("tokenpak", "copy_median"),
            at_most(2),
        ),
        total_row(samples, "dropped meanwhile", [("tokenpak", "dropped")], at_most(0)),
        value_row(samples, "median call", ("tokenpak", "median"), "µs", factor=1e-3),
        value_row(samples, "p99.9 call", ("tokenpak", "p999"), "µs", factor=1e-3),
        value_row(
            samples,
            "median of dumps and copy",
            ("tokenpak", "copy_median"),
            "µs",
            factor=1e-3,
        ),
    ]


SCENARIO = Scenario(
    name="caller_events",
    title="An event: what its caller pays",
    how=HOW,
    rounds=5,
    measurements={"tokenpak": measure},
    judge=judge,
)

__all__ = ["SCENARIO", "judge", "measure"]
