"""Medians and quantiles are values that were measured."""

from __future__ import annotations

import pytest

from bench.quantiles import Spread, quantile, ratios, spread


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 500), (0.99, 990), (0.999, 999), (1.0, 1000)]
)
def test_a_quantile_is_the_value_of_its_rank(share: float, expected: int) -> None:
    """
    Of 1 to 1,000, in any order, the p99 is 990.
    """
    values = list(range(1000, 0, -1))

    assert quantile(values, share) == expected


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 0.0), ([1.0], 1.1)])
def test_a_quantile_of_nothing_is_refused(values: list[float], share: float) -> None:
    """
    No values, or a share out of range, is an error and not a figure.
    """
    with pytest.raises(ValueError, match="no quantile"):
        quantile(values, share)


def test_a_spread_keeps_the_outliers() -> None:
    """
    The median is not moved by an outlier, and the outlier is still shown.
    """
    assert spread([3.0, 100.0, 1.0]) == Spread(3.0, 1.0, 100.0)


def test_ratios_are_made_round_by_round() -> None:
    """
    Rounds belong together, and a round without its other half is an error.
    """
    assert ratios([10.0, 9.0], [5.0, 3.0]) == [2.0, 3.0]
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])
