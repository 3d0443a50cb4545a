"""
Where failures come from: the log's errors, what waits in spools, and drops of events.

A look takes the spools first, then the files, then what of the spools was not met in
the files (see waiting), so each record is taken once.  Of the events, only the logger's
own record that some were dropped is a failure: it is written where they are missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from typing import Any, Final

from tokenpak.telemetry.read.records import Record
from tokenpak.telemetry.read.summary import held_back
from tokenpak.telemetry.store.names import EVENTS
from tokenpak.telemetry.watch.conditions import Failure
from tokenpak.telemetry.watch.follow import Follower
from tokenpak.telemetry.watch.waiting import Waiting

_DROPPED: Final = "RecordsDropped"
_EVENTS_DAYS: Final = 1
"""Of events, at the first look: there is nothing to be learnt from them."""
_MOST_AT_ONCE: Final = 1_000_000
"""Failures that one record may stand for."""


class Sources:
    """
    All that is watched.

    Args:
        log_dir: the directory of the daily files.
        learn_days: how far it goes back at its first look.

    """

    def __init__(self, log_dir: str, learn_days: int) -> None:
        self._waiting = Waiting(log_dir)
        self._errors = Follower(log_dir, learn_days, arrived=self._waiting.arrived)
        self._events = Follower(
            log_dir, _EVENTS_DAYS, stream=EVENTS, only=_DROPPED.encode()
        )

    def new(self, now: float) -> Iterator[tuple[date | None, Iterable[Failure]]]:
        """
        Yield, day by day, what has come since the last look; take all of it.

        Args:
            now: seconds since the epoch.

        Yields:
            The day of the file, None where there is none, and the failures.

        Raises:
            OSError: the directory cannot be listed.  What waits in spools came before.

        """
        self._waiting.look()
        error: OSError | None = None
        try:
            for day, records in self._errors.new_records(now):
                noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
                yield day, _failures(records, min(noon.timestamp(), now))
            for _, records in self._events.new_records(now):
                yield None, _drops(records, now)
        except OSError as e:
            error = e
        yield None, _failures(self._waiting.records(log_is_read=error is None), now)
        if error is not None:
            raise error

    def close(self) -> None:
        """Let go of what is open."""
        self._waiting.close()

    def as_data(self) -> list[Any]:
        """Return what restore() takes, of what JSON knows."""
        return [part.as_data() for part in (self._errors, self._events, self._waiting)]

    def restore(self, data: Any) -> None:
        """
        Take over what as_data() gave.

        Raises:
            KeyError, TypeError, ValueError: it did not.

        """
        errors, events, waiting = data
        self._errors.restore(errors)
        self._events.restore(events)
        self._waiting.restore(waiting)


def _drops(records: Iterable[Record], now: float) -> Iterator[Failure]:
    """Yield a failure for each of *records*, of events, that tells of drops."""
    for record in records:
        if record.get("event") == _DROPPED:
            context = record.get("context")
            message = context.get("message") if isinstance(context, dict) else ""
            yield from _failures(
                [{**record, "error_type": _DROPPED, "message": message}], now
            )


def _failures(records: Iterable[Record], default: float) -> Iterator[Failure]:
    """Yield what of *records* matters; *default* for a time that cannot be read."""
    for record in records:
        context = record.get("context")
        told = context.get("kind") if isinstance(context, dict) else None
        error_type = record.get("error_type")
        message = record.get("message")
        yield Failure(
            _instant(record.get("timestamp"), default),
            error_type if isinstance(error_type, str) else "",
            told if isinstance(told, str) else "",
            message if isinstance(message, str) else "",
            # A storm's summary stands for many.
            min(held_back(record) or 1, _MOST_AT_ONCE),
        )


def _instant(stamp: Any, default: float) -> float:
    if not isinstance(stamp, str):
        return default
    try:
        when = datetime.fromisoformat(stamp)
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        return when.timestamp()
    except (ValueError, OverflowError):
        return default


__all__ = ["Sources"]
