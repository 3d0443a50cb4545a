"""
One look after the other: read what is new, judge it, remember, tell.

The state is saved before anybody is told, and again after: who dies in between tells
it twice, never not at all.  What cannot be done (a directory that cannot be read, a
disk that is full, a webhook that is down) is said once, and tried again at the next
look.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import orjson

from tokenpak.telemetry.watch.alerts import Alert
from tokenpak.telemetry.watch.conditions import Conditions
from tokenpak.telemetry.watch.memory import DamagedStateError, Memory
from tokenpak.telemetry.watch.outbox import Outbox
from tokenpak.telemetry.watch.rules import Rules
from tokenpak.telemetry.watch.sources import Sources
from tokenpak.telemetry.watch.targets import Target

GRACE: Final = 5.0
"""Seconds that a record may take from the call into the file, before its window is
judged without it."""
LEARN_DAYS: Final = 14


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
        stop: whether somebody wants it to end: a look that reads is broken off, and
            done again after the next start; nobody else is told.

    """

    def __init__(
        self,
        log_dir: str,
        rules: Rules,
        targets: Sequence[Target],
        memory: Memory,
        say: Callable[[str], None],
        learn_days: int = LEARN_DAYS,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._stop = stop
        self._memory = memory
        self._say = say
        self._rules = rules
        self._make: tuple[Callable[[], Any], ...] = (
            lambda: Sources(log_dir, learn_days),
            lambda: Conditions(rules),
            lambda: Outbox(targets, say),
        )
        self._sources: Sources
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
        self._sources, self._conditions, self._outbox = parts

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
        if self._stop():
            return []  # what was read is not saved, and so is read again
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
        self.deliver(now, elapsed)
        return begun

    def deliver(self, now: float, elapsed: float) -> None:
        """Try again to tell who could not be told."""
        self._outbox.deliver(
            self.firing, now, elapsed=elapsed, remember=self._save, stop=self._stop
        )

    def say_untold(self) -> None:
        """Say who does not know what yet, when the watch ends."""
        for name, number in self._outbox.untold(self.firing).items():
            alerts = "an alert" if number == 1 else f"{number} alerts"
            self._say(f"{name} was not told of {alerts}; the next start does it.")

    def _read(self, now: float) -> None:
        try:
            for day, failures in self._sources.new(now):
                for failure in failures:
                    self._conditions.take(failure, now)
                    if self._stop():
                        return
                self._catch_up(day, now)
        except OSError as e:
            self._note("log", f"The log cannot be read: {e.strerror or e}.")
        else:
            self._note("log", None)

    def _catch_up(self, day: date | None, now: float) -> None:
        """Judge what was read of *day*; None: of no certain one."""
        if day is None:
            return
        begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
        try:
            midnight = (begin + timedelta(days=1)).timestamp()
        except OverflowError:
            return
        if midnight < now - GRACE:
            self._conditions.catch_up(midnight, now)

    def _save(self) -> None:
        state = {
            "window": self._rules.window,
            "parts": [
                self._sources.as_data(),
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


__all__ = ["GRACE", "LEARN_DAYS", "Watcher"]
