"""
Where a value ends, and what is behind it.

A value is looked at no further than there is room for, and one may end in the name of
another: what begins there must not be shown.
"""

from __future__ import annotations

import pytest

from tokenpak.telemetry.capture.privacy.budget import Budget
from tokenpak.telemetry.capture.privacy.finds import REST
from tokenpak.telemetry.capture.privacy.heads import LEAST, STEPS, heads_in
from tokenpak.telemetry.capture.privacy.named import name_spans
from tokenpak.telemetry.capture.privacy.names import lowered
from tokenpak.telemetry.capture.privacy.redactor import Redactor

CREDENTIALS = Redactor("credentials", key=lambda: b"k" * 32)


@pytest.mark.parametrize("blanks", [190, 198, 199, 200, 201, 260])
@pytest.mark.parametrize("prefix", ["", "b", "b\\"])
def test_a_literal_is_not_missed_where_there_is_no_more_room(
    prefix: str, blanks: int
) -> None:
    """The room ends after 200 characters: also between a prefix and its quote."""
    names = 'password="v1Q" ' * (LEAST // STEPS - 1)
    text = f'{names}[("cookie",{" " * blanks}{prefix}"hunter2")] {"x " * 40}'
    low = lowered(text)
    text, low, heads, until = heads_in(text, low, Budget(text))

    spans = list(name_spans(text, low, heads, until, LEAST))

    start, stop = spans[-1]
    assert start <= text.index("hunter2")
    assert stop == REST or text[start:stop].startswith("hunter2")


@pytest.mark.parametrize("prefix", ["", "b", "B", "rb"])
@pytest.mark.parametrize("quote", ['"', "'", '\\"', '"""'])
@pytest.mark.parametrize(
    "before",
    ["Cookie: a=b; token=", "Authorization: foo, secret=", "secret: password="],
)
def test_a_literal_behind_a_name_in_which_a_value_ends_is_one(
    before: str, quote: str, prefix: str
) -> None:
    """The value before it takes the prefix, and leaves the quote."""
    found = CREDENTIALS.text(f"{before}{prefix}{quote}hunter2{quote} x")

    assert "hunter2" not in found
