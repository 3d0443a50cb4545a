"""
What does the first failure of a kind cost its caller?

A stack that was never seen must be formatted, by whomever.  So the call is compared
with ``traceback.format_exception`` of stacks that were never seen either.
"""

from __future__ import annotations

import functools
import os
import traceback

from bench.adapters import OURS, open_logger
from bench.model import Column, Figures, Job, Row, Samples, Scenario, at_most
from bench.quantiles import quantile
from bench.rows import ratio_row
from bench.scenarios.caller_burst import time_calls, time_formats
from bench.scenarios.caller_sites import in_turn
from bench.sites import make_sites

SITES = 400
WARM = 10
NAMES = (OURS, "stdlib", "loguru")

HOW = f"""\
{SITES} call sites, whose ten frames are all their own. The failures of one half are
logged, those of the other formatted with `traceback.format_exception`, in
alternating blocks of ten, each site once. What is common to all (imports, the lines
of the file in `linecache`) has been done before."""

READ = """\
1 means that a stack which is new costs what formatting it costs. It is paid once for
each place at which an application fails, up to 2,048 of them."""


def measure(adapter: str, job: Job) -> Figures:
    """Time the first call of each stack, and the first formatting of others."""
    count = job.effort.count(SITES, least=80) // 20 * 20
    fails = make_sites(os.path.join(job.directory, "sites"), count + 2 * WARM)
    logger = open_logger(adapter, job.directory)
    calls: list[int] = []
    formats: list[int] = []
    time_calls(logger, WARM, [], in_turn(fails[:WARM]))
    for fail in fails[WARM : 2 * WARM]:
        traceback.format_exception(fail())
    for start in range(2 * WARM, count + 2 * WARM, 20):
        time_calls(logger, 10, calls, in_turn(fails[start : start + 10]))
        time_formats(10, formats, in_turn(fails[start + 10 : start + 20]))
    logger.flush()
    dropped = logger.dropped()
    logger.close()
    return {
        "median": quantile(calls, 0.5),
        "format_median": quantile(formats, 0.5),
        "dropped": dropped,
    }


def judge(samples: Samples) -> list[Row]:
    """Compare with formatting."""
    return [
        ratio_row(
            samples,
            "median first call, over format_exception",
            (OURS, "median"),
            (OURS, "format_median"),
            at_most(1.1),
        )
    ]


SCENARIO = Scenario(
    name="caller_first",
    title="A failure whose stack was never seen before",
    how=HOW,
    read=READ,
    rounds=5,
    measurements={name: functools.partial(measure, name) for name in NAMES},
    judge=judge,
    columns=(
        Column("median first call", "median", "µs", 1e-3),
        Column("`format_exception`", "format_median", "µs", 1e-3),
    ),
    may_fail=frozenset(NAMES) - {OURS},
)

__all__ = ["SCENARIO", "judge", "measure"]
