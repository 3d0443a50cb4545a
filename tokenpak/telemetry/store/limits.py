"""
How large a day's file and the log directory may grow (settings, off by default).

What a bound leaves is known under the day file's lock, where nobody else appends to
that file.  So ``max_day_bytes`` is kept to the byte.  The directory's size is measured
now and then, and corrected by what is seen of the files that are appended to: what
other processes append to a file that this one does not is known at the next measure.

A bound is for records.  The record that says what was dropped may go a little beyond it
(NOTICE_BYTES), or the log could not say that it is full.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from tokenpak.telemetry.store.names import ARCHIVE_DIR, parse_log_name
from tokenpak.telemetry.store.notes import DAY_FULL, DIRECTORY_FULL

MEASURE_EVERY: Final = 30.0
"""Seconds between two looks at all files of the directory."""
MEASURE_FULL_EVERY: Final = 1.0
"""The same while the directory is nearly full: somebody may have made room."""
NEARLY: Final = 0.9
NOTICE_BYTES: Final = 64 * 1024
"""How far records of the logger's own may go beyond a bound."""


class Room(NamedTuple):
    """What a bound leaves."""

    size: int
    """Bytes; not negative."""
    reason: str
    """Under which what does not fit is dropped."""


class Limits:
    """
    The bounds of one directory.  Writer thread only.

    Args:
        log_dir: the directory.
        max_day_bytes: for one day's file; 0: none.
        max_dir_bytes: for all log files, archives included; 0: none.
        clock: seconds, as ``time.monotonic``.

    """

    def __init__(
        self,
        log_dir: str,
        max_day_bytes: int = 0,
        max_dir_bytes: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log_dir = log_dir
        self._day = max_day_bytes
        self._directory = max_dir_bytes
        self._clock = clock
        self._sizes: dict[str, int] = {}
        self._total = 0
        self._due = float("-inf")

    @property
    def bounded(self) -> bool:
        """Whether there is any bound."""
        return bool(self._day or self._directory)

    def explain(self, reason: str) -> str:
        """Return what *reason* means here, and what to do."""
        if reason == DAY_FULL:
            return (
                f"A day's file in {self._log_dir} has reached max_day_bytes, "
                f"{self._day:,} bytes. Raise TOKENPAK_MAX_DAY_BYTES, or find what "
                f"fails so often."
            )
        return (
            f"The log directory {self._log_dir} has reached max_dir_bytes, "
            f"{self._directory:,} bytes. Raise TOKENPAK_MAX_DIR_BYTES, or make room: "
            f"tokenpak telemetry prune --help"
        )

    def room(self, path: str, size: int, beyond: int = 0) -> Room | None:
        """
        Return what may be appended to *path*; None: as much as is wanted.

        Args:
            path: of a day's file, whose lock is held.
            size: its bytes.
            beyond: bytes by which the bounds may be exceeded.

        """
        found = None
        if self._day:
            found = Room(max(0, self._day + beyond - size), DAY_FULL)
        if self._directory:
            left = max(0, self._directory + beyond - self._used(path, size))
            if found is None or left < found.size:
                found = Room(left, DIRECTORY_FULL)
        return found

    def _used(self, path: str, size: int) -> int:
        now = self._clock()
        if now >= self._due:
            self._measure()
            self._due = now + MEASURE_EVERY
        self._total += size - self._sizes.get(path, 0)
        self._sizes[path] = size
        if self._total >= self._directory * NEARLY:
            self._due = min(self._due, now + MEASURE_FULL_EVERY)
        return self._total

    def _measure(self) -> None:
        sizes: dict[str, int] = {}
        for place in (self._log_dir, os.path.join(self._log_dir, ARCHIVE_DIR)):
            try:
                with os.scandir(place) as entries:
                    for entry in entries:
                        if parse_log_name(entry.path):
                            sizes[entry.path] = _size(entry)
            except FileNotFoundError:  # no archive yet
                continue
            except OSError:
                return  # what was known before is the best that there is
        self._sizes, self._total = sizes, sum(sizes.values())


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except OSError:  # archived or pruned meanwhile
        return 0


__all__ = ["NOTICE_BYTES", "Limits", "Room"]
