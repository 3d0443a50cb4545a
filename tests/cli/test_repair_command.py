"""``tokenpak telemetry repair``: messages and exit status."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.read.log_making import as_lines, make_record, make_records, write_log
from tokenpak.cli import main
from tokenpak.telemetry.read import copies


@pytest.fixture
def log_dir(tmp_path: Path) -> Path:
    """A day with a malformed line and a record of the next day, and a whole one."""
    folder = tmp_path / "logs"
    lines = as_lines(make_records(2)) + as_lines([make_record(2, "2026-03-25")])
    write_log(folder, b"junk\n" + lines)
    write_log(folder, as_lines([make_record(1, "2026-03-23")]), "2026-03-23")
    return folder


def run(*args: str | Path, command: str = "repair") -> Result:
    words = ["telemetry", command, *map(str, args)]
    return CliRunner().invoke(main, words, prog_name="tokenpak")


def test_what_was_done_is_told(log_dir: Path, tmp_path: Path) -> None:
    """And what was written passes a verification, and exports the same."""
    target = tmp_path / "clean"

    result = run("--log-dir", log_dir, "--output", target)
    verified = run("--log-dir", target, command="verify")
    exports = [
        json.loads(run("--log-dir", place, command="export").stdout)
        for place in (log_dir, target)
    ]

    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        f"2 files with 4 records copied to {target}; 1 was damaged.",
        f"1 malformed line in {target / 'quarantine.raw'}.",
        "1 record of other days moved to files of their own.",
    ]
    assert result.stderr == ""
    assert verified.stdout == "3 files read: 4 intact records, nothing else.\n"
    assert sorted(map(str, exports[0])) == sorted(map(str, exports[1]))


def test_a_log_without_damage_is_copied_and_status_0(tmp_path: Path) -> None:
    """There is no quarantine then."""
    write_log(tmp_path / "logs", as_lines(make_records(2)))
    target = tmp_path / "clean"

    result = run("--log-dir", tmp_path / "logs", "--output", target)

    assert result.exit_code == 0
    assert (
        result.stdout == f"1 file with 2 records copied to {target}; 0 were damaged.\n"
    )
    assert [path.name for path in target.iterdir()] == ["errors-2026-03-24.jsonl"]


def test_s5_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Five files, and how many more there are."""
    write_log(tmp_path / "logs", b"")
    for day in range(10, 18):
        link = tmp_path / "logs" / f"errors-2026-03-{day}.jsonl"
        link.symlink_to("errors-2026-03-24.jsonl")

    result = run("--log-dir", tmp_path / "logs", "--output", tmp_path / "clean")

    assert result.exit_code == 0
    assert result.stdout.count("Not read, or not to the end: ") == 5
    assert result.stdout.endswith("3 more files could not be read.\n")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (".", "expected a directory outside of"),
        ("clean", "expected a directory outside of"),
        ("..", "expected a directory that is empty"),
        ("errors-2026-03-24.jsonl", "expected a directory outside of"),
        ("../file", "expected a directory, or nothing yet"),
    ],
)
def test_an_output_that_cannot_be_is_a_usage_error(
    log_dir: Path, tmp_path: Path, place: str, words: str
) -> None:
    """Nothing is written."""
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.rglob("*"))

    result = run("--log-dir", log_dir, "--output", log_dir / place)

    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())
    assert sorted(tmp_path.rglob("*")) == before


def test_an_output_is_required(log_dir: Path) -> None:
    """There is no place that would be right for everybody."""
    result = run("--log-dir", log_dir)

    assert result.exit_code == 2
    assert "'--output'" in result.stderr


def test_x2_a_full_disk_says_what_is_there_and_what_to_do(
    log_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And which path it was."""
    target = tmp_path / "clean"

    def full(self: copies.OutputFile, _data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(copies.OutputFile, "write", full)

    result = run("--log-dir", log_dir, "--output", target)

    message = " ".join(result.stderr.split())
    assert result.exit_code == 1
    assert f"The repair failed: {target}: No space left on device." in message
    assert "make room" in message
    assert list(target.iterdir()) == []


def test_the_help_shows_examples_and_what_is_written() -> None:
    """Names of files, and the exit status."""
    result = run("--help")

    assert "\n    tokenpak telemetry repair --output repaired\n" in result.output
    assert "quarantine.index.jsonl" in result.output
    assert "Exit status: 0 copied" in result.output
