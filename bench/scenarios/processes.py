"""
Do more processes get more into the same file?

A lock that everybody waits for would make four processes slower than one.  They start
together at a barrier; the clock runs from the first start to the last flush.
"""

from __future__ import annotations

import functools
import multiprocessing
import time
from typing import TYPE_CHECKING

from bench.ledger import Ledger
from bench.model import Figures, Job, Row, Samples, Scenario, at_least, at_most
from bench.rows import ratio_row, total_row, value_row
from bench.workload import CONTEXT, failure
from tokenpak.telemetry.error_logger import ErrorLogger

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue
    from multiprocessing.synchronize import Barrier

RECORDS = 120_000
WARM_UP = 100
TIMEOUT = 120.0

HOW = f"""\
{RECORDS:,} failures ten frames deep into one file: by one process, and the same number
shared by four, which start together at a barrier. The clock runs from the first start
to the end of the last flush. Afterwards every line is decoded and counted by its
request id: each record once, in the order of its process."""

Answer = tuple[float, float, int]
"""When a worker started and ended, and how many records it dropped."""


def measure(workers: int, job: Job) -> Figures:
    """Log from *workers* processes at once; return records a second for them all."""
    count = job.effort.count(RECORDS, least=400) // workers
    # Spawned: forked workers would inherit a warm interpreter, and share its pages.
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(workers, timeout=TIMEOUT)
    answers: SimpleQueue[Answer] = context.SimpleQueue()
    processes = [
        context.Process(target=_work, args=(job.directory, i, count, barrier, answers))
        for i in range(workers)
    ]
    for process in processes:
        process.start()
    try:
        for process in processes:
            process.join(TIMEOUT)
            if process.exitcode != 0:
                raise RuntimeError(f"a worker ended with {process.exitcode}")
    finally:
        for process in processes:
            process.kill()
    found = [answers.get() for _ in processes]

    ledger = Ledger()
    for worker in range(workers):
        ledger.expect(f"worker-{worker}", WARM_UP + count)
    verdict = ledger.audit(job.directory)
    seconds = max(end for _, end, _ in found) - min(start for start, _, _ in found)
    return {
        "rate": workers * count / seconds,
        "dropped": sum(dropped for _, _, dropped in found),
        **verdict.figures(),
    }


def _work(
    directory: str,
    worker: int,
    count: int,
    barrier: Barrier,
    answers: SimpleQueue[Answer],
) -> None:
    errors = [failure() for _ in range(64)]
    logger = ErrorLogger(log_dir=directory)
    log_error = logger.log_error
    for number in range(1, WARM_UP + 1):
        log_error(f"worker-{worker}:{number}", errors[number & 63], CONTEXT)
    logger.flush(timeout=TIMEOUT)
    barrier.wait()
    # One monotonic clock for all processes of the machine.
    start = time.monotonic()
    for number in range(WARM_UP + 1, WARM_UP + 1 + count):
        log_error(f"worker-{worker}:{number}", errors[number & 63], CONTEXT)
    logger.flush(timeout=TIMEOUT)
    end = time.monotonic()
    answers.put((start, end, sum(logger.stats().dropped.values())))
    logger.close(timeout=TIMEOUT)


def judge(samples: Samples) -> list[Row]:
    """Compare four with one."""
    wrong = ("lost", "doubled", "misordered", "merged", "torn", "unexpected")
    return [
        ratio_row(
            samples,
            "four processes, over one",
            ("four", "rate"),
            ("one", "rate"),
            at_least(1.6),
        ),
        total_row(
            samples,
            "lost, doubled, merged, out of order, dropped",
            [(name, fate) for name in samples for fate in (*wrong, "dropped")],
            at_most(0),
        ),
        value_row(
            samples,
            "records a second: one process",
            ("one", "rate"),
            "k/s",
            factor=1e-3,
        ),
        value_row(
            samples, "records a second: four", ("four", "rate"), "k/s", factor=1e-3
        ),
    ]


SCENARIO = Scenario(
    name="processes",
    title="Four processes, one file",
    how=HOW,
    rounds=7,
    measurements={
        "one": functools.partial(measure, 1),
        "four": functools.partial(measure, 4),
    },
    judge=judge,
)

__all__ = ["SCENARIO", "judge", "measure"]
