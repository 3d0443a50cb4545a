"""Q1: recovery of real spools, with what it says and what it leaves alone."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.queue.rig import DAY, NEXT_DAY, make_line, name_of
from tokenpak.telemetry.queue import recovery
from tokenpak.telemetry.queue.recovery import recover
from tokenpak.telemetry.store import spool as spool_module
from tokenpak.telemetry.store.append import Appender
from tokenpak.telemetry.store.dayfiles import DayFiles
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.names import ERRORS, EVENTS
from tokenpak.telemetry.store.notes import QUEUE_FULL
from tokenpak.telemetry.store.orphan import pieces_of
from tokenpak.telemetry.store.places import spool_directories
from tokenpak.telemetry.store.segment import Segment
from tokenpak.telemetry.store.spool import HEAD_BYTES, SpoolFile, spool_paths


def make_orphan(
    log_dir: Path, lines: list[bytes], stream: str = ERRORS, slots: int = 2
) -> tuple[SpoolFile, Segment]:
    """Return a spool that holds *lines*; release() it to make it an orphan."""
    spool = SpoolFile.create(OsFiles(), str(log_dir / "spool"), stream, slots)
    spool.reserve(0, 1)
    segment = spool.map(0, 1)
    spool.notes.set_slot(0, 1)
    for line in lines:
        segment.write(line)
    return spool, segment


def names(log_dir: Path, day: str = DAY, stream: str = ERRORS) -> list[str]:
    path = log_dir / f"{stream}-{day}.jsonl"
    return [name_of(line) for line in path.read_bytes().splitlines()]


def spools(log_dir: Path) -> list[str]:
    return spool_paths(str(log_dir / "spool"))


def test_q1_records_of_dead_processes_are_appended_once(tmp_path: Path) -> None:
    """
    Of each stream, each to its day; and the spools are gone.
    """
    for stream in (ERRORS, EVENTS):
        spool, _ = make_orphan(
            tmp_path,
            [make_line("1"), make_line("2", day=NEXT_DAY), make_line("3")],
            stream,
        )
        spool.release()
    first, second = recover(str(tmp_path)), recover(str(tmp_path))

    assert (first.spools, first.records, first.damaged, first.left) == (2, 6, 0, ())
    assert (second.spools, second.records) == (0, 0)
    for stream in (ERRORS, EVENTS):
        assert names(tmp_path, DAY, stream) == ["1", "3"]
        assert names(tmp_path, NEXT_DAY, stream) == ["2"]
    assert spools(tmp_path) == []


def test_q1_who_asks_whether_a_process_lives_keeps_nobody_from_recovering_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks has its lock for a moment, and may be stopped in it."""
    spool, _ = make_orphan(tmp_path, [make_line("1")])
    spool.release()
    (path,) = spools(tmp_path)
    asking = os.open(path, os.O_RDONLY)
    fcntl.flock(asking, fcntl.LOCK_SH)
    waited = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            os.close(asking)

    # Of that module only: the threads of others sleep, too.
    clock = SimpleNamespace(sleep=sleep, time=time.time)
    monkeypatch.setattr(spool_module, "time", clock)

    assert recover(str(tmp_path)).records == 1
    assert len(waited) == 3


def test_q1_living_processes_are_left_alone(tmp_path: Path) -> None:
    """
    Their records are not touched.
    """
    spool, _ = make_orphan(tmp_path, [make_line("living")])
    found = recover(str(tmp_path))
    still = spools(tmp_path)
    spool.remove()

    assert found.spools == found.records == 0
    assert len(still) == 1


def test_s5_a_recovery_that_was_not_told_of_group_access_sees_it(
    tmp_path: Path,
) -> None:
    """
    A command at the shell has not the settings of a service.  The day's file that it
    makes must not shut out the other users.
    """
    modes = {}
    for group_access in (True, False):
        place = tmp_path / f"{group_access}"
        place.mkdir(0o770)
        spool = SpoolFile.create(
            OsFiles(group_access=group_access), str(place / "spool"), ERRORS, 2
        )
        spool.reserve(0, 1)
        segment = spool.map(0, 1)
        spool.notes.set_slot(0, 1)
        segment.write(make_line("1"))
        spool.release()
        assert recover(str(place)).records == 1
        modes[group_access] = (place / f"errors-{DAY}.jsonl").stat().st_mode & 0o777

    assert modes == {True: 0o660, False: 0o600}


def test_q1_a_directory_without_spools_has_nothing_to_recover(tmp_path: Path) -> None:
    """
    Nothing is created by looking.
    """
    found = recover(str(tmp_path / "missing"))

    assert found == recovery.Recovered()
    assert os.listdir(tmp_path) == []


def test_q1_what_was_appended_before_the_death_is_not_counted_as_recovered(
    tmp_path: Path,
) -> None:
    """
    Records of theirs that are in the log now *and were not before*.
    """
    spool, segment = make_orphan(tmp_path, [make_line("1"), make_line("2")])
    day_files = DayFiles(OsFiles(), str(tmp_path))
    appender = Appender(day_files, spool.notes, sync=False)
    end = segment.end()

    def die() -> None:
        raise KeyboardInterrupt

    spool.notes.done = die  # type: ignore[method-assign]
    spool.notes.begin(DAY, (0, 0), 0, (1, 0), (1, end))
    note = spool.notes.current()
    assert note is not None
    with pytest.raises(KeyboardInterrupt):
        appender.append(DAY, pieces_of([segment], note))
    day_files.close()
    spool.release()
    found = recover(str(tmp_path))

    assert names(tmp_path) == ["1", "2"]
    assert found.spools == 1
    assert found.records == 0


def test_q1_missing_pages_cost_the_lines_that_they_held(tmp_path: Path) -> None:
    """
    After a power failure; the others are appended, and the damage is counted.
    """
    lines = [make_line(f"{number}", 1_000) for number in range(20)]
    spool, segment = make_orphan(tmp_path, lines)
    segment[4_096:8_192] = bytes(4_096)
    spool.release()
    found = recover(str(tmp_path))

    assert names(tmp_path) == [
        f"{number}" for number in range(20) if not 4 <= number <= 8
    ]
    assert found.records == 15
    assert found.damaged >= 1
    assert spools(tmp_path) == []


@pytest.mark.parametrize("content", [b"", bytes(HEAD_BYTES), b"x" * 100_000])
def test_x2_what_cannot_be_read_is_left_and_named(
    tmp_path: Path, content: bytes
) -> None:
    """
    And keeps no other spool from being recovered.
    """
    spool, _ = make_orphan(tmp_path, [make_line("good")])
    spool.release()
    bad = tmp_path / "spool" / "a-first-one.spool"
    bad.write_bytes(content)
    found = recover(str(tmp_path))

    assert found.records == 1
    assert len(found.left) == 1
    assert str(bad) in found.left[0]
    assert bad.exists()


def test_x2_a_damaged_head_is_left_and_named(tmp_path: Path) -> None:
    """
    Also where its numbers make no sense.
    """
    spool, _ = make_orphan(tmp_path, [make_line("x")])
    spool._words[2] = 0
    spool.release()
    found = recover(str(tmp_path))

    assert found.records == 0
    assert len(found.left) == 1


@pytest.mark.parametrize("day", [0, 2**32, 2**64 - 1])
def test_x2_a_damaged_note_is_left_and_named(tmp_path: Path, day: int) -> None:
    """
    What of its range is in the log cannot be known; the others are recovered.
    """
    bad, segment = make_orphan(tmp_path, [make_line("x")])
    bad.notes.begin(DAY, (1, 2), 3, (1, 0), (1, segment.end()))
    bad._words[24] = day
    bad.release()
    good, _ = make_orphan(tmp_path, [make_line("good")])
    good.release()
    found = recover(str(tmp_path))

    assert found.records == 1
    assert len(found.left) == 1
    assert str(bad.path) in found.left[0]


def test_q3_drops_of_the_dead_are_told_once(tmp_path: Path) -> None:
    """
    Those that it had told of itself are not told again.
    """
    spool, _ = make_orphan(tmp_path, [make_line("x")], EVENTS)
    spool.notes.set_drops(QUEUE_FULL, 7, 10**18, 10**18 + 10**9)
    spool.notes.set_told(QUEUE_FULL, 2)
    spool.release()
    recover(str(tmp_path))
    recover(str(tmp_path))
    lines = [
        json.loads(line)
        for path in tmp_path.glob("events-*.jsonl")
        for line in path.read_bytes().splitlines()
    ]
    told = [line["context"] for line in lines if line.get("event") == "RecordsDropped"]

    assert len(told) == 1
    assert (told[0]["dropped"], told[0]["reason"]) == (5, QUEUE_FULL)
    assert told[0]["since"] == "2001-09-09T01:46:40.000000Z"


def test_x2_a_lock_that_is_held_too_long_says_so(tmp_path: Path) -> None:
    """
    With the record's path, and nothing is lost.
    """
    spool, _ = make_orphan(tmp_path, [make_line("patient")])
    spool.release()
    holder = DayFiles(OsFiles(), str(tmp_path))
    with (
        holder.locked(ERRORS, DAY),
        pytest.raises(TimeoutError, match="held the lock") as caught,
    ):
        recover(str(tmp_path), patience=0.0)
    holder.close()
    found = recover(str(tmp_path))

    assert str(tmp_path) in str(caught.value)
    assert found.records == 1
    assert names(tmp_path) == ["patient"]


def test_q1_a_lock_that_is_held_costs_the_other_days_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    They are appended all the same, and nobody waits for that lock a second time.
    """
    for day in (DAY, NEXT_DAY, DAY, DAY):
        spool, _ = make_orphan(tmp_path, [make_line("x", day=day)])
        spool.release()
    waited: list[float] = []
    ticks = iter(range(1000))
    # Of that module only: the threads of others sleep and look at the clock, too.
    clock = SimpleNamespace(sleep=waited.append, monotonic=lambda: float(next(ticks)))
    monkeypatch.setattr(recovery, "time", clock)
    holder = DayFiles(OsFiles(), str(tmp_path))
    with (
        holder.locked(ERRORS, DAY),
        pytest.raises(TimeoutError, match="and of 2 more"),
    ):
        recover(str(tmp_path), patience=5.0)
    holder.close()

    assert names(tmp_path, NEXT_DAY) == ["x"]
    assert len(waited) == 4  # at 1 to 4 seconds, for the first of them
    assert recover(str(tmp_path)).records == 3


def test_q1_recovery_can_be_repeated_after_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A full disk in the middle: the orphan stays one, and nothing is doubled.
    """
    spool, _ = make_orphan(tmp_path, [make_line(f"{n}") for n in range(50)])
    spool.release()
    write = OsFiles.write

    def full(files: OsFiles, fd: int, parts: list[memoryview]) -> int:
        raise OSError(28, "No space left on device")

    def nearly_full(files: OsFiles, fd: int, parts: list[memoryview]) -> int:
        monkeypatch.setattr(OsFiles, "write", full)
        return write(files, fd, [parts[0][:1_234]])

    monkeypatch.setattr(OsFiles, "write", nearly_full)
    for _ in range(3):
        with pytest.raises(OSError, match="No space"):
            recover(str(tmp_path))
    monkeypatch.setattr(OsFiles, "write", write)
    recover(str(tmp_path))

    assert names(tmp_path) == [f"{n}" for n in range(50)]


def test_q1_a_spool_in_the_set_directory_is_found(tmp_path: Path) -> None:
    """
    By the setting; and by the environment, as the process that made it was told.
    """
    spool, _ = make_orphan(tmp_path, [make_line("elsewhere")])
    spool.release()
    elsewhere = tmp_path / "fast"
    place = spool_directories(str(tmp_path), str(elsewhere))[0]
    os.makedirs(place, 0o700)
    shutil.move(spools(tmp_path)[0], place)
    without = recover(str(tmp_path))
    found = recover(str(tmp_path), str(elsewhere))

    assert without.records == 0
    assert found.records == 1
