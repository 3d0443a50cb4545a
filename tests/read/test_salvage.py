"""What is intact in a line that does not decode."""

from __future__ import annotations

import json

import orjson
import pytest

from tests.read.log_making import make_record
from tokenpak.telemetry.read.records import MalformedLine, Record
from tokenpak.telemetry.read.salvage import salvage_line

ONE = orjson.dumps(make_record(1))
TWO = orjson.dumps(make_record(2))
NESTED = make_record(3, context={"inner": make_record(4), "list": [make_record(5)]})


def salvage(
    line: bytes, stream: str = "errors"
) -> tuple[list[Record], list[tuple[int, int, str]]]:
    """Return the records, and offset, length and reason of each report."""
    records = []
    reports = []
    for item in salvage_line(line, file="f", offset=1000, stream=stream, reason="bad"):
        if isinstance(item, MalformedLine):
            assert item.file == "f"
            reports.append((item.offset, item.length, item.reason))
        else:
            records.append(item[0])
    return records, reports


def test_r1_a_line_with_nothing_in_it_is_reported_whole() -> None:
    """With its offset, length and the reason that decoding gave."""
    assert salvage(b"nothing here") == ([], [(1000, 12, "bad")])


@pytest.mark.parametrize("junk", [b" ", b"\x0b", b"\0", b"\xff", b"x" * 50, b'"', b"{"])
def test_r1_both_records_around_a_damaged_newline_are_found(junk: bytes) -> None:
    """The damage itself is all that is reported."""
    records, reports = salvage(ONE + junk + TWO)

    assert records == [make_record(1), make_record(2)]
    assert [report[:2] for report in reports] == [(1000 + len(ONE), len(junk))]


def test_r1_a_missing_newline_is_reported_where_it_is_missing() -> None:
    """No byte is skipped, but the file is not as it was written."""
    records, reports = salvage(ONE + TWO)

    assert records == [make_record(1), make_record(2)]
    assert reports == [(1000 + len(ONE), 0, "a newline is missing")]


@pytest.mark.parametrize("cut", range(1, len(ONE), 7))
def test_r1_a_record_behind_a_torn_line_is_found(cut: int) -> None:
    """Wherever the line was torn, also inside a string or an escape."""
    records, reports = salvage(ONE[:cut] + TWO)

    assert records == [make_record(2)]
    assert [report[:2] for report in reports] == [(1000, cut)]


def test_r1_a_record_behind_nuls_is_found() -> None:
    """After a power failure, pages that were not written read as zeros."""
    records, reports = salvage(b"\0" * 8192 + ONE + b"\0" * 10)

    assert records == [make_record(1)]
    assert [r[:2] for r in reports] == [(1000, 8192), (9192 + len(ONE), 10)]


def test_r1_a_record_with_records_in_its_context_is_one_record() -> None:
    """What looks like a start inside of it does not take it apart."""
    records, _ = salvage(b"\0" + orjson.dumps(NESTED) + b"x" + TWO)

    assert records == [NESTED, make_record(2)]


def test_r1_an_object_in_a_damaged_context_is_not_taken_for_a_record() -> None:
    """It has all the fields, but a bracket follows it."""
    line = orjson.dumps(NESTED).replace(b'"request_id"', b"!request_id!", 1)

    assert salvage(line) == ([], [(1000, len(line), "bad")])


def test_r1_an_object_without_the_fields_of_the_stream_is_not_a_record() -> None:
    """An event is none among errors, and what has fewer fields is none at all."""
    event = {"timestamp": "t", "request_id": "r", "event": "e", "context": {}}
    line = b"x" + orjson.dumps(event)

    assert salvage(line, "errors") == ([], [(1000, len(line), "bad")])
    assert salvage(line, "events")[0] == [event]


def test_r1_offsets_are_bytes_where_text_is_not_ascii() -> None:
    """Two-byte characters and bytes that are not UTF-8 count as they are stored."""
    record = make_record(6, message="é" * 10)
    line = b"\xff\xc3\xa9" + json.dumps(record, ensure_ascii=False).encode() + b"\xfe"

    records, reports = salvage(line)

    assert records == [record]
    assert [r[:2] for r in reports] == [(1000, 3), (1000 + len(line) - 1, 1)]


def test_r1_a_record_with_a_damaged_byte_in_its_text_is_skipped() -> None:
    """It decodes as text of some kind, but is not what was logged."""
    damaged = ONE.replace(b"gpt-4", b"gpt\xff4")

    records, reports = salvage(damaged + TWO)

    assert records == [make_record(2)]
    assert [report[:2] for report in reports] == [(1000, len(damaged))]


@pytest.mark.parametrize(
    "trap", [b'{"timestamp":' * 60_000, b'{"timestamp":[1,' * 60_000]
)
def test_a_line_made_of_starts_does_not_hang_the_reader(trap: bytes) -> None:
    """The search is given up before it becomes quadratic."""
    assert salvage(trap) == ([], [(1000, len(trap), "bad")])
