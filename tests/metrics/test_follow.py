"""M1, S4: each line is counted once, whatever becomes of its file."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.metrics.logs import DAY, append, line, problems, total, values
from tests.read.log_making import write_log
from tokenpak.telemetry.metrics import follow, machine
from tokenpak.telemetry.metrics.machine import MachineCounts
from tokenpak.telemetry.store.archive import Archiver
from tokenpak.telemetry.store.entries import Entries
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.names import LogFile, list_log_files

TOMORROW = date.fromisoformat(DAY) + timedelta(1)


def archiver(log_dir: Path) -> Archiver:
    files = OsFiles()
    return Archiver(Entries(files), files, str(log_dir), before=TOMORROW)


@pytest.fixture
def counts(log_dir: Path) -> MachineCounts:
    return MachineCounts(str(log_dir))


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The times of directories are relied on at once."""
    monkeypatch.setattr(follow, "_SETTLED", -60.0)


def test_m1_what_is_appended_is_counted_once(
    log_dir: Path, counts: MachineCounts
) -> None:
    """However often one looks; an event is none of the errors."""
    append(log_dir, line(1) + line(2))
    append(log_dir, line(3, "2026-03-25"), "2026-03-25")
    append(log_dir, line(3, event="done"), stream="events")

    first = [total(counts), total(counts)]
    append(log_dir, line(4))

    assert first == [3, 3]
    assert total(counts) == 4
    assert values(counts, "written") == {("errors",): 4, ("events",): 1}


def test_m1_a_line_counts_when_it_ends(log_dir: Path, counts: MachineCounts) -> None:
    """Written in two, or torn and closed by the next who appends."""
    data = line(1)
    append(log_dir, data[:20])
    seen = [total(counts)]
    append(log_dir, data[20:-1])
    seen.append(total(counts))
    append(log_dir, b"\n" + data[:30] + b"\n" + line(2))
    seen.append(total(counts))

    assert seen == [0, 0, 2]
    assert values(counts, "malformed") == {("errors",): 1}


def test_m1_what_is_no_record_is_counted_as_malformed(
    log_dir: Path, counts: MachineCounts
) -> None:
    """And what is intact on a damaged line, as it is."""
    torn = line(1)[:40]
    append(log_dir, b"\0\0\0\n" + torn + line(2) + b"\n[1]\nnot json\n" + line(3))

    assert total(counts) == 2
    assert values(counts, "malformed") == {("errors",): 4}


@pytest.mark.usefixtures("settled")
def test_s4_a_scrape_between_any_two_steps_of_archiving_counts_all_once(
    log_dir: Path,
) -> None:
    """By who has looked before, and by who begins then; also a late record."""
    append(log_dir, line(1) + line(2))
    before = MachineCounts(str(log_dir))
    assert total(before) == 2

    number = 2
    seen = []
    for step, _ in enumerate(archiver(log_dir).steps()):
        seen.append(total(before) - number)
        seen.append(total(MachineCounts(str(log_dir))) - number)
        if step % 3 == 1:
            number += 1
            append(log_dir, line(number))
            seen.append(total(before) - number)

    assert len(seen) > 8
    assert set(seen) == {0}
    assert total(before) == number


def test_s4_archives_that_are_pruned_stay_counted(
    log_dir: Path, counts: MachineCounts
) -> None:
    """And a file that gets the number of a deleted one is another."""
    append(log_dir, line(1) + line(2))
    total(counts)
    for _ in archiver(log_dir).steps():
        pass
    total(counts)

    shutil.rmtree(log_dir / "archive")
    after = total(counts)
    append(log_dir, line(3))  # late, with any inode

    assert after == 2
    assert total(counts) == 3
    assert total(MachineCounts(str(log_dir))) == 3
    assert values(counts, "archived") == {("errors",): 1}


def test_s4_what_came_after_the_last_scrape_is_counted_in_the_archive(
    log_dir: Path, counts: MachineCounts
) -> None:
    """From where the day's file was counted on; its torn end, too."""
    append(log_dir, line(1))
    total(counts)
    append(log_dir, line(2) + line(3)[:-1])
    for _ in archiver(log_dir).steps():
        pass

    assert total(counts) == 3
    assert total(counts) == 3


def test_s4_a_file_of_the_same_number_and_name_is_told_by_its_first_line(
    log_dir: Path, counts: MachineCounts
) -> None:
    """Inodes are used again, at once on some file systems."""
    path = append(log_dir, line(1) + line(2))
    total(counts)
    path.write_bytes(line(3) + line(4) + line(5))  # the same inode

    assert total(counts) == 5


@pytest.mark.usefixtures("settled")
def test_m1_when_no_name_has_changed_nothing_is_listed(
    log_dir: Path, counts: MachineCounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The day's file is looked at by its name."""
    append(log_dir, line(1))
    total(counts)
    total(counts)
    monkeypatch.setattr(follow, "list_log_files", None)

    append(log_dir, line(2))

    assert total(counts) == 2


@pytest.mark.usefixtures("settled")
def test_s4_a_file_that_is_replaced_is_looked_for_anew(
    log_dir: Path, counts: MachineCounts
) -> None:
    """Also if the directory's time says nothing."""
    path = append(log_dir, line(1))
    total(counts)
    total(counts)
    status = os.stat(log_dir)
    other = append(log_dir, line(2) + line(3), "2026-03-30")
    os.replace(other, path)
    os.utime(log_dir, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert total(counts) == 3


def test_m1_a_file_that_is_cut_short_is_a_trouble(
    log_dir: Path, counts: MachineCounts
) -> None:
    """What was counted stays; what comes behind is counted."""
    path = append(log_dir, line(1) + line(2) + line(3))
    total(counts)
    os.truncate(path, len(line(1)))
    total(counts)
    append(log_dir, line(4))

    assert total(counts) == 4
    assert values(counts, "trouble") == {("file_cut_short",): 1}


def test_m1_a_large_log_is_counted_from_now_on(
    log_dir: Path, counts: MachineCounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first scrape must not take minutes; and it says so."""
    append(log_dir, line(1) + line(2)[:9])
    write_log(log_dir, line(3), "2026-03-01", archived=True, compressed=True)
    monkeypatch.setattr(machine, "MOST_AT_FIRST", 10)
    seen = [total(counts)]

    append(log_dir, line(2)[9:] + line(4))
    seen += [total(counts), total(counts)]

    assert seen == [0, 2, 2]
    assert values(counts, "trouble") == {("begun_from_now_on",): 1}


@pytest.mark.parametrize("damage", [b"", b"\x1f", b"not gzip", b"cut", b"flipped"])
def test_m1_a_damaged_archive_is_counted_up_to_the_damage_and_told(
    log_dir: Path, counts: MachineCounts, damage: bytes
) -> None:
    """Once: it is not read again at each scrape."""
    path = write_log(log_dir, line(1) * 50, archived=True, compressed=True)
    data = gzip.compress(b"".join(line(n) for n in range(2_000)))
    if damage == b"cut":
        damage = data[:-50]
    elif damage == b"flipped":
        damage = data[: len(data) // 2] + b"\xff\xff\xff" + data[len(data) // 2 + 3 :]
    path.write_bytes(damage)
    append(log_dir, line(1, "2026-03-25"), "2026-03-25")

    first, told = total(counts), values(counts, "trouble")

    assert 1 <= first <= 2_001
    assert total(counts) == first
    assert told == values(counts, "trouble") == {("damaged_archive",): 1}


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything"
)
def test_m1_what_may_not_be_read_is_told(
    log_dir: Path, counts: MachineCounts
) -> None:  # pragma: no cover  (not as root)
    """The rest is counted."""
    append(log_dir, line(1)).chmod(0)
    append(log_dir, line(2, "2026-03-25"), "2026-03-25")

    assert total(counts) == 1
    assert problems(counts) == ("unreadable_file",)


def test_m1_what_was_passed_over_is_not_counted_when_its_archive_is_touched(
    log_dir: Path, counts: MachineCounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or copied to another disk: all that ever was would come at once, as a spike."""
    monkeypatch.setattr(machine, "MOST_AT_FIRST", 100)
    packed = log_dir / "archive" / f"errors-{DAY}.jsonl.gz"
    packed.parent.mkdir(parents=True)
    packed.write_bytes(gzip.compress(line(1) + line(2)))
    assert total(counts) == 0

    os.utime(packed, (0, 0))
    append(log_dir, line(3, "2026-03-25"), "2026-03-25")

    assert total(counts) == 1
    assert total(MachineCounts(str(log_dir))) == 1


def test_m1_a_directory_that_goes_away_in_the_middle_of_a_scrape_is_told(
    log_dir: Path, counts: MachineCounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was listed, and is to be listed again for what is new in it."""
    append(log_dir, line(1))
    total(counts)
    append(log_dir, line(2))
    away = log_dir.with_name("away")

    listed: list[str] = []

    def unmounted(directory: str) -> list[LogFile]:
        files = [*list_log_files(directory)]
        listed.append(directory)
        if len(listed) == 2:
            log_dir.rename(away)
        return files

    with monkeypatch.context() as patch:
        patch.setattr(follow, "list_log_files", unmounted)
        assert problems(counts) == ("unreadable_directory",)

    away.rename(log_dir)
    assert total(counts) == 2


def test_m1_what_is_no_file_is_told(log_dir: Path, counts: MachineCounts) -> None:
    """A pipe, a link, a directory of a log file's name; nobody waits for it."""
    append(log_dir, line(1))
    os.mkfifo(log_dir / "errors-2026-03-25.jsonl")
    (log_dir / "errors-2026-03-26.jsonl").symlink_to(log_dir / f"errors-{DAY}.jsonl")
    (log_dir / "errors-2026-03-27.jsonl").mkdir()

    assert total(counts) == 1
    assert problems(counts) == ("unreadable_file",)
    assert total(counts) == 1


def test_m1_a_bad_place_on_the_disk_costs_its_lines(
    log_dir: Path, counts: MachineCounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is behind it is counted."""
    append(log_dir, b"".join(line(n) for n in range(200)))
    real = os.pread

    def pread(fd: int, size: int, offset: int) -> bytes:
        if offset <= 8192 < offset + size and size <= 1024 * 1024 and size != 4096:
            raise OSError(5, "Input/output error")
        if offset == 8192:
            raise OSError(5, "Input/output error")
        return real(fd, size, offset)

    monkeypatch.setattr(os, "pread", pread)

    assert 150 < total(counts) < 200
    assert values(counts, "malformed")


def test_r1_a_directory_that_is_not_there_has_no_errors(
    log_dir: Path, counts: MachineCounts
) -> None:
    """Nothing is made; when it comes, it is counted."""
    before = total(counts), problems(counts), log_dir.exists()
    append(log_dir, line(1))

    assert before == (0, (), False)
    assert total(counts) == 1


Step = tuple[str, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["append", "tear", "archive", "prune", "scrape", "restart"]),
        st.integers(0, 3),
    ),
    max_size=25,
)


@settings(max_examples=60)
@given(STEPS)
def test_m1_whatever_happens_each_line_is_counted_once(steps: list[Step]) -> None:
    """Appends, archiving in single steps, pruning, restarts, two processes."""
    with _directory() as log_dir:
        workers = [MachineCounts(str(log_dir)) for _ in range(2)]
        work: Iterator[int] = iter(())
        number, torn, highest = 0, b"", 0
        for what, which in steps:
            if what == "append":
                number += 1
                append(log_dir, torn and b"\n")
                append(log_dir, line(number))
                torn = b""
            elif what == "tear" and not torn:
                torn = line(999)[:30]
                append(log_dir, torn)
            elif what == "archive":
                work = work if which else archiver(log_dir).steps()
                for _ in range(which):
                    next(work, None)
                if not (log_dir / f"errors-{DAY}.jsonl").exists():
                    torn = b""
            elif what == "prune":
                for packed in (log_dir / "archive").glob("*.gz"):
                    if not packed.with_suffix("").exists():
                        # Seen at least once: who is never asked knows nothing.
                        assert total(workers[0]) == number
                        packed.unlink()
            elif what == "restart":
                workers[which % 2] = MachineCounts(str(log_dir))
            seen = total(workers[which % 2])
            assert seen == number
            assert seen >= highest
            highest = seen


class _directory:  # noqa: N801  (used as a function)
    """A directory in memory where that can be had, for an example."""

    def __enter__(self) -> Path:
        import tempfile

        base = "/dev/shm" if os.path.isdir("/dev/shm") else None
        self._path = Path(tempfile.mkdtemp(dir=base))
        return self._path / "logs"

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._path)
