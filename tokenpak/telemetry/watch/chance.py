r"""
How likely a count is, where counts scatter more than by chance.

Failures come in bursts.  A Poisson distribution, whose variance is its mean, calls such
bursts impossible, and would alarm each night.  So a count is taken to be negative
binomial: a Poisson whose rate itself varies, with any variance above the mean.

    A. Noufaily et al., An improved algorithm for outbreak detection in multiple
    surveillance systems, Statistics in Medicine 32 (2013)
"""

from __future__ import annotations

import math
from typing import Final

_NEGLIGIBLE: Final = 1e-9
"""Of the sum so far; a term that small changes no decision."""
_NEARLY_POISSON: Final = 1e-6
_MOST_TERMS: Final = 100_000


def upper_tail(count: int, mean: float, variance: float) -> float:
    """
    Return the chance of *count* or more.

    Args:
        count: how many there were.
        mean: how many are expected; more than 0.
        variance: of the expected number; less than the mean counts as the mean.

    """
    if count <= 0:
        return 1.0
    if count <= mean:
        return 1.0  # it is asked only of what is more than usual
    excess = variance - mean
    poisson = excess <= _NEARLY_POISSON * mean
    size = math.inf if poisson else mean * mean / excess
    if poisson:
        log = count * math.log(mean) - mean - math.lgamma(count + 1)
    else:
        log = (
            math.lgamma(count + size)
            - math.lgamma(size)
            - math.lgamma(count + 1)
            - size * math.log1p(mean / size)
            + count * (math.log(mean) - math.log(size + mean))
        )
    # Relative to the first term, which may be smaller than any float.
    term = total = 1.0
    for k in range(count, count + _MOST_TERMS):
        step = mean / (k + 1)
        if not poisson:
            step = (k + size) / (k + 1) * mean / (size + mean)
        term *= step
        total += term
        if term < _NEGLIGIBLE * total:
            break
    return min(1.0, math.exp(min(0.0, log + math.log(total))))


__all__ = ["upper_tail"]
