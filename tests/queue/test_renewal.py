"""Drained segments are used again, and their pages and descriptors let go."""

from __future__ import annotations

import errno
import gc
from pathlib import Path

import pytest

from tests.queue.rig import DAY, SEGMENT, Rig, make_line
from tests.queue.test_supply import durable_rig
from tests.store.fakes import LOG_DIR, Disk, fake_day_files, lines_of
from tokenpak.telemetry.queue.supply import AHEAD, KEPT
from tokenpak.telemetry.store.dayfiles import Contended
from tokenpak.telemetry.store.names import ERRORS
from tokenpak.telemetry.store.segment import Segment
from tokenpak.telemetry.store.spool import SpoolFile

PATH = f"{LOG_DIR}/errors-{DAY}.jsonl"
ALONE = SEGMENT // 2 + 1
"""The size of a line of which only one fits a segment."""


def test_a_segment_that_nobody_else_has_is_used_again_without_a_new_mapping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Mapping and its page faults are paid for once, however long the logger runs.
    """
    rig = durable_rig(tmp_path, slots=12)
    maps = []
    map_slot = SpoolFile.map

    def count(spool: SpoolFile, index: int, sequence: int) -> Segment:
        maps.append(index)
        return map_slot(spool, index, sequence)

    monkeypatch.setattr(SpoolFile, "map", count)
    for number in range(100):
        rig.put(make_line(f"{number}", ALONE))
        rig.drain.step()
    rig.drain_all()

    assert len(maps) == len(set(maps)) <= 12
    assert len(lines_of(rig.disk, PATH)) == rig.chain.accepted == 100


def test_q2_a_segment_that_a_late_producer_still_has_is_never_written_again(
    tmp_path: Path,
) -> None:
    """
    A thread that was stopped just before its store finds it sealed, however often its
    slot has been used since, and follows the links to where the line belongs.
    """
    rig = durable_rig(tmp_path, slots=12)
    rig.put(make_line("first", ALONE))
    late = rig.chain.head
    assert late is not None
    for number in range(60):
        rig.put(make_line(f"{number}", ALONE))
        rig.drain.step()
    with pytest.raises(ValueError, match="data out of range"):
        late.write(make_line("late", 100))
    rig.chain.sink.refused(late, make_line("late", 100))
    rig.put(make_line("last", 100))
    rig.drain_all()
    names = [line.split(b'"')[7].decode() for line in lines_of(rig.disk, PATH)]

    assert names == ["first", *(f"{number}" for number in range(60)), "late", "last"]
    assert rig.chain.drops.by_reason() == {}


def test_q3_pages_that_cannot_be_let_go_cost_no_slot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    An application that has locked all its memory (mlockall) gets EINVAL for it.
    """
    rig = durable_rig(tmp_path, slots=6)

    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(Segment, "madvise", refuse, raising=False)
    for number in range(40):
        rig.put(make_line(f"{number}", ALONE))
        rig.drain.step()
        supply = rig.drain.supply
        assert supply is not None
        supply.give_back(rig.drain.progress.segment)
    rig.drain_all()

    assert rig.chain.drops.by_reason() == {}
    assert len(lines_of(rig.disk, PATH)) == rig.chain.accepted == 40


def mappings(spool: SpoolFile) -> int:
    """Return how many segments of *spool* there are: each has a descriptor."""
    gc.collect()
    objects = gc.get_objects()
    return sum(isinstance(o, Segment) and o.spool is spool for o in objects)


@pytest.mark.parametrize("memory", [False, True])
def test_q4_who_keeps_a_segment_keeps_none_of_those_that_follow(
    tmp_path: Path, *, memory: bool
) -> None:
    """
    An exception that was raised in the middle of a put (Ctrl-C), and is kept, has the
    frame of the put and its segment.  Each mapping takes a descriptor: to keep all that
    come after would use them up.
    """
    rig = Rig(Disk(), slots=12) if memory else durable_rig(tmp_path, slots=12)
    rig.put(make_line("first", ALONE))
    kept = []
    most = 0
    for number in range(200):
        if number in {1, 50, 51}:
            kept.append(rig.chain.head)
        rig.put(make_line(f"{number}", ALONE))
        rig.drain.step()
        supply = rig.drain.supply
        assert supply is not None
        if number % 25 == 24:
            most = max(most, mappings(supply.spool))
    late = kept[0]
    assert late is not None
    with pytest.raises(ValueError, match="data out of range"):
        late.write(make_line("late", 100))
    rig.chain.sink.refused(late, make_line("late", 100))
    rig.drain_all()
    names = [line.split(b'"')[7].decode() for line in lines_of(rig.disk, PATH)]

    assert most <= 12 + len(kept) + 3
    assert names == ["first", *(f"{number}" for number in range(200)), "late"]


def test_q4_few_descriptors_are_kept_after_an_outage(tmp_path: Path) -> None:
    """
    Not one for each segment that there was room for, though records keep coming.
    """
    rig = durable_rig(tmp_path, slots=200)
    with fake_day_files(rig.disk).locked(ERRORS, DAY):
        for number in range(200):
            rig.put(make_line(f"{number}", ALONE))
            with pytest.raises(Contended):
                rig.drain.step()
    rig.drain_all()
    for number in range(60):
        rig.put(make_line(f"again {number}", ALONE))
        rig.drain.step()
    rig.drain_all()
    supply = rig.drain.supply
    assert supply is not None

    assert mappings(supply.spool) <= KEPT + AHEAD + 4
    assert len(lines_of(rig.disk, PATH)) == rig.chain.accepted == 260


def test_q1_what_a_segment_in_memory_held_is_not_written_again() -> None:
    """
    Memory is not zeroed through a file, so it always comes back as a new mapping: what
    is behind its last line would be taken for lines.
    """
    rig = Rig(Disk(), slots=3)
    names: list[str] = []
    for number in range(40):
        for size in (100, 100, ALONE) if number % 2 else (ALONE, 100, 100, 100):
            names.append(f"{len(names)}")
            assert rig.put(make_line(names[-1], size))
            rig.drain.step()
    rig.drain_all()
    found = [line.split(b'"')[7].decode() for line in lines_of(rig.disk, PATH)]

    assert found == names


def test_q4_no_descriptor_for_what_somebody_keeps_costs_no_slot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Its slot needs another mapping.  That there is none now costs nothing later.
    """
    rig = durable_rig(tmp_path, slots=6)
    kept: list[object] = []

    def refuse(*_: object) -> Segment:
        raise OSError(errno.EMFILE, "Too many open files")

    for number in range(40):
        rig.put(make_line(f"{number}", ALONE))
        if number % 5 == 0:
            kept[:] = [rig.chain.head, rig.chain._targets[-1]]
        with monkeypatch.context() as patch:
            if number % 5 < 4:
                patch.setattr(SpoolFile, "map", refuse)
            rig.drain.step()
    kept.clear()
    for _ in range(3):
        rig.drain.step()
    room = 0
    while rig.put(make_line("line", ALONE)):
        room += 1

    assert room >= 5


def test_only_pages_that_are_about_to_be_used_are_memory_of_the_process(
    tmp_path: Path,
) -> None:
    """
    At a walking pace: the segment that is written to, and the next.
    """
    rig = durable_rig(tmp_path, slots=30)
    warm = []
    for number in range(60):
        rig.put(make_line(f"{number}", ALONE))
        rig.drain.step()
        warm.append(count_warm(rig))

    assert max(warm) <= 3


def test_at_full_speed_pages_are_ready_before_a_producer_comes_to_them(
    tmp_path: Path,
) -> None:
    """
    As many as were used up since the last look; and when all is quiet, none.
    """
    rig = durable_rig(tmp_path, slots=30)
    for number in range(12):
        for _ in range(4):
            rig.put(make_line(f"{number}", ALONE))
        rig.drain.step()
    warm = count_warm(rig)
    supply = rig.drain.supply
    assert supply is not None
    supply.give_back(rig.drain.progress.segment)

    assert warm >= 4
    assert count_warm(rig) <= 1


def count_warm(rig: Rig) -> int:
    count, segment = 0, rig.chain.head
    while segment is not None:
        count, segment = count + segment.warm, segment.next
    return count
