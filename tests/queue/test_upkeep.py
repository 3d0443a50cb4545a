"""The writer archives and prunes, a little at a time, and nothing it meets gets out."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.queue.logs import Make, eventually
from tests.queue.upkeep_rig import Rig, days_ago, write_days
from tests.read.log_making import write_log
from tests.store.archiving import FaultyEntries, ids, tree
from tokenpak.telemetry.queue import upkeep
from tokenpak.telemetry.store.entries import Entries
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.notes import Notes


def test_the_first_look_comes_within_ten_seconds_of_the_first_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next one soon after midnight UTC, at different times."""
    firsts, nexts = set(), set()
    for _ in range(10):
        rig = Rig(tmp_path, monkeypatch)
        first = rig.upkeep.turn()
        firsts.add(first)
        rig.now += first
        rig.finish()
        midnight = 86_400 - rig.time() % 86_400
        nexts.add(rig.upkeep.turn() - midnight)

    assert all(1 < first < 10 for first in firsts)
    assert all(5 < after < 601 for after in nexts)
    assert len(firsts) > 5
    assert len(nexts) > 5


def test_days_past_their_age_are_archived_by_the_writer(
    make_logger: Make, log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real thing: one record, and some moments later it is done."""
    monkeypatch.setattr(upkeep, "FIRST", (0.01, 0.02))
    write_days(log_dir, 1, 7, 8, 30)
    logger = make_logger()
    logger.log_event("first")

    archived = log_dir / "archive"
    assert eventually(
        lambda: (
            len(list(archived.glob("errors-*.jsonl.gz"))) == 2
            and not list(archived.glob("*.jsonl"))
        )
    )
    logger.close()

    names = [name for name in tree(log_dir) if name.startswith(("archive", "errors"))]
    assert names == [
        f"archive/errors-{days_ago(30)}.jsonl.gz",
        f"archive/errors-{days_ago(8)}.jsonl.gz",
        f"errors-{days_ago(7)}.jsonl",
        f"errors-{days_ago(1)}.jsonl",
    ]
    assert ids(log_dir) == ["1 days", "30 days", "7 days", "8 days"]


def test_a_fifth_of_a_core_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each turn nothing is done for four times as long, whoever wakes it."""
    write_days(tmp_path, 8, 9, 10)

    class Slow(Entries):
        def look(self, path: str) -> os.stat_result | None:
            rig.now += 0.3
            return super().look(path)

    rig = Rig(tmp_path, monkeypatch, Slow)
    rig.now += rig.upkeep.turn()
    begin, worked = rig.now, 0.0
    while True:
        before = rig.now
        wait = rig.upkeep.turn()
        if wait > 100:
            break
        worked += rig.now - before
        rig.now += wait / 2
        early = rig.now
        again = rig.upkeep.turn()
        assert rig.now - early < 0.01, "it rests"
        rig.now += again
        time.sleep(0.0001)

    assert worked > 1
    assert worked < (rig.now - begin) / 4


def test_never_is_never(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 0 nothing is archived, whatever its age; what is there stays."""
    write_days(tmp_path, 500)
    write_days(tmp_path, 501, archived=True)
    before = tree(tmp_path)
    rig = Rig(tmp_path, monkeypatch, archive_after_days=0)

    rig.run()

    assert tree(tmp_path) == before


def test_it_lists_the_directory_in_its_daily_look_alone(
    make_logger: Make, log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for each place, and once more for what is temporary."""
    listed: list[str] = []
    real = Entries.names

    def names(self: Entries, directory: str) -> Iterator[list[str]]:
        listed.append(directory)
        return real(self, directory)

    monkeypatch.setattr(Entries, "names", names)
    monkeypatch.setattr(upkeep, "FIRST", (0.0, 0.0))
    monkeypatch.setattr(upkeep, "_until_midnight", lambda: 86_400.0)
    logger = make_logger()
    for number in range(50):
        logger.log_event(f"batch {number}")
        assert logger.flush(60)
    assert eventually(lambda: len(listed) == 3)
    for number in range(50):
        logger.log_event(f"batch {number}")
        assert logger.flush(60)

    archive = str(log_dir / "archive")
    assert listed == [archive, str(log_dir), archive]


@pytest.mark.parametrize("for_ever", [False, True])
def test_x2_errors_are_told_and_tried_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    for_ever: bool,
) -> None:
    """At each operation: none gets out, and when it is over all is archived."""
    for at in range(200):
        log_dir = tmp_path / f"{at}"
        write_days(log_dir, 8)
        caplog.clear()
        caplog.set_level(logging.INFO)

        def entries(files: OsFiles, at: int = at) -> FaultyEntries:
            return FaultyEntries(files, at, for_ever=for_ever)

        rig = Rig(log_dir, monkeypatch, entries)
        rig.run()
        if len(rig.disk.calls) <= at:  # type: ignore[attr-defined]
            assert caplog.records[-1].levelname == "INFO"
            break
        warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
        assert len(warnings) == 1, at
        assert "Failed to archive" in warnings[0]
        assert str(log_dir) in warnings[0]
        assert ids(log_dir) == ["8 days"]
        soon = rig.upkeep.turn()
        assert 100 < soon < 1000, "tried again, sooner than tomorrow"
        rig.disk._at = None  # type: ignore[attr-defined]
        rig.now += soon
        rig.finish()
        assert tree(log_dir) == [f"archive/errors-{days_ago(8)}.jsonl.gz"], at
    else:
        pytest.fail("it never ran out")


def test_x2_an_error_that_must_not_be_does_not_stop_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told, like every other."""

    class Broken(Entries):
        def names(self, directory: str) -> Iterator[list[str]]:
            raise LookupError("a bug")

    rig = Rig(tmp_path, monkeypatch, Broken)

    rig.run()

    assert "a bug" in caplog.text


def test_what_is_put_off_again_and_again_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once is nothing special: another process is at work."""
    write_days(tmp_path, 8)
    notes = Notes(memoryview(bytearray(8 * 1000)).cast("Q"))
    notes.format("errors", 4096, 4)
    notes.begin(days_ago(8), (1, 1), 0, (1, 0), (1, 10))
    rig = Rig(tmp_path, monkeypatch, own=[notes])

    for number in range(upkeep.PATIENCE):
        assert ("not archived yet" in caplog.text) is False, number
        rig.run()

    assert "not archived yet, since this process has an append" in caplog.text
    assert f"errors-{days_ago(8)}.jsonl" in caplog.text
    notes.done()
    rig.run()
    assert tree(tmp_path) == [f"archive/errors-{days_ago(8)}.jsonl.gz"]


def test_archives_are_pruned_after_the_archiving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """By age, and it is told how many."""
    caplog.set_level(logging.INFO)
    write_days(tmp_path, 1, 2, 100)
    write_days(tmp_path, 89, 90, 91, 200, archived=True)
    rig = Rig(tmp_path, monkeypatch, prune_after_days=90)

    rig.run()

    assert {name for name in tree(tmp_path) if name.startswith("archive")} == {
        f"archive/errors-{days_ago(90)}.jsonl.gz",
        f"archive/errors-{days_ago(89)}.jsonl.gz",
    }
    assert "Pruned 3 archive(s)" in caplog.text
    assert f"from errors-{days_ago(200)}.jsonl.gz" in caplog.text
    assert "2 are left" in caplog.text


def test_archives_are_pruned_by_size_whatever_the_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest first, until the rest fits."""
    for age in (100, 200, 300):
        path = write_log(tmp_path, b"", days_ago(age), archived=True, compressed=True)
        path.write_bytes(bytes(600_000))
    rig = Rig(tmp_path, monkeypatch, max_archive_bytes=2**20)

    rig.run()

    assert tree(tmp_path) == [f"archive/errors-{days_ago(100)}.jsonl.gz"]


def test_a_clock_that_leapt_does_not_empty_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else in the directory says that it is today."""
    write_days(tmp_path, 0)
    write_days(tmp_path, 365, 366, 367, archived=True)
    before = tree(tmp_path)
    rig = Rig(tmp_path, monkeypatch, prune_after_days=90)

    rig.run()
    assert tree(tmp_path) == before
    # It leaps back, and on again: it does not run evenly.
    rig.day -= 365 * 86_400
    rig.run()
    rig.day += 365 * 86_400
    rig.run()

    assert tree(tmp_path) == before


def test_where_errors_are_rare_a_clock_that_ran_evenly_for_a_day_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or nothing would ever be pruned there."""
    write_days(tmp_path, 365, 366, archived=True)
    before = tree(tmp_path)
    rig = Rig(tmp_path, monkeypatch, prune_after_days=90)

    rig.run()
    assert tree(tmp_path) == before
    rig.now += 12 * 3600
    rig.upkeep._due = rig.now
    rig.finish()
    assert tree(tmp_path) == before
    rig.now += 12 * 3600
    rig.upkeep._due = rig.now
    rig.finish()

    assert tree(tmp_path) == []
