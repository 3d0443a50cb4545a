"""``tokenpak telemetry sql``: DuckDB sees what an export gives, and nothing else."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.queue.test_recovery import make_orphan
from tests.read.log_making import as_lines, make_record, write_log
from tokenpak.cli import main
from tokenpak.telemetry.queue import recovery
from tokenpak.telemetry.read import iter_records
from tokenpak.telemetry.read.sql import SqlError, SqlSession

COMMAND = [sys.executable, "-m", "tokenpak", "telemetry", "sql"]
SECONDS = 60.0

duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")


def run(*args: str | Path, **options: Any) -> Result:
    words = ["telemetry", "sql", *map(str, args)]
    return CliRunner().invoke(main, words, prog_name="tokenpak", **options)


@pytest.fixture
def log_dir(tmp_path: Path) -> Path:
    """Two days, one of them archived, with damage; and an event."""
    place = tmp_path / "logs"
    context = {"provider": "anthropic", "cost_estimate": 0.5, "status_code": 429}
    records = [make_record(n, context=context) for n in range(3)]
    write_log(
        place,
        as_lines(records[:2]) + b"garbage\n" + as_lines(records[2:]),
        archived=True,
        compressed=True,
    )
    write_log(place, as_lines([make_record(9, "2026-03-25")]), "2026-03-25")
    event = {"timestamp": "2026-03-25T18:00:00.000000Z", "request_id": "e"}
    write_log(
        place,
        as_lines([{**event, "event": "done", "context": {"n": [1]}}]),
        "2026-03-25",
        stream="events",
    )
    return place


def test_records_of_active_and_archived_files_are_a_table(log_dir: Path) -> None:
    """Its columns aligned, numbers to the right."""
    result = run(
        "--log-dir",
        log_dir,
        "SELECT provider, count(*) AS n, sum(cost_estimate) AS cost, "
        "max(status_code) AS status FROM errors GROUP BY ALL ORDER BY ALL",
    )
    assert result.exit_code == 0, result.output
    assert result.stdout == (
        "provider   n  cost  status\n"
        "---------  -  ----  ------\n"
        "anthropic  3   1.5     429\n"
        "openai     1  NULL    NULL\n"
    )
    assert result.stderr.startswith("Skipped: ")
    assert "garbage" not in result.output


def test_events_are_a_table_of_their_own(log_dir: Path) -> None:
    """With the context as JSON."""
    result = run(
        "--log-dir",
        log_dir,
        "--format",
        "jsonl",
        "SELECT *, context->'$.n[0]' AS first FROM events",
    )
    (line,) = result.stdout.splitlines()
    assert json.loads(line) == {
        "timestamp": "2026-03-25T18:00:00.000000Z",
        "request_id": "e",
        "event": "done",
        "context": {"n": [1]},
        "first": 1,
        **dict.fromkeys(["model", "provider", "input_size", "cost_estimate"]),
        **dict.fromkeys(["duration_ms", "kind", "status_code"]),
        "provider_request_id": None,
    }


@pytest.mark.parametrize(
    ("form", "read"),
    [
        ("csv", lambda data: list(csv.DictReader(io.StringIO(data.decode())))),
        ("json", json.loads),
        ("jsonl", lambda data: [json.loads(x) for x in data.split(b"\n") if x]),
    ],
)
def test_what_programs_read_is_what_is_in_the_log(
    log_dir: Path, tmp_path: Path, form: str, read: Any
) -> None:
    """To stdout and to a file, the same."""
    statement = "SELECT request_id, message, stack_trace FROM errors ORDER BY timestamp"
    args = ("--log-dir", log_dir, "--format", form, statement)
    result = run(*args)
    rows = read(result.stdout_bytes)
    assert run(*args, "--output", tmp_path / "out").exit_code == 0

    assert rows == [
        {key: item[key] for key in ("request_id", "message", "stack_trace")}
        for item in iter_records(log_dir)
        if isinstance(item, dict)
    ]
    assert (tmp_path / "out").read_bytes() == result.stdout_bytes
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_parquet_is_written_to_a_file_or_a_pipe(log_dir: Path, tmp_path: Path) -> None:
    """And read back by DuckDB with no option."""
    path = tmp_path / "errors.parquet"
    args = ("--log-dir", log_dir, "--format", "parquet", "FROM errors;")
    assert run(*args, "--output", path).exit_code == 0
    found = duckdb.sql(f"SELECT request_id FROM '{path}' ORDER BY ALL").fetchall()
    assert found == [("req-0",), ("req-1",), ("req-2",), ("req-9",)]
    assert run(*args).stdout_bytes[:4] == b"PAR1"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes")
def test_an_output_that_is_no_file_is_written_to_and_not_replaced(
    log_dir: Path, tmp_path: Path
) -> None:
    """A pipe here; as root, /dev/null would have become a file."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with open(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
        result = run("--log-dir", log_dir, "SELECT 7", "-o", pipe, "--format", "json")

        assert result.exit_code == 0
        assert b"7" in (reader.read() or b"")
    assert pipe.is_fifo()


def test_nothing_found_is_no_error(log_dir: Path) -> None:
    """An empty array, a head without rows."""
    args = ("--log-dir", log_dir, "SELECT request_id FROM errors WHERE false")
    assert run(*args, "--format", "json").stdout == "[]\n"
    assert run(*args, "--format", "jsonl").stdout == ""
    assert run(*args).stdout == "request_id\n----------\n"


def test_only_the_days_that_are_wanted_are_loaded(log_dir: Path) -> None:
    """So the damage in another one is not even met."""
    result = run(
        *("--log-dir", log_dir, "--since", "2026-03-25"),
        *("--format", "csv", "SELECT count(*) FROM errors"),
    )
    assert result.stdout.split() == ["count_star()", "1"]
    assert result.stderr == ""


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('{log_dir}/errors-2026-03-25.jsonl')",
        "COPY errors TO '{log_dir}/out.csv'",
        "ATTACH '{log_dir}/x.db'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "SET allowed_paths = ['/']",
        "SELECT * FROM sys",
    ],
)
def test_s5_statements_reach_no_file(log_dir: Path, statement: str) -> None:
    """Not even to read; and what is there stays as it is."""
    before = {p: p.read_bytes() for p in log_dir.rglob("*") if p.is_file()}
    result = run("--log-dir", log_dir, statement.format(log_dir=log_dir))
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert before == {p: p.read_bytes() for p in log_dir.rglob("*") if p.is_file()}


def test_files_are_reached_if_one_says_so(log_dir: Path, tmp_path: Path) -> None:
    """To join what is elsewhere."""
    (tmp_path / "prices.csv").write_text("provider,price\nopenai,2\n")
    statement = (
        f"SELECT price FROM errors JOIN '{tmp_path}/prices.csv' USING (provider)"
    )
    args = ("--log-dir", log_dir, "--format", "csv")
    assert run(*args, "--allow-files", statement).stdout.split() == ["price", "2"]
    refused = run(*args, statement)
    assert refused.exit_code == 1
    assert "--allow-files" in refused.stderr


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT nothing FROM errors", "nothing"),
        ("SELECT 1/0 + 'x'", "Error: "),
        ("SELECT error('\x1b[2J')", "Error: "),
        ("", "there is no statement"),
        (";;", "there is no statement"),
    ],
)
def test_a_wrong_statement_is_told_of(
    log_dir: Path, statement: str, message: str
) -> None:
    """In DuckDB's words, with status 1 and no traceback."""
    result = run("--log-dir", log_dir, statement)
    assert result.exit_code == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert "\x1b" not in result.stderr


def test_what_is_hostile_is_not_sent_to_the_terminal(tmp_path: Path) -> None:
    """In a table, which is for people."""
    record = make_record(message="\x1b[2Jred\n\u202e")
    write_log(tmp_path, as_lines([record]))
    result = run("--log-dir", tmp_path, 'SELECT message AS "\x1b[1m" FROM errors')
    assert result.stdout.split() == ["\\x1b[1m", "-" * 18, "\\x1b[2Jred\\n\\u202e"]


def test_values_of_any_type_are_shown_in_any_format(log_dir: Path) -> None:
    """Lists, structs, times, intervals, binary, decimals, not-a-number."""
    statement = (
        "SELECT [1, 2] l, {'a': DATE '2026-01-01'} s, TIME '01:02:03' t, "
        "INTERVAL 1 DAY i, 'x'::BLOB b, 1.50::DECIMAL(4, 2) d, 'nan'::DOUBLE n, "
        "uuid() u, 1::HUGEINT h, TIMESTAMP '2026-01-01 00:00:00' z, 1 l"
    )
    for form in ("table", "csv", "json", "jsonl", "parquet"):
        result = run("--log-dir", log_dir, "--format", form, statement)
        assert result.exit_code == 0, (form, result.output)
    row = json.loads(run("--log-dir", log_dir, "--format", "jsonl", statement).stdout)
    assert (row["l"], row["l_1"], row["n"], row["b"]) == ([1, 2], 1, None, "78")
    assert (row["s"], row["z"]) == ({"a": "2026-01-01"}, "2026-01-01T00:00:00.000000Z")


def test_several_statements_give_the_rows_of_the_last(log_dir: Path) -> None:
    """Read from stdin, as long reports are."""
    text = "CREATE TABLE t AS FROM errors;\nSELECT count(*) AS n FROM t; -- all\n"
    result = run("--log-dir", log_dir, "--format", "csv", "-", input=text)
    assert result.stdout.split() == ["n", "4"]


def test_odd_records_are_rows_too(tmp_path: Path) -> None:
    """Any type in any field, numbers over 64 bits, other offsets, no timestamp."""
    records: list[dict[str, Any]] = [
        {"timestamp": "2026-03-24T17:35:22+02:00", "context": [1]},
        {"timestamp": 5, "request_id": 7, "message": {"a": 1}, "context": None},
        {"context": {"input_size": "12", "cost_estimate": "x", "model": ["m"]}},
    ]
    line = b'{"context":{"input_size":1' + b"0" * 400 + b',"x":NaN},"timestamp":null}\n'
    write_log(tmp_path, as_lines(records) + line)
    result = run(
        *("--log-dir", tmp_path, "--format", "jsonl"),
        "SELECT timestamp, request_id, message, model, input_size, cost_estimate "
        "FROM errors",
    )
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["timestamp"] for row in rows] == [
        "2026-03-24T15:35:22.000000Z",
        *[None] * 3,
    ]
    assert (rows[1]["request_id"], rows[1]["message"]) == ("7", '{"a":1}')
    assert [row["input_size"] for row in rows] == [None, None, 12, None]
    assert rows[2]["model"] == '["m"]'
    assert rows[2]["cost_estimate"] is None


def test_what_waits_in_spools_is_there(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it cannot be appended."""

    def refuse(_: str, **_more: float) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(recovery, "recover", refuse)
    spool, _ = make_orphan(log_dir, [as_lines([make_record(77)])])
    spool.release()
    result = run(
        *("--log-dir", log_dir, "--format", "csv"),
        "SELECT count(*) FROM errors WHERE request_id = 'req-77'",
    )
    assert result.stdout.split()[-1] == "1"


def test_r1_rows_are_what_the_reader_gives(log_dir: Path) -> None:
    """All of them, whatever the size of a batch."""
    records = [make_record(n) for n in range(5000)]
    write_log(log_dir, as_lines(records), "2026-03-26")
    with SqlSession(log_dir) as session:
        found = Counter(
            row[0] for row in session.execute("SELECT request_id FROM errors")
        )
    assert found == Counter(
        item["request_id"] for item in iter_records(log_dir) if isinstance(item, dict)
    )


def test_nothing_is_left_in_the_temporary_directory(
    log_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the statement was right or not."""
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    run("--log-dir", log_dir, "FROM errors")
    run("--log-dir", log_dir, "FROM nothing")
    assert list(place.iterdir()) == []


def test_without_duckdb_one_is_told_what_to_install(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No traceback."""
    monkeypatch.setitem(sys.modules, "duckdb", None)
    result = run("--log-dir", log_dir, "SELECT 1")
    assert result.exit_code == 1
    assert "pip install 'tokenpak-telemetry[query]'" in result.stderr
    with pytest.raises(SqlError):
        SqlSession(log_dir)


def test_an_output_that_cannot_be_written_is_status_1(log_dir: Path) -> None:
    """And says so."""
    result = run("--log-dir", log_dir, "-o", log_dir / "no" / "out", "SELECT 1")
    assert result.exit_code == 1
    assert "No such file or directory" in result.stderr
