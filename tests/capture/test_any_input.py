"""C1: whatever is passed makes exactly one valid line."""

from __future__ import annotations

import json
import math
import types
import uuid
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.capture.odd_things import (
    ODD,
    WHEN,
    Color,
    Level,
    NoName,
    NoNameError,
    OwnText,
    Point,
    Slotted,
    Text,
    cyclic,
    deep,
    doubling,
    half_made,
)
from tests.capture.strict_line import ERROR_FIELDS, EVENT_FIELDS, strictly
from tokenpak.telemetry.capture.encode import Encoder

ENCODER = Encoder(32_000)
SMALL = Encoder(1_000)


@pytest.mark.parametrize("what", ODD)
def test_c1_odd_things_make_one_line_wherever_they_are(what: str) -> None:
    """As request id, as error, as event, as context, and inside of one."""
    make = ODD[what]

    for encoder, limit in ((ENCODER, 32_000), (SMALL, 1_000)):
        for request_id, error, context in (
            (make(), ValueError("x"), {"model": "gpt-4"}),
            ("req", make(), {"model": "gpt-4"}),
            ("req", ValueError(make()), {"model": "gpt-4"}),
            ("req", ValueError("x"), make()),
            ("req", ValueError("x"), {"model": "gpt-4", "odd": make()}),
            (
                "req",
                ValueError("x"),
                {"model": "gpt-4", "odd": [make(), {"a": make()}]},
            ),
            (make(), make(), make()),
        ):
            line = encoder.error(request_id, error, context)
            record = strictly(line, ERROR_FIELDS, limit)
            assert isinstance(record["message"], str)

            line = encoder.event(error, request_id, context)
            record = strictly(line, EVENT_FIELDS, limit)
            if type(context) is dict and "model" in context:
                assert record["context"]["model"] == "gpt-4"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (WHEN, "2026-03-24T17:35:22.123456+00:00"),
        (WHEN.replace(tzinfo=None), "2026-03-24T17:35:22.123456"),
        (WHEN.date(), "2026-03-24"),
        (WHEN.time(), "17:35:22.123456"),
        (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (Color.RED, "red"),
        (Color.PAIR, [1, 2]),
        (Level.HIGH, 3),
        (Point(1), {"x": 1}),
        (Slotted([Color.RED]), {"x": ["red"]}),
        ((1, 2), [1, 2]),
        (math.nan, None),
        (Text("text"), "text"),
        (2**64 - 1, 2**64 - 1),
        (-(2**63), -(2**63)),
    ],
)
def test_c1_a_value_looks_the_same_on_each_road(value: object, shown: object) -> None:
    """Whether orjson took it, or it was copied because of another one."""
    alone = strictly(ENCODER.event("e", None, {"v": value}), EVENT_FIELDS)
    beside = strictly(
        ENCODER.event("e", None, {"v": value, "big": 2**70}), EVENT_FIELDS
    )

    assert alone["context"]["v"] == shown
    assert beside["context"] == {"v": shown, "big": str(2**70)}


def test_c1_what_cannot_be_shown_says_why() -> None:
    """In words, in the place of the value."""
    context = {
        "odd": OwnText(),
        "deep": deep(40),
        "cycle": cyclic(),
        "nameless": NoName(),
        "half": half_made(),
    }

    shown = strictly(ENCODER.event("e", None, context), EVENT_FIELDS)["context"]

    assert shown["odd"] == "<OwnText whose str() raised ValueError>"
    assert "<dict nested over 32 levels deep>" in json.dumps(shown["deep"])
    assert shown["cycle"]["self"] == "<cycle: this value holds itself>"
    assert shown["nameless"] == "<NoName whose str() raised ValueError>"
    assert shown["half"] == "<Slotted that raised AttributeError>"


def test_c1_a_small_object_with_a_huge_text_ends() -> None:
    """A list that holds a list twice, that holds a list twice, and so on."""
    for context in (
        doubling(100),
        {"slow": 2**70, "a": doubling(100)},
        {"slow": WHEN, "a": doubling(14)},
        {"a": doubling(14)},
    ):
        record = strictly(ENCODER.event("e", None, context), EVENT_FIELDS)

        assert "left out" in json.dumps(record)


def test_c1_what_is_no_mapping_is_put_under_value() -> None:
    """A text, a list, a number."""
    for context in ("text", [1, 2], 5, ()):
        record = strictly(ENCODER.error("r", ValueError(), context), ERROR_FIELDS)

        assert record["context"] == {
            "value": list(context) if isinstance(context, tuple) else context
        }


def test_c1_keys_of_one_text_are_told_apart() -> None:
    """JSON readers keep one of two like keys, so there are none."""
    context = {1: "a", "1": "b", "1 (2)": "c", 1.5: "d"}

    record = strictly(ENCODER.event("e", None, context), EVENT_FIELDS)

    assert sorted(record["context"].values()) == ["a", "b", "c", "d"]


def test_c1_thousands_of_keys_of_one_text_are_quick() -> None:
    """Each takes one step; with one step for each key before it this would not end."""

    class Same:
        def __str__(self) -> str:
            return "same"

    context = {Same(): number for number in range(30_000)}

    record = strictly(Encoder(1_000_000).event("e", None, context), EVENT_FIELDS, 10**6)

    assert len(record["context"]) == 10_000
    assert "<more values left out>" in record["context"]


def test_c1_an_error_that_is_no_exception_is_recorded() -> None:
    """By its own class and text; an exception class by its name."""
    cases = [
        ("a text", "str", "a text"),
        (None, "NoneType", "None"),
        (ValueError, "ValueError", ""),
        (5, "int", "5"),
        (NoNameError, "NoNameError", ""),
    ]

    for error, error_type, message in cases:
        record = strictly(ENCODER.error("r", error, None), ERROR_FIELDS)
        assert (record["error_type"], record["message"]) == (error_type, message)
        assert record["stack_trace"] == ""


def test_c1_a_request_id_may_be_anything() -> None:
    """None stays null; other things become a text."""
    cases = {None: None, "id": "id", 5: "5", "\udc80": "\\udc80", (1,): "(1,)"}

    for request_id, shown in cases.items():
        record = strictly(ENCODER.error(request_id, ValueError(), None), ERROR_FIELDS)
        assert record["request_id"] == shown
        record = strictly(ENCODER.event("e", request_id, None), EVENT_FIELDS)
        assert record["request_id"] == shown


def test_c1_stop_signals_pass_through() -> None:
    """
    What a signal handler raises must end the program, not vanish in a logger.

    The clock stands for any instruction between the caller's own objects.
    """

    def interrupted() -> int:
        raise KeyboardInterrupt

    encoder = Encoder(32_000, clock=interrupted)

    with pytest.raises(KeyboardInterrupt):
        encoder.error("r", ValueError(), None)
    with pytest.raises(KeyboardInterrupt):
        encoder.event("e", "r", None)


HUGE = 50_000_000


@pytest.mark.parametrize(
    "call",
    [
        lambda: ENCODER.event("e", None, {"a": "x" * HUGE, "b": 1}),
        lambda: ENCODER.event("e", None, {"a": b"x" * HUGE, "b": 1}),
        lambda: ENCODER.event("e", None, {"a": ["\udc80" * HUGE], "b": 1}),
        lambda: ENCODER.event("x" * HUGE, None, {"b": 1}),
        lambda: ENCODER.event("e", "x" * HUGE, {"b": 1}),
        lambda: ENCODER.event("e", None, {"x" * HUGE: 2, "b": 1, "c": {1}}),
        lambda: ENCODER.error("r", ValueError("x" * HUGE), {"b": 1}),
        lambda: ENCODER.error("r", "x" * HUGE, {"b": 1}),
        lambda: ENCODER.error("r", SyntaxError("\n" * HUGE), {"b": 1}),
    ],
)
def test_c1_fifty_megabytes_of_text_make_one_line(call: Callable[[], bytes]) -> None:
    """It fits, says that something is missing, and what is small is whole."""
    line = call()

    fields = ERROR_FIELDS if b'"error_type"' in line else EVENT_FIELDS
    record = strictly(line, fields)
    assert record["context"]["b"] == 1
    assert b"characters left out" in line or b"more characters" in line


def test_c1_bytes_that_were_cut_say_how_many_are_missing() -> None:
    """Also where the text that is left fits."""
    record = strictly(SMALL.event("e", None, {"a": b"\n" * 5_000}), EVENT_FIELDS, 1_000)

    assert "[4,000 more bytes]" in record["context"]["a"]


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)
leaves = (
    # hypothesis asks its values for their class.
    st.sampled_from(sorted(ODD.keys() - {"no class", "keys of one text"})).map(
        lambda what: ODD[what]()
    )
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.binary()
    | st.text(st.characters(exclude_categories=()))
    | st.datetimes()
    | st.uuids()
    | st.complex_numbers()
    | st.decimals()
    | st.fractions()
    | st.timedeltas()
)
keys = (
    st.text(st.characters(exclude_categories=()), max_size=5)
    | st.integers()
    | st.none()
    | st.binary(max_size=3)
    | st.tuples(st.integers())
    | st.floats()
    | st.booleans()
)
anything = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.tuples(inner, inner)
        | st.dictionaries(keys, inner, max_size=5)
        | inner.map(Point)
        | inner.map(Slotted)
        | st.dictionaries(keys, inner, max_size=3).map(types.MappingProxyType)
    ),
    max_leaves=15,
)
relaxed = settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@relaxed
@given(st.dictionaries(st.text(), plain, max_size=5), st.text(), st.text())
def test_c1_a_plain_context_is_recorded_as_it_is(
    context: dict[str, object], request_id: str, text: str
) -> None:
    """Value for value."""
    error = strictly(
        Encoder(10**6).error(request_id, ValueError(text), context), ERROR_FIELDS, 10**6
    )
    event = strictly(
        Encoder(10**6).event(text, request_id, context), EVENT_FIELDS, 10**6
    )

    assert error["context"] == event["context"] == context
    assert error["request_id"] == event["request_id"] == request_id
    assert error["message"] == event["event"] == text


@relaxed
@given(anything, anything, anything)
def test_c1_anything_makes_one_line(
    request_id: object, error: object, context: object
) -> None:
    """Any object, in any place."""
    strictly(ENCODER.error(request_id, error, context), ERROR_FIELDS)
    strictly(SMALL.error(request_id, error, context), ERROR_FIELDS, 1_000)
    strictly(ENCODER.event(error, request_id, context), EVENT_FIELDS)
    strictly(SMALL.event(error, request_id, context), EVENT_FIELDS, 1_000)


@relaxed
@given(st.dictionaries(keys, anything, max_size=6), st.integers(1_000, 4_000))
def test_c1_a_context_is_shortened_to_fit(
    context: dict[object, object], limit: int
) -> None:
    """However long a line may be."""
    error = ValueError("\x1b" * limit)

    record = strictly(Encoder(limit).error("r", error, context), ERROR_FIELDS, limit)

    assert "characters left out" in record["message"]
