"""
The time a report is about, the time before it, and the slots that both are counted in.

    outside | history ....... | before ............ | now ............... | outside
    slot 0    slot 1            slots 2 to n + 1      slots n + 2 to 2n + 1

*now* is what was asked for, *before* is as long and ends where it begins.  Both have
the same number of slots, so that one can be laid over the other.  A slot is as long as
a person would choose (5 minutes, an hour) where the window is a multiple of that.
*History* is what came earlier, and is read only to know which failures are not new.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from tokenpak.telemetry.errors import SettingError

DEFAULT_LENGTH: Final = timedelta(hours=24)
CANONICAL: Final = 27
"""Characters of a timestamp as the logger writes it, which sorts as text."""
_CANONICAL_FORM: Final = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII
).fullmatch
MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST: Final = datetime(1, 1, 3, tzinfo=UTC)
_LAST: Final = datetime(9999, 12, 29, tzinfo=UTC)
"""Far enough from the ends of what a datetime can be to reckon with."""
_NICE: Final = tuple(
    seconds * 1_000_000
    for seconds in (
        *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1200, 1800),
        *(3600 * hours for hours in (1, 2, 3, 4, 6, 8, 12, 24, 48, 168, 336)),
    )
)
_FEWEST, _MOST, _USUAL = 20, 62, 48
"""Slots: so many make a chart that is no staircase and fits a phone."""
_MOST_MINUTES: Final = 50_000


@dataclass(frozen=True, slots=True)
class Window:
    """
    The window of a report.

    Attributes:
        since: its first instant, in UTC.
        until: the first instant after it.
        history: the first instant that is read at all.
        slots: how many it is divided into.

    """

    since: datetime
    until: datetime
    history: datetime
    slots: int

    @property
    def length(self) -> timedelta:
        """How long it is."""
        return self.until - self.since

    @property
    def before(self) -> datetime:
        """The first instant of the window before."""
        return _less(self.since, self.length)

    @property
    def slot_length(self) -> timedelta:
        """How long a slot is."""
        return self.length / self.slots


def make_window(
    since: date | datetime | None,
    until: date | datetime | None,
    now: datetime,
    history: timedelta,
) -> Window:
    """
    Return the window from *since* to *until*, as a Query understands them.

    Args:
        since: the first day or instant; None: 24 hours before the end.
        until: the last day, all of it, or the last instant; None: *now*.
        now: an instant.
        history: how far to look back from the window's beginning, to tell what is new;
            at least the window before is read.

    Raises:
        SettingError: *since* is after *until*.

    """
    end = _end(now if until is None else until)
    begin = _less(end, DEFAULT_LENGTH) if since is None else _begin(since)
    if begin >= end:
        raise SettingError("since", str(since), f"a time that is before {end}")
    length = end - begin
    first = _less(begin, max(history, length))
    return Window(begin, end, first, _slots(length))


def _begin(when: date | datetime) -> datetime:
    if not isinstance(when, datetime):
        when = datetime.combine(when, time.min, UTC)
    return min(max(_FIRST, _utc(when)), _LAST)


def _end(when: date | datetime) -> datetime:
    if not isinstance(when, datetime):
        when = datetime.combine(when, time.max, UTC)
    return min(max(_FIRST, _utc(when)), _LAST) + MICROSECOND


def _less(when: datetime, length: timedelta) -> datetime:
    try:
        return max(_FIRST, when - length)
    except OverflowError:
        return _FIRST


def _utc(when: datetime) -> datetime:
    if when.tzinfo is None:
        return when.replace(tzinfo=UTC)
    try:
        return when.astimezone(UTC)
    except OverflowError:
        return _FIRST if when.year < 5_000 else _LAST


def _slots(length: timedelta) -> int:
    # The end is the last instant that counts, so a microsecond may be too much.
    micros = length // MICROSECOND
    for width in _NICE:
        count, rest = divmod(micros, width)
        if _FEWEST <= count <= _MOST and rest <= 1:
            return count
    return min(_USUAL, micros)


OUTSIDE: Final = 0
HISTORY: Final = 1
BEFORE: Final = 2
"""The first slot of the window before; that of the window is BEFORE + its slots."""


class Slots:
    """Finds the slot of a timestamp."""

    def __init__(self, window: Window) -> None:
        self._since = micros_of(window.since)
        self._length = micros_of(window.until) - self._since
        self._count = window.slots
        self._first = micros_of(window.history)
        self.minutes: dict[str, int] = {}
        """Slots of whole minutes, by the first 16 characters of a canonical timestamp:
        to look there first takes a tenth of what parsing it does."""

    def find(self, stamp: str) -> int | None:
        """
        Return the slot of *stamp*; None: it is no time.

        Args:
            stamp: ISO 8601; UTC if it has no offset.

        """
        slot = self.minutes.get(stamp[:16])
        if slot is not None and len(stamp) == CANONICAL and stamp[-1] == "Z":
            try:
                # What comes behind the minute may be anything.
                datetime.fromisoformat(stamp)
            except ValueError:
                return None
            return slot
        micros = micros_of_text(stamp)
        if micros is None:
            return None
        if is_canonical(stamp):
            self._learn(stamp[:16], micros - micros % 60_000_000)
        return self._slot(micros)

    def _learn(self, minute: str, begin: int) -> None:
        if len(self.minutes) >= _MOST_MINUTES:
            self.minutes.clear()
        first, last = self._slot(begin), self._slot(begin + 59_999_999)
        if first == last:
            self.minutes[minute] = first

    def _slot(self, micros: int) -> int:
        offset = micros - self._since
        if offset >= self._length or micros < self._first:
            return OUTSIDE
        if offset < -self._length:
            return HISTORY
        return BEFORE + self._count + offset * self._count // self._length


def micros_of(when: datetime) -> int:
    """Return the microseconds from 1970 to *when*."""
    return (when - _EPOCH) // MICROSECOND


def micros_of_text(stamp: str) -> int | None:
    """Return the microseconds from 1970 to *stamp*; None: it is no time."""
    try:
        return micros_of(_utc(datetime.fromisoformat(stamp)))
    except (ValueError, OverflowError):
        return None


def is_canonical(stamp: str) -> bool:
    """Return whether *stamp* is a time as the logger writes it, by its form."""
    return _CANONICAL_FORM(stamp) is not None


def iso_of_text(stamp: str) -> str:
    """Return *stamp*, which is a time, as the log writes it."""
    return iso(_EPOCH + (micros_of_text(stamp) or 0) * MICROSECOND)


def iso(when: datetime) -> str:
    """Return *when* as the log writes it."""
    return (
        when.astimezone(UTC).replace(tzinfo=None).isoformat("T", "microseconds") + "Z"
    )


__all__ = [
    "BEFORE",
    "CANONICAL",
    "DEFAULT_LENGTH",
    "HISTORY",
    "OUTSIDE",
    "Slots",
    "Window",
    "is_canonical",
    "iso",
    "iso_of_text",
    "make_window",
    "micros_of",
    "micros_of_text",
]
