"""
A report as tables with colours, by rich (the extra ``report``).

Nothing of the log is taken for markup, and nothing for an escape sequence.
"""

from __future__ import annotations

from typing import Final

from rich import box
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tokenpak.telemetry.report.model import Report
from tokenpak.telemetry.report.sections import Section, heading, sections
from tokenpak.telemetry.report.text import widths_of

_STYLES: Final = {"": "", "alarm": "bright_red", "dim": "dim", "strong": "bold"}
_ACCENT: Final = "bright_red"
_GAP: Final = 3
_EDGES: Final = 2


def print_tables(report: Report, console: Console | None = None) -> None:
    """Print *report* to *console*; None: stdout."""
    console = console or Console(highlight=False, markup=False, emoji=False)
    first, about = heading(report)
    # The number is what one looks for.
    failures, space, rest = first.partition(" ")
    line = Text.assemble((failures, f"bold {_ACCENT}"), space, (rest, "bold"))
    console.print(Group(line, Text(about, "dim")))
    for section in sections(report):
        console.print()
        console.print(Text(section.title, "bold underline"))
        if section.rows:
            console.print(_table(section, console.width))
        for note in section.notes:
            console.print(Padding(Text(note, "dim"), (0, 0, 0, 1)))


def _table(section: Section, width: int) -> Table:
    titled = any(column.title for column in section.columns)
    table = Table(
        box=box.SIMPLE_HEAD if titled else None,
        show_header=titled,
        pad_edge=True,
        show_edge=False,
    )
    sizes = widths_of(section, width - _EDGES, _GAP)
    for column, size in zip(section.columns, sizes, strict=True):
        table.add_column(
            Text(column.title, "dim"),
            justify="right" if column.right else "left",
            width=size,
            no_wrap=True,
            overflow="ellipsis",
        )
    for row, style in zip(section.rows, section.styles, strict=True):
        cells = [Text(cell) for cell in row]
        if style == "alarm":
            # What is marked are the name and the ratio: a row of red cannot be read.
            for cell, column in zip(cells, section.columns, strict=True):
                if column.title in {"ratio", "type", "name"}:
                    cell.stylize(_STYLES[style])
        table.add_row(*cells, style=_STYLES[style] if style != "alarm" else "")
    return table


__all__ = ["print_tables"]
