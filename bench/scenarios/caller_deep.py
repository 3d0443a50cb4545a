"""
What do deep stacks and chains of exceptions cost their caller?

A hundred frames are what a web framework with its middleware comes to; ``raise … from``
in each layer is what a careful application does.
"""

from __future__ import annotations

import functools
import os

from bench.adapters import OURS, open_logger
from bench.model import Column, Figures, Job, Row, Samples, Scenario
from bench.quantiles import quantile
from bench.rows import ratio_row, total_row
from bench.scenarios.caller_burst import time_calls, time_formats
from bench.sites import make_sites

DEEP = 100
CHAINED = 3
NAMES = (OURS, "stdlib", "loguru")
BLOCK = 20

HOW = f"""\
Exceptions of {DEEP} frames, all different; and chains of {CHAINED + 1}, ten frames
in all, each raised from the one before. Blocks of {BLOCK} calls alternate with
blocks of `traceback.format_exception` of the same."""

READ = """\
In per cent of formatting, so that depth itself is not what is compared. A line has
at most 32,000 bytes by default: the middle of a stack trace that is longer is left
out, by this logger alone, and the peers write it whole."""


def measure(adapter: str, job: Job, blocks: int) -> Figures:
    """Time calls and formattings of deep and of chained exceptions."""
    logger = open_logger(adapter, job.directory)
    place = os.path.join(job.directory, "sites")
    figures: Figures = {}
    for name, frames, chained in (("deep", DEEP, 0), ("chain", 10, CHAINED)):
        (fail,) = make_sites(place, 1, frames, chained)
        calls: list[int] = []
        formats: list[int] = []
        time_calls(logger, BLOCK, [], fail)
        time_formats(BLOCK, [], fail)
        for _ in range(job.effort.count(blocks, least=2)):
            time_calls(logger, BLOCK, calls, fail)
            time_formats(BLOCK, formats, fail)
        figures[name] = quantile(calls, 0.5)
        figures[f"{name}_format"] = quantile(formats, 0.5)
    logger.flush()
    figures["dropped"] = logger.dropped()
    logger.close()
    return figures


def judge(samples: Samples) -> list[Row]:
    """Compare with formatting."""
    return [
        *(
            ratio_row(
                samples,
                f"median call, {label}, in % of format_exception",
                (OURS, name),
                (OURS, f"{name}_format"),
                percent=True,
            )
            for name, label in (
                ("deep", f"{DEEP} frames"),
                ("chain", f"{CHAINED + 1} chained exceptions"),
            )
        ),
        total_row(samples, "dropped meanwhile", [(OURS, "dropped")]),
    ]


SCENARIO = Scenario(
    name="caller_deep",
    title="A failure that is deep, or has causes",
    how=HOW,
    read=READ,
    rounds=3,
    measurements={
        name: functools.partial(measure, name, blocks=20 if name == OURS else 6)
        for name in NAMES
    },
    judge=judge,
    columns=(
        Column(f"{DEEP} frames", "deep", "µs", 1e-3),
        Column("`format_exception`", "deep_format", "µs", 1e-3),
        Column("chained", "chain", "µs", 1e-3),
        Column("`format_exception`", "chain_format", "µs", 1e-3),
    ),
    may_fail=frozenset(NAMES) - {OURS},
)

__all__ = ["SCENARIO", "judge", "measure"]
