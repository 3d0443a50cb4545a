"""Odd files, odd records, closed streams: a sentence and a status, no traceback."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.read.log_making import DAY, as_lines, make_records, write_log
from tokenpak.cli import main

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes and descriptors")

SECONDS = 60.0
NINES = b"9" * 400
LINES = [
    b"\xff\xfe{}",
    b'{"message":"\\ud800","timestamp":"2026-03-29T00:00:00","context":{}}',
    b'{"a":1,"a":2,"message":"twice","context":{"x":NaN,"y":1e999,"z":' + NINES + b"}}",
    b'{"message":' + b"[" * 3000 + b"]" * 3000 + b"}",
    b'{"context":' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}",
    b"[]",
    b"null",
    b"\x00" * 100,
    b'{"timestamp":"2026-03-29T99:99:99Z","error_type":{"a":[1]},"message":null}',
    b'{"request_id":["a"],"stack_trace":5,"context":"c"}',
    b'{"timestamp":12345,"error_type":"\\u001b[31mred","message":"\\u0007 \\u202e"}',
    b'{"request_id":"\\u001b]0;x","context":{"\\u001b[2J":"\\r\\n"}}',
    b'{"timestamp":"9999-12-31T23:59:59.999999-14:00","context":{"duration_ms":1e308}}',
]
WINDOW = ["--since", "2026-03-01", "--until", "2026-03-31"]
COMMANDS = [
    ["export"],
    ["export", "--format", "jsonl", "--stream", "all", *WINDOW],
    ["tail", "-n", "100", "--full"],
    ["tail", "-n", "100", "--stream", "all"],
    ["show", "req-1"],
    ["report", *WINDOW],
    ["report", *WINDOW, "--format", "json"],
    ["report", *WINDOW, "--provider", "openai"],
    ["metrics"],
    ["verify"],
    ["verify", "--format", "json"],
    ["watch", "--once"],
    ["doctor"],
]


@pytest.fixture
def log_dir(tmp_path: Path) -> Path:
    place = tmp_path / "logs"
    write_log(place, as_lines(make_records(3)))
    write_log(place, b"\n".join(LINES), "2026-03-29")
    write_log(place, b"", "2026-03-27")
    write_log(place, b"\n", "2026-03-28")
    write_log(place, b"", "2026-03-20", archived=True, part=".1")
    for day, data in (("20", b""), ("19", b"\x1f\x8b"), ("18", b"no gzip")):
        (place / "archive" / f"errors-2026-03-{day}.jsonl.gz").write_bytes(data)
    os.mkfifo(place / "errors-2026-03-25.jsonl")
    os.mkfifo(place / "events-2026-03-25.jsonl")
    os.mkfifo(place / "archive" / "errors-2026-03-17.jsonl.gz")
    (place / "errors-2026-03-26.jsonl").mkdir()
    (place / "errors-2026-03-30.jsonl").symlink_to("/dev/zero")
    (place / "errors-2026-03-31.jsonl").symlink_to("errors-2026-03-31.jsonl")
    return place


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_r1_whatever_lies_there_what_is_intact_is_read(
    log_dir: Path, words: list[str]
) -> None:
    """And nothing of it acts on the terminal."""
    result = CliRunner().invoke(main, ["telemetry", *words, "--log-dir", str(log_dir)])

    assert isinstance(result.exception, SystemExit | None), result.exception
    assert result.exit_code in ({1} if words[0] in {"verify", "doctor"} else {0})
    assert "\x1b" not in result.output
    assert "\x07" not in result.output
    if words[0] in {"export", "tail", "show"}:
        assert "req-1" in result.stdout
        assert "Not read, or not to the end: " in result.stderr


def test_r1_sql_reads_it_too(log_dir: Path) -> None:
    """A row for each record that an export has."""
    pytest.importorskip("duckdb", reason="DuckDB is not installed")
    words = ["telemetry", "export", "--format", "jsonl", "--log-dir", str(log_dir)]
    exported = CliRunner().invoke(main, words).stdout_bytes.count(b"\n")
    words = ["telemetry", "sql", "--format", "jsonl", "--log-dir", str(log_dir)]
    result = CliRunner().invoke(main, [*words, "FROM errors"])

    assert result.exit_code == 0, result.output
    assert result.stdout_bytes.count(b"\n") == exported


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("name", ["export", "tail", "report", "metrics", "doctor"])
def test_streams_that_are_closed_make_no_traceback(
    tmp_path: Path, name: str, closed: str
) -> None:
    """By who starts the command, a service manager, say."""
    write_log(tmp_path, as_lines(make_records(3)), DAY)
    words = [sys.executable, "-m", "tokenpak", "telemetry", name]
    command = shlex.join([*words, "--log-dir", str(tmp_path)])
    done = subprocess.run(
        f"{command} {closed}",
        shell=True,
        capture_output=True,
        check=False,
        timeout=SECONDS,
    )
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    if name != "doctor":  # who says whether the machine is well, not whether it is told
        assert done.returncode == (0 if closed == "2>&-" else 1)
    if closed == ">&-" and name != "doctor":
        assert b"stdout is closed" in done.stderr
