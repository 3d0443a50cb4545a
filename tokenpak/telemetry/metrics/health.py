"""
What is in the spools at this moment: who logs, and what waits.

R1  Spools are looked into without a lock, and nothing is written.  A spool that cannot
    be read is a problem of the scrape, and does not end it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from tokenpak.telemetry.metrics.tally import Labels, count
from tokenpak.telemetry.store.held_locks import HeldLocks
from tokenpak.telemetry.store.meters import Reading
from tokenpak.telemetry.store.names import STREAMS
from tokenpak.telemetry.store.notes import DROP_REASONS
from tokenpak.telemetry.store.peek import SpoolView
from tokenpak.telemetry.store.places import readable_spool_directories
from tokenpak.telemetry.store.spool import spool_paths

_PLACES_EVERY: Final = 30.0
"""Seconds between two looks at where spools may be."""


def _zeros() -> dict[Labels, int]:
    return {(stream,): 0 for stream in STREAMS}


def _untold() -> dict[Labels, int]:
    return {(reason, stream): 0 for stream in STREAMS for reason in DROP_REASONS}


class Logger(Protocol):
    """What is asked of an ErrorLogger."""

    def stats(self) -> Mapping[str, Any]:
        """Return what became of the records of this process."""


@dataclass
class Health:
    """Gauges, by their label values."""

    # Zeros, so that an alert has something to compare.
    pending_records: dict[Labels, int] = field(default_factory=_zeros)
    pending_bytes: dict[Labels, int] = field(default_factory=_zeros)
    untold: dict[Labels, int] = field(default_factory=_untold)
    writers: dict[Labels, int] = field(default_factory=_zeros)
    orphans: dict[Labels, int] = field(default_factory=_zeros)
    readings: list[Reading] = field(default_factory=list)
    """What each process counts of its own pipeline."""
    problems: tuple[str, ...] = ()
    process: Mapping[str, Any] | None = None
    """What the logger of this process says of itself; None: it was not named."""


class HealthLook:
    """
    Looks into the spools of one directory.  Any thread.

    Args:
        log_dir: absolute.
        spool_dir: as the setting.
        logger: of this process, if its own figures shall be shown.

    """

    def __init__(
        self, log_dir: str, spool_dir: str | None, logger: Logger | None = None
    ) -> None:
        self._log_dir = log_dir
        self._logger = logger
        self._spool_dir = spool_dir
        self._places: tuple[float, list[str]] = (float("-inf"), [])

    def look(self) -> Health:
        """Return what is in the spools; never raises OSError."""
        health, held = Health(), HeldLocks()
        unreadable = 0
        for path in self._paths():
            try:
                with SpoolView(path, self._log_dir) as view:
                    _look(view, health, held)
            except FileNotFoundError:
                continue  # recovered meanwhile
            except OSError:
                unreadable += 1
        if self._logger is not None:
            health.process = self._logger.stats()
        if unreadable:
            health.problems = ("unreadable_spool",)
        return health

    def _paths(self) -> list[str]:
        if not hasattr(os, "pread"):  # where there is none, there are no spools
            return []
        now = time.monotonic()
        looked, places = self._places
        if now - looked > _PLACES_EVERY:
            # It asks the kernel for all mounts, which may take ten milliseconds.
            places = readable_spool_directories(self._log_dir, self._spool_dir)
            self._places = (now, places)
        return [path for place in places for path in spool_paths(place)]


def _look(view: SpoolView, health: Health, held: HeldLocks) -> None:
    stream = (view.stream,)
    size, records = view.waiting()
    count(health.pending_bytes, stream, size)
    count(health.pending_records, stream, records)
    health.readings.append(view.counters())
    for drops in view.drops:
        untold = drops.total - drops.told
        if untold > 0:
            count(health.untold, (drops.reason, view.stream), untold)
    lives = held.has(view.identity)
    if lives is None:  # in a container: not all locks can be seen
        lives = view.is_locked()
    count(health.writers if lives else health.orphans, stream)


__all__ = ["Health", "HealthLook", "Logger"]
