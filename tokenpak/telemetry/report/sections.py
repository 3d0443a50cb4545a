"""
A report as sections of rows, for a terminal: what is shown, not how.

``text`` shows them plain, ``tables`` with rich; both say the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from tokenpak.telemetry.read.visible import visible
from tokenpak.telemetry.report.model import DIMENSIONS
from tokenpak.telemetry.report.wording import (
    TITLES,
    cost,
    duration,
    has_names,
    headline,
    kind_noun,
    moment,
    number,
    plural,
    ratio,
    span,
    sparkline,
    title,
    window_seconds,
)

if TYPE_CHECKING:
    from tokenpak.telemetry.report.model import Kind, Place, Report

Style = Literal["", "alarm", "dim", "strong"]

MOST_ROWS: Final = 10
"""Of a table; the page and the JSON have more."""
_BARS: Final = 24
_ALARM: Final = 1.5
"""The ratio from which on a row is marked."""


@dataclass(frozen=True, slots=True)
class Column:
    """
    A column of a table.

    Attributes:
        title: its head.
        right: whether it is aligned to the right: a number.
        share: of the width that is left over; 0: as wide as what is in it.

    """

    title: str
    right: bool = False
    share: int = 0


@dataclass(frozen=True, slots=True)
class Section:
    """
    One table, and what is said below it.

    Attributes:
        title: what it shows.
        columns: of the table.
        rows: texts that are safe to show, one for each column.
        styles: one for each row.
        notes: sentences.

    """

    title: str
    columns: tuple[Column, ...] = ()
    rows: list[tuple[str, ...]] = field(default_factory=list)
    styles: list[Style] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, *cells: str, style: Style = "") -> None:
        """Add a row."""
        self.rows.append(cells)
        self.styles.append(style)

    def more(self, total: int, what: str) -> None:
        """Say that there are more rows than are shown."""
        if total > len(self.rows):
            self.notes.append(f"and {plural(total - len(self.rows), f'more {what}')}")


def heading(report: Report) -> tuple[str, str]:
    """Return the headline, and what the report is about."""
    length = span(window_seconds(report))
    about = (
        f"{visible(report.log_dir)}, {moment(report.since)} to {moment(report.until)} "
        f"UTC, against the {length} before"
    )
    return f"{headline(report)}.", about


def sections(report: Report) -> list[Section]:
    """Return the sections of *report* that have something to say."""
    made = [_course(report), _new(report), _rose(report), _kinds(report)]
    made += _by(report)
    made += [_places(report), _health(report)]
    return [section for section in made if section.rows or section.notes]


def _course(report: Report) -> Section:
    section = Section(
        f"Course, {span(report.slot_seconds)} a bar",
        (Column(""), Column("", share=1), Column("most", right=True)),
    )
    if report.total.now or report.total.before:
        for name, series in (
            ("now", report.total.series),
            ("before", report.series_before),
        ):
            bars = sparkline(series).replace(" ", "\N{MIDDLE DOT}")
            style: Style = "dim" if name == "before" else ""
            section.add(name, bars, number(max(series)), style=style)
    return section


def _new(report: Report) -> Section:
    section = Section(f"New kinds of {kind_noun(report)}", _KIND_COLUMNS)
    since = moment(report.history_since)
    for kind in report.new[:MOST_ROWS]:
        section.add(*_kind(kind), style="alarm")
    section.more(report.new_total, "kind")
    if report.total.now:
        found = "None seen" if report.new else "None: each was seen"
        text = f"{found} between {since} and {moment(report.since)}."
        section.notes.append(text)
    if not report.kinds_complete:
        section.notes.append("There were more kinds than are told apart.")
    return section


_KIND_COLUMNS: Final = (
    Column("now", right=True),
    Column("before", right=True),
    Column("first"),
    Column("type", share=2),
    Column("message", share=3),
    Column("where", share=2),
)


def _kind(kind: Kind) -> tuple[str, ...]:
    return (
        number(kind.now),
        number(kind.before),
        moment(kind.first)[5:],
        visible(kind.error_type),
        visible(kind.message),
        _where(kind.where),
    )


def _where(where: str) -> str:
    """Return the last two parts of the path, and the function."""
    file, _, function = visible(where).rpartition(":")
    parts = file.replace("\\", "/").rsplit("/", 2)
    short = "/".join(parts[-2:])
    return f"{short}:{function}" if file else ""


def _rose(report: Report) -> Section:
    section = Section(
        "Rose by more than chance",
        (
            Column("now", right=True),
            Column("before", right=True),
            Column("ratio", right=True),
            Column("chance", right=True),
            Column("of"),
            Column("name", share=1),
        ),
    )
    messages = {kind.fingerprint: kind for kind in report.kinds}
    for rise in report.rose[:MOST_ROWS]:
        name = visible(rise.name)
        if rise.by == "fingerprint" and rise.name in messages:
            kind = messages[rise.name]
            name = visible(f"{kind.error_type}: {kind.message}")
        section.add(
            number(rise.now),
            number(rise.before),
            ratio(rise.ratio),
            chance(rise.corrected),
            title(report, rise.by),
            "" if rise.by == "all" else name,
            style="alarm",
        )
    section.more(len(report.rose), "row")
    return section


def chance(value: float) -> str:
    """Return a chance as a person reads it."""
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def _kinds(report: Report) -> Section:
    section = Section(f"Most frequent {kind_noun(report)}s", _KIND_COLUMNS)
    for kind in report.kinds[:MOST_ROWS]:
        section.add(*_kind(kind), style="alarm" if kind.new else "")
    section.more(report.kinds_total, "kind")
    return section


def _by(report: Report) -> list[Section]:
    made = []
    for dimension in DIMENSIONS:
        counts = report.by[dimension]
        if not has_names(counts):
            continue
        held = any(count.held_back or count.held_back_before for count in counts)
        section = Section(
            f"By {TITLES[dimension]}",
            (
                Column("now", right=True),
                Column("before", right=True),
                *([Column("held back", right=True)] if held else []),
                Column("ratio", right=True),
                Column("name", share=1),
                Column("course"),
            ),
        )
        for count in counts[:MOST_ROWS]:
            rising = count.now + count.held_back > 0 and (
                count.ratio is None or count.ratio >= _ALARM
            )
            section.add(
                number(count.now),
                number(count.before),
                *([number(count.held_back)] if held else []),
                ratio(count.ratio, now=count.now + count.held_back),
                visible(count.name),
                sparkline(count.series, _BARS).ljust(_BARS),
                style="alarm" if rising else "",
            )
        section.more(len(counts), "name")
        made.append(section)
    return made


def _places(report: Report) -> Section:
    section = Section(
        f"Duration and cost of {kind_noun(report)}s",
        (
            Column("p50", right=True),
            Column("p95", right=True),
            Column("p95 before", right=True),
            Column("cost", right=True),
            Column("cost before", right=True),
            Column("provider and model", share=1),
        ),
    )
    if report.duration_ms.count or report.cost.count:
        total = _place_cells(report)
        if len(report.places) > 1:
            section.add(*total, "all", style="strong")
    for place in report.places[:MOST_ROWS]:
        name = visible(f"{place.provider} / {place.model}")
        section.add(*_place_cells(place), name)
    section.more(len(report.places) + (len(report.places) > 1), "row")
    if not report.duration_ms.exact:
        section.notes.append("Quantiles are off by at most 1 % of themselves.")
    return section


def _place_cells(place: Report | Place) -> tuple[str, ...]:
    return (
        duration(place.duration_ms.p50),
        duration(place.duration_ms.p95),
        duration(place.duration_ms_before.p95),
        cost(place.cost.sum if place.cost.count else None),
        cost(place.cost_before.sum if place.cost_before.count else None),
    )


def _health(report: Report) -> Section:
    section = Section("What these figures lack")
    section.notes.extend(lacks(report))
    return section


def lacks(report: Report) -> list[str]:
    """Return a sentence for each thing that is not in the figures."""
    health, told = report.health, []
    if health.dropped:
        reasons = ", ".join(
            f"{n:,} {visible(why)}" for why, n in health.dropped.items()
        )
        total = sum(health.dropped.values())
        told.append(f"{plural(total, 'record')} dropped in the window: {reasons}.")
    if health.held_back:
        told.append(
            f"{plural(health.held_back, 'failure')} held back by storm control: "
            "counted in ratios, and not recorded one by one."
        )
    if health.malformed:
        files = ", ".join(
            f"{n:,} in {visible(file)}"
            for file, n in list(health.malformed_files.items())[:3]
        )
        more = len(health.malformed_files) - 3
        tail = f" and {plural(more, 'more file')}" if more > 0 else ""
        told.append(f"{plural(health.malformed, 'malformed line')}: {files}{tail}.")
    told.extend(
        f"Not read, or not to the end: {visible(file)} ({visible(why)})."
        for file, why in health.unreadable
    )
    if health.undated:
        told.append(f"{plural(health.undated, 'record')} without a time.")
    if health.unusable:
        keys = ", ".join(f"{n:,} {key}" for key, n in health.unusable.items())
        total = sum(health.unusable.values())
        told.append(
            f"{plural(total, 'value')} of the context cannot be used (no number from "
            f"0 to 10^15): {keys}."
        )
    return told


__all__ = [
    "MOST_ROWS",
    "Column",
    "Section",
    "Style",
    "chance",
    "heading",
    "lacks",
    "sections",
]
