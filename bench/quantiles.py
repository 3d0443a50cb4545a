"""
Medians, quantiles and spreads: the little arithmetic that the tables need.

A quantile is always a value that was measured (nearest rank), never one between two:
a p99.9 that nobody waited for would say nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some rounds, with the lowest and the highest."""

    median: float
    low: float
    high: float


def quantile(values: Sequence[float], share: float) -> float:
    """
    Return the smallest of *values* that *share* of them do not exceed.

    Args:
        values: at least one, in any order.
        share: above 0 and up to 1; 0.5 gives the (lower) median.

    Raises:
        ValueError: there are no values, or *share* is out of range.

    """
    if not values or not 0 < share <= 1:
        msg = f"no quantile {share} of {len(values)} values"
        raise ValueError(msg)
    return sorted(values)[math.ceil(share * len(values)) - 1]


def spread(values: Iterable[float]) -> Spread:
    """Return median, lowest and highest of *values*; ValueError if there are none."""
    rounds = list(values)
    return Spread(quantile(rounds, 0.5), min(rounds), max(rounds))


def ratios(above: Iterable[float], below: Iterable[float]) -> list[float]:
    """Return ``above / below`` round by round, which must be equally many."""
    return [a / b for a, b in zip(above, below, strict=True)]


__all__ = ["Spread", "quantile", "ratios", "spread"]
