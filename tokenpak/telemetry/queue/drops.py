"""
Records that were given up on purpose, counted under a reason (Q3).

A drop is counted by the thread that meets it, with no lock, and stored in the spool's
head, so that the count survives the process.  When there is room again, the writer puts
one record into the log that says how many and since when.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tokenpak.telemetry.counter import Counter
from tokenpak.telemetry.store.notes import DROP_REASONS, Drops, Notes


class DropCounts:
    """Drops of one queue by reason.  Any thread, but for what says otherwise."""

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._counters = {reason: Counter() for reason in DROP_REASONS}
        self._first: dict[str, int] = {}
        self._last: dict[str, int] = {}
        self._told: dict[str, int] = {}  # writer thread only
        self._notes: Notes | None = None  # set by the thread that opens the spool

    def attach(self, notes: Notes) -> None:
        """Store the counts in *notes* from now on."""
        self._notes = notes
        for reason in self.by_reason():
            self._store(reason)
            notes.set_told(reason, self._told.get(reason, 0))

    def add(self, reason: str) -> None:
        """Count one record dropped for *reason*."""
        now = self._clock()
        self._first.setdefault(reason, now)
        self._last[reason] = now
        self._counters[reason].add()
        self._store(reason)

    def add_many(self, reason: str, count: int) -> None:
        """Count *count* records dropped for *reason*."""
        now = self._clock()
        if count:
            self._first.setdefault(reason, now)
            self._last[reason] = now
        for _ in range(count):
            self._counters[reason].add()
        if count:
            self._store(reason)

    def _store(self, reason: str) -> None:
        notes = self._notes
        if notes is None:
            return
        # Two threads may store in the other order than they counted.  So whoever has
        # stored looks again: the last one to store sees that its value is current.
        value = -1
        while value != self._counters[reason].value:
            value = self._counters[reason].value
            notes.set_drops(reason, value, *self._span(reason))

    def _span(self, reason: str) -> tuple[int, int]:
        last = self._last[reason]
        # Missing for the moment in which the writer has told of those before.
        return self._first.get(reason, last), last

    def count(self, reason: str) -> int:
        """Return how many were dropped for *reason*."""
        return self._counters[reason].value

    def by_reason(self) -> dict[str, int]:
        """Return how many were dropped, for each reason that occurred."""
        return {
            reason: counter.value
            for reason, counter in self._counters.items()
            if counter.value
        }

    def untold(self) -> list[Drops]:
        """Return the drops that no record in the log tells of yet."""
        found = []
        for reason, count in self.by_reason().items():
            told = self._told.get(reason, 0)
            if count > told:
                found.append(Drops(reason, count, told, *self._span(reason)))
        return found

    def told(self, drops: Drops) -> None:
        """Remember that a record tells of *drops*.  Writer thread only."""
        self._told[drops.reason] = drops.total
        self._first.pop(drops.reason, None)
        if self._notes is not None:
            self._notes.set_told(drops.reason, drops.total)


__all__ = ["DropCounts"]
