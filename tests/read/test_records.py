"""A line becomes a record, or the reason why not."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.read.log_making import make_record
from tokenpak.telemetry.read.records import NotARecordError, decode_line, is_blank

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec=None)),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)


def test_a_line_that_the_logger_wrote_can_be_copied() -> None:
    """A canonical line comes back beside its record."""
    line = orjson.dumps(make_record())

    assert decode_line(line) == (make_record(), line)


@given(VALUES)
def test_r1_what_the_earlier_logger_wrote_is_read_exactly(value: Any) -> None:
    """The standard json's lines, whatever is in them, give the record back."""
    record = make_record(context={"value": value})
    line = json.dumps(record).encode()

    assert decode_line(line)[0] == json.loads(line)
    assert decode_line(line)[0]["context"]["value"] == json.loads(json.dumps(value))


@given(VALUES)
def test_a_line_is_copied_only_if_reading_it_loses_nothing(value: Any) -> None:
    """What both libraries read alike, and orjson writes again as it was."""
    line = json.dumps({"value": value}, separators=(",", ":")).encode()

    record, copied = decode_line(line)

    assert record == json.loads(line)
    assert copied is None or orjson.dumps(record) == line == copied


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (b'{"a":123456789012345678901234567890}', 123456789012345678901234567890),
        (b'{"a":18446744073709551616}', 2**64),
        (b'{"a":1,"a":2}', 2),
        (b'{"a":Infinity}', math.inf),
        (b'{"a":-1e999}', -math.inf),
        (b'{"a":"\\ud800"}', "\ud800"),
        (b'\xef\xbb\xbf{"a":1}', 1),
        (b'{"a":1}\r', 1),
        (b' {"a" : 1} ', 1),
        (b'{"a":"\xe2\x80\xa8"}', "\u2028"),
    ],
)
def test_r1_lines_of_other_writers_are_read(line: bytes, value: object) -> None:
    """Huge integers exactly; NaN's kin, lone surrogates, BOM, CRLF and spaces."""
    record, _ = decode_line(line)

    assert record == {"a": value}
    assert type(record["a"]) is type(value)


@pytest.mark.parametrize(
    "line",
    [
        b'{"a":123456789012345678901234567890}',
        b'{"a":1,"a":2}',
        b'{"a":"\\ud800"}',
        b'{"a":NaN}',
        b'{"a":1}\r',
        b'{"a": 1}',
    ],
)
def test_a_line_that_other_tools_may_refuse_is_not_copied(line: bytes) -> None:
    """Only the record comes back, to be encoded anew."""
    assert decode_line(line)[1] is None


def test_r1_an_integer_of_too_many_digits_is_kept_as_text() -> None:
    """Python refuses to make it a number; its digits are still there."""
    digits = "7" * (sys.get_int_max_str_digits() + 1)

    record, _ = decode_line(f'{{"a":{digits},"b":1e999,"c":3}}'.encode())

    assert record == {"a": digits, "b": math.inf, "c": 3}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"[1]", "JSON, but not an object: list"),
        (b'"x"', "JSON, but not an object: str"),
        (b"null", "JSON, but not an object: NoneType"),
        (b"\0\0\0", "NUL bytes only"),
        (b'{"a":1}\0', "not JSON at byte 7 of the line: extra data"),
        (b'{"a":"\xff"}', "not UTF-8 at byte 6 of the line"),
        (b'{"a":"\xed\xa0\x80"}', "not UTF-8 at byte 6 of the line"),
        (b'{"\xc3\xa9":', "not JSON at byte 6 of the line: expecting value"),
        (b"nonsense", "not JSON at byte 0 of the line: expecting value"),
        (b"   ", "not JSON at byte 3 of the line: expecting value"),
        (b'{"a":' + b"[" * 200_000, "nested too deeply to decode"),
    ],
)
def test_r1_a_malformed_line_says_what_is_wrong(line: bytes, reason: str) -> None:
    """The reason names the place in bytes, as editors and dd count."""
    with pytest.raises(NotARecordError) as caught:
        decode_line(line)

    assert str(caught.value) == reason


def test_r1_deep_nesting_that_one_decoder_refuses_is_read() -> None:
    """The standard json gives up some levels before orjson does."""
    line = b'{"a":' + b"[" * 1010 + b"]" * 1010 + b"}"

    value = decode_line(line)[0]["a"]

    levels = 1
    while value:
        (value,) = value
        levels += 1
    assert levels == 1010


@pytest.mark.parametrize("line", [b"", b"\r"])
def test_a_blank_line_is_no_damage(line: bytes) -> None:
    """There is nothing in it that could have been lost."""
    assert is_blank(line)
    assert not is_blank(b"\0")
