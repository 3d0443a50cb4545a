"""Watch: all incidents of 30 days are found in time, and next to nothing else."""

from __future__ import annotations

import pytest

from tokenpak.telemetry.watch.alerts import SPIKE, Alert
from tokenpak.telemetry.watch.conditions import Conditions, Failure
from tokenpak.telemetry.watch.rules import Rules

from .simulation import DAY, DAYS, INCIDENTS, START, plan, traffic

STEP = 150.0
"""Seconds between two looks; the command looks every ten."""


def alerts_of(seed: int, rules: Rules) -> list[tuple[float, Alert]]:
    """Return what fires, and when."""
    conditions = Conditions(rules)
    fired: dict[str, tuple[float, Alert]] = {}
    look = START + STEP
    for when, error_type in traffic(seed, plan(seed)):
        while when >= look:
            conditions.tick(look, look)
            for alert in (*conditions.firing.values(), *conditions.ended):
                fired.setdefault(alert.identity, (look, alert))
            conditions.ended.clear()
            look += STEP
        conditions.take(Failure(when, error_type, "", "", 1), when)
    return list(fired.values())


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3, 11])
def test_watch_finds_20_incidents_of_30_days_and_little_else(seed: int) -> None:
    """Each within two windows; at most one false alarm a week."""
    rules = Rules()
    late = 2 * rules.window

    fired = [item for item in alerts_of(seed, rules) if item[1].name == SPIKE]

    incidents = plan(seed)
    assert len(incidents) == INCIDENTS
    missed = [
        incident
        for incident in incidents
        if not any(incident.begin <= when <= incident.begin + late for when, _ in fired)
    ]
    false = [
        alert
        for when, alert in fired
        if not any(
            incident.begin <= when <= incident.begin + incident.minutes * 60 + late
            for incident in incidents
        )
    ]
    assert missed == []
    assert len(false) <= DAYS / 7, false
    assert len(fired) <= INCIDENTS * 1.5, "an incident is told of once"


def test_watch_calls_a_quiet_week_quiet() -> None:
    """The rhythm of the day, bursts and the weekend are no incidents."""
    conditions = Conditions(Rules())
    look = START
    for when, error_type in traffic(7, []):
        if when > START + 9 * DAY:
            break
        while when >= look:
            conditions.tick(look, look)
            look += 300.0
        conditions.take(Failure(when, error_type, "", "", 1), when)

    assert [alert.summary for alert in conditions.ended] == []
