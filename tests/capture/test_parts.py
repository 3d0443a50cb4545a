"""Bounds for the parts of a record: what is longer is shortened, and says so."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.capture.strict_line import raising
from tests.capture.verbose_rig import asking, error_of, event_of
from tokenpak.telemetry.capture.parts import Parts, bound_line, bound_parts
from tokenpak.telemetry.capture.shorten import size

text = st.text(st.sampled_from('aé"\\\x01\n\ud83e{},:'), max_size=400)
LEFT_OUT = "characters left out"


def test_an_events_context_is_bounded_also_if_it_looks_like_a_record() -> None:
    """With keys that are called like the fields of an error."""
    context = {"a": "x" * 9_000, "message": "m", "stack_trace": "s", "context": {}}

    found = event_of(asking(parts=Parts(context=200)), context)["context"]

    assert len(orjson.dumps(found)) <= 200


@pytest.mark.parametrize("field", ["message", "stack", "context"])
def test_c1_only_the_part_that_is_bounded_is_shortened(field: str) -> None:
    """By its own bound; the others stay as they are."""
    encoder = asking(parts=Parts(**{field: 300}))
    error = raising(ValueError("m" * 2_000))
    names = {"message": "message", "stack": "stack_trace", "context": "context"}

    record = error_of(encoder, error, {"a": "x" * 2_000, "b": 1})

    for part, name in names.items():
        assert (LEFT_OUT in str(record[name])) is (part == field)
        assert (size(record[name]) <= 300) is (part == field)
    assert record["context"]["b"] == 1


def test_c1_a_record_that_takes_the_slow_road_is_bounded_too() -> None:
    """The mark says how much of the whole is missing, not of a part of it."""
    encoder = asking(parts=Parts(200, 400, 300))

    record = error_of(encoder, ValueError("m" * 10_000 + "\ud800"), {"a": {1, 2}})

    assert size(record["message"]) <= 200
    assert "9,8" in record["message"]
    assert LEFT_OUT in record["message"]
    assert size(record["stack_trace"]) <= 400
    assert record["context"] == {"a": [1, 2]}


def test_c1_a_bounded_context_keeps_its_small_values() -> None:
    """In events too, whose other fields have no bounds."""
    encoder = asking(parts=Parts(100, 100, 250))

    record = event_of(encoder, {"prompt": "x" * 5_000, "model": "gpt-4"})

    assert record["context"]["model"] == "gpt-4"
    assert LEFT_OUT in record["context"]["prompt"]
    assert size(record["context"]) <= 250


def test_what_is_within_its_bounds_is_the_line_itself() -> None:
    """To the byte: at the bound it stays, and one byte beyond it is shortened."""
    line = b'{"timestamp":"t","request_id":null,"error_type":"E","message":"%b",'
    line = line % (b"m" * 98) + b'"stack_trace":"%b","context":{"a":1}}\n' % (b"s" * 98)

    assert bound_line(line, Parts(100, 100, 100)) is line
    assert bound_line(line.replace(b"mm", b"mmm", 1), Parts(100, 0, 0)) != line
    assert LEFT_OUT.encode() in bound_line(
        line.replace(b"sss", b"ssss", 1), Parts(0, 100, 0)
    )


@settings(deadline=None, max_examples=200)
@given(text, text, st.dictionaries(text, text, max_size=5))
def test_c1_bounds_hold_whatever_the_texts_are(
    message: str, stack: str, context: dict[str, Any]
) -> None:
    """Texts that look like the fields of a line do not mislead."""

    def clean(value: str) -> str:
        return value.encode(errors="replace").decode()

    record: dict[str, Any] = {
        "timestamp": "t",
        "request_id": '","stack_trace":"',
        "error_type": "E",
        "message": clean(message) + '","stack_trace":"',
        "stack_trace": clean(stack) + '","context":',
        "context": {clean(k): clean(v) for k, v in context.items()},
    }
    record["context"]["stack_trace"] = "s"
    line = orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    parts = Parts(150, 150, 250)

    found = orjson.loads(bound_line(line, parts))

    assert found == bound_parts(record, parts)
    assert size(found["message"]) <= 150
    assert size(found["stack_trace"]) <= 150
    assert size(found["context"]) <= 250
