"""Watch: all incidents of 30 days are found in time, and next to nothing else."""

from __future__ import annotations

import pytest

from tokenpak.telemetry.watch.conditions import Conditions, Failure
from tokenpak.telemetry.watch.rules import Rules

from .simulation import DAY, DAYS, INCIDENTS, START, WORLDS, plan, traffic
from .verdict import judge

SEEDS = {
    "minutes": (200, 201),
    "gamma": (200, 201),
    "lognormal": (200, 201),
    "each its own": (200,),
    "three minutes": (200,),
    "retries": (200, 201),
    "both": (200,),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "seed"),
    [
        # The numbers are the same with each Python; one traffic of a kind with all.
        pytest.param(name, seed, marks=pytest.mark.heavy if seed != seeds[0] else ())
        for name, seeds in SEEDS.items()
        for seed in seeds
    ],
)
def test_watch_finds_20_incidents_of_30_days_and_little_else(
    name: str, seed: int
) -> None:
    """Each within two windows; one false alarm a week, however counts scatter."""
    verdict = judge(seed, WORLDS[name])

    assert len(plan(seed, WORLDS[name])) == INCIDENTS
    assert verdict.missed == []
    assert len(verdict.false) <= DAYS / 7, verdict.false
    assert verdict.fired <= INCIDENTS * 1.5, "an incident is told of once"


@pytest.mark.parametrize("name", ["minutes", "retries"])
def test_watch_calls_a_quiet_week_quiet(name: str) -> None:
    """The rhythm of the day, bursts, retries and the weekend are no incidents."""
    conditions = Conditions(Rules())
    look = START
    for when, error_type, number in traffic(7, WORLDS[name], []):
        if when > START + 9 * DAY:
            break
        while when >= look:
            conditions.tick(look, look)
            look += 300.0
        conditions.take(Failure(when, error_type, "", "", number), when)

    assert [alert.summary for alert in conditions.ended] == []
