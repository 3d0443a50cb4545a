"""``tokenpak telemetry sql``: DuckDB sees what an export gives, and nothing else."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import signal
import subprocess
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

    def refuse(_: str) -> None:
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


def test_r1_a_context_of_any_type_is_json(tmp_path: Path) -> None:
    """Text that looks like JSON, or like none, stays text; and the others are there."""
    contexts = ["text", '{"a":', "1", '{"a":1}', {"a": 1}, [1], 2**70, None, ""]
    records = [make_record(n, context=each) for n, each in enumerate(contexts)]
    lines = [json.dumps(record).encode() + b"\n" for record in records]
    write_log(tmp_path, b"".join(lines))
    result = run(
        "--log-dir", tmp_path, "--format", "jsonl", "SELECT context FROM errors"
    )
    assert result.exit_code == 0, result.output
    rows = [json.loads(line)["context"] for line in result.stdout.splitlines()]
    assert rows == contexts


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'1e400'", None),
        ("'123456789012345678901234567890'", 123456789012345678901234567890),
        ("repeat('9', 5000)", "9" * 5000),
        ("repeat('[', 20000) || repeat(']', 20000)", "[" * 20_000 + "]" * 20_000),
    ],
)
def test_json_that_python_does_not_take_is_no_traceback(
    tmp_path: Path, text: str, value: Any
) -> None:
    """What an export has for it, or the text."""
    write_log(tmp_path, b"")
    result = run("--log-dir", tmp_path, "--format", "jsonl", f"SELECT ({text})::JSON x")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["x"] == value


def test_each_table_is_filled_when_it_is_first_named(log_dir: Path) -> None:
    """By a later statement of a session, too; and once."""
    with SqlSession(log_dir) as session:
        for _ in range(2):
            for table, count in (("errors", 4), ("events", 1)):
                found = session.execute(f"SELECT count(*) FROM {table}")
                assert list(found) == [(count,)]


def test_export_database_has_both_tables(log_dir: Path, tmp_path: Path) -> None:
    """It names none."""
    place = tmp_path / "exported"
    args = ("--log-dir", log_dir, "--allow-files", f"EXPORT DATABASE '{place}'")
    assert run(*args).exit_code == 0
    assert "req-9" in (place / "errors.csv").read_text()
    assert "done" in (place / "events.csv").read_text()


def test_s5_a_session_whose_loading_failed_reaches_no_file_either(
    log_dir: Path,
) -> None:
    """And the next statement loads all, not what the failed one has left."""
    calls = 0

    def fail_once(_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OSError(5, "Input/output error")

    with SqlSession(log_dir, on_damage=fail_once) as session:
        with pytest.raises(OSError, match="Input/output error"):
            session.execute("FROM errors")
        with pytest.raises(SqlError, match="may not use files"):
            session.execute("SELECT * FROM read_text('/etc/hostname')")
        assert list(session.execute("SELECT count(*) FROM errors")) == [(4,)]


def test_parquet_of_a_statement_that_ends_with_a_comment(
    log_dir: Path, tmp_path: Path
) -> None:
    """Behind its semicolon."""
    path = tmp_path / "out.parquet"
    statement = "SELECT '\u00e9;' AS x -- a;b\n;; /* \u20ac; */ -- c"
    args = ("--log-dir", log_dir, "--format", "parquet", "-o", path, statement)
    assert run(*args).exit_code == 0
    assert duckdb.sql(f"FROM '{path}'").fetchall() == [("\u00e9;",)]


def test_the_output_is_no_file_of_the_log(log_dir: Path) -> None:
    """Which is never written to."""
    path = log_dir / "errors-2026-03-25.jsonl"
    before = path.read_bytes()
    result = run("--log-dir", log_dir, "-o", path, "SELECT 1")
    assert result.exit_code == 2
    assert path.read_bytes() == before


def test_a_pipe_or_device_is_written_to_and_not_replaced(
    log_dir: Path, tmp_path: Path
) -> None:
    """``-o /dev/null``, by root, would end with a machine without it."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        args = ("--log-dir", log_dir, "-o", path, "--format", "csv", "SELECT 1 AS x")
        assert run(*args).exit_code == 0
        assert path.is_fifo()
        assert os.read(fd, 100) == b"x\r\n1\r\n"
    finally:
        os.close(fd)


def test_a_file_has_whole_cells_also_from_a_terminal(
    log_dir: Path, tmp_path: Path
) -> None:
    """What is cut on a terminal is not in a file."""
    ours, theirs = pty.openpty()
    args = ["--log-dir", log_dir, "-o", tmp_path / "out", "SELECT repeat('x', 99) AS x"]
    words = [*COMMAND, *map(str, args)]
    try:
        subprocess.run(words, stdout=theirs, check=True, timeout=SECONDS)
    finally:
        os.close(theirs)
        os.close(ours)
    assert (tmp_path / "out").read_text() == f"x\n{'-' * 99}\n{'x' * 99}\n"


def test_a_statement_that_is_not_utf8_is_told_of(log_dir: Path) -> None:
    """From the command line, from stdin, and if there is no stdin."""
    words = [*COMMAND, "--log-dir", str(log_dir)]
    for args, data in (([b"SELECT '\xff'"], None), (["-"], b"SELECT '\xff'")):
        done = subprocess.run(
            [*words, *args],
            input=data,
            capture_output=True,
            check=False,
            timeout=SECONDS,
        )
        assert done.returncode == 1
        assert b"not UTF-8" in done.stderr
        assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_s5_whoever_ends_it_nothing_is_left(
    log_dir: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """Of a copy of the log, while DuckDB computes and while rows are written."""
    place = tmp_path / "tmp"
    for statement in (
        "SELECT max(a.range * b.range) FROM range(1000000) a, range(1000000) b",
        "FROM range(1000000000000)",
    ):
        place.mkdir(exist_ok=True)
        read, write = os.pipe()
        process = subprocess.Popen(
            [
                *(*COMMAND, "--log-dir", str(log_dir), "-o", str(tmp_path / "out.csv")),
                *("--format", "csv", f"FROM errors; {statement}"),
            ],
            env={**os.environ, "TMPDIR": str(place)},
            stderr=write,
        )
        os.close(write)
        try:
            # The malformed line of the log is told of when all is set up.
            assert os.read(read, 7) == b"Skipped"
            process.send_signal(number)
            assert process.wait(SECONDS) == 1
        finally:
            process.kill()
            process.wait()
            with open(read, "rb") as stderr:
                told = stderr.read()
        assert told.endswith(b"Aborted!\n")
        assert b"Traceback" not in told
        assert list(place.iterdir()) == []
        assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_temporary_directory_that_is_full_is_told_of(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In DuckDB's words."""

    def fail(*_: object) -> None:
        raise duckdb.IOException("IO Error: No space left on device")

    monkeypatch.setattr(duckdb, "connect", fail)
    result = run("--log-dir", log_dir, "SELECT 1")
    assert result.exit_code == 1
    assert "No space left on device" in result.stderr
