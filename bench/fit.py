"""
Fits: how something grows, as the exponent of a power.

``y = c * x ** e`` is a straight line if both are drawn as logarithms; its slope is the
exponent, found by least squares.  1 is proportional growth, 0 is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def exponent(xs: Sequence[float], ys: Sequence[float]) -> float:
    """
    Return the exponent of the power of *xs* that fits *ys* best.

    Raises:
        ValueError: fewer than two different *xs*, or a value that is not above 0.

    """
    if len(xs) != len(ys) or len(set(xs)) < 2 or min(*xs, *ys) <= 0:
        msg = f"no exponent of {len(xs)} and {len(ys)} values"
        raise ValueError(msg)
    us, vs = [math.log(x) for x in xs], [math.log(y) for y in ys]
    u, v = sum(us) / len(us), sum(vs) / len(vs)
    over = sum((a - u) * (b - v) for a, b in zip(us, vs, strict=True))
    return over / sum((a - u) ** 2 for a in us)


__all__ = ["exponent"]
