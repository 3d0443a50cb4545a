"""``tokenpak telemetry tail``: what is shown, and how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.queue.test_recovery import make_orphan
from tests.read.log_making import DAY, as_lines, make_record, make_records, write_log
from tokenpak.cli import main

COMMAND = [sys.executable, "-m", "tokenpak", "telemetry", "tail"]
SECONDS = 60.0


def run(*args: str | Path, env: dict[str, str] | None = None) -> Result:
    words = ["telemetry", "tail", *map(str, args)]
    return CliRunner().invoke(main, words, env=env, prog_name="tokenpak")


def shown(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return [line.split()[2] for line in result.stdout.splitlines()]


@pytest.fixture
def log_dir(tmp_path: Path) -> Path:
    """Twenty errors and an event."""
    write_log(tmp_path / "logs", as_lines(make_records(20)))
    event: dict[str, Any] = {
        "timestamp": f"{DAY}T18:00:00.000000Z",
        "request_id": "req-e",
    }
    event |= {"event": "done", "context": {"model": "m", "n": 1}}
    write_log(tmp_path / "logs", as_lines([event]), stream="events")
    return tmp_path / "logs"


@contextlib.contextmanager
def following(*args: str | Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, "-f", *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], SECONDS)[0]
    return process.stdout.readline()


def test_the_last_ten_are_shown_a_line_each(log_dir: Path) -> None:
    """Time, type, request id, provider and model, message."""
    result = run("--log-dir", log_dir)
    assert shown(result) == [f"req-{n}" for n in range(10, 20)]
    assert result.stdout.splitlines()[-1] == (
        f"{DAY}T17:35:22.000Z ValueError req-19 openai/gpt-4 "
        'said "no":\\n{"timestamp": "of what?"}'
    )
    assert result.stderr == ""


def test_how_many_and_which_can_be_chosen(log_dir: Path) -> None:
    """By number, stream and filter."""
    assert shown(run("--log-dir", log_dir, "-n", "2")) == ["req-18", "req-19"]
    assert shown(run("--log-dir", log_dir, "-n", "0")) == []
    assert shown(run("--log-dir", log_dir, "--provider", "anthropic")) == []
    result = run("--log-dir", log_dir, "--stream", "events")
    assert result.stdout == (f'{DAY}T18:00:00.000Z done req-e m {{"n":1}}\n')


def test_two_streams_come_in_time_order(log_dir: Path) -> None:
    """The last of both together."""
    event = {"timestamp": f"{DAY}T17:35:22.000018Z", "request_id": "between"}
    event |= {"event": "retry"}
    write_log(log_dir, as_lines([event]), stream="events")
    result = run("--log-dir", log_dir, "--stream", "all", "-n", "3")
    assert shown(result) == ["req-18", "between", "req-19"]


def test_last_is_another_word_for_lines_and_limit_is_none(log_dir: Path) -> None:
    """The options that choose records have both."""
    assert shown(run("--log-dir", log_dir, "--last", "1")) == ["req-19"]
    assert run("--log-dir", log_dir, "--limit", "1").exit_code == 2


def test_full_has_the_stack_and_the_context(log_dir: Path) -> None:
    """Values of several lines are indented, and nothing is cut."""
    result = run("--log-dir", log_dir, "-n", "1", "--full")
    assert result.stdout == (
        f"{DAY}T17:35:22.000019Z ValueError req-19\n"
        "  message:\n"
        '    said "no":\n'
        '    {"timestamp": "of what?"}\n'
        "  model: gpt-4\n"
        "  provider: openai\n"
        "  stack_trace:\n"
        "    Traceback (most recent call last):\n"
        "      ...\\u2028\n"
        "\n"
    )


def test_json_lines_are_those_of_the_log(log_dir: Path) -> None:
    """For pipes."""
    result = run("--log-dir", log_dir, "-n", "1", "--format", "jsonl")
    (line, rest) = result.stdout.split("\n")  # U+2028 in it ends no line
    assert (json.loads(line), rest) == (make_record(19), "")


def test_r1_damage_is_told_of_on_stderr(log_dir: Path) -> None:
    """And the output stays clean."""
    with (log_dir / f"errors-{DAY}.jsonl").open("ab") as file:
        file.write(b"garbage\n" + as_lines([make_record(20)]))
    result = run("--log-dir", log_dir, "-n", "2")
    assert shown(result) == ["req-19", "req-20"]
    assert result.stderr.startswith(f"Skipped: {log_dir}/errors-{DAY}.jsonl, byte ")


def test_what_a_dead_process_has_accepted_is_shown(log_dir: Path) -> None:
    """It is appended first."""
    spool, _ = make_orphan(log_dir, [as_lines([make_record(20)])])
    spool.release()
    assert shown(run("--log-dir", log_dir, "-n", "1")) == ["req-20"]


def test_colours_are_for_terminals_unless_one_says_otherwise(log_dir: Path) -> None:
    """``--color always`` is stronger than NO_COLOR."""
    args = ("--log-dir", log_dir, "-n", "1")
    assert "\x1b" not in run(*args).stdout
    colored = run(*args, "--color", "always", env={"NO_COLOR": "1"}).stdout
    assert "\x1b[1;31mValueError\x1b[0m" in colored
    assert run(*args, "--color", "never").stdout == run(*args).stdout


@pytest.mark.parametrize(
    ("variables", "has_color"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_on_a_terminal_lines_are_coloured_and_cut_to_its_width(
    log_dir: Path, variables: dict[str, str], has_color: bool
) -> None:
    """80 columns, whatever the message holds."""
    record = make_record(30, message="\u4e8c\u91cd\x1b[2J" * 40)
    with (log_dir / f"errors-{DAY}.jsonl").open("ab") as file:
        file.write(as_lines([record]))
    ours, theirs = pty.openpty()
    env = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "COLUMNS"}}
    subprocess.run(
        [*COMMAND, "--log-dir", log_dir, "-n", "1"],
        stdout=theirs,
        env=env | {"TERM": "xterm", "COLUMNS": "80", "PYTHONUTF8": "1"} | variables,
        check=True,
        timeout=SECONDS,
    )
    os.close(theirs)
    text = b""
    with contextlib.suppress(OSError):  # the other end is closed: how Linux says so
        while part := os.read(ours, 10_000):  # it comes in pieces
            text += part
    os.close(ours)
    line = text.decode()

    assert ("\x1b[1;31m" in line) is has_color
    assert "\x1b[2J" not in line
    assert line.rstrip("\r\n").endswith("\u2026")


def test_follow_shows_what_comes_until_ctrl_c(log_dir: Path) -> None:
    """And ends quietly, with status 0."""
    with following("--log-dir", log_dir, "-n", "1") as process:
        assert "req-19" in read_line(process)
        write_log(log_dir, as_lines([make_record(50, "2026-03-25")]), "2026-03-25")
        assert "req-50" in read_line(process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=SECONDS)

        assert (process.returncode, out, err) == (0, "", "")


STOPPING = """
import os, signal, sys
from tokenpak.telemetry.error_logger import ErrorLogger
logger = ErrorLogger(log_dir=sys.argv[1], linger=0.5)
logger.log_error("stopped", ValueError("it waits in its spool"))
os.kill(os.getpid(), signal.SIGSTOP)
logger.flush(30)
logger.log_error("going on", ValueError("and is not shown again"))
logger.close(30)
"""


def test_q1_a_record_of_a_process_that_is_stopped_is_shown_once(log_dir: Path) -> None:
    """From its spool; then the process goes on, and appends it."""
    with following("--log-dir", log_dir, "-n", "1") as process:
        assert "req-19" in read_line(process)
        child = subprocess.Popen([sys.executable, "-c", STOPPING, str(log_dir)])
        try:
            os.waitid(os.P_PID, child.pid, os.WSTOPPED)
            assert " stopped " in read_line(process)
            child.send_signal(signal.SIGCONT)
            assert child.wait(SECONDS) == 0
            assert "going on" in read_line(process)
        finally:
            child.kill()
            child.wait()


def test_follow_ends_with_the_reader_of_the_pipe(log_dir: Path) -> None:
    """Also when nothing comes any more."""
    with following("--log-dir", log_dir, "-n", "1") as process:
        assert "req-19" in read_line(process)
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(SECONDS) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_head_gets_what_it_wants_and_it_ends_quietly(log_dir: Path) -> None:
    """A closed pipe is no error."""
    records = [make_record(n, message="x" * 500) for n in range(5000)]
    write_log(log_dir, as_lines(records), "2026-03-26")
    command = " ".join([*COMMAND, "--log-dir", str(log_dir), "-n", "5000"])
    done = subprocess.run(
        ["bash", "-c", f"{command} | head -n 1; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1


def test_a_directory_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    """With what to try."""
    result = run("--log-dir", tmp_path / "no")
    assert result.exit_code == 1
    assert "does not exist" in result.stderr


def test_wrong_usage_is_status_2(log_dir: Path) -> None:
    """A negative number, an unknown format."""
    assert run("--log-dir", log_dir, "-n", "-1").exit_code == 2
    assert run("--log-dir", log_dir, "--format", "xml").exit_code == 2
    assert run("--log-dir", log_dir, "--since", "2026-13-01").exit_code == 2


@pytest.mark.parametrize(
    "args", [["tail"], ["tail", "-f"], ["show", "req-1"], ["sql", "SELECT 1"]]
)
def test_a_closed_stdout_is_told_of(log_dir: Path, args: list[str]) -> None:
    """As of a service that has none; no traceback, and no endless following."""
    words = [*COMMAND[:-1], args[0], "--log-dir", str(log_dir), *args[1:]]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *words],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert done.returncode == 1
    assert done.stderr == "Error: The output cannot be written: stdout is closed.\n"


def test_names_of_files_are_not_sent_to_the_terminal(log_dir: Path) -> None:
    """A spool of a shared directory has the name that another user has given it."""
    folder = log_dir / "spool"
    folder.mkdir()
    (folder / "\x1b]0;x\x07\u202e.spool").write_bytes(b"x")
    for command in (["tail"], ["show", "req-1"]):
        words = ["telemetry", *command, "--log-dir", str(log_dir)]
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0
        assert "\\x1b]0;x\\x07\\u202e.spool" in result.stderr
        assert "\x1b" not in result.stderr
