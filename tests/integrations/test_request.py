"""The id of a request: given, from a trace, or made."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenpak.telemetry.integrations._request import (
    bound,
    current_request_id,
    request_id_from,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
MADE = re.compile(r"[0-9a-f]{32}")


@pytest.mark.parametrize(
    ("given_id", "traceparent", "expected"),
    [
        ("req-1", None, "req-1"),
        ("req-1", f"00-{TRACE}-00f067aa0ba902b7-01", "req-1"),
        (None, f"00-{TRACE}-00f067aa0ba902b7-01", TRACE),
        ("", f"00-{TRACE}-00f067aa0ba902b7-00", TRACE),
        (None, f"01-{TRACE}-00f067aa0ba902b7-00-later", TRACE),
        ("x" * 128, None, "x" * 128),
        ("x" * 129, f"00-{TRACE}-00f067aa0ba902b7-01", TRACE),
        ("two words", f"00-{TRACE}-00f067aa0ba902b7-01", TRACE),
    ],
)
def test_the_id_is_the_one_that_came(
    given_id: str | None, traceparent: str | None, expected: str
) -> None:
    """X-Request-ID first, if it can be used."""
    assert request_id_from(given_id, traceparent) == expected


@pytest.mark.parametrize(
    "traceparent",
    [
        None,
        "",
        f"ff-{TRACE}-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-00f067aa0ba902b7-01",
        f"00-{TRACE}-00f067aa0ba902b7-01\n",
    ],
)
def test_an_id_is_made_where_none_can_be_used(traceparent: str | None) -> None:
    """Another one each time."""
    first, second = (request_id_from("no\x00good", traceparent) for _ in range(2))

    assert MADE.fullmatch(first)
    assert first != second


@given(st.text(), st.text())
def test_c1_any_header_gives_an_id(given_id: str, traceparent: str) -> None:
    """What a stranger sends."""
    assert re.fullmatch(r"[!-~]{1,128}", request_id_from(given_id, traceparent))


def test_an_id_is_bound_within_its_block_only() -> None:
    """Blocks may be nested."""
    with bound("outer"):
        with bound("inner"):
            assert current_request_id() == "inner"
        assert current_request_id() == "outer"
    assert current_request_id() is None
