"""C1: what is too long for a line is shortened, fits, and says so."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.capture.strict_line import ERROR_FIELDS, EVENT_FIELDS, raised_by, strictly
from tokenpak.telemetry.capture.encode import Encoder
from tokenpak.telemetry.capture.shorten import (
    cut_middle,
    cut_value,
    shorten,
    shorten_context,
    size,
)

awkward = st.text(st.sampled_from('aé"\\\x01\n\U0001f980'), max_size=300)


@given(awkward, st.integers(60, 400))
def test_c1_a_cut_text_fits_and_keeps_both_ends(text: str, budget: int) -> None:
    """It says how much is missing, and that adds up."""
    cut = cut_middle(text, budget)

    assert size(cut) <= budget
    if cut == text:
        return
    assert size(text) > budget
    found = re.fullmatch(
        r"(.*)\.\.\.\[([\d,]+) characters left out\]\.\.\.(.*)", cut, re.DOTALL
    )
    assert found is not None
    head, missing, tail = found[1], int(found[2].replace(",", "")), found[3]
    assert text.startswith(head)
    assert text.endswith(tail)
    assert len(head) + missing + len(tail) == len(text)
    assert len(head) - len(tail) in (0, 1)


@given(st.lists(st.integers(0, 2**60) | awkward, max_size=80), st.integers(60, 200))
def test_c1_a_cut_container_becomes_a_text_that_fits(
    value: list[Any], budget: int
) -> None:
    """The text of what it was."""
    cut = cut_value(value, budget)

    assert isinstance(cut, str)
    assert size(cut) <= budget


@settings(deadline=None)
@given(st.dictionaries(awkward, awkward, max_size=30), st.integers(150, 3_000))
def test_c1_a_cut_context_fits(context: dict[str, Any], budget: int) -> None:
    """And what it could keep whole, it did."""
    cut = shorten_context(dict(context), budget)

    assert size(cut) <= budget or cut == context
    for key, value in cut.items():
        if key in context and value != context[key]:
            assert "characters left out" in str(value)


def test_c1_the_largest_values_pay() -> None:
    """A small value stays whole beside a large one."""
    context: dict[str, Any] = {
        "model": "gpt-4",
        "prompt": "p" * 9_000,
        "answer": "a" * 5_000,
        "n": 5,
    }

    cut = shorten_context(dict(context), 2_000)

    assert (cut["model"], cut["n"]) == ("gpt-4", 5)
    assert "left out" in str(cut["prompt"])
    assert "left out" in str(cut["answer"])
    assert 1_900 < size(cut) <= 2_000


def test_c1_a_large_value_does_not_cost_the_other_keys() -> None:
    """Even where there are so many keys that not all of them can stay."""
    context: dict[str, Any] = {"prompt": "p" * 40_000}
    context.update({f"key {number}": number for number in range(5_000)})

    record = strictly(Encoder(32_000).event("e", None, context), EVENT_FIELDS)

    shown = record["context"]
    assert "left out" in shown["prompt"]
    assert shown["key 0"] == 0
    assert shown["<keys left out>"] + len(shown) - 1 == len(context)
    assert len(shown) > 1_000


def test_c1_the_stack_trace_pays_first_and_keeps_both_ends() -> None:
    """Where it began and what it was."""
    names: dict[str, Any] = {}
    text = "".join(f"def f{number}():\n    f{number + 1}()\n" for number in range(400))
    exec(text + "def f400(): raise ValueError('the end')\n", names)
    error = raised_by(names["f0"])
    context = {"model": "gpt-4", "prompt": "p" * 500}

    record = strictly(Encoder(8_000).error("req", error, context), ERROR_FIELDS, 8_000)

    stack = record["stack_trace"]
    assert stack.startswith("Traceback (most recent call last):\n")
    assert "characters left out" in stack
    assert stack.endswith("ValueError: the end\n")
    assert record["context"] == context
    assert (record["request_id"], record["message"]) == ("req", "the end")


@pytest.mark.parametrize("limit", [1_000, 1_001, 5_000, 32_000, 1_048_576])
def test_c1_everything_may_be_too_long_at_once(limit: int) -> None:
    """All fields are cut, and none is lost."""
    long = "\x01" * (2 * limit)
    record = dict.fromkeys(ERROR_FIELDS[:-1], long)
    record["timestamp"] = "2026-03-24T17:35:22.123456Z"

    line = shorten({**record, "context": {long[:limit]: [long], "b": 2}}, limit)

    shown = strictly(line, ERROR_FIELDS, limit)
    for name in ERROR_FIELDS[1:-1]:
        assert "characters left out" in shown[name]


def test_c1_what_fits_exactly_is_left_alone() -> None:
    """One byte more is too much."""
    line = Encoder(32_000).event("e", None, {"a": "x" * 2_000})

    exact = Encoder(len(line)).event("e", None, {"a": "x" * 2_000})
    shorter = Encoder(len(line) - 1).event("e", None, {"a": "x" * 2_000})

    assert len(exact) == len(line)
    assert json.loads(exact)["context"] == {"a": "x" * 2_000}
    shown = strictly(shorter, EVENT_FIELDS, len(line) - 1)
    assert "left out" in shown["context"]["a"]
