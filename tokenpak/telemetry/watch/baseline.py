"""
What is usual: how many failures a window of this time of day has.

A baseline learns the mean of each hour of the day (UTC), as a moving average over about
a week, and draws straight lines between the middles of the hours, so that nothing jumps
at the hour.  Three things are added to it, for what a plain average gets wrong:

- *level*: when the last two hours had more than the hour's mean, that much more is
  expected now.  (Never less: Monday morning is no incident because Sunday was quiet.)
- *dispersion*: by how much counts scatter more than by chance, learnt from how far off
  the expectations were.
- *doubt*: the mean itself is known from so many windows only.

What is learnt from is cut off at three standard deviations above the mean, or an
incident would be usual the day after; a higher level that stays is still learnt, in
some days.

    P. Winters, Forecasting sales by exponentially weighted moving averages,
    Management Science 6 (1960)
    C. Farrington et al., A statistical algorithm for the early detection of outbreaks
    of infectious disease, Journal of the Royal Statistical Society A 159 (1996)
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

HOURS: Final = 24
_DAYS: Final = 7
"""So many are remembered."""
_LEVEL_HOURS: Final = 2.0
_LEVEL_PRIOR: Final = 10.0
"""Failures; with fewer in the last hours, they say little of the level."""
_LEAST_LEVEL: Final = 0.4
_MOST_LEVEL: Final = 4.0
_DISPERSION: Final = 1.5
"""Until it is learnt, of as many windows as this: a little more than chance."""
_DISPERSION_WINDOWS: Final = 24.0
_MOST_DISPERSION: Final = 25.0
_LEAST: Final = 0.25
"""Failures; that few are expected in any window, also where there were never any."""
_ROUGH: Final = 0.15
"""By that much, as a part of it, the mean may be wrong whatever was learnt: days are
not all alike."""
_CUT: Final = 3.0


class Expected(NamedTuple):
    """What a window should hold."""

    mean: float
    variance: float


class Baseline:
    """
    The usual counts of one series.

    Args:
        window: seconds that one count is of; at most an hour.

    """

    __slots__ = ("_deviations", "_level", "_means", "_seen", "_weights", "_window")

    def __init__(self, window: float) -> None:
        self._window = window
        self._means = [0.0] * HOURS
        self._weights = [0.0] * HOURS
        self._level = [0.0, 0.0]
        """What was counted and what was expected lately, fading."""
        self._deviations = [_DISPERSION * _DISPERSION_WINDOWS, _DISPERSION_WINDOWS]
        self._seen = 0

    @property
    def seen(self) -> int:
        """How many windows were learnt."""
        return self._seen

    @property
    def usual(self) -> float:
        """The mean of all hours: how much of the memory it is worth."""
        weight = sum(self._weights)
        both = zip(self._means, self._weights, strict=True)
        return sum(mean * of for mean, of in both) / weight if weight else 0.0

    def expect(self, middle: float) -> Expected:
        """
        Return what is usual.

        Args:
            middle: of the window, in seconds since the epoch.

        """
        mean, weight = self._season(middle)
        counted, expected = self._level
        level = (counted + _LEVEL_PRIOR) / (expected + _LEVEL_PRIOR)
        mean = max(_LEAST, mean * min(_MOST_LEVEL, max(_LEAST_LEVEL, level)))
        spread = self._dispersion() * mean * (1.0 + 1.0 / max(1.0, weight))
        return Expected(mean, spread + (_ROUGH * mean) ** 2)

    def learn(self, middle: float, count: int) -> None:
        """Take *count* of a window as an example of what is usual."""
        mean, weight = self._season(middle)
        expected = self.expect(middle)
        value = float(count)
        if weight >= 1.0:
            value = min(value, expected.mean + _CUT * math.sqrt(expected.variance))
        hour = int(middle // 3600) % HOURS
        limit = 3600.0 / self._window * _DAYS
        weight = min(self._weights[hour] + 1.0, limit)
        self._weights[hour] = weight
        self._means[hour] += (value - self._means[hour]) / weight
        keep = math.exp(-self._window / (3600.0 * _LEVEL_HOURS))
        self._level[0] = self._level[0] * keep + value
        self._level[1] = self._level[1] * keep + max(mean, 0.0)
        if self._seen >= 3600.0 / self._window * HOURS:
            # Only from the second day on is there something to be off from.
            keep = math.exp(-self._window / (3600.0 * HOURS * 2))
            off = (value - expected.mean) ** 2 / expected.mean
            self._deviations[0] = self._deviations[0] * keep + off
            self._deviations[1] = self._deviations[1] * keep + 1.0
        self._seen += 1

    def begin_like(self, other: Baseline) -> None:
        """Take it that there was nothing in all windows that *other* has learnt."""
        self._weights = list(other._weights)
        self._seen = other._seen

    def _dispersion(self) -> float:
        off, windows = self._deviations
        return min(_MOST_DISPERSION, max(1.0, off / windows))

    def _season(self, middle: float) -> tuple[float, float]:
        """Return the mean of that time of day, and of how many windows it is."""
        at = middle / 3600.0 - 0.5
        hour = math.floor(at)
        part = at - hour
        mean = weight = total = 0.0
        for index, share in ((hour, 1.0 - part), (hour + 1, part)):
            known = self._weights[index % HOURS]
            if known > 0.0 and share > 0.0:
                mean += self._means[index % HOURS] * share
                weight += known * share
                total += share
        if total == 0.0:
            return self.usual, 0.0
        return mean / total, weight

    def as_data(self) -> list[Any]:
        """Return what from_data() takes, of what JSON knows."""
        return [
            _short(self._means),
            _short(self._weights),
            _short(self._level),
            _short(self._deviations),
            self._seen,
        ]

    @classmethod
    def from_data(cls, window: float, data: Any) -> Baseline:
        """
        Return the baseline that as_data() gave *data* of.

        Raises:
            TypeError, ValueError: it did not.

        """
        made = cls(window)
        means, weights, level, deviations, seen = data
        made._means = _numbers(means, HOURS)
        made._weights = _numbers(weights, HOURS)
        made._level = _numbers(level, 2)
        made._deviations = _numbers(deviations, 2)
        if made._deviations[1] <= 0.0 or type(seen) is not int or seen < 0:
            raise ValueError("no baseline")
        made._seen = seen
        return made


def _short(numbers: list[float]) -> list[float]:
    return [float(f"{number:.5g}") for number in numbers]


def _numbers(data: Any, length: int) -> list[float]:
    numbers = [float(number) for number in data]
    if len(numbers) != length or not all(
        math.isfinite(number) and number >= 0.0 for number in numbers
    ):
        raise ValueError("no baseline")
    return numbers


__all__ = ["HOURS", "Baseline", "Expected"]
