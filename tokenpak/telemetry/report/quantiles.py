"""
Quantiles of numbers that come one by one, in bounded memory.

Up to EXACT numbers are kept, and their quantiles are exact (linear between neighbours).
Beyond that they are counted in buckets whose bounds grow by a constant factor, so that
a quantile is off by at most 1 % of itself, however the numbers are distributed; two
such counts add up to that of all numbers.

    C. Masson, J. E. Rim and H. K. Lee, DDSketch: a fast and fully-mergeable quantile
    sketch with relative-error guarantees, VLDB 12 (2019)

What is below LEAST counts as 0, what is above MOST is not taken, so there are at most
some 3,000 buckets.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

EXACT: Final = 1_000
"""Numbers that are kept."""
ERROR: Final = 0.01
"""The relative error beyond that."""
LEAST: Final = 1e-9
MOST: Final = 1e15
_GROWTH: Final = (1 + ERROR) / (1 - ERROR)
_SCALE: Final = 1 / math.log(_GROWTH)
_ZERO: Final = -(10**6)


class Values:
    """Numbers from 0 to MOST."""

    __slots__ = ("buckets", "kept", "largest", "total")

    def __init__(self) -> None:
        self.kept: list[float] = []
        """Not yet in buckets.  Append here, and fold() now and then."""
        self.buckets: Counter[int] = Counter()
        self.total = 0.0
        """The sum of what is in buckets."""
        self.largest = 0.0

    def fold(self, *, all_of_them: bool = False) -> None:
        """Count in buckets what is kept, if there are too many."""
        if not self.kept or not (all_of_them or len(self.kept) > EXACT):
            return
        self.total += math.fsum(self.kept)
        self.largest = max(self.largest, *self.kept)
        log, ceil = math.log, math.ceil
        self.buckets.update(
            [
                ceil(log(value) * _SCALE) if value >= LEAST else _ZERO
                for value in self.kept
            ]
        )
        self.kept.clear()

    def add_all(self, other: Values) -> None:
        """Take the numbers of *other*, too."""
        self.kept += other.kept
        self.buckets.update(other.buckets)
        self.total += other.total
        self.largest = max(self.largest, other.largest)
        self.fold(all_of_them=bool(self.buckets))

    @property
    def count(self) -> int:
        """How many numbers there are."""
        return len(self.kept) + sum(self.buckets.values())

    @property
    def sum(self) -> float:
        """Their sum."""
        return self.total + math.fsum(self.kept)

    @property
    def exact(self) -> bool:
        """Whether quantiles are; else they are off by at most ERROR of themselves."""
        return not self.buckets

    def quantile(self, q: float) -> float | None:
        """Return the number below which the part *q* of all is; None: there is none."""
        if not self.buckets:
            return _exact(self.kept, q)
        self.fold(all_of_them=True)
        rank = q * (self.count - 1)
        seen = 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen > rank:
                break
        if bucket == _ZERO:
            return 0.0
        return min(self.largest, math.exp(bucket / _SCALE) * 2 / (_GROWTH + 1))


def _exact(values: list[float], q: float) -> float | None:
    if not values:
        return None
    ordered = sorted(values)
    below, part = divmod(q * (len(ordered) - 1), 1)
    low = ordered[int(below)]
    high = ordered[min(int(below) + 1, len(ordered) - 1)]
    return low + (high - low) * part


__all__ = ["ERROR", "EXACT", "LEAST", "MOST", "Values"]
