"""Q4: segments are there ahead of need, up to the bound, and are given back."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.queue.rig import DAY, SEGMENT, Rig, make_line, small_segments
from tests.store.fakes import LOG_DIR, Disk, fake_day_files, lines_of
from tokenpak.telemetry.queue.supply import AHEAD, new_spool, open_chain
from tokenpak.telemetry.store.dayfiles import Contended
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.names import ERRORS
from tokenpak.telemetry.store.segment import Segment
from tokenpak.telemetry.store.spool import HEAD_BYTES, SpoolFile

PATH = f"{LOG_DIR}/errors-{DAY}.jsonl"
ALONE = SEGMENT // 2 + 1
"""The size of a line of which only one fits a segment."""


def durable_rig(directory: Path, slots: int = 6, disk: Disk | None = None) -> Rig:
    def make() -> SpoolFile:
        spool = SpoolFile.create(OsFiles(), str(directory), ERRORS, slots)
        spool.reserve(0, 1)
        return spool

    return Rig(disk or Disk(), slots=slots, make_spool=make)


def linked(rig: Rig) -> int:
    """Return how many segments there are from the head on."""
    count, segment = 0, rig.chain.head
    while segment is not None:
        count, segment = count + 1, segment.next
    return count


@pytest.mark.parametrize("slots", [1, 2, 3, AHEAD, AHEAD + 1, 40])
def test_q4_never_more_segments_than_slots(slots: int) -> None:
    """
    Whatever is put and drained.
    """
    rig = Rig(Disk(), slots=slots)
    most = 0
    for number in range(60):
        for _ in range(number % 5):
            rig.put(make_line("line", ALONE))
        rig.drain.step()
        most = max(most, linked(rig))

    assert most <= slots + 1  # the first of them is drained, if one is to be linked
    assert rig.chain.accepted == len(lines_of(rig.disk, PATH))


def test_q1_the_head_knows_the_segments_of_the_chain() -> None:
    """
    Those that hold lines or may come to, and no other: recovery looks at nothing else.
    """
    rig = Rig(Disk(), slots=5)
    for number in range(12):
        rig.put(make_line(f"{number}", ALONE))
        if number % 3 == 2:
            rig.drain.step()
        chain, segment = set(), rig.chain.head
        while segment is not None:
            chain.add((segment.index, segment.sequence))
            notes, segment = segment.spool.notes, segment.next
        slots = {(index, notes.slot(index)) for index in range(5)}

        assert {(index, slot) for index, slot in slots if slot} == chain


def test_segments_are_linked_ahead_from_the_first_record_on() -> None:
    """
    A burst before the writer has had its first turn meets links.
    """
    rig = Rig(Disk(), slots=40)
    accepted = [rig.put(make_line("line", ALONE)) for _ in range(AHEAD + 1)]

    assert all(accepted)


def test_more_are_linked_when_more_are_used() -> None:
    """
    Twice as many as were used between two looks.
    """
    rig = Rig(Disk(), slots=100)
    rig.put(make_line("line", ALONE))
    for _ in range(AHEAD):
        rig.put(make_line("line", ALONE))
    for _ in range(3):
        rig.drain.step()
    room = 0
    while rig.put(make_line("line", ALONE)):
        room += 1

    assert room > AHEAD


def test_q3_no_descriptor_for_a_mapping_costs_no_slot_and_stops_no_drain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A mapping takes one.  An application that has run out of them still gets its records
    into the log, and the whole bound once it has some again.
    """
    rig = durable_rig(tmp_path)
    for number in range(8):
        rig.put(make_line(f"{number}", ALONE))
        rig.drain.step()

    def refuse(*_: object) -> Segment:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(SpoolFile, "map", refuse)
        rig.put(make_line("meanwhile", ALONE))
        for _ in range(20):
            rig.drain.step()
        meanwhile = len(lines_of(rig.disk, PATH))
    rig.drain.step()
    room = 0
    while rig.put(make_line("line", ALONE)):
        room += 1

    assert meanwhile == rig.chain.accepted - room
    assert room >= 5


def test_q4_a_full_disk_is_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What has space is used again; more is linked when there is more space.
    """
    rig = durable_rig(tmp_path, slots=20)
    reserve = SpoolFile.reserve

    def full(spool: SpoolFile, index: int, count: int) -> None:
        if index + count > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        reserve(spool, index, count)

    with monkeypatch.context() as patch:
        patch.setattr(SpoolFile, "reserve", full)
        rig.put(make_line("line", ALONE))
        rig.drain.step()
        few = 1
        while rig.put(make_line("line", ALONE)):
            few += 1
        rig.drain_all()
        again = rig.put(make_line("line", ALONE))
    rig.drain_all()
    many = 0
    while rig.put(make_line("line", ALONE)):
        many += 1

    assert few <= 4
    assert again
    assert many >= AHEAD


def test_the_space_of_free_segments_is_given_back(tmp_path: Path) -> None:
    """
    All but for a few, after a burst or an outage.  By holes, never by a shorter file;
    and what comes afterwards finds zeros.
    """
    rig = durable_rig(tmp_path, slots=60)
    with fake_day_files(rig.disk).locked(ERRORS, DAY):
        for number in range(60):
            rig.put(make_line(f"{number}", ALONE))
            with pytest.raises(Contended):
                rig.drain.step()
    (path,) = tmp_path.iterdir()
    before = path.stat()
    for _ in range(10):
        rig.drain.step()
    supply = rig.drain.supply
    assert supply is not None
    supply.give_back(rig.drain.progress.segment)
    after = path.stat()
    for number in range(40):
        rig.put(make_line(f"again {number}", ALONE))
        rig.drain.step()
    rig.drain_all()

    assert after.st_size == before.st_size
    assert before.st_blocks * 512 > 50 * SEGMENT
    assert after.st_blocks * 512 <= HEAD_BYTES + (AHEAD + 3) * SEGMENT
    assert len(lines_of(rig.disk, PATH)) == rig.chain.accepted


def test_q4_no_descriptor_for_giving_back_costs_no_slot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The space stays for now, and so does the bound.
    """
    rig = durable_rig(tmp_path, slots=30)
    with fake_day_files(rig.disk).locked(ERRORS, DAY):
        before = 0
        for _ in range(40):
            before += rig.put(make_line("line", ALONE))
            with pytest.raises(Contended):
                rig.drain.step()
    rig.drain_all()
    supply = rig.drain.supply
    assert supply is not None

    def refuse(*_: object) -> Segment:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(SpoolFile, "map", refuse)
        for _ in range(30):
            try:
                supply.give_back(rig.drain.progress.segment)
            except OSError:
                pass
    with fake_day_files(rig.disk).locked(ERRORS, DAY):
        after = 0
        for _ in range(40):
            after += rig.put(make_line("line", ALONE))
            with pytest.raises(Contended):
                rig.drain.step()

    assert before >= 28
    assert after >= before - 1


def test_q1_a_spool_is_switched_without_losing_a_line_or_the_order(
    tmp_path: Path,
) -> None:
    """
    From memory to a file; also for a producer that holds a segment of the old one.
    """
    rig = Rig(Disk(), slots=6)
    rig.put(make_line("0"))
    rig.drain.step()
    rig.put(make_line("1"))
    supply = rig.drain.supply
    segment = rig.drain.progress.segment
    assert supply is not None
    assert segment is not None
    late = rig.chain._targets[0]
    with small_segments():
        spool = SpoolFile.create(OsFiles(), str(tmp_path), ERRORS, 6)
        spool.reserve(0, 1)
    was = supply.durable
    supply.switch(spool, segment)
    with pytest.raises(ValueError, match="range"):
        late.write(make_line("2"))
    rig.chain._follow(late, make_line("2"))
    for number in range(3, 20):
        rig.put(make_line(f"{number}", ALONE))
        rig.drain.step()
    rig.drain_all()
    names = [line.split(b'"')[7] for line in lines_of(rig.disk, PATH)]

    assert not was
    assert supply.durable
    assert names == [b"%d" % number for number in range(20)]


# -- where a spool can be had -------------------------------------------------------


def test_x2_each_directory_that_cannot_have_a_spool_is_told(tmp_path: Path) -> None:
    """
    The next one has it; in memory only if none can.
    """
    file = tmp_path / "file"
    file.touch()
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    told: list[str] = []

    def tell(directory: str, error: OSError) -> None:
        told.append(directory)

    bad = [str(file), f"{file}/below", str(open_to_all)]
    files = OsFiles()
    durable = new_spool(files, [*bad, str(tmp_path / "good")], ERRORS, 3, tell)
    memory = new_spool(files, bad, ERRORS, 3, tell)
    open_files = len(files.descriptors)
    durable.remove()

    assert told == bad + bad
    assert durable.durable
    assert not memory.durable
    assert open_files == 2
    assert os.listdir(open_to_all) == []


def test_x2_a_directory_without_space_is_told_and_left_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Room for the head, none for a segment.
    """

    def full(spool: SpoolFile, index: int, count: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(SpoolFile, "reserve", full)
    told: list[str] = []
    files = OsFiles()
    spool = new_spool(
        files, [str(tmp_path)], ERRORS, 3, lambda place, error: told.append(str(error))
    )

    assert not spool.durable
    assert "No space left" in told[0]
    assert os.listdir(tmp_path) == []
    assert files.descriptors == {}


def test_a_chain_begins_with_one_segment_where_there_is_no_room_for_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A nearly full disk: better one than none.
    """
    with small_segments():
        spool = SpoolFile.create(OsFiles(), str(tmp_path), ERRORS, 6)
    reserve = spool.reserve
    reserve(0, 1)

    def full(index: int, count: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(spool, "reserve", full)
    first = open_chain(spool)
    spool.remove()

    assert first.next is None
    assert first.sequence == 1


@pytest.mark.parametrize(
    ("blocks", "free", "has_room"),
    [
        (1_000_000, 100, True),
        (1_000_000, 5, False),
        (1_000_000, 0, False),
        (0, 0, True),
    ],
    ids=["room", "too little", "none", "no size"],
)
def test_as_much_is_left_for_the_log_as_the_spool_takes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    blocks: int,
    free: int,
    has_room: bool,
) -> None:
    """
    A tmpfs or ramfs without a bound says that it has 0 blocks, and 0 of them free.
    """
    with small_segments():
        spool = SpoolFile.create(OsFiles(), str(tmp_path), ERRORS, 6)
    taken = HEAD_BYTES + 4 * SEGMENT
    disk = SimpleNamespace(f_blocks=blocks, f_bavail=free * taken // 5, f_frsize=1)
    monkeypatch.setattr(os, "fstatvfs", lambda _: disk)
    found = 0
    try:
        spool.reserve(0, 4)
    except OSError as error:
        found = error.errno or -1
    spool.remove()

    assert found == (0 if has_room else errno.ENOSPC)
