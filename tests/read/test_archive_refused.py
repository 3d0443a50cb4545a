"""R1: an archive that cannot be listed costs what is in it, and nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.read.log_making import as_lines, make_record, write_log
from tokenpak.cli import main
from tokenpak.telemetry.read import Query, UnreadableFile, export_records, iter_records
from tokenpak.telemetry.read.follow import Follower

DAYS = ("2026-03-22", "2026-03-23", "2026-03-24")


@pytest.fixture(params=["no permission", "no directory"])
def log_dir(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Three days and what is called an archive."""
    for number, day in enumerate(DAYS):
        write_log(tmp_path, as_lines([make_record(number, day)]), day)
    event = {"timestamp": f"{DAYS[2]}T12:00:00.000000Z", "request_id": "req-1"}
    write_log(tmp_path, as_lines([event | {"event": "e"}]), DAYS[2], stream="events")
    archive = tmp_path / "archive"
    if request.param == "no directory":
        archive.write_bytes(b"")
    else:
        write_log(tmp_path, as_lines([make_record(9)]), part=".1", archived=True)
        refuse(archive, monkeypatch)
    return tmp_path


def refuse(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse to list *archive*, as to somebody who is not root."""
    real = os.listdir

    def listdir(path: Any = ".") -> list[str]:
        if os.fspath(path) == str(archive):
            raise PermissionError(13, "Permission denied", str(archive))
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)


def run(*words: str | Path) -> Any:
    return CliRunner().invoke(main, ["telemetry", *map(str, words)])


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("stream", ["errors", "all"])
def test_r1_all_else_is_read_and_the_archive_told_of_once(
    log_dir: Path, ordered: bool, stream: str
) -> None:
    """In Python, by any way of reading."""
    query = Query(stream=stream)
    items = list(iter_records(log_dir, query, ordered=ordered, pending=True))

    records = [item for item in items if isinstance(item, dict)]
    damage = [item for item in items if isinstance(item, UnreadableFile)]
    assert len(records) == (4 if stream == "all" else 3)
    assert [item.file for item in damage] == [str(log_dir / "archive")]


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["export", "--format", "jsonl"], 0),
        (["export", "--stream", "all", "--since", DAYS[0]], 0),
        (["export", "--last", "2"], 0),
        (["tail"], 0),
        (["show", "req-1"], 0),
        (["report", "--since", DAYS[0], "--until", DAYS[2]], 0),
        (["report", "--since", DAYS[0], "--provider", "openai"], 0),
        (["sql", "SELECT count(*) FROM errors"], 0),
        (["verify"], 1),
    ],
)
def test_r1_each_command_reads_on_and_says_what_it_has_not_read(
    log_dir: Path, words: list[str], status: int
) -> None:
    """With the status that is documented: the log itself was read."""
    result = run(*words, "--log-dir", log_dir)

    assert result.exit_code == status, result.output
    assert str(log_dir / "archive") in result.output
    assert "denied" in result.output or "Not a directory" in result.output
    assert "Traceback" not in result.stderr
    assert isinstance(result.exception, SystemExit | None)


def test_r1_several_processes_tell_of_it_once(log_dir: Path, tmp_path: Path) -> None:
    """An export with helpers."""
    with (tmp_path / "out").open("wb") as out:
        exported = export_records(log_dir, out, form="jsonl", processes=2)

    assert exported.records == 3
    assert [item.file for item in exported.unreadable] == [str(log_dir / "archive")]


def test_r1_verify_has_it_as_a_finding(log_dir: Path) -> None:
    """One of a kind that is damage."""
    found = json.loads(run("verify", "--format", "json", "--log-dir", log_dir).stdout)

    files = [(f["kind"], f["file"]) for f in found["findings"]]
    assert files.count(("unreadable", str(log_dir / "archive"))) == 1
    assert found["records"] == 4


def test_r1_who_follows_is_told_once_and_sees_what_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the archive is taken away under way; what it shows comes once."""
    # Or a listing that took long is not repeated at once.
    monkeypatch.setattr("tokenpak.telemetry.read.follow_files._SHARE", 0)
    path = write_log(tmp_path, as_lines([make_record(0)]))
    write_log(tmp_path, as_lines([make_record(9)]), DAYS[0], archived=True)
    with Follower(tmp_path) as follower:
        shown = list(follower.last(9))
        with pytest.MonkeyPatch.context() as patch:
            refuse(tmp_path / "archive", patch)
            for number in (1, 2):
                with path.open("ab") as file:
                    file.write(as_lines([make_record(number)]))
                (tmp_path / f"x{number}").write_bytes(b"")  # it is to be listed
                shown += follower.poll()
        shown += follower.poll()

    records = [item[0]["request_id"] for item in shown if isinstance(item, tuple)]
    damage = [item for item in shown if not isinstance(item, tuple)]
    assert records == ["req-9", "req-0", "req-1", "req-2"]
    assert [type(item) for item in damage] == [UnreadableFile]

    refuse(tmp_path / "archive", monkeypatch)
    with Follower(tmp_path) as follower:
        shown = list(follower.last(9))
        shown += follower.poll()
    assert len([item for item in shown if isinstance(item, tuple)]) == 3
    assert len([item for item in shown if isinstance(item, UnreadableFile)]) == 1


def test_r1_who_follows_is_told_of_each_time_and_each_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the archive, of the log directory for the same reason, of it once more."""
    monkeypatch.setattr("tokenpak.telemetry.read.follow_files._SHARE", 0)
    write_log(tmp_path, as_lines([make_record(0)]))
    write_log(tmp_path, as_lines([make_record(9)]), DAYS[0], archived=True)
    refused = [tmp_path / "archive", tmp_path, None, tmp_path, None]
    shown: list[Any] = []
    with Follower(tmp_path) as follower:
        list(follower.last(9))
        for number, place in enumerate(refused):
            (tmp_path / f"x{number}").write_bytes(b"")  # it is to be listed
            with pytest.MonkeyPatch.context() as patch:
                if place is not None:
                    refuse(place, patch)
                for _ in range(2):
                    shown += follower.poll()

    assert [item.file for item in shown] == [str(place) for place in refused if place]
