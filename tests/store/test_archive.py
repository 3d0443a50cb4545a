"""S4: days are moved and compressed, whoever dies, fails or comes in between."""

from __future__ import annotations

import gzip
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest

from tests.queue.rig import make_line
from tests.read.log_making import write_log
from tests.store.archiving import (
    DAY,
    archive_fully,
    ids,
    make_archiver,
    run,
    tree,
    unpacked,
)
from tokenpak.telemetry.store import packing
from tokenpak.telemetry.store.archive import (
    LOCKED,
)
from tokenpak.telemetry.store.dayfiles import Contended, DayFiles
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.lock import try_lock
from tokenpak.telemetry.store.names import ERRORS
from tokenpak.telemetry.store.spool import SpoolFile

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


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock of *path*, as another process would."""
    fd = os.open(path, os.O_RDWR)
    try:
        assert try_lock(fd)
        yield
    finally:
        os.close(fd)


def test_s4_a_finished_day_is_one_gz_with_the_same_bytes(logs: Path) -> None:
    """Also a torn tail, which has no owner any more; other files stay."""
    torn = (logs / NAME).read_bytes() + b'{"timestamp":"2026-03-24T1'
    (logs / NAME).write_bytes(torn)
    write_log(logs, lines("new", day="2026-04-01"), "2026-04-01")
    write_log(logs, lines("part"), part=".1")
    write_log(logs, lines("event"), stream="events")
    (logs / f"{NAME}.bak").write_bytes(b"somebody's")

    archiver = make_archiver(logs)
    run(archiver)

    assert tree(logs) == [
        f"archive/{NAME}.gz",
        f"archive/events-{DAY}.jsonl.gz",
        f"errors-{DAY}.1.jsonl",
        f"{NAME}.bak",
        "errors-2026-04-01.jsonl",
    ]
    assert unpacked(logs / "archive" / f"{NAME}.gz") == torn
    result = archiver.result
    assert [os.path.basename(path) for path in result.files] == [
        f"{NAME}.gz",
        f"events-{DAY}.jsonl.gz",
    ]
    assert result.plain_bytes == len(torn) + 200
    assert result.archive_bytes == sum(os.path.getsize(path) for path in result.files)
    assert (result.put_off, result.failed, result.empty) == ((), (), ())


def test_s4_archives_are_reproducible(tmp_path: Path) -> None:
    """No name, no time: the same bytes whoever makes it, and when."""
    made: list[bytes] = []
    for name in ("a", "b"):
        path = write_log(tmp_path / name, lines(*map(str, range(MANY))))
        os.utime(path, (1_000_000_000 + len(made), 1_000_000_000 + len(made)))
        archive_fully(tmp_path / name)
        made.append((tmp_path / name / "archive" / f"{NAME}.gz").read_bytes())

    assert made[0] == made[1]
    assert made[0][3:8] == bytes(5)  # no flags, so no name; no time


def test_s5_an_archive_is_as_private_as_the_file_was(logs: Path) -> None:
    """And has its time of change; new directories are 0700, whatever the umask."""
    path = logs / NAME
    os.utime(path, (1_000_000_000, 1_000_000_000))
    write_log(logs, lines("x"), "2026-03-25").chmod(0o640)
    path.chmod(0o600)
    before = os.umask(0)
    try:
        archive_fully(logs)
    finally:
        os.umask(before)

    made = (logs / "archive" / f"{NAME}.gz").stat()
    shared = (logs / "archive" / "errors-2026-03-25.jsonl.gz").stat()
    assert stat.S_IMODE(made.st_mode) == 0o600
    assert stat.S_IMODE(shared.st_mode) == 0o640
    assert stat.S_IMODE((logs / "archive").stat().st_mode) == 0o700
    assert made.st_mtime == 1_000_000_000


def test_s4_late_records_get_an_archive_of_their_own(logs: Path) -> None:
    """The first that is free; nothing is ever replaced."""
    write_log(logs, lines("old"), part=".1", archived=True, compressed=True)
    write_log(logs, lines("older"), part=".3", archived=True, compressed=True)
    archive_fully(logs)
    write_log(logs, lines("late"))
    archive_fully(logs)
    write_log(logs, lines("later"))
    archive_fully(logs)

    contents = {
        name: unpacked(logs / name) for name in tree(logs) if name.endswith(".gz")
    }
    assert contents == {
        f"archive/{NAME}.gz": lines("one", "two", "three"),
        f"archive/errors-{DAY}.1.jsonl.gz": lines("old"),
        f"archive/errors-{DAY}.2.jsonl.gz": lines("late"),
        f"archive/errors-{DAY}.3.jsonl.gz": lines("older"),
        f"archive/errors-{DAY}.4.jsonl.gz": lines("later"),
    }


def test_an_empty_day_is_deleted(tmp_path: Path) -> None:
    """In the directory and in the archive; what it hides there comes to light."""
    write_log(tmp_path, b"")
    write_log(tmp_path, b"", "2026-03-20", archived=True)
    write_log(tmp_path, lines("shown"), "2026-03-20", archived=True, compressed=True)
    archiver = make_archiver(tmp_path)
    run(archiver)

    assert tree(tmp_path) == ["archive/errors-2026-03-20.jsonl.gz"]
    assert len(archiver.result.empty) == 2
    assert ids(tmp_path) == ["shown"]


def test_s4_what_a_dead_one_left_is_finished_whatever_its_age(logs: Path) -> None:
    """Moved but not compressed; compressed in part; compressed but not deleted."""
    for number in range(1, 5):
        write_log(logs, lines(f"part{number}"), part=f".{number}", archived=True)
    folder = logs / "archive"
    half = folder / f".errors-{DAY}.1.jsonl.gz.tmp"
    half.write_bytes(b"\x1f\x8b half")
    whole = folder / f"errors-{DAY}.2.jsonl.gz"
    whole.write_bytes(gzip.compress(lines("part2"), 9))
    before = whole.stat().st_ino
    cut = folder / f"errors-{DAY}.3.jsonl.gz"
    cut.write_bytes(gzip.compress(lines("part3"))[:-30])
    stray = folder / ".errors-2026-01-01.jsonl.gz.tmp"
    stray.write_bytes(b"its plain file is gone")
    foreign = folder / ".errors-2026-01-01.jsonl.tmp"
    foreign.write_bytes(b"not ours")

    run(make_archiver(logs, before=date(2026, 1, 1)))

    assert tree(logs) == [
        "archive/.errors-2026-01-01.jsonl.tmp",
        *(f"archive/errors-{DAY}.{number}.jsonl.gz" for number in range(1, 5)),
        NAME,
    ]
    assert whole.stat().st_ino == before, "it was good"
    assert ids(logs) == sorted(
        ["one", "two", "three", "part1", "part2", "part3", "part4"]
    )


def test_s4_an_archive_with_other_records_is_not_replaced(logs: Path) -> None:
    """Beside a plain file of its name: both stay, and a person is told."""
    plain = write_log(logs, lines("mine"), part=".1", archived=True)
    other = plain.with_name(plain.name + ".gz")
    for data in (
        gzip.compress(lines("other")),
        gzip.compress(lines("mine")) + gzip.compress(lines("more")),
        gzip.compress(lines("mine", "more")),
        gzip.compress(lines(*map(str, range(20))))[:-9],
    ):
        other.write_bytes(data)
        archiver = make_archiver(logs)
        run(archiver)

        assert other.read_bytes() == data
        assert plain.read_bytes() == lines("mine")
        ((path, reason),) = archiver.result.failed
        assert path == str(plain)
        assert "something else" in reason


def test_s4_two_names_of_one_file_are_made_one_before_it_is_compressed(
    logs: Path,
) -> None:
    """A dead archiver linked it; since then a record came, into both names."""
    (logs / "archive").mkdir()
    os.link(logs / NAME, logs / "archive" / f"errors-{DAY}.2.jsonl")
    with (logs / NAME).open("ab") as file:
        file.write(lines("four"))

    for before in (date(2026, 1, 1), date(2026, 4, 1)):
        run(make_archiver(logs, before=before))
        assert tree(logs) == [f"archive/errors-{DAY}.2.jsonl.gz"]
        assert ids(logs) == sorted(["one", "two", "three", "four"])


def test_s4_a_hard_link_of_somebody_elses_does_not_matter(logs: Path) -> None:
    """Backups are made so."""
    os.link(logs / NAME, logs / "backup")

    archive_fully(logs)

    assert tree(logs) == [f"archive/{NAME}.gz", "backup"]


@pytest.mark.parametrize("where", [".", "archive"])
def test_s4_a_file_whose_lock_is_held_is_left_alone(logs: Path, where: str) -> None:
    """By somebody who appends, or by another archiver."""
    path = logs / NAME
    if where == "archive":
        (logs / "archive").mkdir()
        path = path.rename(logs / "archive" / NAME)
    archiver = make_archiver(logs)
    with held(path):
        run(archiver)

    assert path.read_bytes() == lines("one", "two", "three")
    assert archiver.result.put_off == ((str(path), LOCKED),)


def test_s1_a_late_record_does_not_wait_for_the_compressing(logs: Path) -> None:
    """It goes into a new file of the name, though its writer has the old one open."""
    files = OsFiles()
    day_files = DayFiles(files, str(logs))
    with day_files.locked(ERRORS, DAY) as log:
        log.write([lines("four")])
    steps = make_archiver(logs).steps()
    while not list(logs.glob("archive/.*")):
        next(steps)

    with day_files.locked(ERRORS, DAY) as log:
        log.write([lines("late")])

    assert (logs / NAME).read_bytes() == lines("late")
    assert ids(logs) == sorted(["one", "two", "three", "four", "late"])
    with held(logs / NAME), pytest.raises(Contended), day_files.locked(ERRORS, DAY):
        pass
    steps.close()
    day_files.close()


def test_a_file_that_was_archived_is_let_go_of(logs: Path) -> None:
    """Or its space would not be given back while the process lives."""
    files = OsFiles()
    day_files = DayFiles(files, str(logs))
    with day_files.locked(ERRORS, DAY), day_files.locked(ERRORS, "2026-04-02"):
        pass
    archive_fully(logs)

    day_files.let_go_of_gone()

    assert [os.path.basename(p) for p in files.descriptors.values()] == [
        "errors-2026-04-02.jsonl"
    ]
    assert not (logs / NAME).exists()
    day_files.close()


def make_spool(logs: Path, *, day: str, path: Path | None, done: bool) -> None:
    """Leave a spool whose newest note names *path*, or else *day*."""
    files = OsFiles()
    spool = SpoolFile.create(files, str(logs / "spool"), ERRORS, 4)
    status = path.stat() if path else None
    identity = (status.st_dev, status.st_ino) if status else (1, 1)
    spool.notes.begin(day, identity, 0, (1, 0), (1, 100))
    if done:
        spool.notes.done()
    spool.release()


@pytest.mark.parametrize("by", ["identity", "day"])
@pytest.mark.parametrize("where", ["directory", "both"])
def test_q1_an_unsettled_note_puts_the_archiving_off(
    logs: Path, by: str, where: str
) -> None:
    """What of its range is in the file is found out only under the file's name."""
    write_log(logs, lines("x"), "2026-03-25")
    if where == "both":
        (logs / "archive").mkdir()
        os.link(logs / NAME, logs / "archive" / NAME)
    make_spool(
        logs,
        day=DAY if by == "day" else "2026-03-27",
        path=logs / NAME if by == "identity" else None,
        done=False,
    )
    archiver = make_archiver(logs)
    run(archiver)

    assert (logs / NAME).read_bytes() == lines("one", "two", "three")
    assert not (logs / "archive" / f"{NAME}.gz").exists()
    assert (logs / "archive" / "errors-2026-03-25.jsonl.gz").exists()
    assert {path for path, _ in archiver.result.put_off} <= {
        str(logs / NAME),
        str(logs / "archive" / NAME),
    }
    assert all(".spool has an append" in why for _, why in archiver.result.put_off)
    assert ids(logs) == sorted(["one", "two", "three", "x"])


def test_q1_a_note_that_is_done_or_of_another_file_does_not_matter(
    logs: Path,
) -> None:
    """Nobody will look into the file for it."""
    make_spool(logs, day=DAY, path=logs / NAME, done=True)
    make_spool(logs, day="2026-03-25", path=None, done=False)

    archive_fully(logs)

    assert (logs / "archive" / f"{NAME}.gz").exists()


@pytest.mark.parametrize(
    "obstacle", ["archive file", "archive link", "day link", "day fifo", "day folder"]
)
def test_s5_what_is_no_file_of_ours_is_refused(logs: Path, obstacle: str) -> None:
    """A person is told which, and nothing is lost."""
    elsewhere = logs / "elsewhere"
    elsewhere.mkdir()
    path = logs / NAME
    if obstacle == "archive file":
        (logs / "archive").write_bytes(b"")
    elif obstacle == "archive link":
        (logs / "archive").symlink_to(elsewhere)
    else:
        path.rename(elsewhere / "kept")
        if obstacle == "day link":
            path.symlink_to(elsewhere / "kept")
        elif obstacle == "day fifo":
            os.mkfifo(path)
        else:
            path.mkdir()
    archiver = make_archiver(logs)
    if obstacle == "archive file":
        with pytest.raises(NotADirectoryError):
            run(archiver)
    else:
        run(archiver)
        ((failed, reason),) = archiver.result.failed
        assert failed == str(path)
        assert any(
            text in reason
            for text in ("not a directory", "symbolic", "regular", "Is a directory")
        )
    assert path.is_symlink() or path.exists()
    assert tree(elsewhere) == ([] if obstacle.startswith("archive") else ["kept"])
