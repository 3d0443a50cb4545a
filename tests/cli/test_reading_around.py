"""R1: a process that is stopped with a lock in its hand does not hold up who reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.metrics.logs import pipeline
from tests.queue.test_recovery import make_orphan
from tests.read.log_making import DAY, as_lines, make_record, write_log
from tokenpak.cli import main, reading
from tokenpak.telemetry.queue.recovery import recover
from tokenpak.telemetry.store import meters
from tokenpak.telemetry.store.dayfiles import DayFiles
from tokenpak.telemetry.store.files import OsFiles


@pytest.fixture
def log_dir(tmp_path: Path) -> Iterator[Path]:
    """A record in the log, one in a dead process's spool, and a lock that is held."""
    write_log(tmp_path, as_lines([make_record(1)]))
    spool, _ = make_orphan(tmp_path, [as_lines([make_record(2)])])
    spool.release()
    holder = DayFiles(OsFiles(), str(tmp_path))
    with holder.locked("errors", DAY):
        yield tmp_path
    holder.close()


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["telemetry", *map(str, words)])


@pytest.mark.parametrize(
    "words",
    [
        ["tail", "--format", "jsonl"],
        ["export", "--format", "jsonl"],
        ["sql", "--format", "jsonl", "SELECT request_id FROM errors"],
        ["show", "req-2", "--format", "jsonl"],
        ["report", "--since", DAY, "--until", DAY, "--format", "json"],
    ],
)
def test_r1_what_cannot_be_appended_is_read_where_it_lies(
    log_dir: Path, words: list[str]
) -> None:
    """Once, and stderr says that it is not in the log, and of whose spool it is."""
    result = run(*words, "--log-dir", log_dir)

    assert result.exit_code == 0, result.output
    if words[0] == "report":
        assert json.loads(result.stdout)["total"]["now"] == 2
    else:
        found = [
            json.loads(line)["request_id"] for line in result.stdout_bytes.splitlines()
        ]
        assert sorted(found) == ["req-1", "req-2"][words[0] == "show" :]
    assert result.stderr.startswith("Not appended yet, and read from where it waits: ")
    assert str(log_dir / "spool") in result.stderr
    assert reading.PATIENCE < 1


def test_metrics_do_not_wait_either(log_dir: Path) -> None:
    """They count what is in the log, and say that something is left."""
    result = run("metrics", "--log-dir", log_dir)

    assert result.exit_code == 0, result.output
    assert "tokenpak_telemetry_orphans" in result.stdout


@pytest.mark.parametrize("command", ["export", "metrics", "archive"])
def test_m1_counters_that_a_command_cannot_save_are_left_to_others(
    tmp_path: Path, command: str
) -> None:
    """It may only lack a right, and it has no counter of its own to tell by."""
    spool, _ = make_orphan(tmp_path, [as_lines([make_record(1)])])
    spool.release()
    (tmp_path / "metrics").write_text("no directory")

    for _ in range(2):
        assert run(command, "--log-dir", tmp_path).exit_code == 0
    left = list((tmp_path / "spool").iterdir())
    (tmp_path / "metrics").unlink()
    found = recover(str(tmp_path))

    assert len(left) == 1
    assert (found.spools, found.records, found.unsaved) == (1, 0, 0)
    assert pipeline(tmp_path).by_label(meters.RECOVERED)[(meters.RECORDS,)] == 1
