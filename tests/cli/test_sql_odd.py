"""``tokenpak telemetry sql``: odd records and statements, odd places, and its end."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.cli.test_sql_command import log_dir, run
from tests.read.log_making import as_lines, make_record, write_log
from tokenpak.cli import main
from tokenpak.telemetry.read.sql import SqlError, SqlSession

__all__ = ["log_dir"]  # a fixture, which pytest finds by its name

COMMAND = [sys.executable, "-m", "tokenpak", "telemetry", "sql"]
SECONDS = 60.0

duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")


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


@pytest.mark.parametrize("raw", [[], ["--raw"]])
def test_s5_cells_of_csv_are_as_harmless_as_those_of_an_export(
    tmp_path: Path, raw: list[str]
) -> None:
    """The same bytes; and the name of a column may be somebody's, too."""
    messages = [
        "=1+1",
        "+x",
        "-2",
        "@SUM(A1)",
        "\t=1",
        'a "b"',
        "",
        "a\r\nb",
        "\uff1d1",
    ]
    records = [make_record(n, message=each) for n, each in enumerate(messages)]
    write_log(tmp_path, as_lines(records))
    args = ("--log-dir", str(tmp_path), "--format", "csv", *raw)
    words = ["telemetry", "export", *args, "--fields", "request_id,message"]
    exported = CliRunner().invoke(main, words).stdout_bytes
    found = run(*args, "SELECT request_id, message FROM errors ORDER BY timestamp")
    named = run(*args, "SELECT 1 AS \"=x\", -1.5 AS y, '-1;2' AS z")

    assert found.stdout_bytes == exported
    assert (b"'=1+1" in exported) is (not raw)
    mark = "" if raw else "'"
    assert named.stdout_bytes == f"{mark}=x,y,z\r\n1,-1.5,{mark}-1;2\r\n".encode()


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
        with open(read, "rb") as stderr:
            try:
                # The malformed line of the log is told of when all is set up.
                told = stderr.read(7)
                process.send_signal(number)
                status = process.wait(SECONDS)
            finally:
                process.kill()
                process.wait()
            told += stderr.read()
        assert told.startswith(b"Skipped")
        assert status == (1 if number == signal.SIGINT else 128 + number), told
        assert told.endswith(b"Aborted!\n") == (number == signal.SIGINT)
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
