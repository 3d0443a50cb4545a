"""
How many errors of each type this process has logged (M1).

Exact under threads; a forked child starts at zero, so that nothing counts twice.
Counted are calls: also those whose record was sampled away or dropped, because an error
that could not be recorded has happened all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

from tokenpak.telemetry.counter import Counter

MAX_TYPES: Final = 1_000
OTHER: Final = "other"
"""Where types beyond MAX_TYPES are counted: memory stays bounded (made-up classes)."""


class ErrorCounts:
    """Errors by type.  Any thread; takes no lock."""

    def __init__(self) -> None:
        self.known: dict[type, Callable[[], int]] = {}
        """What counts an error of a class, for the hot path; else there is add()."""
        self.reset()

    def reset(self) -> None:
        """Start at zero: in a forked child."""
        # By class, because that is at hand; classes of one name are added up.
        self._by_class: dict[type, Counter] = {}
        # What is no good as a key, or came when there were too many classes: by name.
        self._by_name: dict[str, Counter] = {}
        self.known.clear()

    def add(self, cls: type) -> None:
        """Count an error of class *cls*; never raises."""
        try:
            counter = self._by_class.get(cls)
        except Exception:  # a metaclass with an __eq__ can make its classes unhashable
            counter = None
        if counter is None:
            counter = self._learn(cls)
        counter.add()

    def _learn(self, cls: type) -> Counter:
        # A metaclass may call two classes equal: they would be counted as one.
        if len(self._by_class) < MAX_TYPES and type(cls).__eq__ is type.__eq__:
            # One step, so that two threads end up with one counter.
            counter = self._by_class.setdefault(cls, Counter())
            self.known[cls] = counter.add
            return counter
        # Classes that are made at run time, by the thousand, have few names.
        name = _name(cls)
        if len(self._by_name) >= MAX_TYPES and name not in self._by_name:
            name = OTHER
        return self._by_name.setdefault(name, Counter())

    def by_type(self) -> dict[str, int]:
        """Return how many errors of each type there were, by the class's name."""
        counts: dict[str, int] = {}
        named = [(_name(cls), counter) for cls, counter in [*self._by_class.items()]]
        for name, counter in [*named, *self._by_name.items()]:
            counts[name] = counts.get(name, 0) + counter.value
        return counts


def _name(cls: type) -> str:
    # Not cls.__name__, which a metaclass may answer.
    return cast("str", type.__dict__["__name__"].__get__(cls))


__all__ = ["MAX_TYPES", "OTHER", "ErrorCounts"]
