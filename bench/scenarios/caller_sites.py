"""
What does a failure cost its caller if it comes from many places in turn?

What a logger remembers of one stack helps it with that stack alone, and two hundred of
them fill the processor's caches.
"""

from __future__ import annotations

import functools
import itertools
import os

from bench.adapters import OURS, open_logger
from bench.model import Column, Figures, Job, Row, Samples, Scenario, at_most
from bench.quantiles import quantile
from bench.rows import ratio_row, rival_row
from bench.scenarios.caller_burst import time_calls
from bench.sites import Fail, make_sites

SITES = 200
TURNS = 30
NAMES = (OURS, "stdlib", "loguru", "structlog")

HOW = f"""\
Blocks of {SITES} calls: in one of them a failure from each of {SITES} call sites,
whose ten frames are all their own, in the other {SITES} times one from the same
site. The blocks alternate, and each call site has been met once before."""

READ = """\
1 would mean that it makes no difference where a failure comes from. The peers format
every stack anew, so theirs differ by what the processor's caches hold."""


def measure(adapter: str, job: Job, turns: int) -> Figures:
    """Time calls from many sites and from one, in alternating blocks."""
    fails = make_sites(os.path.join(job.directory, "sites"), SITES)
    logger = open_logger(adapter, job.directory)
    many: list[int] = []
    same: list[int] = []
    time_calls(logger, SITES, [], in_turn(fails))
    for _ in range(job.effort.count(turns, least=2)):
        time_calls(logger, SITES, many, in_turn(fails))
        time_calls(logger, SITES, same, fails[0])
    logger.flush()
    dropped = logger.dropped()
    logger.close()
    return {
        "many": quantile(many, 0.5),
        "same": quantile(same, 0.5),
        "dropped": dropped,
    }


def in_turn(fails: list[Fail]) -> Fail:
    """Return a function that fails at the next site each time it is called."""
    sites = itertools.cycle(fails)

    def fail() -> BaseException:
        return next(sites)()

    return fail


def judge(samples: Samples) -> list[Row]:
    """Compare many with one, and with the peers."""
    return [
        ratio_row(
            samples,
            f"median call, {SITES} call sites over one",
            (OURS, "many"),
            (OURS, "same"),
            at_most(1.3),
        ),
        rival_row(
            samples,
            f"{SITES} sites: the fastest of the peers here ({{}}), over ours",
            "many",
            names=NAMES[1:],
        ),
    ]


SCENARIO = Scenario(
    name="caller_sites",
    title="A failure, from 200 call sites in turn",
    how=HOW,
    read=READ,
    rounds=3,
    measurements={
        name: functools.partial(measure, name, turns=TURNS if name == OURS else 5)
        for name in NAMES
    },
    judge=judge,
    columns=(
        Column(f"{SITES} sites", "many", "µs", 1e-3),
        Column("one site", "same", "µs", 1e-3),
    ),
    may_fail=frozenset(NAMES) - {OURS},
)

__all__ = ["SCENARIO", "in_turn", "judge", "measure"]
