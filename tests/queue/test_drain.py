"""The drain by itself: outages in the middle, days, damage, memory of slots."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from tests.queue.rig import DAY, NEXT_DAY, SEGMENT, Rig, make_line, name_of
from tests.store.fakes import LOG_DIR, Disk, Fate, Fault, fake_day_files, lines_of
from tokenpak.telemetry.queue import drain as drain_module
from tokenpak.telemetry.queue.daywatch import DayWatch
from tokenpak.telemetry.queue.drain import pending
from tokenpak.telemetry.store.dayfiles import Contended
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.names import ERRORS
from tokenpak.telemetry.store.notes import CLOSED, DAMAGED
from tokenpak.telemetry.store.spool import SpoolFile, spool_paths

PATH = f"{LOG_DIR}/errors-{DAY}.jsonl"
QUARTER = SEGMENT // 4 - 1


def names(disk: Disk, day: str = DAY) -> list[str]:
    return [name_of(line) for line in lines_of(disk, f"{LOG_DIR}/errors-{day}.jsonl")]


@settings(deadline=None)
@given(
    sizes=st.lists(
        st.one_of(st.just(QUARTER), st.integers(80, SEGMENT // 2)), min_size=5
    ),
    failures=st.lists(
        st.tuples(
            st.sampled_from(("error after", "error before", "short")),
            st.floats(0, 1),
            st.sampled_from(("write", "write", "unlock", "read", "status")),
        ),
        max_size=6,
    ),
)
def test_q1_an_outage_in_the_middle_of_several_segments_doubles_nothing(
    sizes: list[int], failures: list[tuple[str, float, str]]
) -> None:
    """
    The disk is full after any byte of a batch, and again while it is settled.
    """
    disk, fate = Disk(), Fate()
    rig = Rig(disk, day_files=fake_day_files(disk, fate), slots=40)
    accepted = []
    for number, size in enumerate(sizes):
        if rig.put(make_line(f"{number}", size)):
            accepted.append(f"{number}")
        if number == 3:
            rig.drain.step()
    for kind, part, operation in failures:
        fate.plan({operation: Fault(kind, part)})
        try:
            rig.drain.step()
        except OSError:
            pass
        if rig.put(make_line("more")):
            accepted.append("more")
    fate.plan({})
    rig.drain_all()

    assert names(disk) == accepted
    # Of long lines, the queue has no room for as many as there may be.
    refused = len(sizes) + len(failures) - len(accepted)
    assert sum(rig.chain.drops.by_reason().values()) == refused
    assert rig.drain.empty()
    assert rig.drain.progress.written_bytes == len(disk.open(PATH).data)


def test_q3_progress_is_what_is_in_the_file() -> None:
    """
    Bytes and batches, and what is pending, before and after a step.
    """
    rig = Rig(Disk())
    for number in range(10):
        rig.put(make_line(f"{number}", 100))
    before = pending(rig.drain.progress, rig.chain.head)
    rig.drain.step()
    rig.put(make_line("later", 100))
    after = pending(rig.drain.progress, rig.chain.head)

    assert before == (10, 1_000)
    assert after == (1, 100)
    assert rig.drain.progress.written_bytes == 1_000
    assert rig.drain.progress.batches == 1


def test_s3_lines_of_two_days_go_to_two_files() -> None:
    """
    In runs, each in its order, also where the days alternate.
    """
    disk = Disk()
    rig = Rig(disk)
    for number, day in enumerate((DAY, DAY, NEXT_DAY, DAY, NEXT_DAY, NEXT_DAY)):
        rig.put(make_line(f"{number}", 100, day))
    rig.drain_all()

    assert names(disk) == ["0", "1", "3"]
    assert names(disk, NEXT_DAY) == ["2", "4", "5"]


def test_s3_what_is_left_for_the_next_step_may_be_of_another_day(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    An outage across midnight, and more pending than one step takes: each line is
    looked at, though no call is under way any more.
    """
    disk = Disk()
    changes = [0]
    monkeypatch.setattr(drain_module, "SEGMENTS_A_STEP", 2)
    rig = Rig(disk, slots=20)
    rig.drain._watch = DayWatch(lambda: changes[0], lambda: True)
    for number in range(6):
        rig.put(make_line(f"{number}", SEGMENT // 2 + 1))
        if number == 0:
            rig.drain.step()
    for number in range(6, 9):
        changes[0] = 1
        rig.put(make_line(f"{number}", SEGMENT // 2 - 20, NEXT_DAY))
    rig.drain_all()

    assert names(disk) == ["0", "1", "2", "3", "4", "5"]
    assert names(disk, NEXT_DAY) == ["6", "7", "8"]


def test_q3_damage_is_counted_and_keeps_nothing_from_the_log() -> None:
    """
    Somebody wrote to the spool's file: lines before and after it are appended.
    """
    disk = Disk()
    rig = Rig(disk)
    rig.put(make_line("before", 100))
    rig.put(make_line("hit", 100))
    rig.put(make_line("after", 100))
    head = rig.chain.head
    assert head is not None
    head[110:120] = bytes(10)
    rig.drain_all()

    assert names(disk) == ["before", "after"]
    assert rig.chain.drops.by_reason() == {DAMAGED: 1}
    assert rig.drain.empty()


def test_q4_slots_are_used_again_without_end() -> None:
    """
    A small bound does not limit how much is logged, and no line comes back.
    """
    disk = Disk()
    rig = Rig(disk, slots=3)
    for number in range(60):
        rig.put(make_line(f"{number}", SEGMENT // 2 + number))
        rig.drain.step()
    rig.drain_all()

    assert names(disk) == [f"{number}" for number in range(60)]


def test_q4_a_held_lock_costs_no_slot_and_no_line() -> None:
    """
    However often the writer tries in vain.
    """
    disk = Disk()
    rig = Rig(disk, slots=4)
    rig.put(make_line("first"))
    other = fake_day_files(disk)
    with other.locked(ERRORS, DAY):
        accepted = 1
        for _ in range(50):
            accepted += rig.put(make_line("line", SEGMENT // 2 + 1))
            with pytest.raises(Contended):
                rig.drain.step()
    rig.drain_all()

    assert len(names(disk)) == accepted
    assert accepted >= 4


def test_q3_the_end_leaves_no_file_when_all_is_written(tmp_path: Path) -> None:
    """
    Nothing is pending: the spool is deleted.
    """
    rig = Rig(Disk(), make_spool=lambda: durable(tmp_path))
    rig.put(make_line("line"))
    rig.drain_all()
    rig.chain.close()
    rig.drain.end()

    assert spool_paths(str(tmp_path)) == []
    assert (rig.drain.left, rig.drain.lost) == (0, 0)


def test_q3_the_end_leaves_what_is_pending_to_be_recovered(tmp_path: Path) -> None:
    """
    Its lock is free: whoever comes next is the owner.
    """
    rig = Rig(Disk(), make_spool=lambda: durable(tmp_path))
    rig.put(make_line("line"))
    rig.drain.step()
    rig.put(make_line("pending"))
    rig.chain.close()
    rig.drain.end()
    (path,) = spool_paths(str(tmp_path))
    adopted = SpoolFile.adopt(OsFiles(), path)

    assert (rig.drain.left, rig.drain.lost) == (1, 0)
    assert adopted is not None
    adopted.release()


def test_q3_the_end_drops_what_is_only_in_memory() -> None:
    """
    Nobody can recover it, so it is counted.
    """
    rig = Rig(Disk())
    rig.put(make_line("line"))
    rig.drain.step()
    rig.put(make_line("pending"))
    rig.put(make_line("pending"))
    rig.chain.close()
    rig.drain.end()

    assert (rig.drain.left, rig.drain.lost) == (0, 2)
    assert rig.chain.drops.by_reason() == {CLOSED: 2}


def durable(directory: Path) -> SpoolFile:
    spool = SpoolFile.create(OsFiles(), str(directory), ERRORS, 6)
    spool.reserve(0, 1)
    return spool
