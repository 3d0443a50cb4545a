"""What is hostile in a record is shown, and never sent to the terminal."""

from __future__ import annotations

import unicodedata

import hypothesis.strategies as st
import pytest
from hypothesis import given

from tests.read.log_making import make_record
from tokenpak.cli.display import Display, shorten, visible, width

ANY_TEXT = st.text(st.characters(exclude_categories=[]))
PLAIN = Display(color=False, full=False, columns=None)
FULL = Display(color=False, full=True, columns=None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("a\r\nb\tc\x00\x7f", "a\\r\\nb\\tc\\x00\\x7f"),
        ("\x9b31m\x85\x90", "\\x9b31m\\x85\\x90"),
        ("\u202eevil\u2066\u200f", "\\u202eevil\\u2066\\u200f"),
        ("\u2028\u2029\ufeff\u200b\xad", "\\u2028\\u2029\\ufeff\\u200b\\xad"),
        ("\ud800\U000e0041", "\\ud800\\U000e0041"),
        (
            "plain \u4e8c\u91cd \U0001f600 \u00e9",
            "plain \u4e8c\u91cd \U0001f600 \u00e9",
        ),
    ],
)
def test_what_would_act_on_a_terminal_is_shown(text: str, expected: str) -> None:
    """Controls of both sets, directions, separators, what cannot be seen."""
    assert visible(text) == expected


@given(ANY_TEXT)
def test_no_control_and_no_format_character_is_left(text: str) -> None:
    """Whatever the text; but for those that shape letters of some scripts."""
    for char in visible(text):
        assert unicodedata.category(char) not in {"Cc", "Cs", "Zl", "Zp"}
        assert unicodedata.bidirectional(char) not in {
            *("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"),
        }


ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | ANY_TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from(
            ["timestamp", "request_id", "error_type", "event", "message", "context"]
        )
        | ANY_TEXT,
        ANY_VALUE,
    )
)
def test_r1_any_record_is_shown_on_one_line(record: dict[str, object]) -> None:
    """Whatever types its fields have; in full, each line after the first indented."""
    line = PLAIN.text(record)
    assert line.count("\n") == 1
    assert line.endswith("\n")
    first, *others = FULL.text(record).removesuffix("\n\n").split("\n")
    assert first[:1] != " "
    assert all(other == "" or other.startswith("  ") for other in others)


@given(ANY_TEXT.map(visible), st.integers(1, 60))
def test_a_line_takes_no_more_columns_than_there_are(text: str, columns: int) -> None:
    """Wide and combining characters counted as terminals do."""
    assert width(shorten(text, columns)) <= columns
    if width(text) <= columns:
        assert shorten(text, columns) == text


def test_a_line_is_cut_to_the_width() -> None:
    """The message first; if that is not enough, the rest."""
    for columns in (20, 60, 80):
        display = Display(color=False, full=False, columns=columns)
        line = display.text(make_record(message="\u4e8c" * 100)).rstrip("\n")
        assert columns - 1 <= width(line) <= columns
        assert line.endswith("\u2026")


def test_what_is_no_json_is_shown_too() -> None:
    """NaN and huge integers, which other writers put there."""
    record = make_record(context={"n": 10**400, "x": float("nan")})
    assert "  x: null\n" in FULL.text(record)
