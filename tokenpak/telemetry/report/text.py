"""A report as plain text: no colours, no escape sequence, columns that are aligned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenpak.telemetry.read.visible import shorten
from tokenpak.telemetry.read.visible import width as columns_of
from tokenpak.telemetry.report.sections import heading, sections

if TYPE_CHECKING:
    from tokenpak.telemetry.report.model import Report
    from tokenpak.telemetry.report.sections import Section

WIDTH: Final = 100
_GAP: Final = "  "
_LEAST: Final = 12
"""Characters that a column is left, however narrow the terminal is."""


def as_text(report: Report, width: int = WIDTH) -> str:
    """Return *report* in lines of at most *width* characters, if that is possible."""
    lines = [*heading(report)]
    for section in sections(report):
        lines += ["", section.title.upper(), *_table(section, width)]
        lines += section.notes
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _table(section: Section, width: int) -> list[str]:
    if not section.rows:
        return []
    titles = tuple(column.title for column in section.columns)
    sizes = widths_of(section, width, len(_GAP))
    return [
        _GAP.join(
            _fitted(cell, size, right=column.right)
            for cell, size, column in zip(row, sizes, section.columns, strict=True)
        )
        for row in ([titles, *section.rows] if any(titles) else section.rows)
    ]


def _fitted(cell: str, size: int, *, right: bool) -> str:
    """Return *cell*, *size* columns wide."""
    cell = shorten(cell, size)
    gap = " " * (size - columns_of(cell))
    return gap + cell if right else cell + gap


def widths_of(section: Section, width: int, gap: int) -> list[int]:
    """
    Return how wide each column of *section* is to be.

    Args:
        section: one with rows.
        width: what there is for all, and the gaps between them.
        gap: how wide one is.

    """
    columns = section.columns
    sizes = [
        max(len(columns[i].title), *(columns_of(row[i]) for row in section.rows))
        for i in range(len(columns))
    ]
    over = sum(sizes) + gap * (len(sizes) - 1) - width
    shares = sum(column.share for column in columns)
    if over > 0 and shares:
        left = -over + sum(
            size for size, column in zip(sizes, columns, strict=True) if column.share
        )
        # What needs less than its share leaves the rest to the others.
        for i in sorted(range(len(sizes)), key=lambda i: sizes[i]):
            if columns[i].share:
                part = max(_LEAST, left * columns[i].share // shares)
                sizes[i] = min(sizes[i], part)
                left -= sizes[i]
                shares -= columns[i].share
    return sizes


__all__ = ["WIDTH", "as_text", "widths_of"]
