"""R1: what waits in spools is shown once, behind the log, and nobody is disturbed."""

from __future__ import annotations

import gc
import itertools
import json
import os
import resource
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from tests.queue.logs import Make, held_locks
from tests.queue.rig import small_segments
from tests.queue.test_recovery import make_orphan
from tests.read.log_making import DAY, as_lines, make_record, make_records, write_log
from tokenpak.telemetry.queue.recovery import recover
from tokenpak.telemetry.read import (
    Damage,
    MalformedLine,
    Query,
    Record,
    UnreadableFile,
    iter_records,
    pending,
)
from tokenpak.telemetry.read.pending import open_spools, pending_in
from tokenpak.telemetry.store import places
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.notes import QUEUE_FULL
from tokenpak.telemetry.store.peek import SpoolView
from tokenpak.telemetry.store.spool import HEAD_BYTES, Segment, SpoolFile

RECORDS = make_records(4)
LINES = [as_lines([record]) for record in RECORDS]
RANGE = b"".join(LINES[1:3])
FOREIGN = make_record(99)
FILLER: list[Record] = [{"n": number} for number in range(1000)]


def read_both(
    log_dir: Path, query: Query | None = None
) -> tuple[list[Record], list[Damage]]:
    records: list[Record] = []
    damage: list[Damage] = []
    for item in iter_records(log_dir, query, pending=True):
        if isinstance(item, dict):
            records.append(item)
        else:
            damage.append(item)
    return records, damage


def as_counts(records: list[Record]) -> Counter[str]:
    return Counter(json.dumps(record) for record in records)


def noted_orphan(log_dir: Path, log: bytes, offset: int) -> SpoolFile:
    """
    Return the spool of a process that died while it appended RANGE at *offset*.

    LINES[0] is consumed, and LINES[3] was accepted meanwhile.
    """
    path = write_log(log_dir, log)
    spool, segment = make_orphan(log_dir, LINES)
    status = path.stat()
    start = len(LINES[0])
    spool.notes.begin(
        DAY,
        (status.st_dev, status.st_ino),
        offset,
        (segment.sequence, start),
        (segment.sequence, start + len(RANGE)),
    )
    spool.release()
    return spool


def test_r1_what_a_dead_process_left_comes_behind_the_log(tmp_path: Path) -> None:
    """Each stream has its own, and a query chooses from both alike."""
    write_log(tmp_path, LINES[0])
    make_orphan(tmp_path, LINES[1:])[0].release()
    event = b'{"timestamp":"2026-03-24T00:00:00.000000Z","event":"done"}\n'
    make_orphan(tmp_path, [event], "events")[0].release()

    assert read_both(tmp_path) == (RECORDS, [])
    assert [item for item in iter_records(tmp_path)] == RECORDS[:1]  # noqa: C416
    assert read_both(tmp_path, Query(stream="events"))[0] == [json.loads(event)]
    assert read_both(tmp_path, Query(provider="nobody")) == ([], [])


@pytest.mark.parametrize("torn", ["at the end", "closed"])
def test_r1_a_death_at_each_byte_of_an_append_shows_each_record_once(
    tmp_path: Path, torn: str
) -> None:
    """
    The spool is compared with the log: whole lines that are there are not shown twice.

    As recovery would do it, which is asked at the end.
    """
    ends = {len(LINES[1]), len(RANGE)}
    near = {end + n for end in ends for n in (-2, -1, 0, 1)}
    for there in sorted({*range(0, len(RANGE), 5), *near} - {len(RANGE) + 1}):
        place = tmp_path / str(there)
        tail = b"" if torn == "at the end" else b"\n" + as_lines([FOREIGN])
        if RANGE[:there].endswith(b"\n") or not there:
            tail = tail.lstrip(b"\n")  # nothing was torn
        log = LINES[0] + RANGE[:there] + tail
        noted_orphan(place, log, len(LINES[0]))

        shown, damage = read_both(place)

        expected = RECORDS + ([FOREIGN] if tail else [])
        assert as_counts(shown) == as_counts(expected), f"{there} bytes there"
        assert all(isinstance(report, MalformedLine) for report in damage)
        recover(str(place))
        recovered = [i for i in iter_records(place) if isinstance(i, dict)]
        assert as_counts(recovered) == as_counts(expected), f"{there} bytes there"


def test_r1_a_note_of_another_file_means_that_nothing_is_there(tmp_path: Path) -> None:
    """The day's file was replaced: what it holds is not what was noted."""
    noted_orphan(tmp_path, LINES[0], len(LINES[0]))
    path = tmp_path / f"errors-{DAY}.jsonl"
    path.rename(tmp_path / "kept")
    path.write_bytes(LINES[0])

    assert as_counts(read_both(tmp_path)[0]) == as_counts(RECORDS)


def test_r1_a_note_that_is_done_is_consumed(tmp_path: Path) -> None:
    """Only what was accepted after it is pending."""
    path = write_log(tmp_path, b"".join(LINES[:3]))
    spool, segment = make_orphan(tmp_path, LINES)
    status = path.stat()
    end = len(b"".join(LINES[:3]))
    spool.notes.begin(
        DAY,
        (status.st_dev, status.st_ino),
        0,
        (segment.sequence, 0),
        (segment.sequence, end),
    )
    spool.notes.done()
    spool.release()

    assert read_both(tmp_path) == (RECORDS, [])


class Interruption:
    """
    Does something once, before the Nth call of those by which a reader looks at files.

    Attributes:
        done: whether it was: there were that many calls.

    """

    CALLS = ("open", "listdir", "pread", "lstat", "fstat", "stat", "read")

    def __init__(self, number: int, act: Callable[[], object]) -> None:
        self._left = number
        self._act = act
        self._real = {name: getattr(os, name) for name in self.CALLS}
        self.done = False

    def __enter__(self) -> Self:
        for name in self.CALLS:
            setattr(os, name, self._wrapped(name))
        return self

    def __exit__(self, *_: object) -> None:
        for name, call in self._real.items():
            setattr(os, name, call)

    def _wrapped(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self._left == 0 and not self.done:
                self.done = True
                self._act()
            self._left -= 1
            return self._real[name](*args, **kwargs)

        return call


def interrupted_at_each_call(
    places: Iterator[Path], act: Callable[[Path], object], step: int = 1
) -> Iterator[tuple[str, Path, list[Record]]]:
    """Yield what is read with *act* before the Nth call, for each *step*-th N."""
    for number, place in zip(itertools.count(0, step), places, strict=False):
        with Interruption(number, lambda place=place: act(place)) as interruption:  # type: ignore[misc]
            records, _ = read_both(place)
        if not interruption.done:
            assert number > 30
            return
        yield f"before call {number}", place, records


@pytest.mark.parametrize(("held_open", "step"), [(64, 1), (1, 3)])
def test_r1_a_recovery_at_each_moment_of_reading_shows_each_record_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held_open: int, step: int
) -> None:
    """
    And the reader keeps nobody from adopting: the recovery finds all there is.
    """
    monkeypatch.setattr(pending, "_OPEN", held_open)

    def orphans() -> Iterator[Path]:
        for number in range(1000):
            place = tmp_path / str(number)
            log = as_lines(FILLER) + LINES[0]
            noted_orphan(place, log + RANGE[:100], len(log))
            make_orphan(place, [as_lines([FOREIGN])])[0].release()
            yield place

    def recover_all(place: Path) -> None:
        assert recover(str(place)).spools == 2

    expected = as_counts([*FILLER, *RECORDS, FOREIGN])
    for moment, _, records in interrupted_at_each_call(orphans(), recover_all, step):
        assert as_counts(records) == expected, moment


def test_r1_what_a_living_process_cannot_append_is_shown(
    make_logger: Make, log_dir: Path
) -> None:
    """While its disk is full, or a lock is held; and not twice when it goes on."""
    logger = make_logger()
    logger.log_event("first")
    assert logger.flush(60)
    with held_locks(log_dir):
        logger.log_event("held")
        waiting = iter_records(log_dir, Query(stream="events"), pending=True)
        first = next(waiting)
        again = iter_records(log_dir, Query(stream="events"), pending=True)
    assert logger.flush(60)

    shown = [first, *waiting], [*again]

    for items in shown:
        assert [i["event"] for i in items if isinstance(i, dict)] == ["first", "held"]


def test_r1_an_append_at_each_moment_of_reading_is_seen_once(tmp_path: Path) -> None:
    """By an owner that lives: the spool stays, and its notes go on."""
    spools: dict[Path, tuple[SpoolFile, Segment]] = {}

    def living() -> Iterator[Path]:
        for number in range(1000):
            place = tmp_path / str(number)
            write_log(place, LINES[0])
            spools[place] = make_orphan(place, LINES[1:])
            yield place

    def append(place: Path) -> None:
        spool, segment = spools[place]
        path = place / f"errors-{DAY}.jsonl"
        status = path.stat()
        end = segment.end()
        spool.notes.begin(
            DAY, (status.st_dev, status.st_ino), status.st_size, (1, 0), (1, end)
        )
        with open(path, "ab") as log:
            log.write(segment[:end])
        spool.notes.done()

    for moment, place, records in interrupted_at_each_call(living(), append):
        assert as_counts(records) == as_counts(RECORDS), moment
        spools[place][0].remove()


def test_r1_what_is_accepted_and_appended_meanwhile_is_seen_once(
    tmp_path: Path,
) -> None:
    """It is of the log, not of the snapshot, though it lies in the spool, too."""
    path = write_log(tmp_path, LINES[0])
    spool, segment = make_orphan(tmp_path, LINES[1:3])
    records = iter_records(tmp_path, pending=True)
    segment.write(LINES[3])
    with open(path, "ab") as log:
        log.write(RANGE + LINES[3])

    found = [item for item in records if isinstance(item, dict)]
    spool.remove()

    assert found == RECORDS


def test_r1_lines_that_are_alike_are_counted(tmp_path: Path) -> None:
    """Two that are equal are two records: of one more in the log, one is left."""
    path = write_log(tmp_path, LINES[0])
    spool, _ = make_orphan(tmp_path, [LINES[1], LINES[1], LINES[1]])
    records = iter_records(tmp_path, pending=True)
    with open(path, "ab") as log:
        log.write(LINES[1] * 2)

    found = [item for item in records if isinstance(item, dict)]
    spool.remove()

    assert found == [RECORDS[0], RECORDS[1], RECORDS[1], RECORDS[1]]


def test_r1_a_range_over_several_segments_is_compared_in_all(tmp_path: Path) -> None:
    """The append died at each of some bytes of it."""
    records = [make_record(number, message="x" * 700) for number in range(12)]
    lines = [as_lines([record]) for record in records]
    with small_segments():
        spool = SpoolFile.create(OsFiles(), str(tmp_path / "spool"), "errors", 4)
    for slot, sequence in ((2, 5), (0, 6), (1, 7)):
        spool.reserve(slot, 1)
        segment = spool.map(slot, sequence)
        spool.notes.set_slot(slot, sequence)
        for line in lines[4 * (sequence - 5) :][:4]:
            segment.write(line)
        segment.seal()
    path = write_log(tmp_path, lines[0])
    status = path.stat()
    whole = b"".join(lines)
    begin, end = len(lines[0]), sum(map(len, lines[8:10]))
    spool.notes.begin(
        DAY, (status.st_dev, status.st_ino), len(lines[0]), (5, begin), (7, end)
    )
    spool.release()

    for size in range(len(lines[0]), len(b"".join(lines[:10])) + 1, 97):
        path.write_bytes(whole[:size])

        shown, _ = read_both(tmp_path)

        assert as_counts(shown) == as_counts(records), f"{size} bytes"


def test_r1_bytes_are_believed_only_while_the_slot_holds_their_segment(
    tmp_path: Path,
) -> None:
    """The head says that a slot is used again before a byte of it changes."""
    spool, _ = make_orphan(tmp_path, LINES)
    with SpoolView(str(spool.path), str(tmp_path)) as view:
        (lines,) = view.stretches()
        before = b"".join(view.chunks(lines))
        spool.notes.set_slot(0, 0)
        after = b"".join(view.chunks(lines))
    spool.remove()

    assert before.rstrip(b"\0") == b"".join(LINES)
    assert after == b""


def test_r1_a_slot_that_is_used_again_meanwhile_shows_nothing_strange(
    tmp_path: Path,
) -> None:
    """
    Its lines are in the log then; the new ones are not of this snapshot.
    """
    write_log(tmp_path, LINES[0])
    spool, segment = make_orphan(tmp_path, LINES[1:3])
    records = iter_records(tmp_path, pending=True)
    first = next(records)
    with open(tmp_path / f"errors-{DAY}.jsonl", "ab") as log:
        log.write(RANGE)
    spool.notes.set_slot(0, 0)
    segment[: len(RANGE)] = bytes(len(RANGE))
    spool.notes.set_slot(0, 2)
    segment[: len(LINES[3])] = LINES[3]

    rest = list(records)
    spool.remove()

    assert first == RECORDS[0]
    assert rest == []


def test_r1_damage_in_a_spool_costs_the_lines_that_it_touches(tmp_path: Path) -> None:
    """And is reported with its place in the spool's file."""
    spool, segment = make_orphan(tmp_path, LINES)
    start = len(LINES[0]) + 20
    segment[start : start + 10] = bytes(10)
    spool.release()

    records, damage = read_both(tmp_path)

    assert records == [RECORDS[0], *RECORDS[2:]]
    (report,) = damage
    assert isinstance(report, MalformedLine)
    assert report.file == spool.path
    assert report.offset == HEAD_BYTES + len(LINES[0])
    assert report.length == len(LINES[1]) - 1


@pytest.mark.parametrize("part", [LINES[1][:50], b"\0" * 20 + LINES[1][20:]])
def test_r1_a_line_that_was_not_accepted_is_neither_record_nor_damage(
    tmp_path: Path, part: bytes
) -> None:
    """The process died while the line was copied, from either end."""
    spool, segment = make_orphan(tmp_path, LINES[:1])
    segment[len(LINES[0]) : len(LINES[0]) + len(part)] = part
    spool.release()

    assert read_both(tmp_path) == (RECORDS[:1], [])


@pytest.mark.parametrize("content", [b"", bytes(HEAD_BYTES), b"x" * 100_000])
def test_r1_what_is_no_spool_is_reported(tmp_path: Path, content: bytes) -> None:
    """With the reason, and the others are read."""
    make_orphan(tmp_path, LINES)[0].release()
    bad = tmp_path / "spool" / "a-first-one.spool"
    bad.write_bytes(content)
    (tmp_path / "spool" / "b-link.spool").symlink_to(bad)
    (tmp_path / "spool" / "c-folder.spool").mkdir()
    os.mkfifo(tmp_path / "spool" / "d-pipe.spool")

    records, damage = read_both(tmp_path)

    assert records == RECORDS
    assert [type(report) for report in damage] == [UnreadableFile] * 4
    assert damage[0].file == str(bad)
    assert [report.reason for report in damage[2:]] == ["is no regular file"] * 2


def test_r1_a_note_that_makes_no_sense_is_reported(tmp_path: Path) -> None:
    """Where to begin is not known, so nothing is shown rather than twice."""
    spool = noted_orphan(tmp_path, LINES[0], len(LINES[0]))
    with open(str(spool.path), "r+b") as file:
        file.seek(24 * 8)
        file.write(b"\xff" * 8)

    records, (report,) = read_both(tmp_path)

    assert records == RECORDS[:1]
    assert "damaged note" in report.reason


def test_r1_looking_into_a_spool_changes_nothing(tmp_path: Path) -> None:
    """Neither the log nor the spool, also of those whose drops are not told yet."""
    spool = noted_orphan(tmp_path, LINES[0] + RANGE[:100], len(LINES[0]))
    assert spool.path is not None

    def content() -> list[bytes]:
        files = (path for path in sorted(tmp_path.rglob("*")) if path.is_file())
        return [path.read_bytes() for path in files]

    before = content()
    read_both(tmp_path)

    assert content() == before


def test_r2_spools_are_closed_when_reading_stops(tmp_path: Path) -> None:
    """Also if it never began."""
    make_orphan(tmp_path, LINES)[0].release()

    def open_here() -> int:
        paths = (os.path.realpath(fd) for fd in Path("/proc/self/fd").iterdir())
        return sum(path.startswith(str(tmp_path)) for path in paths)

    started = iter_records(tmp_path, pending=True)
    next(started)
    never = iter_records(tmp_path, pending=True)
    during = open_here()

    del started, never
    gc.collect()

    assert during == 2
    assert open_here() == 0


def test_r1_a_log_directory_that_is_not_there_raises_at_the_call(
    tmp_path: Path,
) -> None:
    """As without spools."""
    with pytest.raises(FileNotFoundError):
        iter_records(tmp_path / "nowhere", pending=True)


def test_r1_spools_of_the_log_s_owner_are_found_by_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An administrator looks where the application's user has its spools."""
    log_dir = tmp_path / "logs"
    write_log(log_dir, LINES[0])
    owner = log_dir.stat().st_uid
    monkeypatch.setattr(
        places,
        "_local_directory",
        lambda log_dir, user=None: str(tmp_path / f"user-{user}" / "tag"),
    )
    elsewhere = tmp_path / f"user-{owner}" / "tag"
    make_orphan(elsewhere, LINES[1:])[0].release()
    (elsewhere / "spool").rename(tmp_path / "moved")
    elsewhere.rmdir()
    (tmp_path / "moved").rename(elsewhere)

    assert read_both(log_dir) == (RECORDS, [])


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file away needs root")
def test_r1_an_administrator_sees_what_other_users_left(tmp_path: Path) -> None:
    """Their records go into their files, so nobody else recovers them."""
    write_log(tmp_path, LINES[0])
    make_orphan(tmp_path, LINES[1:])[0].release()
    for path in (tmp_path / "spool").iterdir():
        os.chown(path, 12_345, 12_345)

    recovered = recover(str(tmp_path))

    assert recovered.spools == 0
    assert read_both(tmp_path) == (RECORDS, [])


def test_r1_more_spools_than_descriptors_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After many deaths on a full disk; the log's own files can still be opened."""
    monkeypatch.setattr(pending, "_COPIED_BYTES", 1000)
    write_log(tmp_path, as_lines(FILLER))
    records = [make_record(number) for number in range(150)]
    for record in records:
        spool, segment = make_orphan(tmp_path, [as_lines([record])])
        segment.write(b"junk\n" + as_lines([FOREIGN]))
        spool.release()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    gc.collect()
    used = {int(name) for name in os.listdir("/proc/self/fd")}
    free = [number for number in range(soft) if number not in used]
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[100], hard))
    try:
        found, damage = read_both(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert as_counts(found) == as_counts([*FILLER, *records, *[FOREIGN] * 150])
    assert [type(report) for report in damage] == [MalformedLine] * 150


def test_r1_what_is_pending_can_be_counted_for_each_spool(tmp_path: Path) -> None:
    """With whose it was."""
    spool, _ = make_orphan(tmp_path, LINES)
    spool.notes.set_drops(QUEUE_FULL, 7, 1, 2)
    problems: list[UnreadableFile] = []

    (view,) = open_spools(str(tmp_path), None, problems.append)
    with view:
        count = sum(1 for _ in pending_in(view))
    spool.remove()

    assert (view.path, view.owner, view.stream) == (spool.path, os.getpid(), "errors")
    assert count == 4
    assert problems == []
