"""
How many errors of each type this process has logged (M1).

Exact under threads; a forked child starts at zero, so that nothing counts twice.
Counted are calls: also those whose record was sampled away or dropped, because an error
that could not be recorded has happened all the same.
"""

from __future__ import annotations

from typing import Final

from tokenpak.telemetry.counter import Counter

MAX_TYPES: Final = 1_000
OTHER: Final = "other"
"""Where types beyond MAX_TYPES are counted: memory stays bounded (made-up classes)."""


class ErrorCounts:
    """Errors by type.  Any thread; takes no lock."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start at zero: in a forked child."""
        # By class, because that is at hand; classes of one name are added up.
        self._by_class: dict[type, Counter] = {}
        self._other = Counter()

    def add(self, cls: type) -> None:
        """Count an error of class *cls*."""
        counter = self._by_class.get(cls)
        if counter is None:
            if len(self._by_class) >= MAX_TYPES:
                counter = self._other
            else:
                # One step, so that two threads end up with one counter.
                counter = self._by_class.setdefault(cls, Counter())
        counter.add()

    def total(self) -> int:
        """Return how many errors there were."""
        return self._other.value + sum(
            counter.value for counter in list(self._by_class.values())
        )

    def by_type(self) -> dict[str, int]:
        """Return how many errors of each type there were, by the class's name."""
        counts: dict[str, int] = {}
        for cls, counter in list(self._by_class.items()):
            name = type.__dict__["__name__"].__get__(cls)
            counts[name] = counts.get(name, 0) + counter.value
        if self._other.value:
            counts[OTHER] = counts.get(OTHER, 0) + self._other.value
        return counts


__all__ = ["MAX_TYPES", "OTHER", "ErrorCounts"]
