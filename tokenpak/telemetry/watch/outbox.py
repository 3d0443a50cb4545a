"""
Who has been told what, and when to try again.

Each target is told that an alert fires, once, and that it is over, once; which of them
knows what is part of the state, so a restart repeats nothing.  Told is what a target
has taken: a death between that and the saving of the state tells it twice, and the
other order would tell it never.

What is over is told before what fires: the same may have begun again meanwhile, and
Alertmanager believes what it hears last.

A target that fails is tried again after a second, then two, up to five minutes, when
the others were told.  Alerts wait for it for a day, and so many of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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

    def untold(self, firing: Sequence[Alert]) -> dict[str, int]:
        """Return how many alerts each target does not know of, where there are any."""
        alerts = [*self._over.values(), *firing]
        found = {}
        for target in self._targets:
            known = self._told[target.identity]
            number = sum(known.get(a.identity) != a.status for a in alerts)
            if number:
                found[target.name] = number
        return found

    def deliver(
        self,
        firing: Sequence[Alert],
        now: float,
        *,
        elapsed: float,
        remember: Callable[[], None] = lambda: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        Tell whom it is time to tell.

        Args:
            firing: all that fire.
            now: seconds since the epoch.
            elapsed: seconds of a clock that nobody sets.
            remember: is called when somebody was told something: each may take a
                minute, and a death should tell as little twice as can be.
            stop: whether nobody else is to be told now.

        """
        alerts = [*self._over.values(), *firing]
        # Who has failed comes last: it may take a minute to fail again.
        for target in sorted(
            self._targets, key=lambda target: self._failures.get(target.identity, 0)
        ):
            if elapsed >= self._next_try.get(target.identity, 0.0):
                for _ in self._deliver(target, alerts, now, elapsed, stop):
                    remember()
                    if stop():
                        return
            if stop():
                return
        if self._forget(firing, now):
            remember()

    def _deliver(
        self,
        target: Target,
        alerts: Sequence[Alert],
        now: float,
        elapsed: float,
        stop: Callable[[], bool],
    ) -> Iterator[None]:
        """Tell *target*, and yield after each batch that it has taken."""
        known = self._told[target.identity]
        due = [
            alert
            for alert in alerts
            if known.get(alert.identity) != alert.status
            or self._again(target, alert, elapsed)
        ]
        for begin in range(0, len(due), target.batch):
            batch = due[begin : begin + target.batch]
            try:
                target.tell(batch, now, stop)
            except NotToldError as e:
                self._fail(target, e, elapsed)
                return
            for alert in batch:
                known[alert.identity] = alert.status
                self._sent[target.identity, alert.identity] = elapsed
            if self._failures.pop(target.identity, 0):
                self._say(f"{target.name} can be reached again.")
            yield

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

    def _forget(self, firing: Sequence[Alert], now: float) -> bool:
        """Let go of what all know and what has waited too long; return if anything."""
        before = len(self._over)
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
        return len(self._over) != before

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
