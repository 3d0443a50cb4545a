"""
The pipeline's own counters, for all processes of the machine (M1).

Each process has its counters in the heads of its spools; those of processes that have
ended are in one file (see store/meters, store/totals).  The total is what both say
together, and never less than what was seen here before: also if somebody deletes a
spool, or an older version of this library recovers it, which knows no counters.  Now
and then what was seen is saved, so that others know it, too.

What cannot be read is a problem of the scrape, and does not end it.  A file that is
damaged is written again from what was read of it before.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from tokenpak.telemetry.metrics.tally import Labels, Parts
from tokenpak.telemetry.store import meters
from tokenpak.telemetry.store.dayfiles import Contended
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.meters import Reading, Values
from tokenpak.telemetry.store.names import STREAMS
from tokenpak.telemetry.store.totals import DamagedTotalsError, Saved, Stamp, Totals

SAVE_EVERY: Final = 5.0
"""Seconds between two times that what was seen is saved."""
AGAIN_AFTER: Final = 3600.0
"""Seconds after which it is saved though nothing has changed: it is still there."""


class Distribution(NamedTuple):
    """A histogram whose bounds are its own."""

    bounds: tuple[float, ...]
    buckets: tuple[int, ...]
    """Not cumulated; the last one is for what is beyond all bounds."""
    total: float

    @property
    def parts(self) -> Parts:
        """What a histogram is shown by."""
        return self.bounds, self.buckets, [None] * len(self.buckets), self.total


class PipelineTotals:
    """
    The counters at one moment.

    Args:
        values: by stream.
        problems: what went wrong, in words with underscores.

    """

    def __init__(
        self, values: Mapping[str, Values], problems: tuple[str, ...] = ()
    ) -> None:
        self._values = values
        self.problems = problems

    def by_stream(self, name: str, label: str) -> dict[Labels, int]:
        """Return one of meters.COUNTERS, by stream."""
        place = meters.COUNTER_AT[name, label]
        return {(stream,): values[place] for stream, values in self._values.items()}

    def by_label(self, name: str) -> dict[Labels, int]:
        """Return one of meters.COUNTERS, by what is told apart, of all streams."""
        return {
            (label,): sum(
                values[meters.COUNTER_AT[name, label]]
                for values in self._values.values()
            )
            for label in meters.COUNTERS[name]
        }

    def by_both(self, name: str) -> dict[Labels, int]:
        """Return one of meters.COUNTERS, by what is told apart, and by stream."""
        return {
            (label, stream): values[meters.COUNTER_AT[name, label]]
            for stream, values in self._values.items()
            for label in meters.COUNTERS[name]
        }

    def histogram(self, name: str, unit: float = 1) -> dict[Labels, Distribution]:
        """Return one of meters.HISTOGRAMS, by stream; its sum is in *unit*."""
        bounds, first = meters.HISTOGRAMS[name], meters.HISTOGRAM_AT[name]
        last = first + len(bounds) + 1
        return {
            (stream,): Distribution(
                bounds, tuple(values[first:last]), values[last] / unit
            )
            for stream, values in self._values.items()
        }

    @property
    def last_success(self) -> float:
        """When a process last wrote to the log, seconds since the epoch; 0: never."""
        return max(values[meters.NEWEST] for values in self._values.values()) / 1e9


class MachinePipeline:
    """
    The counters of one directory.  One thread at a time.

    Args:
        log_dir: absolute.

    """

    def __init__(self, log_dir: str) -> None:
        self._files = OsFiles()
        self._totals = Totals(self._files, log_dir)
        self.forget()

    def forget(self) -> None:
        """Know nothing but what is saved."""
        self._saved = Saved()
        # What another began anew, as long as it is not saved as one with ours.
        self._apart: Saved | None = None
        self._stamp: Stamp = None
        # Of what has, or had, a spool: the newest that was seen.
        self._seen: dict[int, Reading] = {}
        self._unsaved: set[int] = set()
        self._saved_at = float("-inf")

    def reset_in_child(self) -> None:
        """Close the parent's descriptors.  After fork."""
        self._files.close_all_in_child()
        self.forget()

    def add_up(self, readings: Sequence[Reading]) -> PipelineTotals:
        """
        Return the counters of all processes.

        Args:
            readings: of the spools that are there, read before this was called.

        """
        problems = {
            f"{reading.left_out}_meters" for reading in readings if reading.left_out
        }
        for reading in readings:
            self._see(reading)
        living = {reading.ident for reading in readings}
        again = self._load(problems)
        self._let_go(self._both(), living)
        self._save(living, now=again)
        saved = self._both()
        found = {stream: [saved.gone[stream]] for stream in STREAMS}
        for ident in {*saved.known, *self._seen} - saved.buried.keys():
            stream, newest = self._newest(saved, ident)
            found[stream].append(newest)
        values = {stream: meters.total(found[stream]) for stream in STREAMS}
        return PipelineTotals(values, tuple(sorted(problems)))

    def _both(self) -> Saved:
        """Return what is saved, as far as it is known."""
        if self._apart is None:
            return self._saved
        both = self._apart.copy()
        both.add(self._saved)
        return both

    def _let_go(self, saved: Saved, living: set[int]) -> None:
        """Forget what the file has, before it is counted: it may be in ``gone``."""
        for ident in [*self._seen]:
            known = saved.known.get(ident)
            ended = known is not None and known.ended
            there = ended or ident not in self._unsaved
            if ident in saved.buried or (there and ident not in living):
                del self._seen[ident]
                self._unsaved.discard(ident)

    def _see(self, reading: Reading) -> None:
        if reading.left_out:
            return
        before = self._seen.get(reading.ident)
        if before is not None:
            newest = meters.newer(before.values, reading.values)
            reading = reading._replace(values=newest)
            if newest == before.values:
                return
        elif not any(reading.values):
            return
        self._seen[reading.ident] = reading
        self._unsaved.add(reading.ident)

    def _newest(self, saved: Saved, ident: int) -> tuple[str, Values]:
        known, seen = saved.known.get(ident), self._seen.get(ident)
        if known is None:
            assert seen is not None
            return seen.stream, seen.values
        if seen is None:
            return known.stream, known.values
        return known.stream, meters.newer(known.values, seen.values)

    def _load(self, problems: set[str]) -> bool:
        """Read the file, if it is new; return whether it must be written again."""
        stamp = self._totals.stamp()
        if stamp == self._stamp:
            return False
        if stamp is None:
            return True  # somebody has deleted it
        try:
            saved = self._totals.load()
        except DamagedTotalsError:
            problems.add("damaged_totals")
            return True
        except OSError:
            problems.add("unreadable_totals")
            return False
        if saved is None:
            return True
        if saved.lacks(self._saved):
            self._apart = saved
            return True
        self._saved, self._stamp, self._apart = saved, stamp, None
        return False

    def _save(self, living: set[int], *, now: bool) -> None:
        if not now:
            since = time.monotonic() - self._saved_at
            if since < SAVE_EVERY or not self._seen:
                return
            if not self._unsaved and since < AGAIN_AFTER:
                return
        try:
            saved = self._totals.fold(
                self._seen.values(), ended=False, instead=self._saved, living=living
            )
        except (Contended, OSError):
            return  # what was seen is known here, and is saved another time
        self._saved, self._stamp, self._apart = saved, saved.stamp, None
        self._saved_at = time.monotonic()
        self._unsaved.clear()


__all__ = [
    "AGAIN_AFTER",
    "SAVE_EVERY",
    "Distribution",
    "MachinePipeline",
    "PipelineTotals",
]
