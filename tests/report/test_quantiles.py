"""Quantiles: exact while there are few numbers, then off by a stated error."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenpak.telemetry.report.quantiles import ERROR, EXACT, Values

NUMBERS = st.lists(st.floats(0, 1e15), min_size=2, max_size=60)


def values_of(numbers: list[float]) -> Values:
    values = Values()
    values.kept += numbers
    values.fold()
    return values


@settings(max_examples=100, deadline=None)
@given(NUMBERS)
def test_few_numbers_have_exact_quantiles(numbers: list[float]) -> None:
    """Those of the standard library."""
    values = values_of(numbers)

    assert values.exact
    cuts = statistics.quantiles(numbers, n=20, method="inclusive")
    assert values.quantile(0.5) == pytest.approx(cuts[9])
    assert values.quantile(0.95) == pytest.approx(cuts[18])
    assert values.sum == pytest.approx(sum(numbers))


@settings(max_examples=60, deadline=None)
@given(NUMBERS, st.sampled_from([0.0, 0.5, 0.95, 1.0]))
def test_a_bucket_is_off_by_at_most_the_stated_error(
    numbers: list[float], q: float
) -> None:
    """Of the number at that rank, whatever the numbers are."""
    values = values_of(numbers)
    values.fold(all_of_them=True)

    found = values.quantile(q)

    true = sorted(numbers)[int(q * (len(numbers) - 1))]
    assert found is not None
    assert abs(found - true) <= ERROR * true * 1.000001 + 1e-9


def test_r2_a_million_numbers_are_kept_in_little() -> None:
    """So many as are exact, or some thousand buckets; parts add up to the whole."""
    dice = random.Random(1)
    numbers = [dice.lognormvariate(6, 3) for _ in range(20_000)]
    whole, parts = Values(), Values()

    for at in range(0, len(numbers), 500):
        whole.kept += numbers[at : at + 500]
        whole.fold()
        parts.add_all(values_of(numbers[at : at + 500]))

    assert len(whole.kept) <= EXACT
    assert len(whole.buckets) < 3_000
    assert whole.count == parts.count == 20_000
    assert parts.quantile(0.5) == pytest.approx(whole.quantile(0.5))
    assert whole.quantile(0.95) == pytest.approx(
        statistics.quantiles(numbers, n=20)[18], rel=0.02
    )
    assert whole.sum == pytest.approx(sum(numbers))


def test_no_number_has_no_quantile() -> None:
    """And a sum of zero."""
    values = Values()

    assert (values.quantile(0.5), values.count, values.sum) == (None, 0, 0)
