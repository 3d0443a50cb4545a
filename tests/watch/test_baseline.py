"""What is usual is learnt, and how likely a count is is right."""

from __future__ import annotations

import math
import random

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenpak.telemetry.watch.baseline import Baseline, Scatter
from tokenpak.telemetry.watch.chance import upper_tail

HOUR = 3600.0


def exactly(count: int, mean: float, variance: float) -> float:
    """The same by the definition: one minus all that is less."""
    below = 0.0
    for k in range(count):
        if variance - mean <= 1e-6 * mean:
            log = k * math.log(mean) - mean - math.lgamma(k + 1)
        else:
            size = mean * mean / (variance - mean)
            log = math.lgamma(k + size) - math.lgamma(size) - math.lgamma(k + 1)
            log += size * math.log(size / (size + mean))
            log += k * math.log(mean / (size + mean))
        below += math.exp(log)
    return max(0.0, 1.0 - below)


@given(
    count=st.integers(1, 400),
    mean=st.floats(0.25, 200),
    scatter=st.floats(1, 20),
)
def test_watch_the_chance_of_a_count_is_that_of_the_distribution(
    count: int, mean: float, scatter: float
) -> None:
    """Above the mean, where it is asked."""
    chance = upper_tail(count, mean, mean * scatter)

    assert 0.0 <= chance <= 1.0
    if count > mean:
        assert chance == pytest.approx(
            exactly(count, mean, mean * scatter), rel=1e-3, abs=1e-9
        )


def test_watch_the_chance_of_a_huge_count_is_nothing_not_an_error() -> None:
    """A storm of millions is a number like any other."""
    assert upper_tail(10**9, 1.0, 2.0) == 0.0
    assert upper_tail(10**6, 10.0, 10.0) == 0.0
    assert upper_tail(0, 1.0, 1.0) == 1.0


def learn(baseline: Baseline, days: int, rate: float = 20.0) -> float:
    when = 150.0
    while when < days * 24 * HOUR:
        day = 8 * HOUR <= when % (24 * HOUR) < 20 * HOUR
        baseline.learn(when, int(rate) if day else 0)
        when += 300.0
    return when


def test_watch_expects_by_the_time_of_day() -> None:
    """Noon and midnight have different counts."""
    baseline = Baseline(300.0)

    now = learn(baseline, 3)

    assert baseline.expect(now + 12 * HOUR).mean == pytest.approx(20, rel=0.3)
    assert baseline.expect(now + 0.5 * HOUR).mean < 1.0


def test_watch_an_incident_is_not_usual_the_day_after() -> None:
    """What is learnt from is cut off."""
    baseline = Baseline(300.0)
    now = learn(baseline, 3)
    usual = baseline.expect(now + 36 * HOUR).mean

    for step in range(12):
        baseline.learn(now + 12 * HOUR + step * 300.0, 10_000)
    for step in range(12 * 12):  # time for the level to forget
        baseline.learn(now + 20 * HOUR + step * 300.0, 0)

    assert baseline.expect(now + 36.5 * HOUR).mean < 4 * usual


def test_watch_learns_clumps_and_factors_apart() -> None:
    """From counts of which both are known, at rates between 0.1 and 30."""
    draw = random.Random(1)
    scatter = Scatter()
    for number in range(20_000):
        mean = 10 ** draw.uniform(-1, 1.5)
        # A gamma of that mean and of the variance that is to be found.
        variance = mean * (4.0 + 0.25 * mean)
        value = draw.gammavariate(mean**2 / variance, variance / mean)
        scatter.learn(value, mean, 1.0 if number else 0.0)

    assert scatter.variance(1.0) == pytest.approx(4.25, rel=0.25)
    assert scatter.variance(30.0) == pytest.approx(4.0 * 30 + 0.25 * 900, rel=0.25)


def test_watch_counts_that_scatter_as_by_chance_are_taken_for_that() -> None:
    """Never for less, whatever is learnt."""
    scatter = Scatter()
    for _ in range(5_000):
        scatter.learn(10.0, 10.0, 0.99)

    assert scatter.variance(10.0) == pytest.approx(10.0, rel=0.01)


def test_watch_an_incident_that_lasts_does_not_widen_what_is_usual() -> None:
    """A burst that comes alone does: that is how counts scatter there."""

    def widened(*, spikes: bool, restarts: bool) -> float:
        baseline = Baseline(300.0)
        now = learn(baseline, 5)
        before = baseline._scatter.variance(20.0)
        for step in range(24):
            baseline.learn(now + 12 * HOUR + step * 300.0, 10_000, spike=spikes)
            if restarts:  # as for each look of --once
                data = orjson.loads(orjson.dumps(baseline.as_data()))
                baseline = Baseline.from_data(300.0, data)
        return baseline._scatter.variance(20.0) / before

    for restarts in (False, True):
        alone = widened(spikes=False, restarts=restarts)
        lasts = widened(spikes=True, restarts=restarts)
        assert lasts < 1.2
        assert alone > 2 * lasts


def test_watch_a_baseline_survives_as_data() -> None:
    """And damaged data is no baseline."""
    baseline = Baseline(300.0)
    now = learn(baseline, 2)

    again = Baseline.from_data(300.0, baseline.as_data())

    assert again.seen == baseline.seen
    assert Baseline.from_data(300.0, baseline.as_data()[:5]).seen == baseline.seen
    for hours in range(24):
        then = now + hours * HOUR
        assert again.expect(then).mean == pytest.approx(
            baseline.expect(then).mean, 1e-3
        )
    for damaged in (
        [],
        [[0.0] * 3, *baseline.as_data()[1:]],
        [[float("nan")] * 24, *baseline.as_data()[1:]],
        [*baseline.as_data()[:3], [1.0, 0.0], 5],
        [*baseline.as_data()[:4], -1],
        [*baseline.as_data(), True],
    ):
        with pytest.raises((TypeError, ValueError)):
            Baseline.from_data(300.0, damaged)
