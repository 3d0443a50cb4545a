"""What a log holds does not act on the terminal that it is printed to, in any form."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

from tests.read.log_making import DAY, as_lines, make_record, write_log

if TYPE_CHECKING:
    from pathlib import Path

pty = pytest.importorskip("pty", reason="needs terminals")

HOSTILE: Final = "a\x1b[2J\x7f\x9b31m\u202eb\r\x00\U000e0041 é"
UNSAFE: Final = [*"\x1b\x7f\x9b\u202e\x00\U000e0041"]


@pytest.fixture
def log_dir(tmp_path: Path) -> Path:
    record = make_record(1)
    record |= {"message": HOSTILE, "error_type": HOSTILE, "context": {"k": HOSTILE}}
    write_log(tmp_path, as_lines([record]))
    return tmp_path


def command(log_dir: Path, *words: str) -> list[str]:
    place = ["--log-dir", str(log_dir)]
    return [sys.executable, "-m", "tokenpak", "telemetry", *words, *place]


def on_terminal(log_dir: Path, *words: str) -> tuple[int, str]:
    """Return the status of a command and what it has sent to its terminal."""
    leader, follower = pty.openpty()
    with subprocess.Popen(
        command(log_dir, *words),
        stdout=follower,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    ) as process:
        os.close(follower)
        parts = []
        try:
            while part := os.read(leader, 65_536):
                parts.append(part)
        except OSError:  # Linux: nobody has the other side open any more
            pass
        os.close(leader)
    return process.returncode, b"".join(parts).decode()


@pytest.mark.parametrize(
    "words",
    [
        ("export", "--format", "json"),
        ("export", "--format", "jsonl"),
        ("export", "--format", "csv"),
        ("export", "--format", "csv", "--fields", "message,context.k"),
        ("show", "req-1", "--format", "jsonl"),
        ("tail", "--format", "jsonl"),
        ("tail", "--full", "--color", "never"),
        ("report", "--since", DAY, "--until", DAY, "--format", "json"),
        ("metrics",),
    ],
    ids=" ".join,
)
def test_nothing_of_a_message_acts_on_the_terminal(
    log_dir: Path, words: tuple[str, ...]
) -> None:
    """Controls and marks of direction are shown; letters of any language stay."""
    status, shown = on_terminal(log_dir, *words)

    assert status == 0
    assert [char for char in UNSAFE if char in shown] == []
    # Of each newline the terminal itself makes two characters.
    assert "\r" not in shown.replace("\r\r\n", "").replace("\r\n", "")
    assert "é" in shown


@pytest.mark.parametrize("form", ["csv", "json", "jsonl"])
def test_nothing_of_an_answer_of_sql_acts_on_the_terminal(
    log_dir: Path, form: str
) -> None:
    """The names of its columns do not either."""
    pytest.importorskip("duckdb")
    statement = 'SELECT message AS "m\x9b" FROM errors'

    status, shown = on_terminal(log_dir, "sql", statement, "--format", form)

    assert status == 0
    assert [char for char in UNSAFE if char in shown] == []


def test_json_on_a_terminal_means_what_it_means_in_a_pipe(log_dir: Path) -> None:
    """The escapes are those of JSON."""
    _, shown = on_terminal(log_dir, "export", "--format", "jsonl")

    assert json.loads(shown)["message"] == HOSTILE


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_a_pipe_gets_the_data_as_it_is(log_dir: Path, form: str) -> None:
    """A program reads it."""
    words = ("export", "--format", form)

    piped = subprocess.run(command(log_dir, *words), check=True, capture_output=True)

    assert "\x7f\x9b31m\u202eb" in piped.stdout.decode()


def test_a_table_in_binary_is_not_sent_to_a_terminal(log_dir: Path) -> None:
    """As sql says it, and curl."""
    status, shown = on_terminal(log_dir, "export", "--format", "parquet")

    assert (status, shown) == (2, "")
