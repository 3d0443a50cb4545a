"""
Whether the lines of a range can be of more than one day, without looking at them (S3).

Looking at each line would cost the writer work for every record (see store/days).  It
is needed around midnight only, but then it is: a thread that was stamped before may put
after others.  So the writer remembers a *quiet* moment, at which no call was between
its stamp and its put; if no record was stamped with another day since, then all lines
that were put since are of one day.

Whether a call is under way is seen from outside, in the frames of all threads, and only
after the day has changed: a counter would be one more thing to do for each record.
(A greenlet that is switched away from in the middle of a call, by a ``__str__`` of the
application's, has no frame in any thread; its record could join the wrong day's file.)
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from types import CodeType, FrameType
from typing import Final

_FORGETFUL: Final = 0x20 | 0x80 | 0x200
"""inspect's CO_GENERATOR, CO_COROUTINE and CO_ASYNC_GENERATOR, without its import."""

Place = tuple[int, int]
"""A sequence number and an offset in that segment."""


def somebody_runs(codes: Iterable[CodeType]) -> bool:
    """Return whether any thread is in a call of one of *codes*."""
    wanted = {id(code) for code in codes}  # code objects are slow to hash
    for innermost in sys._current_frames().values():  # noqa: SLF001  (no other way)
        frame = innermost
        caller: FrameType | None = innermost
        while caller is not None:
            if id(caller.f_code) in wanted:
                return True
            frame, caller = caller, caller.f_back
        # The threads go on while we look.  A frame that ends keeps its caller, but a
        # generator that yields forgets it, and so hides a call that goes on.
        if frame.f_code.co_flags & _FORGETFUL:
            return True
    return False


class DayWatch:
    """
    For one chain.  Writer thread only.

    Args:
        changes: how often the day of the stamps has changed.
        quiet: whether no call is between its stamp and its put.

    """

    def __init__(self, changes: Callable[[], int], quiet: Callable[[], bool]) -> None:
        self._changes = changes
        self._quiet = quiet
        self.reset(quiet=True)

    def reset(self, *, quiet: bool) -> None:
        """Begin anew.  *quiet*: no call is under way, as before the first record."""
        self._settled: int | None = self._changes() if quiet else None
        self._since: Place = (0, 0)
        self._candidate: int | None = None

    def before_look(self) -> None:
        """To be called before it is looked how far the lines go."""
        changes = self._changes()
        self._candidate = None
        if changes != self._settled and self._quiet():
            self._candidate = changes

    def one_day(self, start: Place, end: Place, *, whole: bool) -> bool:
        """
        Return whether all lines from *start* to *end* are of one day.

        Args:
            start: where the range begins.
            end: where it ends.
            whole: whether that is how far the lines went after before_look().

        """
        if self._settled == self._changes() and start >= self._since:
            return True
        if self._candidate is not None and whole:
            # What was put before the quiet moment is in this range, or in none.
            self._settled, self._since = self._candidate, end
        return False


__all__ = ["DayWatch", "Place", "somebody_runs"]
