"""
How does the cost grow with what there is more of?

Each measurement varies one thing over a range of at least fifty, and fits the exponent:
1 is proportional, 0 does not grow, and anything above 1 would be a trap.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
import time
from collections.abc import Sequence
from datetime import date, timedelta

from bench.adapters import OURS, open_logger
from bench.fit import exponent
from bench.model import Figures, Job, Row, Samples, Scenario, at_most
from bench.quantiles import quantile
from bench.rows import value_row
from bench.scenarios.caller_burst import time_calls
from bench.sites import make_sites
from bench.workload import CONTEXT, REQUEST_ID, failure
from tokenpak.telemetry.error_logger import ErrorLogger

RECORDS = (1_000, 4_000, 16_000, 64_000)
THREADS = (1, 2, 4, 8, 16, 64)
PROCESSES = (1, 2, 4, 8)
DEPTHS = (3, 6, 12, 25, 50, 100, 200)
CONTEXTS = (1, 3, 10, 30, 100, 300)
DAYS = (1, 10, 100, 1_000)
OLDEST = date(2020, 1, 1)
TOTAL = 32_000
CALLS = 300

HOW = f"""\
One thing is varied, all else stays. **Records** ({RECORDS[0]:,} to {RECORDS[-1]:,}):
the time until all are in the file. **Threads** ({THREADS[0]} to {THREADS[-1]}) and
**processes** ({PROCESSES[0]} to {PROCESSES[-1]}): the time for the same {TOTAL:,}
records, shared. **Depth** ({DEPTHS[0]} to {DEPTHS[-1]} frames) and **context**
({CONTEXTS[0]} to {CONTEXTS[-1]} fields): the median call, repeated. **Days**
({DAYS[0]} to {DAYS[-1]:,} day files in the directory): from opening a logger until
its first record is in the file. The exponent is the slope of the logarithms, by
least squares."""

READ = """\
1 is proportional growth, 0 is none. Depth and context cannot be 0: the line is
longer. Where a fixed cost covers the small values the exponent is below what it
would be for the large ones; the points are in the picture."""


def _figures(xs: tuple[int, ...], ys: list[float]) -> Figures:
    return {
        "exponent": exponent(xs, ys),
        **{f"at_{x}": y for x, y in zip(xs, ys, strict=True)},
    }


def measure_records(job: Job) -> Figures:
    """Return seconds until so many records are in the file."""
    errors = [failure() for _ in range(64)]
    logger = open_logger(OURS, job.directory)
    _log(errors, logger.log_error, 500)
    logger.flush()
    taken = []
    for records in RECORDS:
        start = time.perf_counter()
        _log(errors, logger.log_error, job.effort.count(records, least=records // 20))
        logger.flush()
        taken.append(time.perf_counter() - start)
    logger.close()
    return _figures(RECORDS, taken)


def _log(errors: Sequence[BaseException], log_error: object, count: int) -> None:
    assert callable(log_error)
    for number in range(count):
        log_error(REQUEST_ID, errors[number & 63], CONTEXT)


def measure_threads(job: Job) -> Figures:
    """Return seconds for the same records, shared by so many threads."""
    errors = [failure() for _ in range(64)]
    logger = open_logger(OURS, job.directory)
    _log(errors, logger.log_error, 500)
    logger.flush()
    total = job.effort.count(TOTAL, least=3_200)
    taken = []
    for count in THREADS:
        threads = [
            threading.Thread(
                target=_log, args=(errors, logger.log_error, total // count)
            )
            for _ in range(count)
        ]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        logger.flush()
        taken.append(time.perf_counter() - start)
    logger.close()
    return _figures(THREADS, taken)


def measure_processes(job: Job) -> Figures:
    """Return seconds for the same records, shared by so many processes."""
    context = multiprocessing.get_context("fork")
    total = job.effort.count(TOTAL, least=3_200)
    taken = []
    for count in PROCESSES:
        barrier = context.Barrier(count + 1, timeout=60)
        processes = [
            context.Process(
                target=_work, args=(job.directory, total // count, barrier), daemon=True
            )
            for _ in range(count)
        ]
        for process in processes:
            process.start()
        barrier.wait()
        start = time.perf_counter()
        barrier.wait()
        taken.append(time.perf_counter() - start)
        for process in processes:
            process.join(60)
    return _figures(PROCESSES, taken)


def _work(directory: str, count: int, barrier: threading.Barrier) -> None:
    errors = [failure() for _ in range(64)]
    logger = open_logger(OURS, directory)
    _log(errors, logger.log_error, 100)
    logger.flush()
    barrier.wait()
    _log(errors, logger.log_error, count)
    logger.flush()
    barrier.wait()
    logger.close()


def measure_depth(job: Job) -> Figures:
    """Return the median call, in nanoseconds, for stacks of so many frames."""
    logger = open_logger(OURS, job.directory)
    place = os.path.join(job.directory, "sites")
    medians = []
    for depth in DEPTHS:
        (fail,) = make_sites(place, 1, depth)
        times: list[int] = []
        time_calls(logger, 20, [], fail)
        time_calls(logger, job.effort.count(CALLS, least=40), times, fail)
        medians.append(quantile(times, 0.5))
    logger.close()
    return _figures(DEPTHS, medians)


def measure_context(job: Job) -> Figures:
    """Return the median call, in nanoseconds, for contexts of so many fields."""
    logger = open_logger(OURS, job.directory)
    clock = time.perf_counter_ns
    medians = []
    for fields in CONTEXTS:
        context: dict[str, object] = {f"field_{i}": i * 1.5 for i in range(fields)}
        times = []
        for _ in range(job.effort.count(CALLS, least=40)):
            error = failure()
            before = clock()
            logger.log_error(REQUEST_ID, error, context)
            times.append(clock() - before)
        medians.append(quantile(times, 0.5))
    logger.close()
    return _figures(CONTEXTS, medians)


def measure_days(job: Job) -> Figures:
    """Return seconds from opening until the first record is in the file."""
    record = {
        "timestamp": "2026-01-01T00:00:00.000000Z",
        "request_id": "old",
        "error_type": "OldError",
        "message": "old",
        "stack_trace": "",
        "context": {},
    }
    line = json.dumps(record, separators=(",", ":")) + "\n"
    for number in range(3):  # warm: the first pays for imports and the directory
        _first_record(os.path.join(job.directory, f"warm-{number}"))
    medians = []
    for days in DAYS:
        times = []
        for turn in range(job.effort.count(5)):
            place = os.path.join(job.directory, f"{days}-{turn}")
            os.mkdir(place)
            for day in range(days):
                name = f"errors-{OLDEST + timedelta(days=day)}.jsonl"
                with open(os.path.join(place, name), "w", encoding="utf-8") as file:
                    file.write(line)
            times.append(_first_record(place))
        medians.append(quantile(times, 0.5))
    return _figures(DAYS, medians)


def _first_record(place: str) -> float:
    error = failure()
    start = time.perf_counter()
    # No archiving, whose own work on the old days would be measured instead.
    logger = ErrorLogger(log_dir=place, archive_after_days=0)
    logger.log_error(REQUEST_ID, error, CONTEXT)
    logger.flush(timeout=60)
    taken = time.perf_counter() - start
    logger.close(timeout=60)
    return taken


def judge(samples: Samples) -> list[Row]:
    """Nothing may grow faster than what it is a cost of."""
    limits = {"records": 1.1, "threads": None, "processes": None, "depth": 1.1}
    limits |= {"context": 1.1, "days": 1.1}
    return [
        value_row(
            samples,
            f"exponent: {name}",
            (name, "exponent"),
            "",
            None if limit is None else at_most(limit),
        )
        for name, limit in limits.items()
    ]


SCENARIO = Scenario(
    name="scaling",
    title="How the cost grows",
    megabytes=1_024,
    how=HOW,
    read=READ,
    rounds=3,
    measurements={
        "records": measure_records,
        "threads": measure_threads,
        "processes": measure_processes,
        "depth": measure_depth,
        "context": measure_context,
        "days": measure_days,
    },
    judge=judge,
)

__all__ = ["SCENARIO", "judge"]
