"""
One look after the other: read what is new, judge it, remember, tell.

The state is saved before anybody is told, and again after: who dies in between tells
it twice, never not at all.  What cannot be done (a directory that cannot be read, a
disk that is full, a webhook that is down) is said once, and tried again at the next
look.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from tokenpak.telemetry.read.records import Record
from tokenpak.telemetry.watch.alerts import Alert
from tokenpak.telemetry.watch.conditions import Conditions, Failure
from tokenpak.telemetry.watch.follow import Follower
from tokenpak.telemetry.watch.memory import DamagedStateError, Memory
from tokenpak.telemetry.watch.outbox import Outbox
from tokenpak.telemetry.watch.rules import Rules
from tokenpak.telemetry.watch.targets import Target

GRACE: Final = 5.0
"""Seconds that a record may take from the call into the file, before its window is
judged without it."""
LEARN_DAYS: Final = 14
_MOST_AT_ONCE: Final = 1_000_000
"""Failures that one record may stand for."""


class Watcher:
    """
    A watch of one log directory.

    Args:
        log_dir: the directory of the daily files.
        rules: what is watched for.
        targets: whom to tell.
        memory: where the state is; its lock is the caller's business.
        say: is given lines of what goes wrong.
        learn_days: how many days of the log are read at the very first look.

    """

    def __init__(
        self,
        log_dir: str,
        rules: Rules,
        targets: Sequence[Target],
        memory: Memory,
        say: Callable[[str], None],
        learn_days: int = LEARN_DAYS,
    ) -> None:
        self._memory = memory
        self._say = say
        self._rules = rules
        self._make: tuple[Callable[[], Any], ...] = (
            lambda: Follower(log_dir, learn_days),
            lambda: Conditions(rules),
            lambda: Outbox(targets, say),
        )
        self._follower: Follower
        self._conditions: Conditions
        self._outbox: Outbox
        self._use([make() for make in self._make])
        self._saved: int | None = None
        self._said: dict[str, str] = {}
        """What is wrong now, by what it is about: it is said when it changes."""
        self._known: set[str] = set()
        """Alerts that have fired at an earlier look."""

    @property
    def firing(self) -> list[Alert]:
        """The alerts that fire."""
        return list(self._conditions.firing.values())

    @property
    def troubles(self) -> list[str]:
        """What could not be done at the last look."""
        return [*self._said.values(), *self._outbox.failing]

    def begin(self, now: float) -> None:
        """
        Load the state; without one, learn from the log's history.

        Args:
            now: seconds since the epoch.

        """
        state, restored = None, False
        try:
            state = self._memory.load()
        except (DamagedStateError, OSError) as e:
            self._begin_anew(str(e))
        if state is not None:
            try:
                restored = self._restore(state)
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
                self._begin_anew("it does not hold what it should")
        if not restored:
            self._conditions.tell_from = now - self._rules.window
        self._known = {alert.identity for alert in self.firing}

    def _restore(self, state: Any) -> bool:
        if state["window"] != self._rules.window:
            self._say("The window is another one than before: learning anew.")
            return False
        # All of them or none: positions without what was learnt would learn nothing.
        parts = [make() for make in self._make]
        for part, data in zip(parts, state["parts"], strict=True):
            part.restore(data)
        self._use(parts)
        return True

    def _use(self, parts: Sequence[Any]) -> None:
        self._follower, self._conditions, self._outbox = parts

    def _begin_anew(self, why: str) -> None:
        self._say(
            f"The state {self._memory.path} cannot be used: {why}. It is put aside, "
            "and the watch begins anew; what fires now may be told again."
        )
        self._memory.put_aside()

    def look(self, now: float, elapsed: float) -> list[Alert]:
        """
        Read, judge, remember and tell.

        Args:
            now: seconds since the epoch.
            elapsed: seconds of a clock that nobody sets.

        Returns:
            The alerts that have begun to fire since the last look.

        """
        self._read(now)
        self._conditions.tick(now - GRACE, now)
        ended, self._conditions.ended = self._conditions.ended, []
        firing = self.firing
        begun = [a for a in firing if a.identity not in self._known]
        # What has come and gone between two looks has happened, too.
        begun += [a for a in ended if a.identity not in self._known]
        self._known = {alert.identity for alert in firing}
        # Into the outbox first, so that what is over is in the state that is saved.
        self._outbox.add(ended)
        self._save()
        if self._outbox.deliver(firing, now, elapsed=elapsed):
            self._save()
        return begun

    def deliver(self, now: float, elapsed: float) -> None:
        """Try again to tell who could not be told."""
        if self._outbox.deliver(self.firing, now, elapsed=elapsed):
            self._save()

    def _read(self, now: float) -> None:
        try:
            for day, records in self._follower.new_records(now):
                end = datetime(day.year, day.month, day.day, tzinfo=UTC)
                noon = end.timestamp() + 43_200.0
                for failure in _failures(records, min(noon, now)):
                    self._conditions.take(failure, now)
                try:
                    midnight = (end + timedelta(days=1)).timestamp()
                except OverflowError:
                    continue
                if midnight < now - GRACE:
                    self._conditions.catch_up(midnight, now)
        except OSError as e:
            self._note("log", f"The log cannot be read: {e.strerror or e}.")
        else:
            self._note("log", None)

    def _save(self) -> None:
        state = {
            "window": self._rules.window,
            "parts": [
                self._follower.as_data(),
                self._conditions.as_data(),
                self._outbox.as_data(),
            ],
        }
        # Most looks find nothing: then the disk is spared.
        checksum = zlib.crc32(orjson.dumps(state))
        if checksum == self._saved:
            return
        try:
            self._memory.save(state)
        except OSError as e:
            self._note(
                "state",
                f"The state {self._memory.path} cannot be saved: {e.strerror or e}. "
                "After a restart, alerts may be told again.",
            )
        else:
            self._saved = checksum
            self._note("state", None)

    def _note(self, about: str, what: str | None) -> None:
        if what is None:
            self._said.pop(about, None)
        elif self._said.get(about) != what:
            self._said[about] = what
            self._say(what)


def _failures(records: Iterator[Record], default: float) -> Iterator[Failure]:
    """Yield what of *records* matters; *default* for a time that cannot be read."""
    for record in records:
        context = record.get("context")
        kind, number = "", 1
        if isinstance(context, dict):
            told = context.get("kind")
            kind = told if isinstance(told, str) else ""
            number = _number(context)
        error_type = record.get("error_type")
        message = record.get("message")
        yield Failure(
            _instant(record.get("timestamp"), default),
            error_type if isinstance(error_type, str) else "(none)",
            kind,
            message if isinstance(message, str) else "",
            number,
        )


def _number(context: dict[str, Any]) -> int:
    """Return how many failures a record stands for: a storm's summary for many."""
    storm = context.get("storm")
    held = storm.get("held_back") if isinstance(storm, dict) else None
    if type(held) is int and held > 0:
        return min(held, _MOST_AT_ONCE)
    return 1


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


__all__ = ["GRACE", "LEARN_DAYS", "Watcher"]
