"""The statistics are those of the books."""

from __future__ import annotations

import math
from fractions import Fraction
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenpak.telemetry.report.chance import (
    adjusted,
    binomial_tail,
    chance_of,
    dispersion_of,
)


def exactly(least: int, n: int) -> float:
    return float(Fraction(sum(comb(n, k) for k in range(least, n + 1)), 2**n))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_tail_of_the_binomial_distribution_is_exact(case: tuple[int, int]) -> None:
    """Against sums of fractions."""
    least, n = case

    assert binomial_tail(least, n) == pytest.approx(exactly(least, n), rel=1e-9)


def test_known_values_of_the_binomial_test() -> None:
    """As in tables of it: one-sided, p = 1/2; for a million, as of the normal one."""
    assert binomial_tail(8, 10) == pytest.approx(0.0546875)
    assert binomial_tail(15, 20) == pytest.approx(0.02069473, abs=1e-8)
    assert binomial_tail(500_500, 1_000_000) == pytest.approx(0.158897, abs=1e-6)
    assert binomial_tail(0, 0) == 1.0
    assert binomial_tail(3, 2) == 0.0


@pytest.mark.parametrize("n", [10**7 - 1, 10**7, 10**9, 10**12, 2**63, 10**400])
def test_r2_numbers_of_any_size_are_judged_at_once(n: int) -> None:
    """By the normal distribution, where it is the same; a log can claim any number."""
    sigma = math.isqrt(n) // 2
    assert binomial_tail(n // 2 + 3 * sigma, n) == pytest.approx(0.00135, rel=0.01)
    assert binomial_tail(n // 2 - 3 * sigma, n) == pytest.approx(0.99865, rel=0.01)
    assert binomial_tail(n, n) == 0.0
    assert chance_of(n, n) == pytest.approx(0.5, rel=0.001)
    assert chance_of(n, 0, 2.5) == 0.0


def test_the_correction_is_that_of_benjamini_and_hochberg() -> None:
    """The fifteen values of their paper: at 5 %, the first four are found."""
    values = [
        *(0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344),
        *(0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0),
    ]

    corrected = adjusted(values)

    assert [value <= 0.05 for value in corrected] == [True] * 4 + [False] * 11
    assert corrected[0] == pytest.approx(0.0015)
    assert corrected[3] == pytest.approx(0.0095 * 15 / 4)
    assert adjusted(list(reversed(values))) == list(reversed(corrected))
    assert adjusted([]) == []


def test_what_was_always_bursty_must_rise_by_more() -> None:
    """Counts are divided by how much they scattered before."""
    calm, bursty = [10] * 24, [0] * 22 + [120, 120]

    assert dispersion_of(calm) == 0.0
    assert dispersion_of(bursty) > 100
    assert dispersion_of([]) == dispersion_of([5]) == dispersion_of([0, 0]) == 1.0
    assert chance_of(300, 240, dispersion_of(calm)) < 0.01
    assert chance_of(300, 240, dispersion_of(bursty)) > 0.2


def test_what_has_not_risen_has_no_small_chance() -> None:
    """Nothing at all, the same, and less."""
    assert chance_of(0, 0) == 1.0
    assert chance_of(0, 100) == 1.0
    assert chance_of(50, 50) > 0.5
