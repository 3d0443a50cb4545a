"""
Counts of windows become expectations and spikes: for all errors, and for each type.

A window is judged when it is over, against what its time of day usually has, and then
learnt.  The window under way is judged too, for what is in it already: if that is more
than a full one could have by chance, nobody need wait for the rest.

Memory is bounded: so many types have a series of their own, those that have most
failures; of the others, the total is watched.  So many windows are open.
"""

from __future__ import annotations

import heapq
from collections import Counter
from typing import Any, Final, Literal, NamedTuple

from tokenpak.telemetry.watch.baseline import Baseline
from tokenpak.telemetry.watch.chance import upper_tail
from tokenpak.telemetry.watch.rules import DAY, HOUR, Rules

MOST_SERIES: Final = 64
MOST_TYPES: Final = 1_000
"""Types that are told apart in one window."""
_MOST_ENTRIES: Final = 50_000
"""The same, of all that are open: a day that is read at once has hundreds."""
TOTAL: Final = ""
"""The name of the series of all errors."""
OTHER: Final = "(other)"
_CHANCE: Final = 3e-5
"""Of calling a usual window a spike: three times in a year of windows of five minutes,
if the world were as simple as the model.  The rest of one a week is for the world."""
_CHANCE_OF_TYPE: Final = 1e-5
"""Of one type: each is one more chance to be wrong."""
_CHANCE_OVER: Final = 1e-3
_LARGEST: Final = 3
_MOST_OPEN: Final = 6_000
"""Two days of the shortest windows."""
_SKIP: Final = 3 * DAY
"""Seconds of silence after which it is the clock that has moved, or nobody has watched:
what lies between is not learnt as quiet."""


class Verdict(NamedTuple):
    """What a window is to one series."""

    series: str
    number: int
    usual: float
    state: Literal["spike", "between", "quiet"]
    """Between: nothing begins, and what fires goes on."""
    largest: tuple[tuple[str, int], ...]
    """The types that the window has most of."""


class Judged(NamedTuple):
    """A window, and its verdicts.  A series without one had nothing in it."""

    window: int
    verdicts: list[Verdict]


class Windows:
    """All series, and the windows that are open."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._hour = int(HOUR // rules.window)
        self.next: int | None = None
        """The first window that is not closed; None: nothing was ever seen."""
        self.open: dict[int, Counter[str]] = {}
        self.series: dict[str, Baseline] = {TOTAL: self._unlearnt()}
        self._entries = 0
        """Types in open windows, added up."""
        self._before: list[Counter[str]] = [Counter(), Counter()]
        """The two windows before the next, the last one first."""

    def of(self, when: float) -> int:
        """Return the number of the window that *when*, of the epoch, is in."""
        return int(when // self.rules.window)

    def begin_of(self, window: int) -> float:
        """Return when *window* begins, in seconds since the epoch."""
        return window * self.rules.window

    def add(self, when: float, error_type: str, number: int = 1) -> bool:
        """Count *number* failures; return whether their window is still open."""
        window = self.of(when)
        if self.next is None:
            self.next = window
        if window < self.next:
            return False
        counts = self.open.get(window)
        if counts is None:
            if len(self.open) >= _MOST_OPEN:
                return False
            counts = self.open[window] = Counter()
        if error_type not in counts:
            if len(counts) >= MOST_TYPES or self._entries >= _MOST_ENTRIES:
                error_type = OTHER
            self._entries += error_type not in counts
        counts[error_type] += number
        return True

    def close(self, now: float) -> list[Judged]:
        """
        Close the windows that are over, learn them, and return what was judged.

        Args:
            now: a window that ended before it is over; seconds since the epoch.

        """
        last = self.of(now)
        if self.next is None:
            return []
        if last < self.next - self._hour - 1:
            # The clock was set back.  What was learnt stays: it goes by time of day.
            self.next = last
            self.open = {w: counts for w, counts in self.open.items() if w <= last}
            self._before = [Counter(), Counter()]
        judged: list[Judged] = []
        while self.next < last and self._pass_silence(last):
            judged.append(self._close(self.next))
            self.next += 1
        for window in [window for window in self.open if window > last + 1]:
            del self.open[window]  # of a clock that was ahead
        self._entries = sum(map(len, self.open.values()))
        return judged

    def _unlearnt(self) -> Baseline:
        return Baseline(self.rules.window, self.rules.spike_count)

    def is_over(self, window: int) -> bool:
        """Return whether *window* was closed."""
        return self.next is not None and window < self.next

    def _pass_silence(self, last: int) -> bool:
        """Pass over silence that means nothing; return whether there is more to do."""
        assert self.next is not None
        ahead = min((w for w in self.open if self.next <= w < last), default=last)
        if (ahead - self.next) * self.rules.window > _SKIP:
            self.next = ahead
            self._before = [Counter(), Counter()]  # they are not the ones before
        return self.next < last

    def peek(self, now: float) -> list[Judged]:
        """
        Judge the windows under way by what is in them already: spikes only.

        Args:
            now: seconds since the epoch.

        """
        found: list[Judged] = []
        if self.next is not None:
            for window in (self.next, self.next + 1):
                if counts := self.open.get(window):
                    before = self._before
                    if window != self.next:
                        last = self.open.get(self.next, Counter())
                        before = [last, self._before[0]]
                    part = (now - self.begin_of(window)) / self.rules.window
                    part = min(1.0, max(0.0, part))
                    verdicts = self._judge(window, counts, before, part)
                    spikes = [v for v in verdicts if v.state == "spike"]
                    found.append(Judged(window, spikes))
        return found

    def _close(self, window: int) -> Judged:
        counts = self.open.pop(window, None) or Counter()
        judged = Judged(window, self._judge(window, counts, self._before))
        self._before = [counts, self._before[0]]
        spikes = {v.series for v in judged.verdicts if v.state == "spike"}
        middle = self.begin_of(window) + self.rules.window / 2
        self._admit(counts)
        for name, series in self.series.items():
            count = counts.total() if name == TOTAL else counts[name]
            series.learn(middle, count, spike=name in spikes)
        return judged

    def _judge(
        self,
        window: int,
        counts: Counter[str],
        before: list[Counter[str]],
        part: float = 1.0,
    ) -> list[Verdict]:
        middle = self.begin_of(window) + self.rules.window / 2
        total = self.series[TOTAL]
        largest = tuple(
            heapq.nlargest(_LARGEST, counts.items(), key=lambda item: item[1])
        )
        three = [counts.total(), *(of.total() for of in before)]
        verdicts = [self._compare(TOTAL, total, middle, three, largest, part)]
        for name, count in counts.items():
            three = [count, *(of[name] for of in before)]
            if sum(three) < self.rules.spike_count:
                continue  # most types, most of the time
            series = self.series.get(name)
            if series is None:
                series = self._unlearnt()
                series.begin_like(total)
            verdicts.append(self._compare(name, series, middle, three, (), part))
        return verdicts

    def _compare(
        self,
        name: str,
        series: Baseline,
        middle: float,
        counts: list[int],
        largest: tuple[tuple[str, int], ...],
        part: float,
    ) -> Verdict:
        """
        Judge a window by itself, with the one before, and with two: *counts*.

        By itself it is held against a full one; with others, against that *part* of it
        which is over.
        Several together show what began in the middle of a window, and what is only
        somewhat more than chance in each.
        """
        count = counts[0]
        expected = [
            series.expect(middle - self.rules.window * ago)
            for ago in range(len(counts))
        ]
        rest = [(1.0 - part) * of for of in expected[0]]
        chances = [
            self._chance(
                sum(counts[:number]),
                sum(each.mean for each in expected[:number]) - (number > 1) * rest[0],
                sum(each.variance for each in expected[:number])
                - (number > 1) * rest[1],
            )
            # What is next to nothing by itself is not told of for those before.
            if number == 1
            or (
                number * count >= self.rules.spike_count
                and count >= self.rules.spike_factor * expected[0].mean
            )
            else 1.0
            for number in range(1, len(counts) + 1)
        ]
        limit = _CHANCE if name == TOTAL else _CHANCE_OF_TYPE
        state: Literal["spike", "between", "quiet"] = "between"
        if chances[0] >= _CHANCE_OVER and chances[1] >= _CHANCE:
            state = "quiet"
        if (
            min(chances) < limit
            and series.seen * self.rules.window >= self.rules.learning
        ):
            state = "spike"
        return Verdict(name, count, expected[0].mean, state, largest)

    def _chance(self, count: int, mean: float, variance: float) -> float:
        """Return the chance of *count*; 1 if it is too few, or not enough more."""
        if count < self.rules.spike_count or count < self.rules.spike_factor * mean:
            return 1.0
        return upper_tail(count, mean, variance)

    def _admit(self, counts: Counter[str]) -> None:
        """
        Give those of *counts* a series that have none, those with most first.

        If there is no room, in the place of those with least, if they have more.
        """
        fresh = heapq.nlargest(
            MOST_SERIES,
            (
                (count, name)
                for name, count in counts.items()
                if name not in self.series
            ),
        )
        if not fresh:
            return
        weakest = iter(
            sorted(
                (self._worth(series, counts[name]), name)
                for name, series in self.series.items()
                if name != TOTAL
            )
        )
        for count, name in fresh:
            if len(self.series) > MOST_SERIES:
                worth, other = next(weakest)
                if worth >= count:
                    return  # nor have those behind it
                del self.series[other]
            series = self.series[name] = self._unlearnt()
            series.begin_like(self.series[TOTAL])

    def _worth(self, series: Baseline, count: int) -> float:
        """Return what a type must have more of to get the place of *series*."""
        # The mean of a week says nothing yet of one that has just come, and would not
        # keep it from giving way to each that comes once.
        lately = min(series.lately, self.rules.spike_count)
        return max(series.usual * self._hour, lately, count)

    def as_data(self) -> dict[str, Any]:
        """Return what restore() takes, of what JSON knows."""
        return {
            "window": self.rules.window,
            "next": self.next,
            "before": self._before,
            "open": {str(window): counts for window, counts in self.open.items()},
            "series": {name: series.as_data() for name, series in self.series.items()},
        }

    def restore(self, data: Any) -> None:
        """
        Take over what as_data() gave.

        Raises:
            KeyError, TypeError, ValueError: it did not, or of windows of another
                length.

        """
        window = self.rules.window
        if data["window"] != window:
            raise ValueError("windows of another length")
        series = {
            str(name): Baseline.from_data(window, of, self.rules.spike_count)
            for name, of in data["series"].items()
        }
        if TOTAL not in series or not isinstance(data["next"], int | None):
            raise ValueError("no state")
        opened = {
            int(number): _counts(counts) for number, counts in data["open"].items()
        }
        last, before = map(_counts, data["before"])
        self._before = [last, before]
        self.next, self.open, self.series = data["next"], opened, series


def _counts(data: Any) -> Counter[str]:
    return Counter({str(name): int(number) for name, number in data.items()})


__all__ = [
    "MOST_SERIES",
    "MOST_TYPES",
    "OTHER",
    "TOTAL",
    "Judged",
    "Verdict",
    "Windows",
]
