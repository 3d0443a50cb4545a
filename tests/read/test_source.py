"""Which files are read, and that each is read once while others move them."""

from __future__ import annotations

import gc
import gzip
import multiprocessing
import os
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.read.log_making import (
    DAY,
    as_lines,
    make_record,
    make_records,
    read_all,
    write_log,
)
from tokenpak.telemetry.read import Query, UnreadableFile, iter_records
from tokenpak.telemetry.store.names import LogFile, list_log_files

Open = Callable[..., int]


def hook_open(
    monkeypatch: pytest.MonkeyPatch, before: Callable[[str], None]
) -> list[str]:
    """Call *before* with each path that is about to be opened; return their names."""
    real: Open = os.open
    names: list[str] = []

    def opening(path: str, flags: int) -> int:
        names.append(os.path.basename(path))
        before(path)
        return real(path, flags)

    monkeypatch.setattr("tokenpak.telemetry.read.source.os.open", opening)
    return names


def archive(path: Path) -> Path:
    """Take the first step of archiving: rename into the archive."""
    folder = path.parent / "archive"
    folder.mkdir(exist_ok=True)
    return path.rename(folder / path.name)


def compress(path: Path) -> Path:
    """Take the second step: the same records, compressed, beside the plain file."""
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    return packed


def test_days_come_in_order_archived_files_first(tmp_path: Path) -> None:
    """All places and parts of a day, then the next day."""
    expected = [make_record(number) for number in range(6)]
    lines = [as_lines([record]) for record in expected]
    write_log(tmp_path, lines[5], "2026-03-25")
    write_log(tmp_path, lines[4], "2026-03-24")
    write_log(tmp_path, lines[3], "2026-03-24", part=".1", archived=True)
    write_log(tmp_path, lines[2], "2026-03-24", archived=True, compressed=True)
    write_log(tmp_path, lines[1], "2026-03-23", part=".10", archived=True)
    write_log(tmp_path, lines[0], "2026-03-23", part=".9", archived=True)
    write_log(tmp_path, lines[0], "2026-03-23", stream="events")

    assert read_all(tmp_path) == (expected, [])


def test_only_files_whose_day_can_match_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither other days nor other streams nor what is no log file."""
    for day in range(10, 20):
        write_log(
            tmp_path, as_lines([make_record(day=f"2026-03-{day}")]), f"2026-03-{day}"
        )
    write_log(tmp_path, b"", "2026-03-14", stream="events")
    (tmp_path / "errors-2026-03-14.jsonl.bak").write_bytes(b"no log file")
    opened = hook_open(monkeypatch, lambda path: None)

    records, _ = read_all(
        tmp_path, Query(since=date(2026, 3, 14), until=date(2026, 3, 15))
    )

    assert opened == ["errors-2026-03-14.jsonl", "errors-2026-03-15.jsonl"]
    assert [r["timestamp"][:10] for r in records] == ["2026-03-14", "2026-03-15"]


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("moment", ["before", "between", "after"])
def test_s4_a_file_that_is_archived_meanwhile_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int, moment: str
) -> None:
    """Whichever step is taken before, between or after the opening of its files."""
    records = make_records(3)
    active = write_log(tmp_path, as_lines(records[:2]))
    late = write_log(tmp_path, as_lines(records[2:]), part=".1", archived=True)
    todo = ["archive", "compress", "unlink"][:steps]

    def step(path: str) -> None:
        name = os.path.basename(path)
        if not todo or (moment == "between") != (name == active.name):
            return
        moved = active.parent / "archive" / active.name
        match todo.pop(0):
            case "archive":
                archive(active)
            case "compress":
                compress(moved)
            case "unlink":
                moved.unlink()

    items = iter_records(tmp_path)
    if moment == "after":
        first = next(items)
        while todo:
            step(str(late))
        found = [first, *items]
    else:
        hook_open(monkeypatch, step)
        found = list(items)

    assert sorted(r["request_id"] for r in found if isinstance(r, dict)) == [
        "req-0",
        "req-1",
        "req-2",
    ]
    assert len(found) == 3


def test_s4_a_late_record_in_a_new_file_of_the_old_name_is_read_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name that was listed is there, but another file has it by now."""
    records = make_records(2)
    active = write_log(tmp_path, as_lines(records[:1]))
    done: list[Path] = []

    def replace(_path: str) -> None:
        if not done:
            done.append(compress(archive(active)))
            (tmp_path / "archive" / active.name).unlink()
            write_log(tmp_path, as_lines(records[1:]))

    hook_open(monkeypatch, replace)

    assert read_all(tmp_path) == (records, [])


def test_a_plain_file_beats_its_half_made_archive(tmp_path: Path) -> None:
    """While both are there they hold the same records."""
    plain = write_log(tmp_path, as_lines(make_records(3)), archived=True)
    compress(plain).write_bytes(b"\x1f\x8b cut")

    assert read_all(tmp_path) == (make_records(3), [])


def test_two_names_of_one_file_are_read_once(tmp_path: Path) -> None:
    """They are told apart by inode, not by name."""
    plain = write_log(tmp_path, as_lines(make_records(3)))
    (tmp_path / "archive").mkdir()
    os.link(plain, tmp_path / "archive" / plain.name)

    assert read_all(tmp_path) == (make_records(3), [])


def test_r1_a_file_that_vanishes_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of other days are read as ever."""
    gone = write_log(tmp_path, as_lines([make_record(1)]), "2026-03-23")
    write_log(tmp_path, as_lines([make_record(2)]))
    hook_open(monkeypatch, lambda path: gone.unlink(missing_ok=True))

    records, damage = read_all(tmp_path)

    assert records == [make_record(2)]
    assert damage == [
        UnreadableFile(str(gone), 0, "it vanished before it could be opened")
    ]


def test_r1_s5_what_is_no_regular_file_is_reported(tmp_path: Path) -> None:
    """A link is not followed, and a FIFO without a writer does not block."""
    link = tmp_path / "errors-2026-03-20.jsonl"
    link.symlink_to(write_log(tmp_path / "elsewhere", as_lines([make_record(1)])))
    fifo = tmp_path / "errors-2026-03-21.jsonl"
    os.mkfifo(fifo)
    folder = tmp_path / "errors-2026-03-22.jsonl"
    folder.mkdir()
    write_log(tmp_path, as_lines([make_record()]))

    records, damage = read_all(tmp_path)

    assert records == [make_record()]
    assert damage == [
        UnreadableFile(str(link), 0, "a symbolic link, which is not followed"),
        UnreadableFile(str(fifo), 0, "not a regular file"),
        UnreadableFile(str(folder), 0, "not a regular file"),
    ]


def test_r1_a_file_without_permission_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulated, since permissions do not bind every user that runs tests."""
    secret = write_log(tmp_path, b"", "2026-03-23")
    write_log(tmp_path, as_lines([make_record()]))

    def refuse(path: str) -> None:
        if path == str(secret):
            raise PermissionError(13, "Permission denied")

    hook_open(monkeypatch, refuse)

    assert read_all(tmp_path) == (
        [make_record()],
        [UnreadableFile(str(secret), 0, "Permission denied")],
    )


def test_a_directory_that_is_not_there_raises_at_the_call(tmp_path: Path) -> None:
    """Not at the first record, where nobody expects it."""
    with pytest.raises(FileNotFoundError) as caught:
        iter_records(tmp_path / "nowhere")

    assert caught.value.filename == str(tmp_path / "nowhere")


def test_a_directory_that_goes_away_meanwhile_is_reported(tmp_path: Path) -> None:
    """After the call nothing raises."""
    log_dir = tmp_path / "logs"
    path = write_log(log_dir, as_lines(make_records(1)))
    items = iter_records(log_dir)
    path.unlink()
    log_dir.rmdir()

    damage = list(items)

    assert {item.file for item in damage if isinstance(item, UnreadableFile)} == {
        str(log_dir),
        str(path),
    }


def test_r2_files_are_closed_day_by_day_also_when_reading_stops(tmp_path: Path) -> None:
    """At most one day's descriptors are open, and none after close()."""
    for day in range(10, 30):
        name = f"2026-03-{day}"
        write_log(tmp_path, as_lines(make_records(2)), name)
    gc.collect()  # or it closes meanwhile what other tests have left to it
    before = len(os.listdir("/dev/fd"))
    items = iter_records(tmp_path)

    most = max(
        len(os.listdir("/dev/fd")) for _, item in zip(range(31), items, strict=False)
    )
    items.close()  # type: ignore[attr-defined]

    assert most <= before + 1
    assert len(os.listdir("/dev/fd")) == before


def test_directories_are_listed_again_only_if_they_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise ten thousand days would list ten thousand names each."""
    (tmp_path / "archive").mkdir()
    for day in range(10, 30):
        write_log(tmp_path, as_lines([make_record()]), f"2026-03-{day}")
    for folder in (tmp_path, tmp_path / "archive"):
        os.utime(folder, (1_000_000_000, 1_000_000_000))
    listed: list[str] = []

    def listing(log_dir: str, only: str = "", tell: Any = None) -> list[LogFile]:
        listed.append(log_dir)
        return list_log_files(log_dir, only, tell)

    monkeypatch.setattr("tokenpak.telemetry.read.source.list_log_files", listing)

    records, _ = read_all(tmp_path)

    assert len(records) == 20
    assert len(listed) == 2


def test_reading_writes_nothing(tmp_path: Path) -> None:
    """No lock file, no spool, no time of change: any reader may read anything."""
    path = write_log(tmp_path, as_lines(make_records(3)) + b"torn", DAY)
    os.utime(tmp_path, ns=(10**18, 10**18))

    read_all(tmp_path)

    assert os.stat(tmp_path).st_mtime_ns == 10**18
    assert os.listdir(tmp_path) == [path.name]
    assert path.read_bytes().endswith(b"torn")


def _archive_all(log_dir: str) -> None:
    for path in sorted(Path(log_dir).glob("errors-*.jsonl")):
        moved = archive(path)
        packed = moved.with_name("packing")
        packed.write_bytes(gzip.compress(moved.read_bytes()))
        packed.rename(moved.with_name(moved.name + ".gz"))
        moved.unlink()


def test_s4_a_reader_sees_each_record_once_while_a_process_archives(
    tmp_path: Path,
) -> None:
    """However the steps of the one fall between those of the other."""
    expected = []
    for number in range(250):
        day = f"2026-{3 + number // 28:02}-{1 + number % 28:02}"
        expected.append(make_record(number, day))
        write_log(tmp_path, as_lines(expected[-1:]), day)
    # Spawned: it must not inherit what other tests have open.
    archiver = multiprocessing.get_context("spawn").Process(
        target=_archive_all, args=(str(tmp_path),)
    )
    archiver.start()

    while archiver.is_alive():
        assert read_all(tmp_path) == (expected, [])

    archiver.join()
    assert archiver.exitcode == 0
    assert read_all(tmp_path) == (expected, [])
