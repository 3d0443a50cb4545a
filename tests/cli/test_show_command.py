"""``tokenpak telemetry show``: all of one request, and of no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.queue.test_recovery import make_orphan
from tests.read.log_making import as_lines, make_record, write_log
from tokenpak.cli import main


def run(*args: str | Path) -> Result:
    words = ["telemetry", "show", *map(str, args)]
    return CliRunner().invoke(main, words, prog_name="tokenpak")


@pytest.fixture
def log_dir(tmp_path: Path) -> Path:
    """Errors of two days, one archived, and events between them."""
    first, second = "2026-03-24", "2026-03-25"
    mine = {"request_id": "mine"}
    write_log(
        tmp_path,
        as_lines([make_record(1, first), make_record(2, first, **mine)]),
        first,
        archived=True,
        compressed=True,
    )
    write_log(tmp_path, as_lines([make_record(5, second, **mine)]), second)
    event: dict[str, Any] = {"timestamp": f"{first}T17:35:22.000003Z", **mine}
    event |= {"event": "retry", "context": {"try": 2}}
    write_log(tmp_path, as_lines([event]), first, stream="events")
    return tmp_path


def test_errors_and_events_of_all_days_come_in_time_order(log_dir: Path) -> None:
    """In full; and those of other requests do not."""
    result = run("mine", "--log-dir", log_dir)
    assert result.exit_code == 0, result.output
    heads = [line for line in result.stdout.split("\n") if line[:1] == "2"]
    assert heads == [
        "2026-03-24T17:35:22.000002Z ValueError mine",
        "2026-03-24T17:35:22.000003Z retry mine",
        "2026-03-25T17:35:22.000005Z ValueError mine",
    ]
    assert "  try: 2\n" in result.stdout
    assert "    Traceback (most recent call last):\n" in result.stdout


def test_days_can_be_chosen_and_json_be_had(log_dir: Path) -> None:
    """A line is a record as it was logged."""
    result = run(
        *("mine", "--log-dir", log_dir, "--since", "2026-03-25"),
        *("--format", "jsonl"),
    )
    line, rest = result.stdout.split("\n")
    assert rest == ""
    assert json.loads(line)["timestamp"] == "2026-03-25T17:35:22.000005Z"


def test_what_a_dead_process_has_accepted_is_shown(log_dir: Path) -> None:
    """It is appended first."""
    spool, _ = make_orphan(log_dir, [as_lines([make_record(9, request_id="late")])])
    spool.release()
    assert "late" in run("late", "--log-dir", log_dir).stdout


def test_no_record_is_status_1_and_says_so(log_dir: Path) -> None:
    """The id is shown without what is hostile in it."""
    result = run("no\x1b[2J", "--log-dir", log_dir)
    assert result.exit_code == 1
    assert "no record of the request no\\x1b[2J" in result.stderr
    assert "in that time" in run("x", "--log-dir", log_dir, "--since", "2d").stderr


def test_r1_damage_is_told_of_on_stderr(log_dir: Path) -> None:
    """And all that is intact is shown."""
    with (log_dir / "errors-2026-03-25.jsonl").open("ab") as file:
        file.write(b'{"request_id":"mine" garbage\n')
    result = run("mine", "--log-dir", log_dir)
    assert result.exit_code == 0
    assert result.stderr.count("Skipped: ") == 1


def test_wrong_usage_is_status_2(log_dir: Path) -> None:
    """No id, a directory that is not there."""
    assert run("--log-dir", log_dir).exit_code == 2
    assert run("x", "--log-dir", log_dir / "no").exit_code == 1
