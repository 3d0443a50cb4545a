"""What a command writes is written whole, or the command says that it is not."""

from __future__ import annotations

import fcntl
import os
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.read.log_making import DAY, as_lines, make_record, write_log
from tokenpak.cli import output
from tokenpak.cli.whole import whole_stdout
from tokenpak.telemetry.store.whole import WholeRaw

pytestmark = pytest.mark.skipif(os.name != "posix", reason="descriptors")

SECONDS = 60.0
WINDOW = ["--since", DAY, "--until", DAY]
COMMANDS = [
    ["tail", "-n", "400"],
    ["show", "same"],
    ["report", *WINDOW, "--format", "json"],
    ["export", "--format", "csv"],
    ["sql", "--format", "csv", "FROM errors"],
    ["metrics"],
    ["verify", "--all"],
]
UNBUFFERED = pytest.mark.parametrize("unbuffered", ["", "1"])
ANY = pytest.mark.parametrize("words", COMMANDS, ids=" ".join)


@pytest.fixture(scope="module")
def log_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some hundred records and types, of one request, and as many malformed lines."""
    place = tmp_path_factory.mktemp("log")
    records = [
        make_record(n, request_id="same", error_type=f"Error{n}", message="m" * 99)
        for n in range(400)
    ]
    write_log(place, as_lines(records) + b"torn\n" * 200)
    return place


def start(
    words: list[str], log_dir: Path, unbuffered: str, stdout: int, limit: int = 0
) -> subprocess.Popen[bytes]:
    def set_limit() -> None:
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.Popen(
        [sys.executable, "-m", "tokenpak", "telemetry", *words, "--log-dir", log_dir],
        stdout=stdout,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered, "COLUMNS": "100"},
        preexec_fn=set_limit,  # noqa: PLW1509  (no thread runs here)
    )


def everything(words: list[str], log_dir: Path) -> bytes:
    """Return what is written where there is room."""
    with start(words, log_dir, "", subprocess.PIPE) as process:
        return process.communicate(timeout=SECONDS)[0]


@UNBUFFERED
@ANY
def test_a_pipe_that_does_not_wait_gets_all(
    log_dir: Path, words: list[str], unbuffered: str
) -> None:
    """With room for a page, as one that a program with an event loop hands on."""
    expected = everything(words, log_dir)
    read, write = os.pipe()
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(write, False)
    process = start(words, log_dir, unbuffered, write)
    os.close(write)
    with open(read, "rb") as pipe:
        found = pipe.read()
    _, told = process.communicate(timeout=SECONDS)

    # A command that has only a page to say would prove nothing.
    assert len(expected) > 4096
    assert process.returncode == (1 if words[0] == "verify" else 0), told
    assert without_times(found) == without_times(expected)


def without_times(text: bytes) -> list[bytes]:
    """Return the lines of *text* but those that say how long it took, or when."""
    return [line for line in text.split(b"\n") if b"seconds" not in line]


@UNBUFFERED
@ANY
def test_an_output_that_was_cut_is_a_status_and_a_sentence(
    log_dir: Path, tmp_path: Path, words: list[str], unbuffered: str
) -> None:
    """By a disk that is full when a part is written: here by a limit of the size."""
    with (tmp_path / "out").open("wb") as out:
        process = start(words, log_dir, unbuffered, out.fileno(), limit=4096)
        _, told = process.communicate(timeout=SECONDS)

    assert process.returncode == 1
    assert b"File too large" in told
    assert b"Traceback" not in told
    assert b"Exception ignored" not in told


@pytest.mark.parametrize(
    ("words", "unbuffered"),
    [
        *((words, "") for words in COMMANDS if words[0] != "sql"),
        (["report", *WINDOW], ""),
        (["report", *WINDOW], "1"),
    ],
)
def test_a_reader_that_has_gone_is_no_error_and_no_traceback(
    log_dir: Path, words: list[str], unbuffered: str
) -> None:
    """``| head``; what it did not want it need not be told of."""
    read, write = os.pipe()
    os.close(read)
    process = start(words, log_dir, unbuffered, write)
    os.close(write)
    _, told = process.communicate(timeout=SECONDS)

    assert process.returncode == (1 if words[0] == "verify" else 0), told
    assert b"Traceback" not in told
    assert b"Exception ignored" not in told
    assert b"rror:" not in told


def test_what_is_taken_in_parts_is_written_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each write goes on where the last one ended."""
    read, write = os.pipe()
    real = os.write
    with open(read, "rb") as pipe, open(write, "wb", buffering=0) as raw:
        monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=raw))
        out = output.stdout_bytes()
        monkeypatch.undo()
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda fd, data: real(fd, data[:3]))

            assert out.write(b"12345678") == 8

        assert pipe.read(8) == b"12345678"


def test_a_stream_of_a_program_that_calls_a_command_is_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Put back at the end, with all that was printed in it, and not closed."""
    with (tmp_path / "out").open("w") as own:
        monkeypatch.setattr("sys.stdout", own)
        print("before", end=" ")
        with whole_stdout():
            assert sys.stdout is not own
            buffer: Any = sys.stdout.buffer
            assert isinstance(buffer.raw, WholeRaw)
            print("within", end=" ")
        assert sys.stdout is own
        print("after")
        monkeypatch.undo()
    assert (tmp_path / "out").read_text() == "before within after\n"


def test_who_keeps_the_stream_of_a_command_goes_on_writing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A handler of logging, say, or another thread: nothing of theirs is lost."""
    with (tmp_path / "out").open("w") as own:
        monkeypatch.setattr("sys.stdout", own)
        with whole_stdout():
            kept = sys.stdout
        print("later", file=kept, flush=True)
        monkeypatch.undo()

    assert (tmp_path / "out").read_text() == "later\n"
