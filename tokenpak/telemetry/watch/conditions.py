"""
From records to alerts: spikes, new types, critical types, and when each is over.

Knows no files, no clock and nobody to tell: records and the time are given to it, and
what fires is looked up in it.  So 30 days are a matter of a second (and of a test).

Memory is bounded, whatever is logged: so many alerts fire at once, each with short
texts; of types that were ever seen, so many hashes are known.
"""

from __future__ import annotations

import hashlib
import re
from fnmatch import translate
from typing import Any, Final, NamedTuple

from tokenpak.telemetry.watch.alerts import (
    CRITICAL,
    LONGEST_NAME,
    NEW_TYPE,
    SPIKE,
    Alert,
    one_line,
)
from tokenpak.telemetry.watch.rules import DAY, HOUR, Rules
from tokenpak.telemetry.watch.windows import OTHER, TOTAL, Judged, Verdict, Windows

MOST_OF_A_NAME: Final = 20
"""Alerts of one name that fire at once; what comes then is one more, of ``(other)``."""
MOST_KNOWN: Final = 5_000
"""Types that are known to have been seen; then the longest unseen is forgotten."""
_NO_TYPE: Final = "(none)"
_OVER_WINDOWS: Final = 2
"""A spike is over when so many windows after its last are quiet."""
_STALE: Final = DAY
"""Seconds; of older records nobody is told: they were recovered from long ago."""


class Failure(NamedTuple):
    """What of a record matters here."""

    when: float
    """Seconds since the epoch."""
    error_type: str
    kind: str
    message: str
    number: int
    """How many failures it stands for."""


class Conditions:
    """The state of all conditions."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.windows = Windows(rules)
        self.firing: dict[str, Alert] = {}
        """By key."""
        self.ended: list[Alert] = []
        """Those that are over; whoever tells of them takes them out."""
        self.tell_from = 0.0
        """Nobody is told of what was before that: it is history to learn from."""
        self._known: dict[str, int] = {}
        """Hash of a type -> the day on which it was seen last, the oldest first."""
        self._critical = _matcher(
            p for p in rules.critical if not p.startswith("kind:")
        )
        self._critical_kind = _matcher(
            p.removeprefix("kind:") for p in rules.critical if p.startswith("kind:")
        )

    def take(self, failure: Failure, now: float) -> None:
        """Count *failure*, and fire what fires at once."""
        # A clock that is ahead of ours: it has happened by now.
        when = min(failure.when, now)
        # An empty name is that of all types together.
        name = one_line(failure.error_type or _NO_TYPE, LONGEST_NAME)
        self.windows.add(when, name, failure.number)
        new = self._is_new(name, when)
        if when < max(self.tell_from, now - _STALE):
            return
        if self._critical(name) or (failure.kind and self._critical_kind(failure.kind)):
            self._fire_at_once(CRITICAL, "critical", name, failure, now)
        elif (new and self._has_learnt) or f"{NEW_TYPE}/{name}" in self.firing:
            self._fire_at_once(NEW_TYPE, "warning", name, failure, now)

    def catch_up(self, until: float, now: float) -> None:
        """
        Judge the windows that ended before *until*, of what was read of the past.

        Args:
            until: all before it was read; what is closed already stays so.
            now: seconds since the epoch; nobody is told of what is long over.

        """
        if not self.windows.is_over(self.windows.of(until)):
            self._close(until, now)

    def tick(self, until: float, now: float) -> None:
        """
        Judge the windows that ended before *until* and the one under way; end alerts.

        Args:
            until: seconds since the epoch; somewhat before *now*, so that what is on
                its way into the log has arrived.
            now: seconds since the epoch.

        """
        self._close(until, now)
        for judged in self.windows.peek(until):
            self._apply(judged, quiet=False, told=True)
        for alert in list(self.firing.values()):
            if alert.last_seen > now + HOUR:
                alert.last_seen = now  # the clock was set back
            if alert.name != SPIKE and now - alert.last_seen >= self.rules.quiet:
                self._end(alert, alert.last_seen + self.rules.quiet)

    def _close(self, until: float, now: float) -> None:
        oldest = max(self.tell_from, now - max(HOUR, 4 * self.rules.window))
        for judged in self.windows.close(until):
            told = self.windows.begin_of(judged.window + 1) >= oldest
            self._apply(judged, quiet=True, told=told)

    @property
    def _has_learnt(self) -> bool:
        seen = self.windows.series[TOTAL].seen
        return seen * self.rules.window >= self.rules.learning

    def _is_new(self, name: str, when: float) -> bool:
        digest = hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
        day = int(when // DAY)
        seen = self._known.get(digest)
        # At the end, each time: thousands of new ones do not make old ones new.
        self._known.pop(digest, None)
        self._known[digest] = day if seen is None else max(seen, day)
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]
        return seen is None

    def _fire_at_once(
        self, name: str, severity: str, error_type: str, failure: Failure, now: float
    ) -> None:
        alert = self.firing.get(f"{name}/{error_type}")
        if alert is None:
            of_that_name = sum(alert.name == name for alert in self.firing.values())
            if of_that_name >= MOST_OF_A_NAME:
                error_type = OTHER
                alert = self.firing.get(f"{name}/{error_type}")
        if alert is None:
            kind = one_line(failure.kind, LONGEST_NAME)
            what = f"{error_type} ({kind})" if kind else error_type
            if error_type == OTHER:
                what = f"{'critical' if name == CRITICAL else 'new'} types of errors"
                summary = f"More {what}, {failure.error_type} among them"
            elif name == CRITICAL:
                summary = f"{what} has been logged, which is critical"
            else:
                summary = f"{what} has been logged, which was never seen before"
            alert = Alert(
                name=name,
                error_type=error_type,
                severity=severity,
                summary=one_line(summary),
                example=one_line(failure.message),
                starts_at=min(failure.when, now),
            )
            self.firing[alert.key] = alert
        alert.count += failure.number
        # When it was read, not when it was logged: what is read late is not over before
        # anybody could be told.
        alert.last_seen = max(alert.last_seen, now)

    def _apply(self, judged: Judged, *, quiet: bool, told: bool) -> None:
        """Fire and end spikes by what *judged* says; *quiet*: the window is over."""
        begin = self.windows.begin_of(judged.window)
        states = {verdict.series: verdict.state for verdict in judged.verdicts}
        # The types first: a spike of all errors that one of them explains is no news.
        # But what befalls several at once is one alert, of all, and not one of each.
        explained = 0
        together = told and self._together(judged)
        for verdict in reversed(judged.verdicts):
            alert = self.firing.get(f"{SPIKE}/{verdict.series}")
            if alert is not None:
                if verdict.state != "quiet":
                    self._go_on(alert, verdict, begin)
            elif together and verdict.series != TOTAL:
                continue
            elif verdict.state == "spike" and told:
                self._fire_spike(verdict, begin, explained)
            if f"{SPIKE}/{verdict.series}" in self.firing:
                explained += verdict.number
        if not quiet:
            return
        for alert in list(self.firing.values()):
            if alert.name == SPIKE and states.get(alert.error_type, "quiet") == "quiet":
                windows = judged.window - self.windows.of(alert.last_seen)
                if windows >= _OVER_WINDOWS:
                    self._end(alert, alert.last_seen + self.rules.window)

    def _together(self, judged: Judged) -> bool:
        """Return whether all errors are a spike that no single type accounts for."""
        spikes = {v.series: v for v in judged.verdicts if v.state == "spike"}
        total = spikes.pop(TOTAL, None)
        if total is None:
            return False
        begun = [
            verdict.number
            for series, verdict in spikes.items()
            if f"{SPIKE}/{series}" not in self.firing
        ]
        return len(begun) > 1 or (
            len(begun) == 1 and total.number - begun[0] >= self._least(total)
        )

    def _least(self, verdict: Verdict) -> float:
        """Return what a spike has at least, by the rules."""
        return max(self.rules.spike_count, self.rules.spike_factor * verdict.usual)

    def _fire_spike(self, verdict: Verdict, begin: float, explained: int) -> None:
        if verdict.series == TOTAL:
            if explained and verdict.number - explained < self._least(verdict):
                return
        elif f"{SPIKE}/{TOTAL}" in self.firing:
            return  # it is part of what is told already
        elif sum(a.name == SPIKE for a in self.firing.values()) >= MOST_OF_A_NAME:
            return  # each of them says that much is going on
        alert = Alert(
            name=SPIKE,
            error_type=verdict.series,
            severity="warning",
            summary="",
            example="",
            starts_at=begin,
        )
        self.firing[alert.key] = alert
        self._go_on(alert, verdict, begin)

    def _go_on(self, alert: Alert, verdict: Verdict, begin: float) -> None:
        alert.last_seen = max(alert.last_seen, begin)
        if verdict.number > alert.count:
            alert.count = verdict.number
            minutes = f"{self.rules.window / 60:g} minutes"
            what = f"{verdict.number:,} errors"
            if verdict.series:
                what = f"{verdict.series} came {verdict.number:,} times"
            alert.summary = one_line(
                f"{what} in {minutes}, where {verdict.usual:,.1f} are usual"
            )
            alert.example = one_line(
                ", ".join(f"{name} {count:,}" for name, count in verdict.largest)
            )

    def _end(self, alert: Alert, when: float) -> None:
        del self.firing[alert.key]
        alert.ends_at = max(when, alert.starts_at)
        self.ended.append(alert)

    def as_data(self) -> dict[str, Any]:
        """Return what restore() takes, of what JSON knows."""
        return {
            "windows": self.windows.as_data(),
            "firing": [alert.as_data() for alert in self.firing.values()],
            "known": self._known,
        }

    def restore(self, data: Any) -> None:
        """
        Take over what as_data() gave.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: it did not.

        """
        windows = Windows(self.rules)
        windows.restore(data["windows"])
        alerts = [Alert.from_data(alert) for alert in data["firing"]]
        known = {str(digest): int(day) for digest, day in data["known"].items()}
        self.windows = windows
        self.firing = {alert.key: alert for alert in alerts}
        self._known = known


def _matcher(patterns: Any) -> Any:
    """Return what finds whether a text matches one of *patterns*, in linear time."""
    both = "|".join(translate(pattern) for pattern in patterns)
    return re.compile(both).match if both else lambda _text: None


__all__ = ["MOST_KNOWN", "MOST_OF_A_NAME", "Conditions", "Failure"]
