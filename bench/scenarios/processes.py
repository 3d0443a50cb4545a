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

from bench.adapters import ADAPTERS, OURS, PEERS, open_logger
from bench.ledger import Ledger
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
from bench.rows import ratio_row, rival_row, total_row
from bench.workload import CONTEXT, failure

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext
    from multiprocessing.queues import SimpleQueue
    from multiprocessing.synchronize import Barrier

COUNTS = (1, 2, 4, 8)
MOST = COUNTS[-1]
RECORDS = {OURS: 96_000, "loguru": 16_000, "loguru-lines": 16_000}
"""For all processes together; 4,000 for all others."""
WARM_UP = 100
WARM_UP_ROUGH = 20
TIMEOUT = 120.0
WRONG = ("lost", "doubled", "misordered", "merged", "torn", "unexpected", "dropped")

HOW = f"""\
{RECORDS[OURS]:,} failures ten frames deep into one file: by one process, and the
same number shared by {", ".join(map(str, COUNTS[1:]))}, which start together at a
barrier. The peers with {MOST} processes and fewer records. The clock runs from the
first start to the end of the last flush. Afterwards every line is decoded and
counted by its request id: each record once, in the order of its process."""

READ = """\
`damaged` are lines that are no record, or in which one begins inside another. A peer
that hands each line to the kernel in one write that appends, as
`logging.FileHandler` does for lines of its buffer's size, is safe by that on a local
file system; one with a buffer of its own (`loguru`) tears lines at the buffer's
ends. With more processes than cores, what is measured is how little they get into
each other's way."""


def measure(adapter: str, workers: int, job: Job) -> Figures:
    """Log from *workers* processes at once; return records a second for them all."""
    count = job.effort.count(RECORDS.get(adapter, 4_000), least=400) // workers
    warm_up = job.effort.choose(WARM_UP, WARM_UP_ROUGH)
    context = job.effort.choose(_spawned, _forked)(adapter)
    barrier = context.Barrier(workers, timeout=TIMEOUT)
    answers: SimpleQueue[Answer] = context.SimpleQueue()
    # Here too, for the note of a peer that is not installed.
    open_logger(adapter, job.directory).close()
    processes = [
        context.Process(
            target=_work,
            args=(adapter, job.directory, i, warm_up, count, barrier, answers),
        )
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
        ledger.expect(f"worker-{worker}", warm_up + count)
    verdict = ledger.audit(job.directory)
    seconds = max(end for _, end, _ in found) - min(start for start, _, _ in found)
    return {
        "rate": workers * count / seconds,
        "dropped": sum(dropped for _, _, dropped in found),
        "damaged": verdict.merged + verdict.torn,
        **verdict.figures(),
    }


def _spawned(_: str) -> SpawnContext | ForkServerContext:
    # Forked workers would inherit a warm interpreter, and share its pages.
    return multiprocessing.get_context("spawn")


def _forked(adapter: str) -> SpawnContext | ForkServerContext:
    """Fork workers from a process that has imported *adapter*, and opened nothing."""
    # Eight interpreters that start take several times as long as what they log in a
    # run that is rough anyway.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, ADAPTERS[adapter].partition(":")[0]])
    return context


Answer = tuple[float, float, int]
"""When a worker started and ended, and how many records it dropped."""


def _work(
    adapter: str,
    directory: str,
    worker: int,
    warm_up: int,
    count: int,
    barrier: Barrier,
    answers: SimpleQueue[Answer],
) -> None:
    errors = [failure() for _ in range(64)]
    logger = open_logger(adapter, directory)
    log_error = logger.log_error
    for number in range(1, warm_up + 1):
        log_error(f"worker-{worker}:{number}", errors[number & 63], CONTEXT)
    logger.flush()
    barrier.wait()
    # One monotonic clock for all processes of the machine.
    start = time.monotonic()
    for number in range(warm_up + 1, warm_up + 1 + count):
        log_error(f"worker-{worker}:{number}", errors[number & 63], CONTEXT)
    logger.flush()
    end = time.monotonic()
    answers.put((start, end, logger.dropped()))
    logger.close()


def judge(samples: Samples) -> list[Row]:
    """Compare four with one, eight with four, and with the best peer."""

    def over(more: int, fewer: int, limit: float | None = None) -> Row:
        return ratio_row(
            samples,
            f"{more} processes, over {fewer}",
            (_name(OURS, more), "rate"),
            (_name(OURS, fewer), "rate"),
            None if limit is None else at_least(limit),
        )

    return [
        over(2, 1),
        over(4, 1, 1.7),
        over(8, 4, 1),
        rival_row(
            samples,
            f"{MOST} processes: over the fastest peer ({{}})",
            "rate",
            highest=True,
            suffix=f", {MOST} processes",
        ),
        total_row(
            samples,
            "lost, doubled, merged, out of order, dropped",
            [
                (name, fate)
                for name in samples
                if name.startswith(OURS)
                for fate in WRONG
            ],
            at_most(0),
        ),
    ]


def _name(adapter: str, processes: int) -> str:
    return f"{adapter}, {processes} process{'es' * (processes > 1)}"


SCENARIO = Scenario(
    name="processes",
    title="Several processes, one file",
    megabytes=1_024,
    how=HOW,
    read=READ,
    rounds=3,
    measurements={
        **{_name(OURS, n): functools.partial(measure, OURS, n) for n in COUNTS},
        **{_name(name, MOST): functools.partial(measure, name, MOST) for name in PEERS},
    },
    judge=judge,
    columns=(
        Column("into the file", "rate", "k/s", 1e-3),
        Column("lost", "lost"),
        Column("doubled", "doubled"),
        Column("damaged", "damaged"),
    ),
    may_fail=frozenset(_name(name, MOST) for name in PEERS),
)

__all__ = ["SCENARIO", "judge", "measure"]
