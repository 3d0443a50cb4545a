"""Numbers, times and ratios as a person reads them; the same on terminal and page."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from tokenpak.telemetry.report.tally import NONE, OTHER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenpak.telemetry.report.model import Count, Report

TITLES: Final = {
    "error_type": "type",
    "provider": "provider",
    "model": "model",
    "kind": "kind",
    "all": "all",
}
"""What the dimensions are called, but for the kinds: see title()."""
TIMES: Final = "\N{MULTIPLICATION SIGN}"
_BARS: Final = "▁▂▃▄▅▆▇█"
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def number(value: int) -> str:
    """Return *value* with commas."""
    return f"{value:,}"


def plural(value: int, noun: str) -> str:
    """Return ``1 error``, ``2 errors``."""
    return f"{value:,} {noun}{'s'[: value != 1]}"


def ratio(value: float | None, *, now: int = 1) -> str:
    """Return how many times; of nothing before, ``new``; of nothing, a dash."""
    if value is None:
        return "new" if now else "\N{EN DASH}"
    digits = 2 if value < 0.995 else 1 if value < 9.95 else 0
    return f"{value:,.{digits}f} {TIMES}"


def duration(milliseconds: float | None) -> str:
    """Return *milliseconds* as ``850 ms``, ``12.5 s``, ``3.1 min``."""
    if milliseconds is None:
        return "\N{EN DASH}"
    if milliseconds < 999.5:
        return (
            f"{milliseconds:.3g} ms" if milliseconds < 1 else f"{milliseconds:.0f} ms"
        )
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < _HOUR:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / _HOUR:,.1f} h"


def cost(value: float | None) -> str:
    """Return *value*, whatever its currency, with four significant digits at least."""
    if value is None:
        return "\N{EN DASH}"
    if value == 0:
        return "0"
    return f"{value:,.2f}" if value >= 10 else f"{value:.3g}"


def moment(stamp: str, *, seconds: bool = False) -> str:
    """Return the time *stamp* of the log as ``2026-03-24 17:35``."""
    return stamp[: 19 if seconds else 16].replace("T", " ")


def span(seconds: float) -> str:
    """Return a length of time as ``24 hours``, ``90 minutes``, ``7 days``."""
    for size, name, least in (
        (_DAY, "day", 2),
        (_HOUR, "hour", 1),
        (_MINUTE, "minute", 1),
    ):
        count = round(seconds / size)
        if abs(seconds - count * size) < 1e-3 and count >= least:
            return plural(count, name)
    if seconds >= 2 * _DAY:
        return f"{seconds / _DAY:.1f} days"
    if seconds >= 2 * _HOUR:
        return f"{seconds / _HOUR:.1f} hours"
    return f"{seconds / _MINUTE:.1f} minutes" if seconds >= 120 else f"{seconds:g} s"


def instant(stamp: str) -> datetime:
    """Return the time that *stamp* of a report is."""
    return datetime.fromisoformat(stamp).astimezone(UTC)


def window_seconds(report: Report) -> float:
    """Return how long the window of *report* is."""
    return (instant(report.until) - instant(report.since)).total_seconds()


def noun(report: Report) -> str:
    """Return what the records of *report* are called."""
    return {"errors": "error", "events": "event"}.get(report.stream, "record")


def kind_noun(report: Report) -> str:
    """Return what has kinds: an event is no failure."""
    return "failure" if report.stream == "errors" else noun(report)


def title(report: Report, by: str) -> str:
    """Return what the dimension *by* is called."""
    return kind_noun(report) if by == "fingerprint" else TITLES[by]


def headline(report: Report) -> str:
    """Return in one sentence how much went wrong, and against what."""
    total = report.total
    failures = total.now + total.held_back
    length = span(window_seconds(report))
    text = f"{plural(failures, noun(report))} in {length}"
    before = total.before + total.held_back_before
    if not failures and not before:
        return f"No {noun(report)}s in {length}, and none before"
    if not before:
        return f"{text}, and none in the {length} before"
    return f"{text}, {change(total)} the {before:,} before"


def change(count: Count) -> str:
    """Return how a count compares, for a sentence that goes on with what it was."""
    if count.ratio is None or abs(count.ratio - 1) < 0.005:
        return "about as many as"
    return f"{ratio(count.ratio)}"


def sparkline(series: Sequence[int], width: int | None = None) -> str:
    """Return *series* as a row of bars; a slot without anything is a space."""
    if width is not None and len(series) > width:
        edges = [round(i * len(series) / width) for i in range(width + 1)]
        series = [sum(series[a:b]) for a, b in pairwise(edges)]
    most = max(series, default=0)
    if not most:
        return ""
    return "".join(
        _BARS[(value * (len(_BARS) - 1) + most - 1) // most] if value else " "
        for value in series
    )


def has_names(counts: Sequence[Count]) -> bool:
    """Return whether *counts* tell records apart at all."""
    return any(count.name not in {NONE, OTHER} for count in counts)


__all__ = [
    "TIMES",
    "TITLES",
    "change",
    "cost",
    "duration",
    "has_names",
    "headline",
    "instant",
    "kind_noun",
    "moment",
    "noun",
    "number",
    "plural",
    "ratio",
    "span",
    "sparkline",
    "title",
    "window_seconds",
]
