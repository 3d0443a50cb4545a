"""An export by several processes is the export by one."""

from __future__ import annotations

import gzip
import os
import pickle
import signal
import subprocess
import sys
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from tests.queue.test_recovery import make_orphan
from tests.read.log_making import as_lines, make_record, write_log
from tokenpak.telemetry.read import (
    Format,
    Query,
    export_records,
    export_to_file,
    parallel,
)
from tokenpak.telemetry.read.export import Plan

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.name != "posix", reason="helpers need descriptors")


@pytest.fixture
def log_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve days, out of order and damaged; helpers pay at once, and do it all."""

    def leave_it_to_helpers(team: Any) -> date | None:
        alive = any(helper.alive for helper in team._helpers)
        mine: list[date] = [
            day for day in team._left if day in team._watched or not alive
        ]
        for day in mine[:1]:
            team._left.remove(day)
            return day
        return None

    monkeypatch.setattr(parallel, "WORTH_BYTES", 0)
    monkeypatch.setattr(parallel._Team, "_next_of_mine", leave_it_to_helpers)
    folder = tmp_path / "logs"
    for day in range(10, 22):
        records = [make_record(n, f"2026-03-{day}") for n in range(200, 0, -1)]
        records[3]["context"]["provider"] = "anthropic"
        data = as_lines(records) + b"torn\n"
        write_log(
            folder, data, f"2026-03-{day}", archived=day < 14, compressed=day < 14
        )
    return folder


@pytest.mark.parametrize("form", ["json", "jsonl", "csv"])
@pytest.mark.parametrize("provider", [None, "anthropic", "nobody"])
def test_all_processes_write_what_one_would(
    log_dir: Path, tmp_path: Path, form: Format, provider: str | None
) -> None:
    """Byte for byte, with the same counts, and what was read adds up."""
    query = Query(provider=provider)
    passed: list[int] = []

    one = export_to_file(log_dir, tmp_path / "one", query=query, form=form)
    many = export_to_file(
        log_dir,
        tmp_path / "many",
        query=query,
        form=form,
        processes=3,
        progress=passed.append,
    )

    assert (tmp_path / "many").read_bytes() == (tmp_path / "one").read_bytes()
    assert (many.records, many.malformed) == (one.records, one.malformed)
    files = [*log_dir.glob("*.jsonl"), *log_dir.glob("archive/*")]
    assert sum(passed) == sum(file.stat().st_size for file in files)


def test_r1_what_is_pending_comes_once_with_helpers_too(
    log_dir: Path, tmp_path: Path
) -> None:
    """The days of what is pending are read by the process that knows of it."""
    lines = as_lines([make_record(900 + n, "2026-03-20") for n in range(3)])
    spool, _ = make_orphan(log_dir, lines.splitlines(keepends=True))
    spool.release()
    # One of them has been appended meanwhile.
    path = log_dir / "errors-2026-03-20.jsonl"
    with path.open("ab") as file:
        file.write(lines.splitlines(keepends=True)[0])

    done = export_to_file(
        log_dir, tmp_path / "out", form="jsonl", pending=True, processes=2
    )

    written = (tmp_path / "out").read_bytes()
    assert done.records == written.count(b"\n") == 12 * 200 + 3 + 1
    assert [written.count(line) for line in lines.splitlines()] == [2, 1, 1]


@pytest.mark.parametrize("moment", ["give", "write"])
def test_a_helper_that_dies_before_it_writes_loses_nothing(
    log_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Its day is read by another."""
    before = getattr(parallel._Helper, moment)

    def kill(self: Any, *args: Any, **options: Any) -> None:
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()
        before(self, *args, **options)

    one = export_to_file(log_dir, tmp_path / "one", form="jsonl")
    monkeypatch.setattr(parallel._Helper, moment, kill)

    many = export_to_file(log_dir, tmp_path / "many", form="jsonl", processes=2)

    assert many.records == one.records
    assert (tmp_path / "many").read_bytes() == (tmp_path / "one").read_bytes()


def test_a_helper_that_dies_while_it_writes_ends_the_export(
    log_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can tell what it has written; there is no file then."""
    monkeypatch.setattr(parallel._Helper, "messages", _began_and_died)

    with pytest.raises(OSError, match="died while it was writing"):
        export_to_file(log_dir, tmp_path / "many", form="jsonl", processes=2)

    assert os.listdir(tmp_path) == ["logs"]


def _began_and_died(helper: Any) -> list[tuple[str, None]]:
    os.kill(helper._process.pid, signal.SIGKILL)
    helper.alive = False
    helper.day = helper.day or "some day"
    return [("began", None)]


def test_a_disk_that_is_full_is_an_error_of_the_export(log_dir: Path) -> None:
    """Whichever process meets it."""
    with pytest.raises(OSError, match="No space left"):
        export_to_file(log_dir, "/dev/full", form="jsonl", processes=2)


def test_a_pipe_that_nobody_reads_is_a_broken_pipe(log_dir: Path) -> None:
    """Also if a helper is the one that meets it."""
    read_end, write_end = os.pipe()
    os.close(read_end)

    with open(write_end, "wb") as out, pytest.raises(BrokenPipeError):
        export_records(log_dir, out, form="jsonl", processes=2)


def test_an_output_that_changes_what_it_is_given_gets_all_of_it(
    log_dir: Path, tmp_path: Path
) -> None:
    """A gzip file has a descriptor, too, but not for what is not compressed."""
    with gzip.open(tmp_path / "out.gz", "wb") as out:
        many = export_records(log_dir, out, form="jsonl", processes=2)

    with gzip.open(tmp_path / "out.gz", "rb") as file:
        assert file.read().count(b"\n") == many.records == 12 * 200


@pytest.mark.parametrize("behind", ["plan", "day"])
def test_a_helper_whose_starter_is_gone_ends_without_a_word(
    log_dir: Path, behind: str
) -> None:
    """Whatever it waits for, and though nobody hears it."""
    plan = Plan(log_dir=str(log_dir), query=Query(), form="jsonl")
    messages = [plan] if behind == "plan" else [plan, date(2026, 3, 20)]
    read_end, write_end = os.pipe()
    os.close(read_end)
    with open(write_end, "wb") as nobody:
        done = subprocess.run(
            [sys.executable, "-m", parallel.WORKER, str(write_end)],
            input=b"".join(map(pickle.dumps, messages)),
            stdout=nobody if behind == "plan" else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
        )

    assert done.stderr == b""
