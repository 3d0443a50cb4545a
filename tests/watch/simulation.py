"""
30 days of failures as they come: a daily rhythm, quiet nights, bursts, weekends.

Deterministic for a seed.  What is drawn: the number of failures of each minute and
type (a Poisson whose rate varies from minute to minute, so that counts scatter half
as much again as by chance), and 20 incidents, no two within six hours of each other.
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
EXCESS = 0.5
"""By that much the variance of a minute's count is more than its mean, as a part."""


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


def plan(seed: int) -> list[Incident]:
    """Return the incidents, in order."""
    draw = random.Random(seed)
    length = (DAYS - LEARNT) * DAY / INCIDENTS
    incidents = []
    for number in range(INCIDENTS):
        begin = START + LEARNT * DAY + number * length
        begin += draw.uniform(0, length - 6 * 3600)
        # Twice the usual of that hour on top of it, and at least 3 a minute at night.
        rate = max(3.0, usual_rate(begin) * draw.uniform(2.0, 4.0))
        incidents.append(
            Incident(begin, draw.randint(10, 90), draw.choice(list(TYPES)), rate)
        )
    return incidents


def traffic(seed: int, incidents: list[Incident]) -> Iterator[tuple[float, str]]:
    """Yield time and type of each failure, minute by minute."""
    draw = random.Random(seed + 1_000_000)
    for minute in range(int(DAYS * DAY // 60)):
        begin = START + minute * 60
        rate = usual_rate(begin)
        rate = draw.gammavariate(rate / EXCESS, EXCESS)
        found = [
            (begin + draw.random() * 60, error_type)
            for error_type, share in TYPES.items()
            for _ in range(_poisson(draw, rate * share))
        ]
        for incident in incidents:
            if incident.begin - 60 < begin < incident.begin + incident.minutes * 60:
                for _ in range(_poisson(draw, incident.rate)):
                    when = begin + draw.random() * 60
                    if when >= incident.begin:
                        found.append((when, incident.error_type))
        yield from sorted(found)


def _poisson(draw: random.Random, mean: float) -> int:
    number, limit, product = 0, math.exp(-mean), draw.random()
    while product > limit:
        number += 1
        product *= draw.random()
    return number


__all__ = ["DAY", "DAYS", "INCIDENTS", "START", "Incident", "plan", "traffic"]
