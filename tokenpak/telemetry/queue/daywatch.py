"""
Whether the lines of a range can be of more than one day, without looking at them (S3).

Looking at each line would cost the writer work for every record (see store/days).  It
is needed around midnight only, but then it is: a thread that was stamped before may put
after others.  So the writer remembers a *quiet* moment, at which no call was between
its stamp and its put; if no record was stamped with another day since, then all lines
that were put since are of one day.

Quiet is when as many calls have finished as had begun.  Both only grow, so reading
*finished* first and *begun* second, and finding them equal, shows that nothing was
under way at the first reading.  A call that ended by an asynchronous exception never
finishes: then lines are looked at from the next midnight on, which costs time, and
nothing else.
"""

from __future__ import annotations

from collections.abc import Callable

Place = tuple[int, int]
"""A sequence number and an offset in that segment."""


class DayWatch:
    """
    For one chain.  Writer thread only.

    Args:
        changes: how often the day of the stamps has changed.
        begun: how many calls have begun; before their stamp.
        finished: how many of them were put or dropped.

    """

    def __init__(
        self,
        changes: Callable[[], int],
        begun: Callable[[], int],
        finished: Callable[[], int],
    ) -> None:
        self._changes = changes
        self._begun = begun
        self._finished = finished
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
        if changes != self._settled:
            finished = self._finished()
            if finished == self._begun():
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


__all__ = ["DayWatch", "Place"]
