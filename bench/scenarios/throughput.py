"""
How many failures a second get into the file, from one thread?

The clock stops when every line is in the file, not when the last call returns: a queue
that is merely filled quickly gains nothing here.
"""

from __future__ import annotations

import functools
import time

from bench.adapters import OURS, WRITERS, open_logger
from bench.ledger import count_lines
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

WARM_UP = 100
RECORDS = {OURS: 60_000, "os.write": 100_000, "loguru": 8_000, "loguru-lines": 8_000}
"""About what each can do in half a second to a second; 2,000 for all others."""

HOW = """\
One thread logs failures ten frames deep in a loop, then flushes; the clock runs
until every line is in the file, and the lines are counted afterwards. Each logger
gets about as many records as it can do in half a second or a second. The exceptions
are raised beforehand, 64 in turn. `loguru` has a 64 KiB buffer, `loguru-lines` hands
each line to the kernel in the call, as its own file sink does. The floor is
`os.write` of a line that is ready."""

READ = """\
`calls a second` is the pace at which the calls returned: where it is above `into the
file`, a queue was filled. `missing` are lines that were not in the file after a
flush: opentelemetry's queue drops the oldest record when 2,048 wait, and says so in
a warning only."""


def measure(adapter: str, job: Job) -> Figures:
    """Log failures and flush; return records a second."""
    errors = [failure() for _ in range(64)]
    logger = open_logger(adapter, job.directory)
    log_error = logger.log_error
    for number in range(WARM_UP):
        log_error("warm-up", errors[number % 64], CONTEXT)
    logger.flush()

    count = job.effort.count(RECORDS.get(adapter, 2_000), least=256)
    start = time.perf_counter()
    for number in range(count):
        log_error(f"req-{number}", errors[number & 63], CONTEXT)
    called = time.perf_counter()
    logger.flush()
    end = time.perf_counter()

    dropped = logger.dropped()
    logger.close()
    return {
        "rate": count / (end - start),
        "call_rate": count / (called - start),
        "missing": WARM_UP + count - dropped - count_lines(job.directory),
        "dropped": dropped,
    }


def judge(samples: Samples) -> list[Row]:
    """Compare with the peers and the floor."""
    ours = (OURS, "rate")
    return [
        rival_row(
            samples,
            "over the fastest peer ({})",
            "rate",
            at_least(12),
            highest=True,
        ),
        ratio_row(
            samples,
            "in % of the os.write floor",
            ours,
            ("os.write", "rate"),
            at_least(50),
            percent=True,
        ),
        ratio_row(
            samples, "over stdlib FileHandler", ours, ("stdlib", "rate"), at_least(25)
        ),
        total_row(
            samples,
            "lines missing, records dropped",
            [(OURS, "missing"), (OURS, "dropped")],
            at_most(0),
        ),
    ]


SCENARIO = Scenario(
    name="throughput",
    title="Failures a second into the file, one thread",
    megabytes=1_024,
    how=HOW,
    read=READ,
    rounds=3,
    measurements={name: functools.partial(measure, name) for name in WRITERS},
    judge=judge,
    columns=(
        Column("into the file", "rate", "k/s", 1e-3),
        Column("calls a second", "call_rate", "k/s", 1e-3),
        Column("missing", "missing"),
    ),
    may_fail=frozenset(WRITERS) - {OURS},
)

__all__ = ["SCENARIO", "judge", "measure"]
