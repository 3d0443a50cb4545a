"""
The counts of a directory: what add() makes of a record, and their saved form.

M1  Sums are integers (microseconds, billionths of a dollar), so that they do not depend
    on the order in which workers add.  A value that would make a counter go down, or is
    no number, is left out and counted as such.  Memory is bounded: beyond a number of
    label sets a family counts under ``other``, and that is counted, too.

Pure: knows no file, no clock, no Prometheus.  add() does not raise, whatever another
program wrote into the log.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from tokenpak.telemetry.metrics.labels import EXEMPLAR_CHARACTERS, OTHER, label_value
from tokenpak.telemetry.read.summary import held_back
from tokenpak.telemetry.store.names import ERRORS, STREAMS
from tokenpak.telemetry.store.notes import DROP_REASONS

BUCKETS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
"""Seconds: upper bounds of the histogram of durations; calls of LLMs take that long."""
MAX_LABEL_SETS: Final = 1_000
NOTICE: Final = "RecordsDropped"
"""The type of the records by which the logger tells of drops (queue/notice)."""

STORM: Final = "storm"
"""The reason for which storm control holds records back."""
BOUNDED: Final = (
    "tokenpak_errors_total",
    "tokenpak_events_total",
    "tokenpak_request_duration_seconds",
    "tokenpak_cost_usd_total",
    "tokenpak_tokens_total",
    "tokenpak_telemetry_records_dropped_total",
)
"""The metrics whose label sets come out of records."""
TROUBLES: Final = (
    "damaged_counts",
    "damaged_counts_restored",
    "begun_from_now_on",
    "file_cut_short",
    "damaged_archive",
)
"""What makes the counts inexact."""

MOST_MILLISECONDS: Final = 1e9
MOST_DOLLARS: Final = 1e6
MOST_TOKENS: Final = 10**12
_MOST: Final = 2**63 - 1
"""A sum stops there: what saves it knows no larger number."""
_BOUNDS: Final = tuple(bound * 1000 for bound in BUCKETS)  # in milliseconds
TOKENS: Final = {
    "input": ("input_tokens", "prompt_tokens"),
    "output": ("output_tokens", "completion_tokens"),
}
"""Directions, and the keys of the context that hold them; the first that is there."""

Labels = tuple[str, ...]
Exemplar = list[Any]
"""Request id, value, timestamp as in the record."""
Parts = tuple[tuple[float, ...], Sequence[int], Sequence[Exemplar | None], float]
"""Of a histogram: bounds, numbers between them, an exemplar for each, and the sum."""


class Count:
    """A counter with its last exemplar."""

    __slots__ = ("exemplar", "value")

    def __init__(self, value: int = 0, exemplar: Exemplar | None = None) -> None:
        self.value = value
        self.exemplar = exemplar


class Durations:
    """A histogram."""

    __slots__ = ("buckets", "exemplars", "microseconds")

    def __init__(
        self,
        microseconds: int = 0,
        buckets: list[int] | None = None,
        exemplars: list[Exemplar | None] | None = None,
    ) -> None:
        self.microseconds = microseconds
        self.buckets = buckets or [0] * (len(BUCKETS) + 1)
        """Not cumulated; the last one is for what is beyond all bounds."""
        self.exemplars = exemplars or [None] * (len(BUCKETS) + 1)

    @property
    def parts(self) -> Parts:
        """What a histogram is shown by; in seconds."""
        return BUCKETS, self.buckets, self.exemplars, self.microseconds / 1e6


class Tally:
    """
    The counts.  One thread at a time.

    Args:
        max_label_sets: of each family.

    Attributes:
        grown: whether there is a label set that has not been saved.

    """

    def __init__(self, max_label_sets: int = MAX_LABEL_SETS) -> None:
        self.most = max_label_sets
        self.grown = False
        self.errors: dict[Labels, Count] = {}
        self.events: dict[Labels, Count] = {}
        self.durations: dict[Labels, Durations] = {}
        self.cost: dict[Labels, int] = {}  # billionths of a dollar
        self.tokens: dict[Labels, int] = {}
        # Zeros where the labels are known, or the first increase would not be seen.
        self.accepted = _zeros(STREAMS)
        self.written = _zeros(STREAMS)
        self.dropped: dict[Labels, int] = {
            (why, s): 0 for s in STREAMS for why in (*DROP_REASONS, STORM)
        }
        self.malformed = _zeros(STREAMS)
        self.archived = _zeros(STREAMS)
        self.overflowed = _zeros(BOUNDED)
        self.ignored: dict[Labels, int] = {}
        self.trouble = _zeros(TROUBLES)

    # -- counting -------------------------------------------------------------------

    def add(self, record: Mapping[str, Any], stream: str) -> None:
        """Count *record*, a line of *stream*."""
        count(self.written, (stream,))
        context = record.get("context")
        if type(context) is not dict:
            context = {}
        what = label_value(record.get("error_type" if stream == ERRORS else "event"))
        if what == NOTICE and self._tells_of_drops(context, stream):
            return
        count(self.accepted, (stream,))
        provider = label_value(context.get("provider"))
        model = label_value(context.get("model"))
        request_id = record.get("request_id")
        if stream == ERRORS:
            times = self._times(record, stream)
            labels: Labels = (what, provider, model, label_value(context.get("kind")))
            self._count(self.errors, "tokenpak_errors_total", labels, times, record)
        else:
            labels = (what, provider, model)
            self._count(self.events, "tokenpak_events_total", labels, 1, record)
        self._measure(context, provider, model, stream, (request_id, record))

    def _tells_of_drops(self, context: Mapping[str, Any], stream: str) -> bool:
        number, reason = context.get("dropped"), context.get("reason")
        if type(number) is not int or type(reason) is not str or "pid" not in context:
            return False
        if 0 <= number < _MOST:
            reason = label_value(reason)
            labels = self._admit(self.dropped, BOUNDED[-1], (reason, stream))
            count(self.dropped, labels, number)
        return True

    def _times(self, record: Mapping[str, Any], stream: str) -> int:
        """Return how many errors a record stands for: a storm's summary for many."""
        held = held_back(record)
        if held is None:
            return 1
        count(self.dropped, (STORM, stream), held)
        return held

    def _count(
        self,
        table: dict[Labels, Count],
        family: str,
        labels: Labels,
        times: int,
        record: Mapping[str, Any],
    ) -> None:
        found = table.get(labels)
        if found is None:
            labels = self._admit(table, family, labels)
            found = table.setdefault(labels, Count())
        found.value = min(found.value + times, _MOST)
        exemplar = _exemplar(record, 1)
        if exemplar is not None:
            found.exemplar = exemplar

    def _measure(
        self,
        context: Mapping[str, Any],
        provider: str,
        model: str,
        stream: str,
        of: tuple[Any, Mapping[str, Any]],
    ) -> None:
        value = self._number(context, "duration_ms", MOST_MILLISECONDS)
        if value is not None:
            labels = self._admit(
                self.durations, "tokenpak_request_duration_seconds", (provider, model)
            )
            found = self.durations.setdefault(labels, Durations())
            found.microseconds = min(found.microseconds + round(value * 1000), _MOST)
            place = bisect_left(_BOUNDS, value)
            found.buckets[place] += 1
            exemplar = _exemplar(of[1], value / 1000)
            if exemplar is not None:
                found.exemplars[place] = exemplar
        value = self._number(context, "cost_estimate", MOST_DOLLARS)
        if value is not None:
            labels = (provider, model, stream)
            labels = self._admit(self.cost, "tokenpak_cost_usd_total", labels)
            count(self.cost, labels, round(value * 1e9))
        for direction, keys in TOKENS.items():
            for key in keys:
                value = self._number(context, key, MOST_TOKENS)
                if value is not None:
                    labels = (provider, model, direction, stream)
                    labels = self._admit(self.tokens, "tokenpak_tokens_total", labels)
                    count(self.tokens, labels, round(value))
                    break

    def _number(
        self, context: Mapping[str, Any], key: str, most: float
    ) -> float | None:
        value = context.get(key)
        if value is None:
            return None
        # A bool is an int to isinstance(); and not a number is in no order.
        if type(value) in {int, float} and 0 <= value <= most:
            return value  # type: ignore[no-any-return]
        count(self.ignored, (key,))
        return None

    def _admit(self, table: dict[Labels, Any], family: str, labels: Labels) -> Labels:
        if labels in table:
            return labels
        if len(table) < self.most:
            self.grown = True
            return labels
        count(self.overflowed, (family,))
        other = (OTHER,) * len(labels)
        self.grown = self.grown or other not in table
        return other

    # -- the saved form -------------------------------------------------------------

    def saved(self) -> dict[str, list[list[Any]]]:
        """Return the counts as lists of what JSON has."""
        plain = {
            name: [[labels, value] for labels, value in getattr(self, name).items()]
            for name in _PLAIN
        }
        counts = {
            name: [[k, c.value, c.exemplar] for k, c in getattr(self, name).items()]
            for name in ("errors", "events")
        }
        durations = [
            [labels, d.microseconds, d.buckets, d.exemplars]
            for labels, d in self.durations.items()
        ]
        return {**plain, **counts, "durations": durations}

    @classmethod
    def restored(cls, saved: Mapping[str, Any], max_label_sets: int) -> Tally:
        """
        Return what saved() was made of.

        Raises:
            ValueError, TypeError, KeyError, AttributeError: it was made of nothing.

        """
        tally = cls(max_label_sets)
        for name in _PLAIN:
            table = getattr(tally, name)
            for labels, value in saved[name]:
                table[_labels(labels)] = _natural(value)
        for name in ("errors", "events"):
            table = getattr(tally, name)
            for labels, value, exemplar in saved[name]:
                if exemplar is not None and len(exemplar) != 3:
                    raise ValueError("no exemplar")
                table[_labels(labels)] = Count(_natural(value), exemplar)
        for labels, microseconds, buckets, exemplars in saved["durations"]:
            if len(buckets) != len(BUCKETS) + 1 or len(exemplars) != len(buckets):
                raise ValueError("other buckets")
            tally.durations[_labels(labels)] = Durations(
                _natural(microseconds), [_natural(b) for b in buckets], exemplars
            )
        return tally


_PLAIN: Final = (
    "cost",
    "tokens",
    "accepted",
    "written",
    "dropped",
    "malformed",
    "archived",
    "overflowed",
    "ignored",
    "trouble",
)


def _zeros(values: Iterable[str]) -> dict[Labels, int]:
    return {(value,): 0 for value in values}


def count(table: dict[Labels, int], labels: Labels, number: int = 1) -> None:
    """Add *number* to what *table* holds for *labels*."""
    table[labels] = min(table.get(labels, 0) + number, _MOST)


def _exemplar(record: Mapping[str, Any], value: float) -> Exemplar | None:
    request_id = record.get("request_id")
    if type(request_id) is not str or not request_id:
        return None
    timestamp = record.get("timestamp")
    if type(timestamp) is not str or len(timestamp) > 32:
        timestamp = ""
    return [label_value(request_id, EXEMPLAR_CHARACTERS), value, timestamp]


def _labels(saved: list[str]) -> Labels:
    if not set(map(type, saved)) <= {str}:
        raise TypeError("labels are text")
    return tuple(saved)


def _natural(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError("counts are natural numbers")
    return value


__all__ = [
    "BUCKETS",
    "MAX_LABEL_SETS",
    "NOTICE",
    "TOKENS",
    "TROUBLES",
    "Count",
    "Durations",
    "Exemplar",
    "Labels",
    "Parts",
    "Tally",
    "count",
]
