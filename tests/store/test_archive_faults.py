"""S4: the archiver dies, fails or is interrupted at each of its operations."""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.queue.rig import make_line
from tests.read.log_making import as_lines, make_record, write_log
from tests.store.archiving import (
    DAY,
    FaultyEntries,
    archive_fully,
    close_all,
    ids,
    make_archiver,
    run,
    tree,
)
from tests.store.fakes import Died
from tokenpak.telemetry.store import packing
from tokenpak.telemetry.store.archive import (
    LOCKED,
    plain_of_temporary,
    temporary_name,
)
from tokenpak.telemetry.store.dayfiles import Contended, DayFiles
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.names import ERRORS

NAME = f"errors-{DAY}.jsonl"
MANY = 400


def lines(*names: str, day: str = DAY) -> bytes:
    return b"".join(make_line(name, 200, day) for name in names)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compress in several pieces what is small."""
    monkeypatch.setattr(packing, "PIECE", 256)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """One day's file."""
    write_log(tmp_path, lines("one", "two", "three"))
    return tmp_path


def prepared(log_dir: Path) -> list[str]:
    """Make a directory with every kind of work; return the ids in it."""
    log_dir.mkdir()
    for day in ("2026-03-24", "2026-03-25"):
        write_log(log_dir, as_lines([make_record(n, day) for n in range(3)]), day)
    write_log(log_dir, b"", "2026-03-26")
    # A day that was archived, whose plain file was not deleted; and one with a late
    # record, half-way.
    packed = as_lines([make_record(10, "2026-03-22")])
    for compressed in (False, True):
        write_log(log_dir, packed, "2026-03-22", archived=True, compressed=compressed)
    late = as_lines([make_record(11, "2026-03-24")])
    write_log(log_dir, late, "2026-03-24", archived=True, compressed=True)
    # Two names of one file.
    both = write_log(log_dir, as_lines([make_record(12, "2026-03-23")]), "2026-03-23")
    os.link(both, log_dir / "archive" / both.name)
    return ids(log_dir)


def steps_of(tmp_path: Path) -> int:
    log_dir = tmp_path / "measured"
    prepared(log_dir)
    files = OsFiles()
    disk = FaultyEntries(files)
    run(make_archiver(log_dir, disk))
    return len(disk.calls)


@pytest.mark.parametrize("kind", ["die before", "die after"])
def test_s4_death_at_each_operation_loses_and_doubles_nothing(
    tmp_path: Path, kind: str
) -> None:
    """And whoever comes next finishes it, and leaves no temporary file."""
    total = steps_of(tmp_path)
    assert total > 100
    for at in range(total):
        log_dir = tmp_path / f"{at}"
        expected = prepared(log_dir)
        files = OsFiles()
        with pytest.raises(Died):
            run(make_archiver(log_dir, FaultyEntries(files, at, kind)))
        close_all(files)

        assert ids(log_dir) == expected, at
        archive_fully(log_dir)
        assert ids(log_dir) == expected, at
        assert all(name.endswith(".jsonl.gz") for name in tree(log_dir)), at


@pytest.mark.parametrize(
    ("kind", "number", "for_ever"),
    [
        ("before", errno.ENOSPC, False),
        ("after", errno.EIO, False),
        ("before", errno.EIO, True),
    ],
)
def test_s4_an_error_at_each_operation_loses_and_doubles_nothing(
    tmp_path: Path, kind: str, number: int, for_ever: bool
) -> None:
    """
    The other files are archived, it is told of, no descriptor or lock is left, and
    later it is done.
    """
    for at in range(steps_of(tmp_path)):
        log_dir = tmp_path / f"{at}"
        expected = prepared(log_dir)
        files = OsFiles()
        disk = FaultyEntries(files, at, kind, number, for_ever=for_ever)
        archiver = make_archiver(log_dir, disk)
        told = False
        try:
            run(archiver)
        except OSError:
            told = disk.calls[at] == "names"
        assert told or archiver.result.failed, (at, disk.calls[at])
        assert files.descriptors == {}, at

        assert ids(log_dir) == expected, at
        if not for_ever:
            temporaries = [name for name in tree(log_dir) if name.endswith(".tmp")]
            assert temporaries == [] or disk.calls[at] == "unlink", at
        archive_fully(log_dir)
        assert ids(log_dir) == expected, at
        assert all(name.endswith(".jsonl.gz") for name in tree(log_dir)), at


def test_s4_a_reader_sees_each_record_once_between_any_two_operations(
    tmp_path: Path,
) -> None:
    """And so does one that looks after each step has been closed."""
    log_dir = tmp_path / "logs"
    expected = prepared(log_dir)
    disk = FaultyEntries(OsFiles())

    def look(name: str) -> None:
        assert ids(log_dir) == expected, (len(disk.calls), name)

    disk.between = look
    run(make_archiver(log_dir, disk))
    disk.between = lambda _: None

    assert len(disk.calls) == steps_of(tmp_path)


class Others:
    """Other processes: two late records a day, one behind the other, and archiving."""

    def __init__(self, log_dir: Path, expected: list[str]) -> None:
        self.log_dir = log_dir
        self.expected = expected

    def come(self) -> None:
        for turn in ("first", "second"):
            day_files = DayFiles(OsFiles(), str(self.log_dir))
            for number in range(22, 27):
                name, day = f"{turn} {number}", f"2026-03-{number}"
                try:
                    with day_files.locked(ERRORS, day) as log:
                        log.write([make_line(name, 100, day)])
                except Contended:
                    continue
                self.expected.append(name)
            day_files.close()
            archive_fully(self.log_dir)
        self.check()

    def check(self) -> None:
        assert ids(self.log_dir) == sorted(self.expected)


def test_s4_another_archiver_and_a_late_record_come_between_any_two_operations(
    tmp_path: Path,
) -> None:
    """What was looked at a moment ago may be another file by now."""
    for at in range(steps_of(tmp_path)):
        log_dir = tmp_path / f"{at}"
        others = Others(log_dir, prepared(log_dir))
        disk = FaultyEntries(OsFiles())
        disk.interrupt = (at, others.come)
        archiver = make_archiver(log_dir, disk)
        run(archiver)

        assert archiver.result.failed == (), at
        others.check()
        archive_fully(log_dir)
        others.check()
        assert all(name.endswith(".jsonl.gz") for name in tree(log_dir)), at


def exhaust(steps: Iterator[int]) -> None:
    for _ in steps:
        pass


def test_s4_another_archiver_ends_between_any_two_operations(tmp_path: Path) -> None:
    """It works on the file whose name is wanted: the name is never taken for free."""
    at = 0
    while True:
        log_dir = tmp_path / f"{at}"
        write_log(log_dir, lines("early"), archived=True)
        other = make_archiver(log_dir).steps()
        while not list(log_dir.glob("archive/.*")):
            next(other)
        write_log(log_dir, lines("late"))
        disk = FaultyEntries(OsFiles())
        disk.interrupt = (at, functools.partial(exhaust, other))
        run(make_archiver(log_dir, disk))
        exhaust(other)

        assert ids(log_dir) == ["early", "late"], at
        assert {path.stem for path in (log_dir / "archive").iterdir()} == {
            NAME,
            f"errors-{DAY}.1.jsonl",
        }, at
        at += 1
        if at > len(disk.calls):
            break


def test_s4_closed_at_each_step_nothing_is_half_done(tmp_path: Path) -> None:
    """The end of the process, or Ctrl-C: no temporary file, no lock, no descriptor."""
    number = 0
    while True:
        log_dir = tmp_path / f"{number}"
        expected = prepared(log_dir)
        files = OsFiles()
        archiver = make_archiver(log_dir, FaultyEntries(files))
        steps = archiver.steps()
        taken = sum(1 for _, _ in zip(range(number), steps, strict=False))
        steps.close()

        assert files.descriptors == {}
        assert not any(name.endswith(".tmp") for name in tree(log_dir)), number
        assert ids(log_dir) == expected
        if taken < number:
            break
        number += 1
    assert number > 10


def test_q5_a_forked_child_forgets_what_its_parent_was_at(logs: Path) -> None:
    """It neither deletes the parent's temporary file, nor gives its lock away."""
    files = OsFiles()
    steps = make_archiver(logs, FaultyEntries(files)).steps()
    while not list(logs.glob("archive/.*")):
        next(steps)
    child = os.fork()
    if child == 0:
        try:
            files.close_all_in_child()
            steps.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)

    assert list(logs.glob("archive/.*"))
    other = make_archiver(logs)
    run(other)
    assert [reason for _, reason in other.result.put_off] == [LOCKED]
    for _ in steps:
        pass
    assert tree(logs) == [f"archive/{NAME}.gz"]


def test_names_of_temporary_files_are_told_from_others() -> None:
    """Only those are deleted that an archiver has made."""
    assert plain_of_temporary(os.path.basename(temporary_name(f"/x/{NAME}"))) == NAME
    for name in (
        NAME,
        f"{NAME}.gz.tmp",
        f".{NAME}.tmp",
        f".{NAME}.gz",
        f".{NAME}.gz.gz.tmp",
        ".errors-2026-02-31.jsonl.gz.tmp",
        ".notes.gz.tmp",
    ):
        assert plain_of_temporary(name) is None, name
