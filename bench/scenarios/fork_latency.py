"""
How much longer does a fork take in a process that logs?

Hooks before and after the fork, mapped pages to copy the tables of, and threads: all of
it is in the time of ``os.fork``.
"""

from __future__ import annotations

import functools
import os
import time

from bench.adapters import ADAPTERS, OURS, Logger, open_logger
from bench.model import Column, Figures, Job, Row, Samples, Scenario
from bench.quantiles import quantile
from bench.rows import ratio_row, value_row
from bench.workload import CONTEXT, failure

FORKS = 150
RECORDS_BEFORE = 1_000
RECORDS_BETWEEN = 3

HOW = f"""\
{FORKS} forks before the logger is opened, then {RECORDS_BEFORE:,} records, then
{FORKS} forks with {RECORDS_BETWEEN} records before each. Timed is `os.fork` in the
parent; the child leaves at once with `os._exit`. The forks before are the control,
in the same process with the same modules."""

READ = """\
The ratio compares medians. A child's first record, for which a logger opens what it
needs, is not in it."""


def measure(adapter: str, job: Job) -> Figures:
    """Time forks before and after the logger is in use."""
    # Imported before the control, closed again: its modules are in both.
    first = os.path.join(job.directory, "first")
    os.mkdir(first)
    open_logger(adapter, first).close()
    count = job.effort.count(FORKS, least=20)
    before = [_fork(None) for _ in range(count)]
    logger = open_logger(adapter, job.directory)
    for number in range(job.effort.count(RECORDS_BEFORE, least=50)):
        logger.log_error(f"req-{number}", failure(), CONTEXT)
    after = [_fork(logger) for _ in range(count)]
    logger.close()
    return {
        "before": quantile(before, 0.5),
        "after": quantile(after, 0.5),
        "after_p99": quantile(after, 0.99),
        "ratio": quantile(after, 0.5) / quantile(before, 0.5),
    }


def _fork(logger: Logger | None) -> int:
    for _ in range(RECORDS_BETWEEN):
        error = failure()
        if logger is not None:
            logger.log_error("between", error, CONTEXT)
    start = time.perf_counter_ns()
    pid = os.fork()
    if not pid:
        os._exit(0)
    taken = time.perf_counter_ns() - start
    os.waitpid(pid, 0)
    return taken


def judge(samples: Samples) -> list[Row]:
    """Compare with forks of the same process before it logged."""
    return [
        ratio_row(
            samples,
            "median fork of a process that logs, over one that does not yet",
            (OURS, "after"),
            (OURS, "before"),
        ),
        value_row(samples, "p99 of the forks", (OURS, "after_p99"), "µs", factor=1e-3),
    ]


SCENARIO = Scenario(
    name="fork_latency",
    title="What a fork takes",
    how=HOW,
    read=READ,
    rounds=2,
    measurements={name: functools.partial(measure, name) for name in ADAPTERS},
    judge=judge,
    columns=(
        Column("fork before", "before", "µs", 1e-3),
        Column("fork after", "after", "µs", 1e-3),
        Column("p99 after", "after_p99", "µs", 1e-3),
        Column("ratio", "ratio", "\N{MULTIPLICATION SIGN}"),
    ),
    may_fail=frozenset(ADAPTERS) - {OURS},
)

__all__ = ["SCENARIO", "judge", "measure"]
