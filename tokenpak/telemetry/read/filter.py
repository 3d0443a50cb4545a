"""
Which records are wanted: stream, time and provider, as one typed value.

A day given as a date is meant as a whole, in UTC; an instant is meant exactly.  Both
ends are inclusive.  A time without an offset is UTC.

The answer never depends on the order of tests: what covers() rules out by the name of
a file is what accepts() would rule out record by record, since a file holds only its
own day's records (S3).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any, Final

from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.store.names import ERRORS, STREAMS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenpak.telemetry.read.records import Record

EXAMPLE: Final = "a date like 2026-03-24, or a time like 2026-03-24T17:35:22Z"

_CANONICAL: Final = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII
).fullmatch
_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_LAST: Final = datetime.max.replace(tzinfo=UTC)


def parse_when(text: str) -> date | datetime:
    """
    Return the UTC day, or the instant in UTC, that *text* names in ISO 8601.

    Args:
        text: ``2026-03-24`` or ``2026-03-24T17:35:22Z``; the time may have fractions
            and any offset, and is UTC without one.

    Raises:
        SettingError: it is neither; the message shows an example.

    """
    text = text.strip()
    try:
        try:
            return date.fromisoformat(text)
        except ValueError:
            return _in_utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        raise SettingError("time", text, EXAMPLE) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """
    Which records are wanted; by default all errors.

    Attributes:
        stream: ``errors`` (default) or ``events``.
        since: the first day, or the first instant; None for no limit.
        until: the last day, all of it, or the last instant; None for no limit.
        provider: what ``provider`` in the context must be; None for any, also none.

    Raises:
        SettingError: there is no such stream, or *since* is after *until*.

    """

    stream: str = ERRORS
    since: date | datetime | None = None
    until: date | datetime | None = None
    provider: str | None = None

    def __post_init__(self) -> None:
        if self.stream not in STREAMS:
            raise SettingError("stream", self.stream, f"one of {', '.join(STREAMS)}")
        first, last = self.bounds()
        if first > last:
            raise SettingError(
                "since", str(self.since), f"a time that is not after {self.until}"
            )

    def bounds(self) -> tuple[datetime, datetime]:
        """Return the first and the last instant that are wanted, in UTC."""
        return _instant(self.since, time.min, _FIRST), _instant(
            self.until, time.max, _LAST
        )

    def covers(self, day: date) -> bool:
        """Return whether the file of *day* can hold a record that is wanted."""
        first, last = self.bounds()
        return first.date() <= day <= last.date()

    def predicate(self, day: date) -> Callable[[Record], bool] | None:
        """
        Return the test for the records of the file of *day*; None if all pass.

        A record whose timestamp cannot be read counts as of its file's day.
        """
        timed = self.since is not None or self.until is not None
        provider = self.provider
        if not timed:
            if provider is None:
                return None
            return lambda record: _provider(record) == provider
        first, last = self.bounds()
        first_text, last_text = _canonical(first), _canonical(last)
        default = self.covers(day)

        def accepts(record: Record) -> bool:
            if provider is not None and _provider(record) != provider:
                return False
            stamp = record.get("timestamp")
            if not isinstance(stamp, str):
                return default
            # What the logger writes sorts as text; parsing it takes longer.
            if _CANONICAL(stamp):
                return first_text <= stamp <= last_text
            try:
                return first <= _in_utc(datetime.fromisoformat(stamp)) <= last
            except (ValueError, OverflowError):
                return default

        return accepts


def day_of_record(record: Record) -> date | None:
    """Return the UTC day of the timestamp of *record*; None: it cannot be read."""
    stamp = record.get("timestamp")
    if not isinstance(stamp, str):
        return None
    try:
        if _CANONICAL(stamp):
            return date.fromisoformat(stamp[:10])
        return _in_utc(datetime.fromisoformat(stamp)).date()
    except (ValueError, OverflowError):
        return None


def _provider(record: Record) -> Any:
    context = record.get("context")
    return context.get("provider") if isinstance(context, dict) else None


def _instant(
    when: date | datetime | None, time_of_day: time, default: datetime
) -> datetime:
    if when is None:
        return default
    if isinstance(when, datetime):
        return _in_utc(when)
    return datetime.combine(when, time_of_day, UTC)


def _in_utc(when: datetime) -> datetime:
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def _canonical(when: datetime) -> str:
    return when.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


__all__ = ["EXAMPLE", "Query", "day_of_record", "parse_when"]
