"""What a terminal is sent: readable, aligned, and nothing of the log's own making."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from tests.report.logs import failure, report_of
from tests.report.test_page import HOSTILE, an_ordinary_day, hostile_records
from tokenpak.telemetry.read.visible import shorten, visible, width
from tokenpak.telemetry.report.tables import print_tables
from tokenpak.telemetry.report.text import as_text
from tokenpak.telemetry.report.wording import cost, duration, ratio, span, sparkline

if TYPE_CHECKING:
    from pathlib import Path


def in_colour(report: object, width: int = 100) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=width, highlight=False)
    print_tables(report, console)  # type: ignore[arg-type]
    return out.getvalue()


def test_control_characters_are_shown_and_not_sent(tmp_path: Path) -> None:
    """In plain text none at all; with rich, its own colours alone."""
    report = report_of(tmp_path, hostile_records())

    plain = as_text(report, 140)
    coloured = in_colour(report, 140)

    assert "\\x1b[31mred" in plain
    assert all(char.isprintable() or char == "\n" for char in plain)
    rest = re.sub("\x1b" + r"\[[0-9;]*m", "", coloured)
    assert all(char.isprintable() or char == "\n" for char in rest)
    assert "\\x1b[31mred" in rest


def test_markup_of_rich_is_text(tmp_path: Path) -> None:
    """A message in square brackets is no style."""
    report = report_of(tmp_path, [failure(1, message="[bold]x[/bold] [link=y]")])

    assert "[bold]x[/bold] [link=y]" in in_colour(report, 140)


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_lines_fit_the_terminal(tmp_path: Path, width: int) -> None:
    """Messages give way first."""
    long = failure(1, "LongNamedErrorOfSomeLibrary", "m" * 150, file="f" * 80)
    report = report_of(tmp_path, [*an_ordinary_day(), long])

    tables = as_text(report, width).split("\n\n")[1:]

    lines = [line for table in tables for line in table.splitlines()]
    most = max(lines, key=len)
    assert len(most) <= max(width, 80), most


def test_plain_and_coloured_tables_say_the_same(tmp_path: Path) -> None:
    """Whoever has no rich misses nothing."""
    report = report_of(tmp_path, an_ordinary_day())

    plain = re.findall(r"[\w,.]+", as_text(report, 140).lower())
    coloured = re.sub("\x1b" + r"\[[0-9;]*m", "", in_colour(report, 140)).lower()

    assert set(plain) == set(re.findall(r"[\w,.]+", coloured))


def test_columns_are_aligned_whatever_the_script(tmp_path: Path) -> None:
    """A sign of Chinese takes two columns, a combining one none."""
    names = ("plain", "\u4e8c\u91cd\u4e8c\u91cd", "e\u0301" * 5, "\u4e8c" * 100)
    report = report_of(tmp_path, [failure(1, name) for name in names])

    lines = as_text(report, 100).splitlines()
    begin = lines.index("MOST FREQUENT FAILURES") + 2

    ends = {width(line[: line.index("no answer")]) for line in lines[begin : begin + 4]}
    assert len(ends) == 1
    assert all(width(line) <= 100 for line in lines[begin : begin + 4])


def test_a_report_of_nothing_is_a_sentence(tmp_path: Path) -> None:
    """And no empty table."""
    text = as_text(report_of(tmp_path))

    assert text.startswith("No errors in 24 hours, and none before.\n")
    assert "BY " not in text


def test_what_a_page_or_a_terminal_cannot_show_is_escaped() -> None:
    """Whatever would act on it, in one line; the space of a language stays."""
    for text in HOSTILE:
        assert visible(text).isprintable()
    assert visible("10\xa0000 \u20ac\u3000\u4e8c") == "10\xa0000 \u20ac\u3000\u4e8c"
    assert visible("a\nb\ud800") == "a\\nb\\ud800"
    assert shorten("abcdef", 4) == "abc\u2026"


def test_numbers_are_as_a_person_reads_them() -> None:
    """Units that fit, and no digit too many."""
    assert [duration(ms) for ms in (None, 0, 0.5, 850, 12_500, 90_000, 7_200_000)] == [
        *("\u2013", "0 ms", "0.5 ms", "850 ms", "12.5 s", "1.5 min", "2.0 h"),
    ]
    assert [cost(value) for value in (None, 0, 0.000123, 2.5, 1234.5)] == [
        *("\u2013", "0", "0.000123", "2.5", "1,234.50"),
    ]
    assert [ratio(r) for r in (None, 0.5, 0.999, 9.96, 1234)] == [
        *("new", "0.50 \xd7", "1.0 \xd7", "10 \xd7", "1,234 \xd7"),
    ]
    assert ratio(None, now=0) == "\u2013"
    assert [span(s) for s in (60, 3600, 5400, 86_400, 604_800, 100_000, 0.5)] == [
        *("1 minute", "1 hour", "90 minutes", "24 hours", "7 days"),
        *("27.8 hours", "0.5 s"),
    ]


def test_a_sparkline_shows_what_there_is() -> None:
    """The most is full, a little is visible, nothing is nothing."""
    assert sparkline([0, 1, 50, 100]) == " ▂▅█"
    assert sparkline([0, 0]) == sparkline([]) == ""
    assert len(sparkline([1] * 48, 24)) == 24
