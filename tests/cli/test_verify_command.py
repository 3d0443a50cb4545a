"""``tokenpak telemetry verify``: output, bounds and exit status."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.queue.test_recovery import make_orphan
from tests.read.log_making import as_lines, make_record, make_records, write_log
from tokenpak.cli import main, output

DAY = "2026-03-24"


@pytest.fixture
def log_dir(tmp_path: Path) -> Path:
    """Two days of errors, private as the logger makes them."""
    folder = tmp_path / "logs"
    for day in ("2026-03-23", DAY):
        write_log(folder, as_lines([make_record(1, day), make_record(2, day)]), day)
    make_private(folder)
    return folder


def make_private(folder: Path) -> None:
    folder.chmod(0o700)
    for path in folder.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)


def run(*args: str | Path) -> Result:
    words = ["telemetry", "verify", *map(str, args)]
    return CliRunner().invoke(main, words, prog_name="tokenpak")


def test_an_intact_log_is_one_line_and_status_0(log_dir: Path) -> None:
    """What was read, so that nobody wonders whether anything was."""
    result = run("--log-dir", log_dir)

    assert result.exit_code == 0, result.output
    assert result.stdout == "2 files read: 4 intact records, nothing else.\n"
    assert result.stderr == ""


def test_r1_damage_is_a_line_each_and_status_1(log_dir: Path) -> None:
    """With file, offset, length and reason."""
    path = log_dir / f"errors-{DAY}.jsonl"
    whole = path.read_bytes()
    path.write_bytes(b"[1]\n" + whole + as_lines([make_record(3, "2026-03-25")]))

    result = run("--log-dir", log_dir)

    size = len(as_lines([make_record(3, "2026-03-25")])) - 1
    place = f"{path}, byte {4 + len(whole):,}, length {size}"
    assert result.exit_code == 1
    assert result.stdout == (
        f"malformed: {path}, byte 0, length 3: JSON, but not an object: list\n"
        f"misplaced: {place}: a record of 2026-03-25, in the file of {DAY}\n"
        "2 files read: 5 intact records, 1 malformed line, 1 record in the file of "
        "another day.\n"
    )


def test_what_is_no_damage_is_told_and_status_0(log_dir: Path) -> None:
    """Spools that wait, files that do not belong, and what others may read."""
    make_orphan(log_dir, as_lines(make_records(2)).splitlines(keepends=True))[
        0
    ].release()
    (log_dir / "notes.txt").write_text("")
    (log_dir / f"errors-{DAY}.jsonl").chmod(0o644)

    result = run("--log-dir", log_dir)

    kinds = [line.split(":")[0] for line in result.stdout.splitlines()[:-1]]
    assert result.exit_code == 0
    assert kinds == ["pending", "exposed", "stray"]
    assert "2 records of errors of process" in result.stdout


def test_what_is_printed_is_bounded(log_dir: Path) -> None:
    """Ten of a kind in a file, a hundred in all, unless all are asked for."""
    for number in range(10, 30):
        write_log(log_dir, b"x\n" * 20, f"2026-02-{number - 1:02}")
    make_private(log_dir)

    some = run("--log-dir", log_dir)
    everything = run("--log-dir", log_dir, "--all")

    assert some.exit_code == everything.exit_code == 1
    assert some.stdout.count("malformed: ") == 100 + 1
    assert "malformed: 300 more are not shown; --all shows them\n" in some.stdout
    assert some.stdout.endswith("400 malformed lines.\n")
    assert everything.stdout.count("malformed: ") == 400
    assert "more are not shown" not in everything.stdout


def test_json_is_one_object(log_dir: Path) -> None:
    """With the same findings, and counts that are exact also if not all are shown."""
    path = log_dir / f"errors-{DAY}.jsonl"
    path.write_bytes(b"x\n" * 12 + path.read_bytes())
    (log_dir / b"notes-\xff".decode("utf-8", "surrogateescape")).write_text("")

    result = run("--log-dir", log_dir, "--format", "json")

    told = json.loads(result.stdout)
    assert result.exit_code == 1
    assert told["findings"][0] == {
        "kind": "malformed",
        "file": str(path),
        "offset": 0,
        "length": 1,
        "reason": "not JSON at byte 0 of the line: expecting value",
        "damage": True,
    }
    assert len(told["findings"]) == 10 + 1
    assert (told["files"], told["records"], told["pending"]) == (2, 4, 0)
    assert (told["damaged"], told["not_shown"]) == (True, 2)
    assert told["counts"]["malformed"] == 12
    assert told["counts"]["stray"] == 1


def test_json_of_an_intact_log_is_one_object_too(log_dir: Path) -> None:
    """With no finding in it."""
    result = run("--log-dir", log_dir, "--format", "json")

    assert result.exit_code == 0
    assert json.loads(result.stdout)["findings"] == []


def test_a_name_that_is_not_utf_8_can_be_printed(log_dir: Path) -> None:
    """Whatever the terminal takes."""
    (log_dir / b"notes-\xff".decode("utf-8", "surrogateescape")).write_text("")

    result = run("--log-dir", log_dir)

    assert result.exit_code == 0
    assert "stray: " in result.stdout
    assert "notes-\\udcff" in result.stdout


def test_a_directory_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    """That it is not there, or that its archive is no directory."""
    missing = run("--log-dir", tmp_path / "nowhere")
    (tmp_path / "archive").write_text("")
    broken = run("--log-dir", tmp_path)

    assert missing.exit_code == broken.exit_code == 1
    assert "does not exist" in missing.stderr
    assert f"unreadable: {tmp_path / 'archive'}" in broken.stdout
    assert "Not a directory" in broken.stdout


def test_a_closed_pipe_ends_quietly(log_dir: Path) -> None:
    """``| head``: no traceback, and no complaint about the log."""
    write_log(log_dir, b"x\n" * 100_000, "2026-03-22")
    command = [sys.executable, "-m", "tokenpak", "telemetry", "verify", "--all"]

    with subprocess.Popen(
        [*command, "--log-dir", str(log_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        process.stdout.close()
        complaint = process.stderr.read()

    assert first.startswith(b"malformed: ")
    assert complaint == b""


def test_wrong_usage_is_status_2(log_dir: Path) -> None:
    """So that a script can tell it from damage."""
    assert run("--log-dir", log_dir, "--format", "xml").exit_code == 2
    assert run("--since", "2026-03-24").exit_code == 2


@pytest.mark.parametrize("command", ["verify", "repair"])
def test_a_large_log_shows_its_progress_on_a_terminal(
    log_dir: Path, tmp_path: Path, command: str
) -> None:
    """And nothing of it goes to stdout."""
    code = (
        "from tokenpak.cli import main, output\n"
        "output.LARGE = 0\n"
        f"main(['telemetry', '{command}', '--log-dir', {str(log_dir)!r}"
        + (f", '--output', {str(tmp_path / 'clean')!r}" if command == "repair" else "")
        + "])\n"
    )
    terminal, inside = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=inside,
            check=True,
        )
        shown = b""
        while b"100%" not in shown:  # it comes in pieces
            shown += os.read(terminal, 100_000)
    finally:
        os.close(terminal)
        os.close(inside)

    assert b"100%" in shown
    assert b"%" not in done.stdout
    assert done.stdout.count(b"\n") == 1


def test_a_small_log_shows_no_progress() -> None:
    """It would be over before it is seen."""
    assert output.LARGE > 1024 * 1024


def test_the_help_shows_examples() -> None:
    """And the exit status."""
    result = run("--help")

    assert "\n    tokenpak telemetry verify --log-dir /var/log/app" in result.output
    assert "Exit status: 0 no damage; 1 damage" in result.output
