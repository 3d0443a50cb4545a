"""
30 days of failures as they come: a daily rhythm, quiet nights, bursts, weekends.

Deterministic for a seed.  What is drawn: the number of failures of each minute and
type, in one of several *worlds*, which differ in how counts scatter; and 20 incidents,
no two within six hours of each other.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import NamedTuple

DAY = 86_400.0
START = 20_000 * DAY  # a Friday
DAYS = 30
INCIDENTS = 20
LEARNT = 2
"""Days before the first incident."""

TYPES = {
    "RateLimitError": 0.45,
    "TimeoutError": 0.25,
    "ConnectionError": 0.15,
    "BadRequestError": 0.1,
    "KeyError": 0.05,
}


class World(NamedTuple):
    """How counts scatter."""

    name: str
    minute: float = 0.0
    """By that much the variance of a minute's rate is more than its mean, as a part."""
    factor: str = ""
    """``gamma`` or ``lognormal``: each window's rate is multiplied by such a one..."""
    variation: float = 0.5
    """... whose mean is 1, and whose standard deviation is this."""
    minutes: int = 5
    """How long a factor holds."""
    shared: bool = True
    """Whether all types have the same factor."""
    clump: int = 1
    """Each cause makes 1 to that many failures at once, in incidents, too."""

    @property
    def mean_clump(self) -> float:
        """Failures that a cause makes."""
        return (1 + self.clump) / 2


WORLDS = {
    world.name: world
    for world in (
        World("minutes", minute=0.5),
        World("gamma", factor="gamma"),
        World("lognormal", factor="lognormal"),
        World("each its own", factor="gamma", shared=False),
        World("three minutes", factor="gamma", minutes=3),
        World("retries", clump=5),
        World("both", factor="gamma", variation=0.4, clump=5),
    )
}


class Incident(NamedTuple):
    """Something breaks."""

    begin: float
    """Seconds since the epoch."""
    minutes: int
    error_type: str
    rate: float
    """Failures a minute, on top of the usual."""


def usual_rate(when: float) -> float:
    """Return the usual failures a minute: 8 at the height of a working day."""
    hour = when / 3600 % 24
    wave = 0.5 - 0.5 * math.cos((hour - 3) / 24 * 2 * math.pi)  # least at 3, most at 15
    weekday = int(when // DAY + 3) % 7
    return (0.1 + 7.9 * wave**2) * (0.4 if weekday >= 5 else 1.0)


def plan(seed: int, world: World) -> list[Incident]:
    """Return the incidents, in order."""
    draw = random.Random(seed)
    length = (DAYS - LEARNT) * DAY / INCIDENTS
    incidents = []
    for number in range(INCIDENTS):
        begin = START + LEARNT * DAY + number * length
        begin += draw.uniform(0, length - 6 * 3600)
        # Twice the usual of that hour on top of it, and at least 3 calls a minute.
        least = 3.0 * world.mean_clump
        rate = max(least, usual_rate(begin) * draw.uniform(2.0, 4.0))
        incidents.append(
            Incident(begin, draw.randint(10, 90), draw.choice(list(TYPES)), rate)
        )
    return incidents


def traffic(
    seed: int, world: World, incidents: list[Incident]
) -> Iterator[tuple[float, str, int]]:
    """
    Yield time, type and number of failures, in order but for those of one minute.

    Those of a minute and type come together, but for an incident's.
    """
    draw = random.Random(seed + 1_000_000)
    factors = dict.fromkeys(TYPES, 1.0)
    for minute in range(int(DAYS * DAY // 60)):
        begin = START + minute * 60
        rate = usual_rate(begin)
        if world.factor and minute % world.minutes == 0:
            factors = dict.fromkeys(TYPES, _factor(draw, world))
            if not world.shared:
                factors = {error_type: _factor(draw, world) for error_type in TYPES}
        if world.minute:
            rate = draw.gammavariate(rate / world.minute, world.minute)
        for error_type, share in TYPES.items():
            mean = rate * share * factors[error_type]
            number = _failures(draw, world, mean)
            if number:
                yield begin + draw.random() * 60, error_type, number
        for incident in incidents:
            if incident.begin - 60 < begin < incident.begin + incident.minutes * 60:
                since = max(incident.begin, begin)
                part = begin + 60 - since
                causes = _poisson(draw, incident.rate * part / 60 / world.mean_clump)
                times = sorted(since + draw.random() * part for _ in range(causes))
                for when in times:
                    yield when, incident.error_type, _clump(draw, world)


def _factor(draw: random.Random, world: World) -> float:
    variance = world.variation**2
    if world.factor == "gamma":
        return draw.gammavariate(1 / variance, variance)
    scale = math.log1p(variance)
    return draw.lognormvariate(-scale / 2, math.sqrt(scale))


def _failures(draw: random.Random, world: World, mean: float) -> int:
    causes = _poisson(draw, mean / world.mean_clump)
    return sum(_clump(draw, world) for _ in range(causes))


def _clump(draw: random.Random, world: World) -> int:
    return draw.randint(1, world.clump) if world.clump > 1 else 1


def _poisson(draw: random.Random, mean: float) -> int:
    number, limit, product = 0, math.exp(-mean), draw.random()
    while product > limit:
        number += 1
        product *= draw.random()
    return number


__all__ = [
    "DAY",
    "DAYS",
    "INCIDENTS",
    "START",
    "WORLDS",
    "Incident",
    "World",
    "plan",
    "traffic",
]
