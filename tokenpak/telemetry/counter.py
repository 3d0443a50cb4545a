"""
A count that is exact under threads, signal handlers and finalizers, without a lock.

``d[key] += 1`` is three steps, and a lock is not safe in a signal handler that
interrupts its holder.  ``next(itertools.count())`` is one C call under the GIL.  Builds
without the GIL don't promise that, so there a lock is taken, a reentrant one.
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable


class Counter:
    """
    Counts calls of ``add()``.  Any thread.

    Attributes:
        add: count one; returns how many were counted before it.

    """

    __slots__ = ("_count", "_lock", "add")

    def __init__(self) -> None:
        self._count = itertools.count()
        self._lock: threading.RLock | None = None
        self.add: Callable[[], int] = self._count.__next__
        if not getattr(sys, "_is_gil_enabled", lambda: True)():
            self._lock = threading.RLock()
            self.add = self._add_locked

    def _add_locked(self) -> int:
        assert self._lock is not None
        with self._lock:
            return next(self._count)

    @property
    def value(self) -> int:
        """How many were counted."""
        # repr() is the only way to look at a count without moving it: "count(5)".
        return int(repr(self._count)[6:-1])


__all__ = ["Counter"]
