"""What an export writes: clean, complete, and a file as a whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import stat
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.read.log_making import as_lines, make_record, make_records, write_log
from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.read import (
    FORMATS,
    Format,
    MalformedLine,
    Query,
    export_records,
    export_to_file,
)
from tokenpak.telemetry.read.records import decode_line
from tokenpak.telemetry.read.render import shape_of
from tokenpak.telemetry.read.strict import MAX_DEPTH, TOO_DEEP, encode

HEADER = (
    "timestamp,request_id,error_type,message,stack_trace,"
    "model,provider,input_size,cost_estimate,duration_ms,context,other_fields"
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec=None)), inner, max_size=4)
    ),
    max_leaves=12,
)


def export(log_dir: Path, form: Format, query: Query | None = None) -> str:
    out = io.BytesIO()
    export_records(log_dir, out, query=query, form=form)
    return out.getvalue().decode("utf-8")


def strictly(text: str) -> Any:
    """Decode *text* as JSON, refusing what JSON refuses: NaN, duplicate keys."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    def refuse(name: str) -> None:
        raise AssertionError(name)

    return json.loads(text, object_pairs_hook=unique, parse_constant=refuse)


@pytest.mark.parametrize(
    ("form", "expected"),
    [("json", "[]\n"), ("jsonl", ""), ("csv", HEADER + "\r\n")],
)
def test_nothing_to_export_is_no_error(
    tmp_path: Path, form: Format, expected: str
) -> None:
    """An empty array, an empty file, a table with a head and no rows."""
    assert export(tmp_path, form) == expected


def test_json_is_one_array_with_a_record_a_line(tmp_path: Path) -> None:
    """It can be parsed as a whole, and compared by diff."""
    write_log(tmp_path, as_lines(make_records(3)))

    text = export(tmp_path, "json")

    assert strictly(text) == make_records(3)
    assert text.split("\n")[0] == "["
    assert text.count("\n") == 5


def test_lines_that_are_clean_are_copied(tmp_path: Path) -> None:
    """Byte for byte."""
    data = as_lines(make_records(5))
    write_log(tmp_path, data)

    assert export(tmp_path, "jsonl").encode() == data


def test_what_is_written_is_strict_json(tmp_path: Path) -> None:
    """No NaN, no lone surrogate, no duplicate key, no CR, BOM or NUL."""
    lines = [
        b'{"timestamp": "t", "context": {"a": NaN, "b": [Infinity, -1e999]}}',
        b'{"timestamp": "t", "message": "\\ud800x", "context": {"\\udfff": 1}}',
        b'{"timestamp":"t","timestamp":"u","context":{"a":1,"a":2}}',
        b'\xef\xbb\xbf{"timestamp":"t"}\r',
        b'{"a":123456789012345678901234567890}',
    ]
    write_log(tmp_path, b"\n".join(lines) + b"\n")

    array = strictly(export(tmp_path, "json"))
    rows = [strictly(line) for line in export(tmp_path, "jsonl").splitlines()]

    assert array == rows
    assert array == [
        {"timestamp": "t", "context": {"a": None, "b": [None, None]}},
        {"timestamp": "t", "message": "\ufffdx", "context": {"\ufffd": 1}},
        {"timestamp": "u", "context": {"a": 2}},
        {"timestamp": "t"},
        {"a": 123456789012345678901234567890},
    ]


@given(VALUES)
def test_any_value_becomes_strict_json(value: Any) -> None:
    """Whatever the standard json could have written into an old file."""
    record, line = decode_line(json.dumps({"value": value}).encode())
    text = (encode(record) if line is None else line).decode("utf-8")

    strictly(text)

    assert "\n" not in text


@given(VALUES)
def test_the_fast_way_writes_what_the_slow_one_does(value: Any) -> None:
    """A line that is copied is the line that encoding its record would give."""
    record, line = decode_line(encode({"value": value}))

    assert line is None or line == encode(record)
    for form in FORMATS:
        row = shape_of(form, "errors").row
        assert row(record, line) == row(record, None)


def test_deep_nesting_is_cut_rather_than_refused() -> None:
    """Everything above it is there."""
    value: Any = {}
    for _ in range(MAX_DEPTH + 50):
        value = {"a": [value, math.nan]}

    text = encode({"timestamp": "t", "context": value}).decode()

    assert strictly(text)["timestamp"] == "t"
    assert TOO_DEEP in text


def test_csv_has_a_column_for_each_field_and_known_context_key(tmp_path: Path) -> None:
    """The rest of the context as JSON, and fields that are not known likewise."""
    context = {
        "model": "gpt-4",
        "provider": "openai",
        "input_size": 1024,
        "cost_estimate": 0.045,
        "duration_ms": None,
        "retry": {"n": 2},
        "stream": True,
    }
    record = make_record(context=context, host="web-1", trace_id=7)
    write_log(tmp_path, as_lines([record, make_record(1, context={})]))

    rows = list(csv.DictReader(io.StringIO(export(tmp_path, "csv"), newline="")))

    assert ",".join(rows[0]) == HEADER
    assert rows[0] == {
        **{k: record[k] for k in HEADER.split(",")[:5]},
        "model": "gpt-4",
        "provider": "openai",
        "input_size": "1024",
        "cost_estimate": "0.045",
        "duration_ms": "",
        "context": '{"retry":{"n":2},"stream":true}',
        "other_fields": '{"host":"web-1","trace_id":7}',
    }
    assert rows[1]["context"] == rows[1]["other_fields"] == rows[1]["model"] == ""


def test_csv_of_events_has_the_fields_of_events(tmp_path: Path) -> None:
    """And the same columns for the context."""
    event = {
        "timestamp": "t",
        "request_id": None,
        "event": "completed",
        "context": {"model": True},
    }
    write_log(tmp_path, as_lines([event]), stream="events")

    text = export(tmp_path, "csv", Query(stream="events"))

    assert text.splitlines() == [
        (
            "timestamp,request_id,event,model,provider,input_size,cost_estimate,"
            "duration_ms,context,other_fields"
        ),
        "t,,completed,true,,,,,,",
    ]


def test_csv_takes_records_of_any_shape(tmp_path: Path) -> None:
    """Fields that are missing are empty; a context that is none is JSON."""
    lines = b'{}\n{"message":{"a":[1]},"context":[1,"x"]}\n{"message":NaN}\n'
    write_log(tmp_path, lines)

    rows = list(csv.DictReader(io.StringIO(export(tmp_path, "csv"), newline="")))

    assert [row["message"] for row in rows] == ["", '{"a":[1]}', ""]
    assert [row["context"] for row in rows] == ["", '[1,"x"]', ""]


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=3, max_size=3))
def test_csv_gives_back_any_text(texts: list[str]) -> None:
    """Quotes, commas, both kinds of line ends, alone and together."""
    message, key, value = texts
    record = make_record(message=message, context={"model": value, "x" + key: value})
    row = shape_of("csv", "errors", raw=True).row(record, None).decode()

    (cells,) = csv.reader(io.StringIO(row, newline=""))

    assert cells[3] == message
    assert cells[5] == value
    assert orjson.loads(cells[10]) == {"x" + key: value}


@settings(deadline=None, max_examples=30)
@given(st.lists(VALUES, max_size=5))
def test_all_formats_hold_the_same_records(
    tmp_path_factory: pytest.TempPathFactory, values: list[Any]
) -> None:
    """Also after a round trip through each of them."""
    tmp_path = tmp_path_factory.mktemp("logs")
    records = [make_record(n, context={"v": v}) for n, v in enumerate(values)]
    lines = [json.dumps(record) + "\n" for record in records]
    write_log(tmp_path, "".join(lines).encode())

    array = strictly(export(tmp_path, "json"))
    rows = [orjson.loads(line) for line in export(tmp_path, "jsonl").split("\n")[:-1]]
    table = list(csv.DictReader(io.StringIO(export(tmp_path, "csv"), newline="")))

    assert encode(array) == encode([strictly(encode(row).decode()) for row in array])
    assert len(array) == len(rows) == len(table) == len(values)
    assert [r["request_id"] for r in array] == [r["request_id"] for r in rows]
    assert [strictly(row["context"]) for row in table] == [r["context"] for r in array]


def test_many_records_come_in_pieces_that_fit_together(tmp_path: Path) -> None:
    """More than one piece, and the separators between pieces are right."""
    records = [make_record(n, message="x" * 2000) for n in range(500)]
    write_log(tmp_path, as_lines(records))
    pieces: list[bytes] = []

    class Out:
        def write(self, data: bytes) -> None:
            pieces.append(data)

    exported = export_records(tmp_path, Out(), form="json")

    assert len(pieces) > 1
    assert json.loads(b"".join(pieces)) == records
    assert exported.records == 500


def test_r1_an_export_says_what_it_skipped_and_where(tmp_path: Path) -> None:
    """Counts by file for lines, and the files that could not be read."""
    data = as_lines(make_records(3))
    bad = write_log(tmp_path, b"x\n" + data + b"torn", "2026-03-23")
    write_log(tmp_path, data)
    link = tmp_path / "errors-2026-03-25.jsonl"
    link.symlink_to(bad)

    exported = export_records(tmp_path, io.BytesIO())

    assert exported.records == 6
    assert exported.malformed == {str(bad): 2}
    assert [damage.file for damage in exported.unreadable] == [str(link)]


def test_a_file_is_exported_to_as_a_whole(tmp_path: Path) -> None:
    """Readable by its owner alone, and nothing else is left in the directory."""
    log_dir = tmp_path / "logs"
    write_log(log_dir, as_lines(make_records(3)))
    target = tmp_path / "out.json"
    target.write_text("old")
    mask = os.umask(0)
    try:
        exported = export_to_file(log_dir, target)
    finally:
        os.umask(mask)

    assert json.loads(target.read_text()) == make_records(3)
    assert exported.records == 3
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert sorted(os.listdir(tmp_path)) == ["logs", "out.json"]


@pytest.mark.parametrize("error", [OSError(28, "No space left"), KeyboardInterrupt()])
def test_a_failed_export_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Whatever it was that failed, half-way through."""
    log_dir = tmp_path / "logs"
    write_log(log_dir, as_lines(make_records(3)))
    target = tmp_path / "out.json"
    target.write_text("old")

    def fail(*_args: object) -> None:
        raise error

    monkeypatch.setattr("tokenpak.telemetry.read.replacing.os.replace", fail)

    with pytest.raises(type(error)):
        export_to_file(log_dir, target)

    assert target.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["logs", "out.json"]


def test_an_export_to_a_link_or_a_device_replaces_neither(tmp_path: Path) -> None:
    """The link's file is replaced; a device is written to."""
    write_log(tmp_path, as_lines(make_records(3)))
    (tmp_path / "real.json").write_text("old")
    link = tmp_path / "link.json"
    link.symlink_to("real.json")
    device = Path("/dev/null")

    export_to_file(tmp_path, link)
    export_to_file(tmp_path, device)

    assert link.is_symlink()
    assert json.loads((tmp_path / "real.json").read_text()) == make_records(3)
    assert stat.S_ISCHR(device.stat().st_mode)


@pytest.mark.parametrize("folder", ["", "archive"])
def test_an_export_never_overwrites_the_log(tmp_path: Path, folder: str) -> None:
    """Not by a relative path or through a link either."""
    path = write_log(tmp_path, as_lines(make_records(3)), archived=folder != "")
    (tmp_path / "alias").symlink_to(path.parent)

    with pytest.raises(SettingError, match="not one of the log's own"):
        export_to_file(tmp_path, tmp_path / "alias" / path.name)

    assert path.read_bytes() == as_lines(make_records(3))


def test_a_format_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """Before anything is written."""
    out = io.BytesIO()

    with pytest.raises(SettingError, match="one of json, jsonl, csv, parquet"):
        export_records(tmp_path, out, form="xml")  # type: ignore[arg-type]

    assert out.getvalue() == b""


def test_reports_of_damage_are_plain_data() -> None:
    """They can be compared, hashed, and sent elsewhere."""
    report = MalformedLine("f", 1, 2, "why")

    assert report == MalformedLine("f", 1, 2, "why")
    assert len({report, MalformedLine("f", 1, 2, "why")}) == 1


def test_csv_has_no_lone_surrogates_either(tmp_path: Path) -> None:
    """They are no text that UTF-8 could hold."""
    write_log(tmp_path, b'{"message":"a\\ud800","context":{"model":"\\udfff"}}\n')

    (row,) = csv.DictReader(io.StringIO(export(tmp_path, "csv"), newline=""))

    assert (row["message"], row["model"]) == ("a\ufffd", "\ufffd")


def test_a_query_holds_for_what_is_salvaged_too(tmp_path: Path) -> None:
    """Two records on one line, one of them wanted."""
    records = [make_record(n, context={"provider": p}) for n, p in enumerate("ab")]
    write_log(tmp_path, as_lines(records).replace(b"\n", b"\0", 1))

    assert json.loads(export(tmp_path, "json", Query(provider="b"))) == records[1:]


def test_r1_a_line_of_many_megabytes_is_a_record(tmp_path: Path) -> None:
    """The earlier logger did not shorten."""
    record = make_record(message="x" * 9_000_000)
    write_log(tmp_path, as_lines([record, make_record(1)]))

    assert json.loads(export(tmp_path, "json")) == [record, make_record(1)]


def test_csv_has_a_row_for_each_record_even_if_nothing_is_in_it(tmp_path: Path) -> None:
    """Readers of csv pass over lines that are empty."""
    write_log(tmp_path, as_lines([make_record(context={"n": n}) for n in (1, None, 3)]))
    out = io.BytesIO()

    export_records(tmp_path, out, form="csv", fields=["n"])

    rows = csv.DictReader(io.StringIO(out.getvalue().decode(), newline=""))
    assert [row["n"] for row in rows] == ["1", "", "3"]


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="names of descriptors")
def test_an_export_to_a_pipe_by_the_name_of_its_descriptor(tmp_path: Path) -> None:
    """``-o /dev/stdout`` and ``-o >(gzip > x.gz)``: the real path names nothing."""
    write_log(tmp_path, as_lines(make_records(3)))
    read_end, write_end = os.pipe()
    with open(read_end, "rb") as pipe:
        try:
            export_to_file(tmp_path, f"/dev/fd/{write_end}", form="jsonl")
        finally:
            os.close(write_end)

        assert pipe.read() == as_lines(make_records(3))
