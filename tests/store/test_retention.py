"""Only finished archives are pruned, the oldest first, and a clock is not believed."""

from __future__ import annotations

import os
import stat
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from tests.queue.rig import make_line
from tests.read.log_making import write_log
from tests.store.archiving import FastEntries, tree
from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.manage import archive_days, older_than, prune_archives
from tokenpak.telemetry.store.retention import Pruner, today_is_credible

TODAY = date(2026, 4, 1)


def pack(log_dir: Path, day: str, size: int = 100, **where: str) -> Path:
    """Make an archive of *size* bytes; what is in it is of no importance."""
    path = write_log(log_dir, b"", day, archived=True, compressed=True, **where)
    path.write_bytes(bytes(size))
    return path


def prune(log_dir: Path, disk: FastEntries | None = None, **bounds: object) -> Pruner:
    pruner = Pruner(disk or FastEntries(OsFiles()), str(log_dir), **bounds)  # type: ignore[arg-type]
    for _ in pruner.steps():
        pass
    return pruner


def test_archives_of_earlier_days_are_deleted_the_oldest_first(tmp_path: Path) -> None:
    """By the day of the name, over all streams and parts."""
    paths = [
        pack(tmp_path, "2026-03-01"),
        pack(tmp_path, "2026-03-01", part=".1"),
        pack(tmp_path, "2026-03-01", stream="events"),
        pack(tmp_path, "2026-03-02"),
    ]
    pack(tmp_path, "2026-03-03")

    result = prune(tmp_path, before=date(2026, 3, 3)).result

    assert result.files == tuple(map(str, paths))
    assert (result.bytes, result.left, result.left_bytes) == (400, 1, 100)
    assert tree(tmp_path) == ["archive/errors-2026-03-03.jsonl.gz"]


def test_the_oldest_are_deleted_until_the_rest_takes_no_more(tmp_path: Path) -> None:
    """Plain files in the archive are counted, and stay."""
    for day in (1, 2, 3, 4):
        pack(tmp_path, f"2026-03-0{day}")
    write_log(tmp_path, bytes(50), "2026-02-01", archived=True)

    assert prune(tmp_path, max_bytes=450).result.files == ()
    result = prune(tmp_path, max_bytes=350).result

    assert [os.path.basename(path) for path in result.files] == [
        "errors-2026-03-01.jsonl.gz"
    ]
    assert result.left_bytes == 350
    assert prune(tmp_path, max_bytes=0).result.left_bytes == 50
    assert tree(tmp_path) == ["archive/errors-2026-02-01.jsonl"]


def test_nothing_but_finished_archives_is_deleted(tmp_path: Path) -> None:
    """Nor what a link leads to, nor a day that is not archived, however old."""
    log_dir = tmp_path / "logs"
    archive = log_dir / "archive"
    write_log(log_dir, b"active", "2020-01-01")
    pack(log_dir, "2020-01-01", part=".1").rename(
        log_dir / "errors-2020-01-01.jsonl.gz"
    )
    write_log(log_dir, b"moved", "2020-01-02", archived=True)
    pack(log_dir, "2020-01-02")
    (archive / "errors-2020-01-03.jsonl.gz.bak").write_bytes(b"")
    (archive / "notes.gz").write_bytes(b"")
    (archive / ".errors-2020-01-04.jsonl.gz.tmp").write_bytes(b"")
    (archive / "errors-2020-02-31.jsonl.gz").write_bytes(b"")
    (archive / "errors-2020-01-05.jsonl.gz").mkdir()
    (archive / "errors-2020-01-06.jsonl.gz").symlink_to(tmp_path / "precious")
    (tmp_path / "precious").write_bytes(b"precious")
    os.mkfifo(archive / "errors-2020-01-07.jsonl.gz")
    before = tree(tmp_path)

    result = prune(log_dir, before=date(2030, 1, 1), max_bytes=0).result

    assert result.files == ()
    assert tree(tmp_path) == before


def test_an_archive_that_is_a_link_or_missing_is_not_looked_into(
    tmp_path: Path,
) -> None:
    """It may lead to somebody else's files."""
    pack(tmp_path / "other", "2020-01-01")
    (tmp_path / "logs").mkdir()
    assert prune(tmp_path / "logs", max_bytes=0).result.files == ()
    (tmp_path / "logs" / "archive").symlink_to(tmp_path / "other" / "archive")

    assert prune(tmp_path / "logs", max_bytes=0).result.files == ()
    assert tree(tmp_path / "other") == ["archive/errors-2020-01-01.jsonl.gz"]


@pytest.mark.parametrize("change", ["gone", "replaced", "plain", "refused"])
def test_what_changed_since_it_was_looked_at_stays(tmp_path: Path, change: str) -> None:
    """Another pruner was faster, or it is being made anew."""
    path = pack(tmp_path, "2020-01-01")
    last = pack(tmp_path, "2020-01-02")

    class Changing(FastEntries):
        def look(self, path: str) -> os.stat_result | None:
            if path == str(last) and change == "gone":
                first.unlink(missing_ok=True)
            return super().look(path)

        def unlink(self, path: str) -> None:
            if change == "refused" and path == str(first):
                raise PermissionError(13, "Permission denied")
            super().unlink(path)

    first = path
    pruner = Pruner(Changing(OsFiles()), str(tmp_path), max_bytes=0)
    steps = pruner.steps()
    next(steps)
    if change == "replaced":
        path.rename(tmp_path / "old")
        path.write_bytes(b"new")
    elif change == "plain":
        write_log(tmp_path, b"x", "2020-01-01", archived=True)
    for _ in steps:
        pass

    assert pruner.result.files == (str(last),)
    assert path.exists() == (change != "gone")
    assert bool(pruner.result.failed) == (change == "refused")


def test_what_is_said_to_be_deleted_is_what_will_be(tmp_path: Path) -> None:
    """A dry run changes nothing."""
    for day in (1, 2, 3, 4):
        pack(tmp_path, f"2026-03-0{day}", size=10 * day)
    before = tree(tmp_path)

    said = prune_archives(str(tmp_path), max_bytes=70, dry_run=True)

    assert tree(tmp_path) == before
    assert prune_archives(str(tmp_path), max_bytes=70) == said
    assert len(said.files) == 2


def test_a_bound_must_be_given_and_make_sense(tmp_path: Path) -> None:
    """Or a slip would delete everything, or nothing."""
    with pytest.raises(SettingError, match="a size, or both"):
        prune_archives(str(tmp_path))
    with pytest.raises(SettingError, match="0 bytes or more"):
        prune_archives(str(tmp_path), max_bytes=-1)
    with pytest.raises(SettingError, match="0 or more"):
        prune_archives(str(tmp_path), age=timedelta(-1))


@pytest.mark.parametrize(
    ("age", "first"),
    [
        (timedelta(0), "2026-04-01"),
        (timedelta(hours=11), "2026-04-01"),
        (timedelta(hours=13), "2026-03-31"),
        (timedelta(days=1), "2026-03-31"),
        (timedelta(days=7), "2026-03-25"),
        (timedelta(days=10**7), "0001-01-01"),
    ],
)
def test_a_day_is_as_old_as_its_youngest_record_may_be(
    age: timedelta, first: str
) -> None:
    """It is counted from the end of the day."""
    now = datetime(2026, 4, 1, 12, tzinfo=UTC)

    assert older_than(age, now) == date.fromisoformat(first)


def test_today_is_credible_if_there_are_other_days_of_late() -> None:
    """Two; neither today's own nor days to come nor the distant past count."""
    days = [TODAY - timedelta(number) for number in (1, 14)]

    assert today_is_credible(days, TODAY)
    assert today_is_credible([*days, TODAY, TODAY], TODAY)
    assert not today_is_credible(days[:1], TODAY)
    assert not today_is_credible([*days[:1], TODAY, TODAY + timedelta(1)], TODAY)
    assert not today_is_credible([days[0], TODAY - timedelta(15)], TODAY)
    # A leap of a year: on the first day after it, and on the second.
    leapt = TODAY + timedelta(365)
    assert not today_is_credible([*days, leapt], leapt)
    assert not today_is_credible([*days, leapt, leapt + timedelta(1)], leapt)


def test_archive_days_does_it_at_once_and_says_what_it_did(tmp_path: Path) -> None:
    """The age is the setting's if none is given; progress goes to the end."""
    today = datetime.now(UTC).date()
    for ago in (1, 5, 9, 12):
        day = (today - timedelta(ago)).isoformat()
        write_log(tmp_path, make_line("x", 100_000, day), day)
    progress: list[tuple[int, int]] = []

    said = archive_days(str(tmp_path), dry_run=True)
    result = archive_days(
        str(tmp_path), on_progress=lambda done, total: progress.append((done, total))
    )

    assert len(said.files) == len(result.files) == 2
    assert said.plain_bytes == result.plain_bytes == 200_000
    assert progress[-1] == (200_000, 200_000)
    assert [done for done, _ in progress] == sorted(done for done, _ in progress)
    assert len(archive_days(str(tmp_path), age=timedelta(4)).files) == 1


def test_archive_days_stops_when_it_is_told_to(tmp_path: Path) -> None:
    """With nothing half-done."""
    write_log(tmp_path, make_line("x", 500_000), "2026-03-24")
    calls = iter(range(100))

    result = archive_days(str(tmp_path), stop=lambda: next(calls) > 3)

    assert result.files == ()
    assert tree(tmp_path) == ["archive/errors-2026-03-24.jsonl"]


def test_never_to_archive_is_no_age(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody has to say one then."""
    monkeypatch.setenv("TOKENPAK_ARCHIVE_AFTER_DAYS", "0")

    with pytest.raises(SettingError, match="never"):
        archive_days(str(tmp_path))
    assert archive_days(str(tmp_path), age=timedelta(0)).files == ()


@pytest.mark.parametrize("way", ["setting", "seen", "alone"])
def test_s5_an_archive_that_is_made_by_hand_is_the_groups_where_the_log_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """
    By the setting, or since there are spools of others: or the archive of the first
    command would shut out all users but one.
    """
    write_log(tmp_path, make_line("x", 100), "2026-03-24")
    if way == "setting":
        monkeypatch.setenv("TOKENPAK_GROUP_ACCESS", "true")
    elif way == "seen":
        (tmp_path / "spool").mkdir()
        (tmp_path / "spool").chmod(0o3770)
    assert len(archive_days(str(tmp_path)).files) == 1

    found = stat.S_IMODE((tmp_path / "archive").stat().st_mode)
    assert found == (0o700 if way == "alone" else 0o2770)
