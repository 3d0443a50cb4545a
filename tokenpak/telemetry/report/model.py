"""
What a report says, as data: the fields of ``report --format json``.

Counts are of records, if nothing else is said.  *now* is the window, *before* the one
before it, of the same length.  Times are texts as in the log, ends are not included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

By = Literal["error_type", "provider", "model", "kind"]
DIMENSIONS: tuple[By, ...] = ("error_type", "provider", "model", "kind")


@dataclass(frozen=True, slots=True)
class Count:
    """
    How many records there were of one name.

    Attributes:
        name: of the type, provider, model or kind; ``(none)`` if records do not say,
            ``(other)`` for what found no room in the report.
        now: in the window.
        before: in the one before.
        ratio: *now* over *before*, with what was held back; None: there were none.
        held_back: failures that storm control counted in the window and did not record.
        held_back_before: the same before.
        series: *now* by slot.

    """

    name: str
    now: int
    before: int
    ratio: float | None
    held_back: int
    held_back_before: int
    series: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """
    A kind of failure: class, functions of the stack, message without its numbers.

    Attributes:
        fingerprint: 16 hexadecimal digits, the same in each report.
        error_type: the class.
        message: of the first record in the window, up to 200 characters.
        request_id: of that record.
        where: ``file:function`` of the innermost frame; empty if there is no stack.
        new: whether there was none in the window before and in the history.
        now, before, ratio: as of a Count.
        first, last: times of the first and last record in the window.
        places: the commonest ``provider/model``, and how many there were.
        series: *now* by slot.

    """

    fingerprint: str
    error_type: str
    message: str
    request_id: str
    where: str
    new: bool
    now: int
    before: int
    ratio: float | None
    first: str
    last: str
    places: tuple[tuple[str, int], ...]
    series: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Rise:
    """
    What rose by more than chance.

    Attributes:
        by: ``all``, ``error_type``, ``provider``, ``model``, ``kind`` or
            ``fingerprint``.
        name: which of them.
        now, before: failures, with those that storm control held back.
        ratio: *now* over *before*; None: there were none.
        chance: that this or more is noise: see ``chance``.
        corrected: the same, corrected for how many counts were looked at.

    """

    by: str
    name: str
    now: int
    before: int
    ratio: float | None
    chance: float
    corrected: float


@dataclass(frozen=True, slots=True)
class Spread:
    """
    Numbers from the context.

    Attributes:
        count: how many records had one.
        sum: of all.
        p50, p95: quantiles; None: there is no number.
        exact: whether they are; else they are off by at most 1 % of themselves.

    """

    count: int
    sum: float
    p50: float | None
    p95: float | None
    exact: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Durations (ms) and costs of the failures at one provider's model."""

    provider: str
    model: str
    duration_ms: Spread
    duration_ms_before: Spread
    cost: Spread
    cost_before: Spread


@dataclass(frozen=True, slots=True)
class Cell:
    """A combination of names, and its records; what a page can filter by."""

    error_type: str
    provider: str
    model: str
    kind: str
    before: int
    series: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Health:
    """
    What the figures lack.

    Attributes:
        malformed: lines that are no records, in the files of the days that were read.
        malformed_files: the same by file, those with the most.
        unreadable: files that could not be read, or not to their ends, and why.
        dropped: records that were given up in the window, by reason, as the log tells.
        dropped_before: the same before.
        held_back: failures that storm control counted and did not record.
        undated: records whose time cannot be read; they are in no other figure.
        unusable: values that are no costs or durations, by key of the context.

    """

    malformed: int
    malformed_files: dict[str, int]
    unreadable: tuple[tuple[str, str], ...]
    dropped: dict[str, int]
    dropped_before: dict[str, int]
    held_back: int
    undated: int
    unusable: dict[str, int]

    @property
    def is_well(self) -> bool:
        """Whether there is nothing to tell."""
        return not (
            self.malformed
            or self.unreadable
            or self.dropped
            or self.held_back
            or self.undated
            or self.unusable
        )


@dataclass(frozen=True, slots=True)
class Report:
    """
    A report.

    Attributes:
        version: of these fields; 1.
        log_dir: which directory.
        stream: ``errors``, ``events`` or ``all`` of both.
        since, until: the window; *until* is the first instant after it.
        before_since: the beginning of the window before.
        history_since: what was read at all.
        slot_seconds: how long a slot of a series is.
        total: all records.
        series_before: those before, by slot.
        by: counts by name, the most frequent first.
        new: kinds of failure that had not been seen before.
        new_total: how many such kinds; *new* holds the most frequent.
        kinds: the most frequent kinds of failure.
        kinds_total: how many there were in the window.
        kinds_complete: whether all found room; if not, some may be called new that are
            not, or not be named.
        rose: what rose by more than chance, the surest first.
        duration_ms, duration_ms_before: over all records.
        cost, cost_before: over all records.
        places: the same by provider and model.
        cells: combinations of names; what is beyond 400 as one of ``(other)``.
        health: what the figures lack.

    """

    version: int
    log_dir: str
    stream: str
    since: str
    until: str
    before_since: str
    history_since: str
    slot_seconds: float
    total: Count
    series_before: tuple[int, ...]
    by: dict[By, tuple[Count, ...]]
    new: tuple[Kind, ...]
    new_total: int
    kinds: tuple[Kind, ...]
    kinds_total: int
    kinds_complete: bool
    rose: tuple[Rise, ...]
    duration_ms: Spread
    duration_ms_before: Spread
    cost: Spread
    cost_before: Spread
    places: tuple[Place, ...]
    cells: tuple[Cell, ...]
    health: Health


__all__ = [
    "DIMENSIONS",
    "By",
    "Cell",
    "Count",
    "Health",
    "Kind",
    "Place",
    "Report",
    "Rise",
    "Spread",
]
