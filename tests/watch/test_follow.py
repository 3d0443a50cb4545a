"""Every record is seen once: while files grow, tear, are archived and come back."""

from __future__ import annotations

import gzip
import os
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from tests.read.log_making import as_lines, make_record, write_log
from tokenpak.telemetry.watch.follow import MOST_FILES, Follower

DAY = "2026-03-24"
NOON = datetime(2026, 3, 24, 12, tzinfo=UTC).timestamp()


def look(follower: Follower, now: float = NOON) -> list[str]:
    return [
        record["request_id"]
        for _, records in follower.new_records(now)
        for record in records
    ]


def again(follower: Follower, log_dir: Path) -> Follower:
    """One that knows what *follower* knew, from what JSON keeps of it."""
    made = Follower(str(log_dir))
    made.restore(orjson.loads(orjson.dumps(follower.as_data())))
    return made


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_r1_what_is_appended_is_seen_once_over_restarts(log_dir: Path) -> None:
    """Also by a follower that was restored."""
    path = write_log(log_dir, as_lines([make_record(1)]))
    follower = Follower(str(log_dir))
    assert look(follower) == ["req-1"]
    assert look(follower) == []

    append(path, as_lines([make_record(2), make_record(3)]))
    follower = again(follower, log_dir)

    assert look(follower) == ["req-2", "req-3"]
    assert look(again(follower, log_dir)) == []


def test_r1_a_line_is_read_when_it_is_finished(log_dir: Path) -> None:
    """However it is cut."""
    line = as_lines([make_record(1)])
    path = write_log(log_dir, line[:40])
    follower = Follower(str(log_dir))
    assert look(follower) == []

    append(path, line[40:-1])
    assert look(follower) == []
    append(path, b"\n")

    assert look(follower) == ["req-1"]
    assert follower.malformed == 0


def test_r1_malformed_lines_are_passed_over(log_dir: Path) -> None:
    """And counted; what is around them is read."""
    good = as_lines([make_record(1)])
    write_log(log_dir, b"{nonsense\n" + good + b"\xff\xfe\0\n[1]\n\n")
    follower = Follower(str(log_dir))

    assert look(follower) == ["req-1"]
    assert follower.malformed == 3


@pytest.mark.parametrize("compressed", [False, True])
def test_s4_an_archived_file_is_not_read_again(
    log_dir: Path, *, compressed: bool
) -> None:
    """Renamed or compressed, and late records come in a new file of the same name."""
    path = write_log(log_dir, as_lines([make_record(1)]))
    follower = Follower(str(log_dir))
    assert look(follower) == ["req-1"]
    append(path, as_lines([make_record(2)]))  # not seen before it is archived

    (log_dir / "archive").mkdir()
    if compressed:
        packed = log_dir / "archive" / f"{path.name}.gz"
        packed.write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    else:
        path.rename(log_dir / "archive" / path.name)
    follower = again(follower, log_dir)
    assert look(follower) == ["req-2"]

    write_log(log_dir, as_lines([make_record(3)]))
    follower = again(follower, log_dir)
    assert look(follower) == ["req-3"]
    write_log(
        log_dir, as_lines([make_record(3)]), part=".1", archived=True, compressed=True
    )
    (log_dir / path.name).unlink()
    assert look(again(follower, log_dir)) == []


def test_s4_a_file_that_took_the_place_and_inode_of_another_is_read(
    log_dir: Path,
) -> None:
    """Files never shrink: one that is shorter is another one."""
    path = write_log(log_dir, as_lines([make_record(1), make_record(2)]))
    follower = Follower(str(log_dir))
    look(follower)

    os.truncate(path, 0)
    append(path, as_lines([make_record(3)]))

    assert look(follower) == ["req-3"]


@pytest.mark.parametrize("late", [1, 9])
def test_s4_a_late_file_with_the_inode_of_an_archived_one_is_another(
    log_dir: Path, late: int
) -> None:
    """
    File systems give a number again at once; the archive is not read anew for that.

    Or yesterday's alerts would be told again, and late records never.
    """
    path = write_log(log_dir, as_lines([make_record(n) for n in range(5)]))
    follower = Follower(str(log_dir))
    look(follower)

    # The same file, to be sure that it has the same number.
    (log_dir / "archive").mkdir()
    packed = log_dir / "archive" / f"{path.name}.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    os.truncate(path, 0)
    append(path, as_lines([make_record(100 + n) for n in range(late)]))
    follower = again(follower, log_dir)

    assert look(follower) == [f"req-{100 + n}" for n in range(late)]
    append(path, as_lines([make_record(200)]))
    assert look(again(follower, log_dir)) == ["req-200"]


def test_r2_so_many_files_are_remembered(log_dir: Path) -> None:
    """Not all that ever were, and old days are not looked at again."""
    follower = Follower(str(log_dir), learn_days=500)
    for month in range(1, 13):
        for day in range(1, 10):
            write_log(
                log_dir, as_lines([make_record(day)]), f"2025-{month:02}-{day:02}"
            )

    assert len(look(follower)) == 108
    assert len(follower.as_data()["files"]) == MOST_FILES
    assert look(follower) == []


def test_r1_more_files_of_a_day_than_are_remembered_are_read_once(
    log_dir: Path,
) -> None:
    """They are looked at again, so each of them is known."""
    archive = log_dir / "archive"
    archive.mkdir(parents=True)
    for part in range(1, MOST_FILES + 10):
        path = archive / f"errors-{DAY}.{part}.jsonl.gz"
        path.write_bytes(gzip.compress(as_lines([make_record(part)])))
    follower = Follower(str(log_dir))

    assert len(look(follower)) == MOST_FILES + 9
    assert look(follower) == []
    assert look(again(follower, log_dir), NOON + 86_400.0) == []


@pytest.mark.parametrize("leap", [-40, 40, 400, 100_000_000])
def test_r1_a_leap_of_the_clock_repeats_nothing(log_dir: Path, leap: int) -> None:
    """Days, back and ahead and there again."""
    path = write_log(log_dir, as_lines([make_record(1)]))
    follower = Follower(str(log_dir))
    assert look(follower) == ["req-1"]

    assert look(follower, NOON + leap * 86_400.0) == []
    append(path, as_lines([make_record(2)]))

    found = look(follower, NOON + leap * 86_400.0) + look(follower)
    assert found == ["req-2"]


@pytest.mark.parametrize(
    "damaged",
    [
        {},
        {"day": "never", "files": []},
        {"day": DAY, "files": [[DAY, 1]]},
        {"day": DAY, "files": [[DAY, 1, 2, -1, None, False]]},
        {"day": DAY, "files": [[DAY, 1, 2, 3, 4, False]]},
    ],
)
def test_watch_a_damaged_position_is_none(log_dir: Path, damaged: object) -> None:
    """Restoring it fails, so that the caller begins anew."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        Follower(str(log_dir)).restore(damaged)
