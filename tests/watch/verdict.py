"""
How many incidents a watch misses and how often it is wrong, in each world.

    python -m tests.watch.verdict FIRST LAST [WORLD ...]

prints a line for each world, of the seeds FIRST to LAST.  What was tuned was tuned on
the seeds 100 to 109.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

from tokenpak.telemetry.watch.alerts import SPIKE, Alert
from tokenpak.telemetry.watch.conditions import Conditions, Failure
from tokenpak.telemetry.watch.rules import Rules

from .simulation import (
    DAY,
    DAYS,
    START,
    WORLDS,
    Incident,
    World,
    plan,
    traffic,
)

GRACE = 5.0
"""As in the command: a window is judged when what is on its way has arrived."""


class Verdict(NamedTuple):
    """What came of 30 days."""

    missed: list[Incident]
    """Not found within two windows."""
    false: list[Alert]
    fired: int


def looks(incidents: list[Incident], late: float) -> list[float]:
    """
    Return when is looked: after each window, in its middle, and when time is over.

    The command looks every ten seconds.  Counts of a window only grow, so what it finds
    between two of these looks is found at the next of them, too.
    """
    windows = range(int(DAYS * DAY // 300))
    return sorted(
        [START + 300.0 * window + GRACE + 1 for window in windows]
        + [START + 300.0 * window + 150.0 for window in windows]
        + [incident.begin + late - GRACE for incident in incidents]
    )


def judge(seed: int, world: World) -> Verdict:
    """Watch 30 days of *world*."""
    rules = Rules()
    late = 2 * rules.window
    incidents = plan(seed, world)
    conditions = Conditions(rules)
    fired: dict[str, tuple[float, Alert]] = {}
    left = iter(looks(incidents, late))
    look = next(left)
    for when, error_type, number in traffic(seed, world, incidents):
        while when >= look:
            conditions.tick(look - GRACE, look)
            for alert in (*conditions.firing.values(), *conditions.ended):
                if alert.name == SPIKE:
                    fired.setdefault(alert.identity, (look, alert))
            conditions.ended.clear()
            look = next(left, float("inf"))
        conditions.take(Failure(when, error_type, "", "", number), when)
    times = [(when, alert) for when, alert in fired.values()]
    return Verdict(
        [
            of
            for of in incidents
            if not any(of.begin <= when <= of.begin + late for when, _ in times)
        ],
        [
            alert
            for when, alert in times
            if not any(
                of.begin <= when <= of.begin + of.minutes * 60 + late
                for of in incidents
            )
        ],
        len(times),
    )


def main(first: int, last: int, names: list[str]) -> None:
    """Print the verdicts."""
    for name in names or WORLDS:
        verdicts = [judge(seed, WORLDS[name]) for seed in range(first, last + 1)]
        missed = [len(verdict.missed) for verdict in verdicts]
        false = [len(verdict.false) for verdict in verdicts]
        weeks = DAYS / 7
        print(
            f"{name}: missed {sum(missed)} of {20 * len(missed)} {missed}, "
            f"false alarms a week {sum(false) / weeks / len(false):.2f}, "
            f"at most {max(false) / weeks:.2f} {false}",
            flush=True,
        )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])


__all__ = ["Verdict", "judge"]
