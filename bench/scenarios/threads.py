"""
How many failures a second get into the file, from several threads?

Python runs one thread at a time, so more threads cannot be faster than one; but locks
that all of them want, and a GIL that is given up in each call, can make them slower.
"""

from __future__ import annotations

import functools
import threading
import time

from bench.adapters import OURS, PEERS, open_logger
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

COUNTS = (1, 2, 8)
MOST = COUNTS[-1]
RECORDS = {OURS: 64_000, "os.write": 32_000, "loguru": 8_000, "loguru-lines": 4_000}
"""About what each can do in half a second to a second; 1,600 for all others."""
WRONG = ("lost", "doubled", "misordered", "merged", "torn", "unexpected", "dropped")
OTHERS = (*PEERS, "os.write")

HOW = f"""\
The same number of failures from {" and ".join(map(str, COUNTS))} threads, which
start together; the clock runs from the first call until every line is in the file.
The peers with {MOST} threads only. Afterwards every line is decoded and counted by
its request id: each record once, in the order of its thread."""

READ = """\
`os.write` writes the same ready line each time, so its lines are not counted. A peer
that does not end within 5 seconds is reported as that: picologging 0.9.3 has been
seen to hang with eight threads."""


def measure(adapter: str, threads: int, job: Job) -> Figures:
    """Log from *threads* threads at once; return records a second for them all."""
    errors = [failure() for _ in range(64)]
    logger = open_logger(adapter, job.directory)
    logger.log_error("warm-up:1", errors[0], CONTEXT)
    logger.flush()
    count = job.effort.count(RECORDS.get(adapter, 1_600), least=400) // threads
    barrier = threading.Barrier(threads + 1)

    def work(thread: int) -> None:
        log_error = logger.log_error
        barrier.wait()
        for number in range(1, count + 1):
            log_error(f"thread-{thread}:{number}", errors[number & 63], CONTEXT)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
    for worker in workers:
        worker.start()
    barrier.wait()
    start = time.perf_counter()
    for worker in workers:
        worker.join()
    logger.flush()
    end = time.perf_counter()
    dropped = logger.dropped()
    logger.close()
    ledger = Ledger()
    if adapter != "os.write":
        ledger.expect("warm-up", 1)
        for thread in range(threads):
            ledger.expect(f"thread-{thread}", count)
    figures = ledger.audit(job.directory).figures()
    if adapter == "os.write":
        figures["unexpected"] = 0
    return {"rate": threads * count / (end - start), "dropped": dropped, **figures}


def judge(samples: Samples) -> list[Row]:
    """Compare many with one, and with the best peer."""
    most = (f"{OURS}, {MOST} threads", "rate")
    one = (f"{OURS}, 1 thread", "rate")
    return [
        ratio_row(samples, f"{MOST} threads, over one", most, one, at_least(1)),
        ratio_row(samples, "2 threads, over one", (f"{OURS}, 2 threads", "rate"), one),
        rival_row(
            samples,
            f"{MOST} threads: over the fastest peer ({{}})",
            "rate",
            highest=True,
            suffix=f", {MOST} threads",
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


def _name(adapter: str, threads: int) -> str:
    return f"{adapter}, {threads} thread{'s' * (threads > 1)}"


SCENARIO = Scenario(
    name="threads",
    title="Failures a second into the file, several threads",
    megabytes=1_024,
    how=HOW,
    read=READ,
    rounds=3,
    measurements={
        **{_name(OURS, n): functools.partial(measure, OURS, n) for n in COUNTS},
        **{
            _name(name, MOST): functools.partial(measure, name, MOST) for name in OTHERS
        },
    },
    judge=judge,
    columns=(
        Column("into the file", "rate", "k/s", 1e-3),
        Column("lost", "lost"),
        Column("doubled", "doubled"),
    ),
    may_fail=frozenset(_name(name, MOST) for name in OTHERS),
    patience=5,
)

__all__ = ["SCENARIO", "judge", "measure"]
