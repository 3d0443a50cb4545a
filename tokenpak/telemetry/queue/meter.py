"""
What the writer counts of its own work, where it survives the process (M1).

A Meter has the counters of one queue: in memory, and from the writer's first step on in
the head of its spool (see store/meters), so that whoever is asked for the metrics of
the machine sees them, and whoever recovers the spool saves them.  When the queue ends
in order, its writer saves them itself.

C1  Nothing is done in the calls of the application: the writer looks at what those
    count anyway.
X2  What cannot be saved is left in the spool, and keeps nobody from anything.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from tokenpak.telemetry.store import meters
from tokenpak.telemetry.store.dayfiles import Contended
from tokenpak.telemetry.store.meters import Reading
from tokenpak.telemetry.store.notes import NOT_ENCODED, Words
from tokenpak.telemetry.store.spool import SpoolFile
from tokenpak.telemetry.store.totals import Totals

PATIENCE: Final = 0.25
"""Seconds that the end of a queue waits for the lock of the saved counters."""
LOOK: Final = 1.0
"""Seconds between two looks at what is sampled away, while it rises."""
LOOK_PATIENCE: Final = 1.0
"""Seconds that who must have stored it waits for another thread that is looking."""
_BILLION: Final = 1_000_000_000


class Meter:
    """The counters of one queue.  Writer thread only, but for reading()."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.reset()

    def reset(self) -> None:
        """Begin anew: in a forked child, whose parent's block is the parent's."""
        self._values = meters.zeros()
        self._ident = 0
        self._words: Words | None = None

    def attach(self, spool: SpoolFile) -> None:
        """Store the counters in *spool* from now on, also those so far."""
        self._ident = self._ident or spool.ident
        words = self._words = spool.counters
        # Twice: a thread that flushes may store in between, see Meters.look().
        for place in (*range(meters.PLACES), *range(meters.PLACES)):
            words[meters.BEFORE + place] = self._values[place]
        words[1] = self._ident
        words[0] = meters.MAGIC  # last: until then it is not begun

    def _set(self, place: int, value: int) -> None:
        value = min(value, meters.MOST - 1)
        self._values[place] = value
        if self._words is not None:
            self._words[meters.BEFORE + place] = value

    def add(self, name: str, label: str, number: int = 1) -> None:
        """Add *number* to one of meters.COUNTERS."""
        if number > 0:
            place = meters.COUNTER_AT[name, label]
            self._set(place, self._values[place] + number)

    def raise_to(self, name: str, label: str, value: int) -> None:
        """Set one of meters.COUNTERS to *value*, which never is less."""
        place = meters.COUNTER_AT[name, label]
        if value > self._values[place]:
            self._set(place, value)

    def _observe(self, name: str, value: float, amount: int) -> None:
        bounds = meters.HISTOGRAMS[name]
        first = meters.HISTOGRAM_AT[name]
        place = first + bisect_left(bounds, value)
        self._set(place, self._values[place] + 1)
        place = first + len(bounds) + 1
        self._set(place, self._values[place] + max(0, amount))

    def appended(self, size: int, seconds: float, waited: float) -> None:
        """
        Count an append.

        Args:
            size: bytes that are in the log now.
            seconds: how long it took, the lock being free.
            waited: seconds for which somebody else had the lock before.

        """
        self._observe(meters.BATCH, size, size)
        self._observe(meters.APPEND, seconds, int(seconds * _BILLION))
        self._observe(meters.LOCK, waited, int(waited * _BILLION))
        if size:
            self.raise_to(meters.LAST_SUCCESS, "", time.time_ns())

    def reading(self, drops: Mapping[str, int], ident: int = 0) -> Reading:
        """
        Return the counters.  Any thread.

        Args:
            drops: by reason, as the notes have them.
            ident: of the spool, if the writer has not come to it yet.

        """
        values = list(self._values)
        for reason, number in drops.items():
            values[meters.COUNTER_AT[meters.DROPPED, reason]] += number
        return Reading(self.stream, self._ident or ident, values)

    def save(self, totals: Totals, reading: Reading, *, ended: bool) -> bool:
        """
        Save the counters for when the spool is gone.

        Args:
            totals: where.
            reading: the counters.
            ended: whether that is all.

        Returns:
            False: it cannot be now, or somebody else had the lock for long; what is in
            the spool is all there is.

        """
        if not reading.ident or not any(reading.values):
            return True
        try:
            totals.fold([reading], ended=ended, timeout=PATIENCE)
        except (Contended, OSError):
            return False
        return True


class _Chain(Protocol):
    @property
    def unmade(self) -> int:
        """How many records could not be encoded."""


class Metered(Protocol):
    """A queue, as far as it is counted; see Drain."""

    @property
    def meter(self) -> Meter:
        """Its counters."""

    @property
    def chain(self) -> _Chain:
        """Where its records come from."""

    @property
    def supply(self) -> object | None:
        """None before the writer has come to it."""


class Meters:
    """
    The counters of one writer's queues, for what is no single queue's.

    Args:
        queues: of the writer.
        suppressed: how many errors were held back on purpose, by reason; None: none
            ever is.

    """

    def __init__(
        self,
        queues: Sequence[Metered],
        suppressed: Callable[[], Mapping[str, int]] | None = None,
    ) -> None:
        self._queues = queues
        self._suppressed = suppressed
        self.reset()

    def reset(self) -> None:
        """Begin anew: in a forked child."""
        self._stored: dict[str, int] = {}
        # Who has it stores: the writer, or a thread that flushes or ends the process.
        self._looking = threading.RLock()

    def _one(self) -> Meter:
        """Return a meter that somebody sees, or the first."""
        for queue in self._queues:
            if queue.supply is not None:
                return queue.meter
        return self._queues[0].meter

    def add(self, name: str, label: str, number: int = 1) -> None:
        """Add to one of meters.COUNTERS.  Writer thread only."""
        if number > 0:
            self._one().add(name, label, number)

    def look(self, patience: float = 0.0) -> float:
        """
        Store what other threads have counted; return in how many seconds again.

        Any thread: one at a time does it.

        Args:
            patience: seconds to wait for another one that is at it.  It may have looked
                before the last was counted: who promises that all is stored, as who
                flushes does, has to look after it.

        """
        looking = self._looking  # a signal handler that forks makes another one
        if looking._is_owned():  # type: ignore[attr-defined]  # noqa: SLF001 - Condition's own protocol
            return LOOK  # one that flushes has interrupted this very thread in here
        try:
            if not looking.acquire(timeout=patience):
                return LOOK
            rose = False
            for queue in self._queues:
                unmade = queue.chain.unmade
                queue.meter.raise_to(meters.DROPPED, NOT_ENCODED, unmade)
            for reason, number in (self._suppressed or dict)().items():
                more = number - self._stored.get(reason, 0)
                if more > 0:
                    rose = True
                    self._stored[reason] = number
                    self._one().add(meters.SUPPRESSED, reason, more)
        finally:
            # First of all, and not after a look: what a signal raises may come between
            # any two steps, also right after the lock was taken.
            try:
                looking.release()
            except RuntimeError:
                pass  # it was waited for in vain
        return LOOK if rose else float("inf")


__all__ = ["LOOK", "LOOK_PATIENCE", "PATIENCE", "Meter", "Meters"]
