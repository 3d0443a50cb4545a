"""X2 and S1: which day files are open, and what happens when there is no descriptor."""

from __future__ import annotations

import errno

import pytest

from tests.store.fakes import LOG_DIR, Disk, FakeFiles, lines_of
from tokenpak.telemetry.store.dayfiles import MAX_OPEN, DayFiles
from tokenpak.telemetry.store.names import ERRORS, EVENTS


class Few(FakeFiles):
    """A process that may have so many files open, and no more."""

    def __init__(self, disk: Disk, most: int, number: int = errno.EMFILE) -> None:
        super().__init__(disk)
        self.most = most
        self.number = number

    def open_append(self, path: str) -> int:
        """Open *path*, if that is allowed."""
        if len(self._open) >= self.most:
            raise OSError(self.number, "Too many open files", path)
        return super().open_append(path)

    @property
    def count(self) -> int:
        return len(self._open)


def append(day_files: DayFiles, stream: str, day: int) -> None:
    with day_files.locked(stream, f"2026-03-{day}") as log:
        log.write([b"line\n"])


def path_of(stream: str, day: int) -> str:
    return f"{LOG_DIR}/{stream}-2026-03-{day}.jsonl"


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
@pytest.mark.parametrize("most", [1, 2, 3])
def test_x2_a_new_days_file_takes_the_descriptor_of_an_old_one(
    most: int, number: int
) -> None:
    """
    As often as need be, and also where two streams share one descriptor.
    """
    disk = Disk()
    files = Few(disk, most, number)
    day_files = DayFiles(files, LOG_DIR)
    for day in range(10, 20):
        for stream in (ERRORS, EVENTS, ERRORS):
            append(day_files, stream, day)
    day_files.close()

    assert files.count == 0
    assert {path: len(lines_of(disk, path)) for path in disk.names} == {
        path_of(stream, day): count
        for day in range(10, 20)
        for stream, count in ((ERRORS, 2), (EVENTS, 1))
    }


def test_x2_where_there_is_none_at_all_the_error_is_told() -> None:
    """
    With the path; and it is tried again.
    """
    files = Few(Disk(), 0)
    day_files = DayFiles(files, LOG_DIR)
    with pytest.raises(OSError, match="Too many") as caught:
        append(day_files, ERRORS, 10)
    files.most = 1
    append(day_files, ERRORS, 10)

    assert caught.value.filename == path_of(ERRORS, 10)
    assert files.count == 1


def test_x2_other_errors_close_nothing() -> None:
    """
    Only a lack of descriptors is helped by closing others.
    """
    files = Few(Disk(), 2, errno.EACCES)
    day_files = DayFiles(files, LOG_DIR)
    append(day_files, ERRORS, 10)
    append(day_files, EVENTS, 10)
    with pytest.raises(PermissionError):
        append(day_files, ERRORS, 11)

    assert files.count == 2


def test_a_few_files_are_kept_open() -> None:
    """
    A spool that is recovered may have records of many days.
    """
    files = Few(Disk(), MAX_OPEN)
    day_files = DayFiles(files, LOG_DIR)
    for day in range(10, 30):
        append(day_files, ERRORS, day)

    assert files.count == MAX_OPEN
    assert day_files.dirty


def test_q6_two_who_close_at_once_close_each_file_once() -> None:
    """
    Several threads may close a logger, and none of them raises.
    """
    closed: list[int] = []

    class Together(FakeFiles):
        def close(self, fd: int) -> None:
            if not closed:
                closed.append(fd)
                day_files.close()  # the other one, just then
            else:
                closed.append(fd)
            super().close(fd)

    day_files = DayFiles(Together(Disk()), LOG_DIR)
    for day in (10, 11, 12):
        append(day_files, ERRORS, day)

    day_files.close()

    assert len(closed) == len(set(closed)) == 3


def test_s2_a_sync_does_not_make_a_file_that_is_gone() -> None:
    """
    It was closed for others, and then archived or deleted: nothing is to be forced.
    """
    disk = Disk()
    day_files = DayFiles(Few(disk, 1), LOG_DIR)
    append(day_files, ERRORS, 10)
    append(day_files, ERRORS, 11)
    disk.delete(path_of(ERRORS, 10))
    day_files.sync()

    assert list(disk.names) == [path_of(ERRORS, 11)]
    assert not day_files.dirty
