"""
Which records are wanted, as one typed value that all commands share.

A day given as a date is meant as a whole, in UTC; an instant is meant exactly.  Both
ends are inclusive.  A time without an offset is UTC.

The answer never depends on the order of tests: what covers() rules out by the name of
a file is what accepts() would rule out record by record, since a file holds only its
own day's records (S3); and what ``needles`` rules out by the bytes of a line, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any, Final

from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.read.when import EXAMPLE, in_utc, is_canonical, parse_when
from tokenpak.telemetry.read.where import Condition, parse_where
from tokenpak.telemetry.store.names import ERRORS, STREAMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tokenpak.telemetry.read.records import Record

ALL: Final = "all"
"""Errors and events, together in time order."""
QUERY_STREAMS: Final = (*STREAMS, ALL)
MOST_LAST: Final = 100_000
"""Of ``last``: these records are held."""

_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_LAST: Final = datetime.max.replace(tzinfo=UTC)
_TEXTS: Final = ("provider", "model", "error_type", "request_id", "grep")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """
    Which records are wanted; by default all errors.

    All that is given must hold.

    Attributes:
        stream: ``errors`` (default), ``events`` or ``all``.
        since: the first day, or the first instant; None for no limit.
        until: the last day, all of it, or the last instant; None for no limit.
        provider: what ``provider`` in the context must be; None for any, also none.
        model: what ``model`` in the context must be; None for any, also none.
        error_type: the exception class's name; None for any.
        request_id: None for any.
        where: conditions on keys, as Condition or as text (``duration_ms>1000``); each
            must hold.
        grep: plain text, in upper and lower case as given, that must be in some text of
            the record: a field, or a key or value of the context, at any depth.
        limit: at most so many records, the first in time; None for no limit.
        last: so many records, the last in time; at most MOST_LAST; None for all.

    Raises:
        SettingError: there is no such stream, *since* or *until* is no time of the
            years 1 to 9999 in UTC, *since* is after *until*, a condition is none,
            *limit* or *last* is no such number, or both are given.

    """

    stream: str = ERRORS
    since: date | datetime | None = None
    until: date | datetime | None = None
    provider: str | None = None
    model: str | None = None
    error_type: str | None = None
    request_id: str | None = None
    where: Sequence[Condition | str] = ()
    grep: str | None = None
    limit: int | None = None
    last: int | None = None

    def __post_init__(self) -> None:
        if self.stream not in QUERY_STREAMS:
            expected = f"one of {', '.join(QUERY_STREAMS)}"
            raise SettingError("stream", self.stream, expected)
        _checked_time("since", self.since)
        _checked_time("until", self.until)
        first, last = self.bounds()
        if first > last:
            raise SettingError(
                "since", str(self.since), f"a time that is not after {self.until}"
            )
        for name in _TEXTS:
            value = getattr(self, name)
            if not isinstance(value, str | None):
                raise SettingError(name, repr(value), "text")
        given: Any = [self.where] if isinstance(self.where, str) else self.where
        if not isinstance(given, Iterable):
            raise SettingError("where", given, "conditions like duration_ms>1000")
        where = [parse_where(c) if isinstance(c, str) else c for c in given]
        for condition in where:
            if not isinstance(condition, Condition):
                expected = "a condition like duration_ms>1000"
                raise SettingError("where", condition, expected)
        # Frozen for everybody else: text is taken for convenience.
        object.__setattr__(self, "where", tuple(where))
        _checked_count("limit", self.limit)
        _checked_count("last", self.last, MOST_LAST)
        if self.limit is not None and self.last is not None:
            raise SettingError("last", str(self.last), "either limit or last, not both")

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams of files that are read."""
        return STREAMS if self.stream == ALL else (self.stream,)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """What *where* says."""
        return tuple(c for c in self.where if isinstance(c, Condition))

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
        tests = list(self._tests(day))
        if not tests:
            return None
        if len(tests) == 1:
            return tests[0]
        return lambda record: all(test(record) for test in tests)

    def _tests(self, day: date) -> Iterator[Callable[[Record], bool]]:
        """Yield the tests, those that cost least first."""
        for key in ("error_type", "request_id"):
            value = getattr(self, key)
            if value is not None:
                yield _is(key, value)
        for key in ("provider", "model"):
            value = getattr(self, key)
            if value is not None:
                yield _context_is(key, value)
        if self.since is not None or self.until is not None:
            yield self._timed(day)
        for condition in self.conditions:
            yield condition.test()
        text = self.grep
        if text:
            yield lambda record: _holds(record, text)

    def _timed(self, day: date) -> Callable[[Record], bool]:
        first, last = self.bounds()
        first_text, last_text = canonical(first), canonical(last)
        default = self.covers(day)

        def accepts(record: Record) -> bool:
            stamp = record.get("timestamp")
            if not isinstance(stamp, str):
                return default
            # What the logger writes sorts as text; parsing it takes longer.
            if is_canonical(stamp):
                return first_text <= stamp <= last_text
            try:
                return first <= in_utc(datetime.fromisoformat(stamp)) <= last
            except (ValueError, OverflowError):
                return default

        return accepts


def day_of_record(record: Record) -> date | None:
    """Return the UTC day of the timestamp of *record*; None: it cannot be read."""
    stamp = record.get("timestamp")
    if not isinstance(stamp, str):
        return None
    try:
        if is_canonical(stamp):
            return date.fromisoformat(stamp[:10])
        return in_utc(datetime.fromisoformat(stamp)).date()
    except (ValueError, OverflowError):
        return None


def _is(key: str, value: str) -> Callable[[Record], bool]:
    return lambda record: record.get(key) == value


def _context_is(key: str, value: str) -> Callable[[Record], bool]:
    def test(record: Record) -> bool:
        context = record.get("context")
        return isinstance(context, dict) and context.get(key) == value

    return test


def _holds(value: Any, text: str) -> bool:
    """Return whether *text* is in some text of *value*, at any depth."""
    # A list of what is left, not recursion: a record may be nested very deeply.
    left = [value]
    while left:
        value = left.pop()
        if isinstance(value, str):
            if text in value:
                return True
        elif isinstance(value, dict):
            left.extend(value)
            left.extend(value.values())
        elif isinstance(value, list):
            left.extend(value)
    return False


def _instant(
    when: date | datetime | None, time_of_day: time, default: datetime
) -> datetime:
    if when is None:
        return default
    if isinstance(when, datetime):
        return in_utc(when)
    return datetime.combine(when, time_of_day, UTC)


def _checked_time(name: str, when: Any) -> None:
    """Raise SettingError unless *when* is a day or an instant that UTC has."""
    if not isinstance(when, date | None):
        expected = "a date or a datetime; parse_when() makes one of text"
        raise SettingError(name, when, expected)
    try:
        _instant(when, time.min, _FIRST)
    except OverflowError:  # an offset can lead beyond the first and the last year
        expected = "a time between the years 1 and 9999 in UTC"
        raise SettingError(name, str(when), expected) from None


def _checked_count(name: str, count: Any, most: int | None = None) -> None:
    if count is None or (
        type(count) is int and count >= 0 and (most is None or count <= most)
    ):
        return
    span = "from 0 on" if most is None else f"from 0 to {most:,}"
    raise SettingError(name, str(count), f"a number {span}")


def canonical(when: datetime) -> str:
    """Return *when*, in UTC, as the logger writes it."""
    return when.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


__all__ = [
    "ALL",
    "EXAMPLE",
    "MOST_LAST",
    "QUERY_STREAMS",
    "Query",
    "canonical",
    "day_of_record",
    "parse_when",
]
