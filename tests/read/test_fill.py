"""R1, S4: what DuckDB is given by files is what it would be given value by value."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.read.log_making import as_lines, make_record, write_log
from tokenpak.telemetry.read import Damage, SqlSession, fill, sql
from tokenpak.telemetry.read.sql import SqlError

duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")

SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["2026-03-24T17:35:22.000001Z", "null", '{"a":1}', "\x00", "\ud800", "\u2028"]
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)
KEYS = st.sampled_from(
    [
        *("timestamp", "request_id", "error_type", "message", "stack_trace"),
        *("Message", "MESSAGE", "more", "", "a.b", "$.x"),
    ]
)
CONTEXTS = VALUES | st.dictionaries(
    st.sampled_from([name for name, _ in fill.CONTEXT_COLUMNS] + ["Model", "x"]),
    VALUES,
    max_size=4,
)
RECORDS = st.builds(
    lambda record, context: record | {"context": context},
    st.dictionaries(KEYS, VALUES, max_size=5),
    CONTEXTS,
)


def rows(log_dir: Path, told: list[Damage] | None = None) -> list[Any]:
    with SqlSession(log_dir, on_damage=None if told is None else told.append) as s:
        return list(s.execute("FROM errors"))


def slowly(log_dir: Path) -> list[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sql, "is_pattern", lambda _path: True)
        return rows(log_dir)


@settings(max_examples=40, deadline=None)
@given(st.lists(RECORDS, max_size=40), st.booleans())
def test_r1_any_records_are_the_same_rows_by_files_and_by_values(
    tmp_path_factory: pytest.TempPathFactory, records: list[Any], ascii_only: bool
) -> None:
    """Of any types, with keys that are alike, with NaN and lone surrogates."""
    log_dir = tmp_path_factory.mktemp("log")
    lines = [
        json.dumps(record, ensure_ascii=ascii_only).encode(errors="surrogatepass")
        for record in records
    ]
    write_log(log_dir, b"".join(line + b"\n" for line in lines))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fill, "PIECE_BYTES", 500)
        patch.setattr(fill, "_JOINED", 3)
        patch.setattr(SqlSession, "_insert_values", None)
        found = rows(log_dir)

    expected = slowly(log_dir)
    assert [list(map(plain, row)) for row in found] == [
        list(map(plain, row)) for row in expected
    ]


def plain(cell: Any) -> str:
    """Return *cell*, a number in a text field as one: 1e16 can be spelled two ways."""
    if isinstance(cell, str):
        with contextlib.suppress(ValueError):
            return repr(json.loads(cell))
    return repr(cell)


@pytest.mark.parametrize("limit", [10, 150, 250, 10_000])
def test_r1_lines_that_are_too_long_for_a_file_keep_their_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """At the beginning, at the end, several in a row, all of them."""
    sizes = [900, 1, 1, 900, 900, 1, 30, 1, 900]
    records = [make_record(n, message="m" * size) for n, size in enumerate(sizes)]
    write_log(tmp_path, as_lines(records))
    monkeypatch.setattr(fill, "LONG_LINE", limit + 200)
    monkeypatch.setattr(fill, "PIECE_BYTES", 400)
    monkeypatch.setattr(fill, "_JOINED", 2)

    assert [row[1] for row in rows(tmp_path)] == [f"req-{n}" for n in range(9)]


def test_r1_a_line_of_many_megabytes_is_a_row(tmp_path: Path) -> None:
    """Beyond what DuckDB takes from a file by default."""
    records = [
        make_record(n, message="m" * size) for n, size in ((0, 20_000_000), (1, 9))
    ]
    write_log(tmp_path, as_lines(records))

    assert [len(row[3]) for row in rows(tmp_path)] == [20_000_000, 9]


@pytest.mark.parametrize("reason", ["a count", "an error"])
def test_r1_what_duckdb_does_not_take_is_inserted_by_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    """All of it, each record once, and each damage told once."""
    lines = as_lines([make_record(n) for n in range(30)]).splitlines(keepends=True)
    write_log(tmp_path, b"torn\n".join(lines))
    expected = slowly(tmp_path)
    monkeypatch.setattr(fill, "PIECE_BYTES", 1000)
    monkeypatch.setattr(fill, "_JOINED", 1)
    real = fill._insert_file
    turn = iter(range(100))

    def insert_file(stream: str, path: str) -> str:
        statement = real(stream, path)
        if next(turn) < 3:
            return statement
        return f"{statement} LIMIT 1" if reason == "a count" else "SELECT error('no')"

    monkeypatch.setattr(fill, "_insert_file", insert_file)
    told: list[Damage] = []

    assert rows(tmp_path, told) == expected
    assert len(told) == len(set(told)) == 29


def test_r1_a_full_disk_is_not_tried_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be no better."""
    write_log(tmp_path, as_lines([make_record()]))
    calls: list[int] = []

    def full(*_: object) -> None:
        calls.append(1)
        raise SqlError("IO Error: No space left on device", "IOException")

    monkeypatch.setattr(SqlSession, "_insert_pieces", full)
    monkeypatch.setattr(SqlSession, "_insert_values", full)
    with pytest.raises(SqlError, match="No space left"):
        rows(tmp_path)
    assert calls == [1]


@pytest.mark.skipif(os.name != "posix", reason="a limit of the size of files")
def test_a_full_disk_is_told_by_the_name_of_the_file_on_it(tmp_path: Path) -> None:
    """It is that of temporary files, not that of the output."""
    import resource

    write_log(tmp_path, as_lines([make_record(message="m" * 600_000)] * 4))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[1]))
    try:
        with pytest.raises(OSError, match="too large") as told:
            rows(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert str(told.value.filename).endswith("piece-0.jsonl")


@pytest.mark.parametrize(
    "name",
    ["a*b", "a[b]", "a{b,c}", "it's", "a b", "é", "a;b", "request_id=1", "context=2"],
)
def test_the_name_of_the_temporary_directory_is_no_pattern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """And no SQL, nor a value of a column."""
    (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / name))
    log_dir = tmp_path / "logs"
    write_log(log_dir, as_lines([make_record(n) for n in range(3)]))

    found = rows(log_dir)

    assert [row[1] for row in found] == ["req-0", "req-1", "req-2"]
    assert found == slowly(log_dir)
    assert list((tmp_path / name).iterdir()) == []


def test_s5_a_statement_reaches_only_what_is_a_copy_of_the_log(tmp_path: Path) -> None:
    """The files are gone when it is executed; and what it puts there does no harm."""
    write_log(tmp_path, as_lines([make_record(n) for n in range(3)]))
    with SqlSession(tmp_path) as session:
        list(session.execute("SELECT count(*) FROM errors"))
        (paths,) = session.execute("SELECT current_setting('allowed_paths')")
        piece = next(path for path in paths[0] if path.endswith("piece-0.jsonl"))
        assert list(session.execute(f"SELECT * FROM read_text('{piece}')")) == []
        session.execute(f"COPY (SELECT 1 AS x) TO '{piece}' (FORMAT json)")
        assert list(session.execute("SELECT count(*) FROM events")) == [(0,)]
