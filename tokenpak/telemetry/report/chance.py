r"""
Whether a count rose by more than chance.

Two counts from windows of equal length, *before* and *now*: if both had the same rate,
each of the n = before + now failures would be in either window like the toss of a coin.
So the chance of *now* or more is the tail of a binomial distribution with p = 1/2.  It
is exact, for small counts too.

    J. Przyborowski and H. Wilenski, Homogeneity of results in testing samples from
    Poisson series, Biometrika 31 (1940)

Failures come in bursts, and then counts scatter more than that.  How much more is
estimated from the window before, its dispersion (variance over mean of its slots), and
both counts are divided by it, as in a quasi-Poisson model: what was always bursty must
rise by more.  The window now is left out: the rise itself would count as noise.

    P. McCullagh and J. Nelder, Generalized Linear Models, 2nd ed. (1989), 6.2

Of a hundred counts that are looked at, five would be found by chance at 5 %.  So the
chances are corrected for their number: of what is reported, 5 % are expected to be
noise, whatever the number.

    Y. Benjamini and Y. Hochberg, Controlling the false discovery rate, Journal of the
    Royal Statistical Society B 57 (1995)
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_LN2: Final = math.log(2)
_NEGLIGIBLE: Final = 1e-18
_MANY: Final = 10**7
"""Tosses from which on the sum has too many terms, and is as good as the normal one."""
_FAR: Final = 40
"""Standard deviations beyond which a float holds no chance."""


def chance_of(now: int, before: int, dispersion: float = 1.0) -> float:
    """
    Return the chance of *now* or more, if the rate is still that of *before*.

    Args:
        now: how many there were in the window.
        before: how many in the one before, of the same length.
        dispersion: how much more than chance the counts scatter; at least 1.

    """
    scale = max(1.0, dispersion)
    if scale > 1.0:
        # As a fraction: a count may be more than a float holds.
        exact = Fraction(scale)
        now, before = math.floor(now / exact), math.ceil(before / exact)
    return binomial_tail(now, now + before)


def binomial_tail(least: int, n: int) -> float:
    """Return the chance of *least* heads or more in *n* tosses of a fair coin."""
    if least <= 0:
        return 1.0
    if least > n:
        return 0.0
    if 2 * least <= n:
        # The sum has its largest terms there; the other tail is the shorter one.
        return max(0.0, 1.0 - binomial_tail(n - least + 1, n))
    if n >= _MANY:
        return _normal_tail(least, n)
    log = math.lgamma(n + 1) - math.lgamma(least + 1) - math.lgamma(n - least + 1)
    first = math.exp(log - n * _LN2)
    term, total = 1.0, 1.0
    for k in range(least, n):
        term *= (n - k) / (k + 1)
        total += term
        if term < _NEGLIGIBLE:
            break
    return min(1.0, first * total)


def _normal_tail(least: int, n: int) -> float:
    """Do the same for a large *n*, in integers as far as they may be too large."""
    # Twice the distance from the mean, and twice the standard deviation.
    distance, sigmas = 2 * least - 1 - n, max(1, math.isqrt(n))
    if distance > _FAR * sigmas:
        return 0.0
    return 0.5 * math.erfc(distance / sigmas / math.sqrt(2))


def adjusted(chances: Sequence[float]) -> list[float]:
    """
    Return *chances* corrected for their number, in the same order.

    What is at most q then is what Benjamini and Hochberg's procedure finds at q.
    """
    count = len(chances)
    order = sorted(range(count), key=lambda i: chances[i], reverse=True)
    result = [1.0] * count
    least = 1.0
    for rank, i in enumerate(order):
        least = min(least, chances[i] * count / (count - rank))
        result[i] = least
    return result


def dispersion_of(counts: Sequence[int]) -> float:
    """Return variance over mean of *counts*; 1, as by chance, for less than two."""
    total = sum(counts)
    if len(counts) < 2 or total == 0:
        return 1.0
    mean = total / len(counts)
    return sum((count - mean) ** 2 for count in counts) / mean / (len(counts) - 1)


__all__ = ["adjusted", "binomial_tail", "chance_of", "dispersion_of"]
