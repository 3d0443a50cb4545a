"""The format file that is shipped is read by lnav itself."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.read.log_making import DAY, as_lines, make_record, write_log
from tokenpak.cli import main

LNAV = shutil.which("lnav")
needs_lnav = pytest.mark.skipif(LNAV is None, reason="lnav is not installed")
SECONDS = 60


def shipped() -> str:
    result = CliRunner().invoke(main, ["telemetry", "lnav"], prog_name="tokenpak")
    assert result.exit_code == 0
    return result.stdout


def run(home: Path, *args: str | Path) -> str:
    assert LNAV is not None
    done = subprocess.run(
        [LNAV, *map(str, args)],
        env={"HOME": str(home), "TERM": "dumb", "TZ": "UTC", "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
    )
    return done.stdout


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where the format is installed."""
    path = tmp_path / "home"
    (path / ".lnav").mkdir(parents=True)
    (tmp_path / "tokenpak.json").write_text(shipped())
    run(path, "-i", tmp_path / "tokenpak.json")
    return path


@needs_lnav
def test_lnav_shows_active_and_archived_files_in_one_timeline(
    home: Path, tmp_path: Path
) -> None:
    """With level, request id, context and message where lnav expects them."""
    logs = tmp_path / "logs"
    context = {"provider": "anthropic", "model": "m", "duration_ms": 1.5}
    archived = [make_record(1, "2026-03-23", context=context, message="first")]
    write_log(logs, as_lines(archived), "2026-03-23", archived=True, compressed=True)
    write_log(logs, as_lines([make_record(2, message="second")]), DAY)
    event = {"timestamp": f"{DAY}T18:00:00.000000Z", "request_id": "e"}
    write_log(
        logs, as_lines([event | {"event": "done", "context": {}}]), stream="events"
    )
    text = run(
        *(home, "-n", "-c"),
        ";SELECT log_time, log_level, error_type, event, request_id, "
        '"context/provider" AS provider, "context/duration_ms" AS ms, log_body '
        "FROM tokenpak_log",
        *("-c", ":write-csv-to -"),
        *(logs / f"errors-{DAY}.jsonl", logs / f"events-{DAY}.jsonl"),
        logs / "archive" / "errors-2026-03-23.jsonl.gz",
    )
    rows = list(csv.DictReader(io.StringIO(text)))

    assert [row["request_id"] for row in rows] == ["req-1", "req-2", "e"]
    assert [row["log_level"] for row in rows[:2]] == ["error", "error"]
    assert rows[2]["log_level"] != "error"
    assert rows[2]["event"] == "done"
    assert (rows[0]["provider"], rows[0]["ms"]) == ("anthropic", "1.5")
    assert rows[0]["log_time"].startswith("2026-03-23 17:35:22.000")
    assert [row["log_body"] for row in rows[:2]] == ["first", "second"]


@needs_lnav
def test_lnav_finds_nothing_to_complain_of(home: Path) -> None:
    """In the format file: its own check of it."""
    assert "error" not in run(home, "-C").lower()


def test_the_files_that_lnav_takes_are_the_logs() -> None:
    """By their names, and no others."""
    pattern = json.loads(shipped())["tokenpak_log"]["file-pattern"]
    for name in (
        *("errors-2026-03-24.jsonl", "/logs/events-2026-03-24.jsonl"),
        *("archive/errors-2026-03-24.jsonl.gz", "errors-2026-03-24.2.jsonl.gz"),
    ):
        assert re.search(pattern, name), name
    assert not re.search(pattern, "errors-2026-03-24.jsonl.tmp")
