"""
What is usual: how many failures a window of this time of day has.

A baseline learns the mean of each hour of the day (UTC), as a moving average over about
a week, and draws straight lines between the middles of the hours, so that nothing jumps
at the hour.  Three things are added to it, for what a plain average gets wrong:

- *level*: when the last two hours had more than the hour's mean, that much more is
  expected now.  (Never less: Monday morning is no incident because Sunday was quiet.)
- *scatter*: by how much counts vary more than by chance, at each level of the rate.
- *doubt*: the mean itself is known from so many windows only.

Counts scatter for two reasons, and both are learnt.  Failures come in clumps (one cause
is retried three times): then the variance is a multiple of the mean (quasi-Poisson).
And the rate of a window is the usual one times something (a slow minute of a provider):
then it grows with the square of the mean (negative binomial), and is largest at the
height of the day.  With a *clump* and a *factor*,

    variance = clump * mean + factor * mean**2

so the squared Pearson residual ``(count - mean)**2 / mean`` has the expectation ``clump
+ factor * mean``: a straight line over the mean, which is fitted through the residuals
of neighbouring windows, that is, against the level of the last two hours, by weighted
least squares.  Its weights fade over a week.

What is learnt from is cut off at three standard deviations above the mean, or an
incident would be usual the day after; a higher level that stays is still learnt, in
some days.  For the scatter it is cut at four, and never below what an incident has at
least, or what comes in clumps where there is usually nothing would never be learnt; and
a spike that lasts, which is an incident, is not learnt from after its first window.

    P. Winters, Forecasting sales by exponentially weighted moving averages,
    Management Science 6 (1960)
    C. Farrington et al., A statistical algorithm for the early detection of outbreaks
    of infectious disease, Journal of the Royal Statistical Society A 159 (1996)
    J. Ver Hoef, P. Boveng, Quasi-Poisson vs. negative binomial regression: how should
    we model overdispersed count data?, Ecology 88 (2007)
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
_CLUMP: Final = 1.5
_FACTOR: Final = 0.1
"""Until they are learnt: a little more than chance."""
_PRIOR_WINDOWS: Final = 24.0
"""As if that had been seen in so many windows..."""
_PRIOR_MEAN: Final = 10.0
"""... of so many failures."""
_MOST_CLUMP: Final = 25.0
_MOST_FACTOR: Final = 1.0
_SCATTER_DAYS: Final = 7.0
_LEAST: Final = 0.25
"""Failures; that few are expected in any window, also where there were never any."""
_ROUGH: Final = 0.15
"""By that much, as a part of it, the mean may be wrong whatever was learnt: days are
not all alike."""
_CUT: Final = 3.0
_CUT_SCATTER: Final = 4.0
_LEAST_LEARNT: Final = 0.01
"""Failures; a residual is divided by the mean, which may be 0."""


class Expected(NamedTuple):
    """What a window should hold."""

    mean: float
    variance: float


class Scatter:
    """How much counts vary around what is expected: clump and factor, see above."""

    __slots__ = ("_clump", "_factor", "_sums")

    def __init__(self) -> None:
        weight = _PRIOR_WINDOWS / (_CLUMP + _FACTOR * _PRIOR_MEAN) ** 2
        self._sums = [
            weight,
            0.0,
            weight * _PRIOR_MEAN**2,
            weight * _CLUMP,
            weight * _PRIOR_MEAN**2 * _FACTOR,
        ]
        """Weighted sums of 1, mean, mean**2, residual, and residual * mean.  What they
        begin with draws the line to the values until there is something to fit."""
        self._clump, self._factor = _CLUMP, _FACTOR

    def variance(self, mean: float) -> float:
        """Return the variance of a count of which *mean* is expected."""
        return mean * (self._clump + self._factor * mean)

    def learn(self, value: float, mean: float, keep: float) -> None:
        """
        Take *value*, where *mean* was expected, as an example.

        Args:
            value: the count, without what is an incident's.
            mean: more than 0.
            keep: by that much what was learnt before is faded.

        """
        residual = (value - mean) ** 2 / mean
        # By how much a residual varies: as the square of a count of that variance does,
        # and where counts are mostly zero, as its fourth cumulant.
        scale = self._clump + self._factor * mean
        weight = 1.0 / (scale**2 * (1.0 + scale / mean))
        new = (1.0, mean, mean * mean, residual, residual * mean)
        self._sums = [
            before * keep + weight * term
            for before, term in zip(self._sums, new, strict=True)
        ]
        self._fit()

    def _fit(self) -> None:
        n, m, mm, r, rm = self._sums
        level = n * mm - m * m
        clump = factor = 0.0
        if level > 1e-9 * n * mm:
            clump, factor = (r * mm - rm * m) / level, (rm * n - r * m) / level
        else:  # all means are alike
            clump = r / n
        # Neither is less than chance has; then the other explains all.
        if factor < 0.0:
            clump, factor = r / n, 0.0
        if clump < 1.0:
            clump, factor = 1.0, max(0.0, (rm - m) / mm)
        self._clump = min(clump, _MOST_CLUMP)
        self._factor = min(factor, _MOST_FACTOR)

    def as_data(self) -> list[float]:
        """Return what from_data() takes, of what JSON knows."""
        return [*_short(self._sums), *_short([self._clump, self._factor])]

    @classmethod
    def from_data(cls, data: Any) -> Scatter:
        """
        Return the scatter that as_data() gave *data* of.

        Raises:
            TypeError, ValueError: it did not.

        """
        made = cls()
        *sums, clump, factor = _numbers(data, 7)
        if sums[0] <= 0.0 or sums[2] <= 0.0 or clump < 1.0:
            raise ValueError("no scatter")
        made._sums, made._clump, made._factor = sums, clump, factor
        return made


class Baseline:
    """
    The usual counts of one series.

    Args:
        window: seconds that one count is of; at most an hour.
        never: fewer than that are never an incident, and always learnt from.

    """

    __slots__ = (
        "_level",
        "_means",
        "_never",
        "_scatter",
        "_seen",
        "_spiked",
        "_weights",
        "_window",
    )

    def __init__(self, window: float, never: int = 10) -> None:
        self._window = window
        self._never = never
        self._means = [0.0] * HOURS
        self._weights = [0.0] * HOURS
        self._level = [0.0, 0.0]
        """What was counted and what was expected lately, fading."""
        self._scatter = Scatter()
        self._seen = 0
        self._spiked = False

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

    @property
    def lately(self) -> float:
        """How many there were in the last two hours, about."""
        return self._level[0]

    def expect(self, middle: float) -> Expected:
        """
        Return what is usual.

        Args:
            middle: of the window, in seconds since the epoch.

        """
        raw, weight = self._shifted(middle)
        mean = max(_LEAST, raw)
        # What is added for where there was never any is not retried, and has no factor.
        scatter = self._scatter.variance(raw) + mean - raw
        spread = scatter * (1.0 + 1.0 / max(1.0, weight))
        return Expected(mean, spread + (_ROUGH * mean) ** 2)

    def _shifted(self, middle: float) -> tuple[float, float]:
        """Return what _season() does, by the level of the last hours."""
        mean, weight = self._season(middle)
        counted, expected = self._level
        level = (counted + _LEVEL_PRIOR) / (expected + _LEVEL_PRIOR)
        return mean * min(_MOST_LEVEL, max(_LEAST_LEVEL, level)), weight

    def learn(self, middle: float, count: int, *, spike: bool = False) -> None:
        """
        Take *count* of a window as an example of what is usual.

        Args:
            middle: of the window, in seconds since the epoch.
            count: of it.
            spike: whether it was called one.  If the window before was, too, it lasts,
                and is an incident; a burst that comes alone shows how counts scatter.

        """
        mean, weight = self._season(middle)
        shifted, _ = self._shifted(middle)
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
        lasts, self._spiked = spike and self._spiked, spike
        if self._seen >= 3600.0 / self._window * HOURS and not lasts:
            # Only from the second day on is there something to be off from.
            keep = math.exp(-self._window / (3600.0 * HOURS * _SCATTER_DAYS))
            most = expected.mean + _CUT_SCATTER * math.sqrt(expected.variance)
            scattered = min(float(count), max(most, self._never))
            self._scatter.learn(scattered, max(_LEAST_LEARNT, shifted), keep)
        self._seen += 1

    def begin_like(self, other: Baseline) -> None:
        """Take it that there was nothing in all windows that *other* has learnt."""
        self._weights = list(other._weights)
        self._seen = other._seen

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
            self._scatter.as_data(),
            self._seen,
            # Each look of --once is a restart: what lasts must be known to.
            self._spiked,
        ]

    @classmethod
    def from_data(cls, window: float, data: Any, never: int = 10) -> Baseline:
        """
        Return the baseline that as_data() gave *data* of.

        Raises:
            TypeError, ValueError: it did not.

        """
        made = cls(window, never)
        means, weights, level, scatter, seen, *spiked = data
        made._means = _numbers(means, HOURS)
        made._weights = _numbers(weights, HOURS)
        made._level = _numbers(level, 2)
        made._scatter = Scatter.from_data(scatter)
        if type(seen) is not int or seen < 0 or len(spiked) > 1:
            raise ValueError("no baseline")
        made._seen = seen
        made._spiked = spiked == [True]  # an older state does not tell
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


__all__ = ["HOURS", "Baseline", "Expected", "Scatter"]
