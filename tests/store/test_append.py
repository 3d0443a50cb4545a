"""The append and settle(), case by case; all cases at once: queue/test_death_…"""

from __future__ import annotations

import errno
import os
from itertools import pairwise
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from tests.queue.rig import DAY, NEXT_DAY, make_line
from tests.store.fakes import (
    LOG_DIR,
    Died,
    Disk,
    FakeFiles,
    Fate,
    Fault,
    fake_day_files,
    lines_of,
)
from tokenpak.telemetry.store.append import Appender
from tokenpak.telemetry.store.dayfiles import MAX_OPEN, Contended, DayFiles
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.names import ERRORS
from tokenpak.telemetry.store.notes import HEADER_WORDS, Note, Notes
from tokenpak.telemetry.store.pieces import Piece, behind

PATH = f"{LOG_DIR}/errors-{DAY}.jsonl"
OURS = [make_line(name, 100) for name in ("one", "two", "three")]
OTHER = make_line("other", 100)


def make_notes() -> Notes:
    notes = Notes(memoryview(bytearray(HEADER_WORDS * 8)).cast("Q"))
    notes.format(ERRORS, 4096, 4)
    return notes


def make_piece(data: bytes, start: int = 0, sequence: int = 1) -> Piece:
    return Piece(sequence, memoryview(data), start, len(data))


class Case:
    """An append that was cut short, and what is found afterwards."""

    def __init__(self, before: bytes = b"") -> None:
        self.disk = Disk()
        self.disk.open(PATH).data += before
        self.notes = make_notes()
        self.data = b"".join(OURS)

    @property
    def file(self) -> bytearray:
        """What the file of the day holds."""
        return self.disk.open(PATH).data

    def appender(self, fate: Fate | None = None) -> Appender:
        """Return the appender of a new process."""
        return Appender(fake_day_files(self.disk, fate), self.notes, sync=False)

    def die_in_write(self, size: int) -> None:
        """Append, and die when *size* bytes are in the file."""
        fate = Fate({"write": Fault("die within", size / len(self.data))})
        before = len(self.file)
        with pytest.raises(Died):
            self.appender(fate).append(DAY, [make_piece(self.data)])
        assert len(self.file) == before + size
        self.disk.locks.clear()

    def settle(self) -> None:
        """Settle as another process would."""

        def pieces_of(note: Note) -> list[Piece]:
            return [make_piece(self.data, note.start)]

        self.appender().settle(pieces_of)

    def check(self, *, torn: int) -> None:
        """Every line is there once, besides *torn* lines; settled is settled."""
        lines = [line + b"\n" for line in lines_of(self.disk, PATH)]
        note = self.notes.current()

        assert [line for line in lines if line in OURS] == OURS
        assert len([line for line in lines if line not in {*OURS, OTHER}]) == torn
        assert note is not None
        assert note.done
        assert (note.last, note.end) == (1, len(self.data))


@pytest.mark.parametrize("size", [0, 1, 50, 99, 100, 101, 199, 200, 299, 300])
@pytest.mark.parametrize("before", [b"", OTHER])
def test_q1_a_prefix_at_the_end_of_the_file_is_completed(
    size: int, before: bytes
) -> None:
    """
    In place: not one byte more is written than was missing.
    """
    case = Case(before)
    case.die_in_write(size)
    case.settle()
    case.settle()

    case.check(torn=0)
    assert bytes(case.file) == before + b"".join(OURS)


@pytest.mark.parametrize(
    ("size", "torn"),
    [(1, 1), (50, 1), (99, 0), (100, 0), (150, 1), (199, 0), (299, 0), (300, 0)],
)
def test_q1_a_prefix_that_was_closed_by_somebody_is_taken_up_at_the_next_line(
    size: int, torn: int
) -> None:
    """
    A line of which only the newline was missing has it from whoever closed the tail.
    """
    case = Case()
    case.die_in_write(size)
    other = Appender(fake_day_files(case.disk), make_notes(), sync=False)
    other.append(DAY, [make_piece(OTHER)])
    case.settle()

    case.check(torn=torn)
    assert OTHER in case.file


@pytest.mark.parametrize("size", [0, 100, 200])
def test_q1_lines_that_begin_as_ours_are_not_taken_for_ours(size: int) -> None:
    """
    Another process has appended where our next line was to go, with the same beginning.
    """
    case = Case()
    case.die_in_write(size)
    case.file.extend(OTHER)
    case.settle()

    case.check(torn=0)


@pytest.mark.parametrize("size", [0, 70, 100])
def test_q1_the_torn_line_of_another_is_not_completed_with_the_rest_of_ours(
    size: int,
) -> None:
    """
    It died at the same place, in a line that begins as ours: both come out right.
    """
    case = Case()
    case.die_in_write(0)
    other = Case()
    other.disk = case.disk
    other.data = OTHER
    other.die_in_write(size)
    case.settle()
    other.settle()

    lines = [line + b"\n" for line in lines_of(case.disk, PATH)]
    assert [line for line in lines if line in OURS] == OURS
    assert lines.count(OTHER) == 1
    assert lines[len(lines) - 1] in {*OURS, OTHER}


@pytest.mark.parametrize("size", [0, 150, 300])
@pytest.mark.parametrize("number_stays", [True, False])
def test_q1_a_file_that_was_replaced_gets_the_whole_range(
    size: int, *, number_stays: bool
) -> None:
    """
    Also when the new file has the old one's number: they are given out again.
    """
    case = Case()
    case.die_in_write(size)
    old = case.disk.names[PATH]
    case.disk.delete(PATH)
    if number_stays:
        case.disk.open(PATH).number = old.number
    case.file.extend(OTHER)
    case.settle()

    case.check(torn=0)


def test_q1_a_note_that_is_done_is_left_alone() -> None:
    """
    The death came after it: nothing is appended again.
    """
    case = Case()
    case.appender().append(DAY, [make_piece(case.data)])
    before = bytes(case.file)
    case.settle()

    assert bytes(case.file) == before
    case.check(torn=0)


def test_q1_nothing_is_settled_in_an_empty_spool() -> None:
    """
    No note: nothing was ever appended.
    """
    case = Case()
    case.settle()

    assert bytes(case.file) == b""


def test_q1_a_note_is_there_before_the_first_byte_is_written() -> None:
    """
    With the place at which the lines are found.
    """
    case = Case(OTHER)
    fate = Fate({"write": Fault("die before")})
    with pytest.raises(Died):
        case.appender(fate).append(DAY, [make_piece(case.data)])
    note = case.notes.current()

    assert note is not None
    assert (note.day, note.offset, note.done) == (DAY, len(OTHER), False)
    assert (note.first, note.start, note.last, note.end) == (1, 0, 1, 300)


def test_s2_a_torn_tail_is_closed_before_anything_is_appended() -> None:
    """
    Whoever left it: no line is merged with it.
    """
    case = Case(OTHER[:50])
    case.appender().append(DAY, [make_piece(case.data)])

    assert bytes(case.file) == OTHER[:50] + b"\n" + b"".join(OURS)


def test_s1_nothing_is_done_while_somebody_holds_the_lock() -> None:
    """
    No note, no byte; and the lock is the holder's still.
    """
    case = Case()
    day_files = fake_day_files(case.disk)
    with day_files.locked(ERRORS, DAY):
        with pytest.raises(Contended):
            case.appender().append(DAY, [make_piece(case.data)])
        still = case.disk.locked(PATH)

    assert still
    assert not case.disk.locked(PATH)
    assert case.notes.current() is None
    assert bytes(case.file) == b""


def test_s1_an_error_leaves_no_lock_behind() -> None:
    """
    Whichever operation fails.
    """
    for operation in ("open_append", "lock", "status", "status_at", "read", "write"):
        case = Case(OTHER)
        fate = Fate({operation: Fault("error before")})
        with pytest.raises(OSError, match="as planned"):
            case.appender(fate).append(DAY, [make_piece(case.data)])

        assert not case.disk.locked(PATH), operation


@pytest.mark.parametrize("fault", [None, "status", "status_at", "read", "write"])
def test_q5_every_lock_is_released_before_its_file_is_closed(fault: str | None) -> None:
    """
    A forked child may have a copy of the descriptor: then closing ours does not do it.
    """

    class Copied(FakeFiles):
        """Closes, and the copy keeps the lock."""

        def _drop_lock(self, fd: int) -> None:
            if not self.closing:
                super()._drop_lock(fd)

        closing = False

        def close(self, fd: int) -> None:
            self.closing = True
            super().close(fd)
            self.closing = False

    disk, fate = Disk(), Fate()
    day_files = DayFiles(Copied(disk, fate), LOG_DIR)
    for _ in range(3):
        fate.plan({fault: Fault("error before")} if fault else {})
        try:
            with day_files.locked(ERRORS, DAY) as log:
                log.close_torn_tail()
                log.write([OTHER])
        except OSError:
            pass
        disk.delete(PATH)
    day_files.close()

    assert disk.locks == {}


@given(
    cuts=st.lists(st.integers(0, 30), min_size=2, max_size=8).map(sorted),
    size=st.integers(0, 60),
)
def test_q1_what_is_behind_a_prefix_is_all_the_rest(cuts: list[int], size: int) -> None:
    """
    Of however many pieces, and wherever it ends.
    """
    data = bytes(range(30))
    pieces = [
        Piece(number, memoryview(data), start, end)
        for number, (start, end) in enumerate(pairwise(cuts))
        if start < end
    ]
    whole = b"".join(piece.view for piece in pieces)
    left = behind(pieces, size)

    assert b"".join(piece.view for piece in left) == whole[size:]
    assert all(piece.start < piece.end for piece in left)


# -- day files ----------------------------------------------------------------------


def days(count: int) -> list[str]:
    return [f"2026-03-{number:02}" for number in range(1, count + 1)]


def test_the_number_of_open_files_is_bounded(tmp_path: Path) -> None:
    """
    However many days are recovered.
    """
    files = OsFiles()
    day_files = DayFiles(files, str(tmp_path))
    for day in days(12):
        with day_files.locked(ERRORS, day) as log:
            log.write([make_line("x", 100, day)])
    most = len(files.descriptors)
    day_files.close()

    assert most <= MAX_OPEN
    assert files.descriptors == {}
    assert len(os.listdir(tmp_path)) == 12


def test_every_file_that_was_written_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Also one that was closed meanwhile to make place for others; and only once.
    """
    files = OsFiles()
    day_files = DayFiles(files, str(tmp_path))
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_ino))
    for day in days(MAX_OPEN + 3):
        with day_files.locked(ERRORS, day) as log:
            log.write([make_line("x", 100, day)])
    dirty = day_files.dirty
    day_files.sync()
    day_files.sync()
    day_files.close()

    assert dirty
    assert not day_files.dirty
    inodes = {path.stat().st_ino for path in tmp_path.iterdir()}
    assert sorted(i for i in synced if i in inodes) == sorted(inodes)
    # They are new ones: their names, and the directory's own.
    assert {*synced} - inodes == {tmp_path.stat().st_ino, tmp_path.parent.stat().st_ino}


def test_a_file_that_is_replaced_again_and_again_is_given_up() -> None:
    """
    With an error, which is told and tried again: not an endless loop.
    """
    disk = Disk()

    class Replaced(FakeFiles):
        def lock(self, fd: int) -> bool:
            self.disk.delete(PATH)
            return super().lock(fd)

    files = Replaced(disk)
    with (
        pytest.raises(OSError, match="replaced again and again") as caught,
        DayFiles(files, LOG_DIR).locked(ERRORS, DAY),
    ):
        pass

    assert caught.value.errno == errno.EAGAIN
    assert disk.locks == {}


def test_a_file_that_was_moved_away_is_opened_anew(tmp_path: Path) -> None:
    """
    As logrotate or a person does it: what comes next is in a new file.
    """
    day_files = DayFiles(OsFiles(), str(tmp_path))
    path = Path(day_files.path(ERRORS, DAY))
    with day_files.locked(ERRORS, DAY) as log:
        log.write([OURS[0]])
    path.rename(tmp_path / "moved")
    with day_files.locked(ERRORS, DAY) as log:
        log.write([OURS[1]])
    with day_files.locked(ERRORS, NEXT_DAY) as log:
        log.write([OTHER])
    day_files.close()

    assert path.read_bytes() == OURS[1]
    assert (tmp_path / "moved").read_bytes() == OURS[0]


def test_a_directory_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    """
    By the next append.
    """
    logs = tmp_path / "logs"
    day_files = DayFiles(OsFiles(), str(logs))
    for line in OURS[:2]:
        with day_files.locked(ERRORS, DAY) as log:
            log.write([line])
        there = Path(day_files.path(ERRORS, DAY)).read_bytes()
        Path(day_files.path(ERRORS, DAY)).unlink()
        logs.rmdir()
    day_files.close()

    assert there == OURS[1]


def test_a_file_that_takes_no_bytes_is_an_error() -> None:
    """
    Not an endless loop.
    """

    class Full(FakeFiles):
        def write(self, fd: int, parts: object) -> int:
            return 0

    with (
        pytest.raises(OSError, match="takes no more bytes"),
        DayFiles(Full(Disk()), LOG_DIR).locked(ERRORS, DAY) as log,
    ):
        log.write([OTHER])


@given(parts=st.lists(st.binary(max_size=9)), part=st.floats(0, 0.9))
def test_short_writes_are_continued(parts: list[bytes], part: float) -> None:
    """
    Whatever the parts, and however little is taken each time.
    """
    disk = Disk()
    fate = Fate({step: Fault("short", part) for step in range(1_000)})
    with fake_day_files(disk, fate).locked(ERRORS, DAY) as log:
        log.write(parts)

    assert bytes(disk.open(PATH).data) == b"".join(parts)
    assert log.size == len(b"".join(parts))
