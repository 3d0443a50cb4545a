"""
Who has been told what, and when to try again.

Each target is told that an alert fires, once, and that it is over, once; which of them
knows what is part of the state, so a restart repeats nothing.  Told is what a target
has taken: a death between that and the saving of the state tells it twice, and the
other order would tell it never.

A target that fails is tried again after a second, then two, up to five minutes, while
the others are told.  Alerts wait for it for a day, and so many of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from tokenpak.telemetry.watch.alerts import Alert
from tokenpak.telemetry.watch.rules import DAY
from tokenpak.telemetry.watch.targets import NotToldError, Target

MOST_WAITING: Final = 500
"""Alerts that are over and somebody does not know it."""
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 300.0
_WAIT: Final = DAY


class Outbox:
    """
    What is to be told.

    Args:
        targets: whom.
        say: is given a line when a target cannot be reached, and when it can again.

    """

    def __init__(self, targets: Sequence[Target], say: Callable[[str], None]) -> None:
        self._targets = targets
        self._say = say
        self._over: dict[str, Alert] = {}
        """By identity."""
        self._told: dict[str, dict[str, str]] = {t.identity: {} for t in targets}
        """Target -> alert -> the status that it was told."""
        self._sent: dict[tuple[str, str], float] = {}
        """When a target was told last, for those that must be told again."""
        self._failures: dict[str, int] = {}
        self._next_try: dict[str, float] = {}

    @property
    def failing(self) -> list[str]:
        """The names of the targets whose last attempt failed."""
        return [t.name for t in self._targets if self._failures.get(t.identity)]

    def add(self, ended: Sequence[Alert]) -> None:
        """Take alerts that are over."""
        for alert in ended:
            self._over[alert.identity] = alert

    def deliver(self, firing: Sequence[Alert], now: float, *, elapsed: float) -> bool:
        """
        Tell whom it is time to tell.

        Args:
            firing: all that fire.
            now: seconds since the epoch.
            elapsed: seconds of a clock that nobody sets.

        Returns:
            Whether somebody was told something, so that the state is to be saved.

        """
        alerts = [*firing, *self._over.values()]
        told = False
        for target in self._targets:
            if elapsed >= self._next_try.get(target.identity, 0.0):
                told |= self._deliver(target, alerts, now, elapsed)
        self._forget(firing, now)
        return told

    def _deliver(
        self, target: Target, alerts: Sequence[Alert], now: float, elapsed: float
    ) -> bool:
        known = self._told[target.identity]
        due = [
            alert
            for alert in alerts
            if known.get(alert.identity) != alert.status
            or self._again(target, alert, elapsed)
        ]
        told = False
        for begin in range(0, len(due), target.batch):
            batch = due[begin : begin + target.batch]
            try:
                target.tell(batch, now)
            except NotToldError as e:
                self._fail(target, e, elapsed)
                return told
            for alert in batch:
                known[alert.identity] = alert.status
                self._sent[target.identity, alert.identity] = elapsed
            told = True
            if self._failures.pop(target.identity, 0):
                self._say(f"{target.name} can be reached again.")
        return told

    def _again(self, target: Target, alert: Alert, elapsed: float) -> bool:
        if not target.repeat or alert.ends_at is not None:
            return False
        sent = self._sent.get((target.identity, alert.identity))
        return sent is None or elapsed - sent >= target.repeat

    def _fail(self, target: Target, error: NotToldError, elapsed: float) -> None:
        failures = self._failures[target.identity] = (
            self._failures.get(target.identity, 0) + 1
        )
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 20))
        self._next_try[target.identity] = elapsed + pause
        if failures == 1:
            self._say(f"{target.name} could not be told: {error}. It is tried again.")

    def _forget(self, firing: Sequence[Alert], now: float) -> None:
        """Let go of what all know, and of what has waited too long."""
        for identity, alert in list(self._over.items()):
            everybody = all(
                known.get(identity) == "resolved" for known in self._told.values()
            )
            too_old = now - (alert.ends_at or now) > _WAIT
            if everybody or too_old:
                del self._over[identity]
        while len(self._over) > MOST_WAITING:
            del self._over[next(iter(self._over))]
        left = {alert.identity for alert in firing} | self._over.keys()
        for known in self._told.values():
            for identity in known.keys() - left:
                del known[identity]
        for key in [key for key in self._sent if key[1] not in left]:
            del self._sent[key]

    def as_data(self) -> dict[str, Any]:
        """Return what restore() takes, of what JSON knows."""
        return {
            "over": [alert.as_data() for alert in self._over.values()],
            "told": self._told,
        }

    def restore(self, data: Any) -> None:
        """
        Take over what as_data() gave; targets that are no longer there are forgotten.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: it did not.

        """
        alerts = [Alert.from_data(alert) for alert in data["over"]]
        told = {
            target.identity: {
                str(identity): str(status)
                for identity, status in data["told"].get(target.identity, {}).items()
            }
            for target in self._targets
        }
        self._over = {alert.identity: alert for alert in alerts}
        self._told = told


__all__ = ["FIRST_PAUSE", "LONGEST_PAUSE", "MOST_WAITING", "Outbox"]
