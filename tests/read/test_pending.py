"""R1: what waits in spools is shown behind the log, and damage in them is told."""

from __future__ import annotations

import gc
import itertools
import json
import os
import resource
import sys
from datetime import date
from pathlib import Path

import pytest

from tests.queue.rig import small_segments
from tests.queue.test_recovery import make_orphan
from tests.read.log_making import DAY, as_lines, make_record, write_log
from tests.read.waiting import (
    FILLER,
    FOREIGN,
    LINES,
    RANGE,
    RECORDS,
    as_counts,
    noted_orphan,
    read_both,
)
from tokenpak.telemetry.queue.recovery import recover
from tokenpak.telemetry.read import (
    MalformedLine,
    Query,
    UnreadableFile,
    iter_records,
    pending,
)
from tokenpak.telemetry.read.pending import open_spools, pending_in
from tokenpak.telemetry.store import places, spool
from tokenpak.telemetry.store.boot import current_boot
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.notes import DAY_FULL, QUEUE_FULL
from tokenpak.telemetry.store.peek import SpoolView
from tokenpak.telemetry.store.spool import HEAD_BYTES, SpoolFile


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


@pytest.mark.parametrize("word", [8, 24 + 3, 24 + 5, 24 + 7])
def test_q1_a_note_of_a_place_that_is_none_is_reported_and_left(
    tmp_path: Path, word: int
) -> None:
    """By who reads and by who recovers; neither ends with an OverflowError."""
    spool = noted_orphan(tmp_path, LINES[0], len(LINES[0]))
    with open(str(spool.path), "r+b") as file:
        file.seek(word * 8)
        file.write((2**64 - 2).to_bytes(8, sys.byteorder))

    records, (report,) = read_both(tmp_path)

    assert records == RECORDS[:1]
    assert "damaged note" in report.reason
    (left,) = recover(str(tmp_path)).left
    assert "damaged note" in left
    assert os.path.exists(str(spool.path))


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
    # No list of all: in some containers the limit is a billion.
    free = (number for number in itertools.count() if number not in used)
    limit = next(itertools.islice(free, 100, None))
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
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


def test_r1_a_spool_of_another_boot_shows_only_what_the_log_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power failure its notes may be older than the log."""
    write_log(tmp_path, LINES[0] + LINES[1])
    monkeypatch.setattr(spool, "current_boot", lambda: current_boot() ^ 1 or 2)
    make_orphan(tmp_path, LINES)[0].release()
    found, damage = read_both(tmp_path)

    assert damage == []
    assert found == RECORDS


def test_q3_a_range_that_is_being_given_up_is_not_shown(tmp_path: Path) -> None:
    """Whoever settles the note counts it, and appends nothing."""
    made, segment = make_orphan(tmp_path, LINES)
    made.notes.begin_drop(DAY, DAY_FULL, 2, (1, 0), (1, len(LINES[0] + LINES[1])))
    made.release()
    found, damage = read_both(tmp_path)

    assert (found, damage) == (RECORDS[2:], [])
    assert segment.end() > 0


@pytest.mark.parametrize("before", ["another day", "longer"])
def test_r1_a_late_record_in_a_file_with_a_used_inode_comes_once(
    tmp_path: Path, before: str
) -> None:
    """An archived day lets go of its inode, and recovery makes a file of it."""
    day = "2026-03-20" if before == "another day" else DAY
    old = write_log(tmp_path, as_lines(FILLER), day)
    new = write_log(tmp_path, LINES[0])
    old = old if before == "another day" else new
    old.write_bytes(as_lines(FILLER))
    make_orphan(tmp_path, [LINES[1]])[0].release()
    items = iter_records(tmp_path, Query(since=date.fromisoformat(DAY)), pending=True)

    late = LINES[0] + LINES[1]
    if before == "another day":
        late += as_lines([make_record(n) for n in range(100, 300)])
    old.write_bytes(late)  # the same inode
    old.replace(new)

    ids = [item["request_id"] for item in items if isinstance(item, dict)]
    assert ids.count(RECORDS[1]["request_id"]) == 1
