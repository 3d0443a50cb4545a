"""The chain by itself: first record, room, waiting, end and fork."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.queue.rig import DAY, SEGMENT, Rig, make_line, small_segments
from tests.store.fakes import LOG_DIR, Disk, lines_of
from tokenpak.telemetry.queue import chain as chain_module
from tokenpak.telemetry.queue.chain import ForkGuard
from tokenpak.telemetry.queue.supply import AHEAD
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.names import ERRORS
from tokenpak.telemetry.store.notes import CLOSED, QUEUE_FULL
from tokenpak.telemetry.store.segment import Segment
from tokenpak.telemetry.store.spool import SpoolFile, spool_paths

PATH = f"{LOG_DIR}/errors-{DAY}.jsonl"
HALF = SEGMENT // 2
"""The size of a line of which one fits a segment, and two do not."""


def fill(rig: Rig) -> int:
    """Put until a record is dropped; return how many were accepted."""
    while rig.put(make_line("fill", HALF + 1)):
        pass
    return rig.chain.accepted


def durable_in(directory: Path) -> Callable[[], SpoolFile]:
    """Return what makes a durable spool in *directory*."""

    def make() -> SpoolFile:
        spool = SpoolFile.create(OsFiles(), str(directory), ERRORS, 6)
        spool.reserve(0, 1)
        return spool

    return make


# -- the first record ---------------------------------------------------------------


def test_x1_nothing_is_made_before_the_first_record(tmp_path: Path) -> None:
    """
    No spool, no head, nothing to flush.
    """
    rig = Rig(Disk(), make_spool=durable_in(tmp_path))

    assert rig.chain.head is None
    assert rig.chain.position() is None
    assert not rig.drain.step()
    assert os.listdir(tmp_path) == []


def test_q3_threads_that_open_at_the_same_time_share_one_spool(
    tmp_path: Path,
) -> None:
    """
    All have made a spool when the first is taken: the others go, no record does.
    """
    together = threading.Barrier(5)
    make = durable_in(tmp_path)

    def slowly() -> SpoolFile:
        spool = make()
        together.wait(60)
        return spool

    with small_segments():
        rig = Rig(Disk(), make_spool=slowly)
        threads = [
            threading.Thread(target=rig.chain.put, args=(make_line(f"{n}"),))
            for n in range(5)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    rig.drain_all()

    assert len(spool_paths(str(tmp_path))) == 1
    assert rig.chain.drops.by_reason() == {}
    assert len(lines_of(rig.disk, PATH)) == 5


@pytest.mark.parametrize("step", range(12))
def test_q6_a_record_in_the_middle_of_the_opening_is_accepted(
    step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    As from a signal handler, or another thread, at any of the steps of open().
    """
    rig = Rig(Disk())
    at: Iterator[int] = iter(range(1_000))

    def interrupt() -> None:
        if next(at) == step:
            rig.put(make_line("inner"))

    class Steps(dict[str, object]):
        """What is stored or looked up is a step."""

        def get(self, key: str, default: object = None) -> object:
            interrupt()
            found = super().get(key, default)
            interrupt()
            return found

        def setdefault(self, key: str, default: object = None) -> object:
            interrupt()
            found = super().setdefault(key, default)
            interrupt()
            return found

    attach = rig.chain.drops.attach

    def interrupted_attach(notes: object) -> None:
        interrupt()
        attach(notes)  # type: ignore[arg-type]
        interrupt()

    monkeypatch.setattr(rig.chain.drops, "attach", interrupted_attach)
    monkeypatch.setattr(rig.chain, "_opened", Steps())
    rig.put(make_line("outer"))
    rig.put(make_line("last"))
    rig.drain_all()

    assert rig.chain.drops.by_reason() == {}
    assert len(lines_of(rig.disk, PATH)) == 2 + (next(at) > step)


def test_q3_an_opening_that_was_cut_short_does_not_close_the_chain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A handler that raises (Ctrl-C) may end open() at any point: the next put goes on.
    """
    rig = Rig(Disk())

    def cut_short(notes: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(rig.chain.drops, "attach", cut_short)
        with pytest.raises(KeyboardInterrupt):
            rig.chain.put(make_line("first"))

    assert rig.put(make_line("second"))
    assert rig.chain.drops.by_reason() == {}


# -- room ---------------------------------------------------------------------------


def test_q4_the_bound_holds_and_drops_are_counted() -> None:
    """
    As many lines as slots, one in each; the next is dropped; and there is room again.
    """
    rig = Rig(Disk(), slots=4)
    rig.put(make_line("fill", HALF + 1))
    rig.drain.step()
    accepted = fill(rig)
    while rig.drain.step():
        pass
    again = rig.put(make_line("again", HALF + 1))

    assert accepted <= 1 + 4
    assert rig.chain.drops.by_reason() == {QUEUE_FULL: 1}
    assert again


def test_q2_a_line_that_does_not_fit_goes_behind_the_ones_before_it() -> None:
    """
    A short one that would fit the segment that was sealed follows the long one.
    """
    rig = Rig(Disk())
    names = ["long", "longer", "short"]
    for name, size in zip(names, (HALF, HALF + 100, 80), strict=True):
        rig.put(make_line(name, size))
    rig.drain_all()

    assert [line.split(b'"')[7].decode() for line in lines_of(rig.disk, PATH)] == names


def test_q3_a_record_is_accepted_or_dropped_and_never_both() -> None:
    """
    At the end of the stack the writer cannot be told to hurry: the line is there all
    the same.
    """
    rig = Rig(Disk())

    def no_room_on_the_stack(behind: int, ahead: int) -> None:
        raise RecursionError

    rig.put(make_line("first", HALF + 1))
    rig.bell.hurry = no_room_on_the_stack  # type: ignore[method-assign]
    rig.chain.put(make_line("second", HALF + 1))
    rig.drain_all()

    assert len(lines_of(rig.disk, PATH)) == 2
    assert rig.chain.accepted == 2
    assert rig.chain.drops.by_reason() == {}


def test_how_far_the_writer_is_behind_counts_from_what_it_has_taken() -> None:
    """
    Not from what is in the log: while it appends, producers need not wait for it.
    """
    rig = Rig(Disk(), slots=30)
    for _ in range(4):
        rig.put(make_line("line", HALF + 1))
    before = list(rig.bell.hurries)
    rig.drain.step()
    rig.bell.hurries.clear()
    for _ in range(2):
        rig.put(make_line("line", HALF + 1))

    assert [behind for behind, _ in before] == [1, 2, 3]
    assert [behind for behind, _ in rig.bell.hurries] == [1, 2]
    assert [ahead for _, ahead in rig.bell.hurries] == [AHEAD - 1, AHEAD - 2]


def test_the_memory_of_drained_segments_is_let_go() -> None:
    """
    A mapping keeps address space and a descriptor: neither may grow with the log.
    """
    rig = Rig(Disk())
    for number in range(200):
        rig.put(make_line(f"{number}", HALF + 1))
        rig.drain.step()
    gc.collect()
    spool = rig.chain.open().spool
    alive = [thing for thing in gc.get_objects() if isinstance(thing, Segment)]

    assert len([segment for segment in alive if segment.spool is spool]) <= 12


# -- the end ------------------------------------------------------------------------


def test_q3_after_close_records_are_counted_as_dropped() -> None:
    """
    What was accepted before is still drained; closing again changes nothing.
    """
    rig = Rig(Disk())
    rig.put(make_line("before"))
    rig.chain.close()
    rig.chain.close()
    rig.put(make_line("after"))
    rig.drain_all()

    assert rig.chain.drops.by_reason() == {CLOSED: 1}
    assert len(lines_of(rig.disk, PATH)) == 1
    assert rig.drain.empty()


def test_q3_a_chain_that_was_never_opened_can_be_closed() -> None:
    """
    It makes no spool, then or later.
    """
    rig = Rig(Disk())
    rig.chain.close()

    assert not rig.put(make_line("late"))
    assert rig.chain.drops.by_reason() == {CLOSED: 1}
    assert rig.chain.head is None


def test_q3_a_late_producer_cannot_write_after_close() -> None:
    """
    It has fetched ``segment.write`` before, and calls it now.
    """
    rig = Rig(Disk())
    rig.put(make_line("first"))
    late = rig.chain._targets[0]
    rig.chain.close()
    with pytest.raises(ValueError, match="range"):
        late.write(make_line("late"))
    rig.chain._follow(late, make_line("late"))

    assert rig.chain.drops.by_reason() == {CLOSED: 1}


def test_q3_closing_during_the_first_record_leaves_nothing_open(
    tmp_path: Path,
) -> None:
    """
    Another thread closes while the spool is made: the chain is closed after it.
    """
    make = durable_in(tmp_path)
    rigs: list[Rig] = []

    def closed_meanwhile() -> SpoolFile:
        rigs[0].chain.close()
        return make()

    rigs.append(Rig(Disk(), make_spool=closed_meanwhile))
    first = rigs[0].put(make_line("first"))
    second = rigs[0].put(make_line("second"))

    assert not second
    assert rigs[0].chain.accepted == first
    assert rigs[0].chain.drops.by_reason() == {CLOSED: 2 - first}


# -- fork ---------------------------------------------------------------------------


def test_q5_without_a_gil_a_guard_is_never_pushed_while_a_segment_is_put(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    The last place of a list is looked up before the list is locked: it would be another
    one, and the segment would take a guard's place.
    """
    monkeypatch.setattr(chain_module, "has_gil", lambda: False)
    rig = Rig(Disk())
    rig.put(make_line("first", 100))
    thread = threading.Thread(target=rig.chain.before_fork)
    with rig.chain._aiming:
        thread.start()
        thread.join(timeout=0.2)
        assert thread.is_alive()
        assert len(rig.chain.sink.targets) == 1
    thread.join()

    assert isinstance(rig.chain.sink.targets[0], ForkGuard)
    rig.put(make_line("second", 100))
    assert rig.chain.accepted == 2


def test_q5_a_guard_lets_the_parent_go_on() -> None:
    """
    Forks of several threads may overlap, and end in any order.
    """
    rig = Rig(Disk())
    one = rig.chain.before_fork()
    rig.put(make_line("first"))
    two = rig.chain.before_fork()
    rig.put(make_line("second"))
    rig.chain.after_fork_in_parent(one)
    rig.put(make_line("third"))
    rig.chain.after_fork_in_parent(two)
    rig.chain.after_fork_in_parent(two)
    rig.put(make_line("fourth"))
    rig.drain_all()

    assert not isinstance(rig.chain._targets[0], ForkGuard)
    assert len(rig.chain._targets) == 1
    assert rig.chain.drops.by_reason() == {}
    assert len(lines_of(rig.disk, PATH)) == 4


def test_q5_a_child_that_logs_in_the_middle_of_the_fork_starts_empty(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Before its at-fork hook has run: the guard sees another process id, and resets.
    """
    rig = Rig(Disk())
    rig.put(make_line("parents"))
    parents = rig.chain.head
    assert parents is not None
    was = parents.tell()
    rig.chain.before_fork()
    monkeypatch.setattr(rig.chain, "_in_child", rig.chain.reset_in_child)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    rig.put(make_line("childs"))

    assert rig.chain.accepted == 1
    assert rig.chain.head is not parents
    assert parents.sealed
    assert parents[was : was + 10] == bytes(10)


def test_q5_a_child_has_a_queue_like_its_parents() -> None:
    """
    With the whole bound, drops that are counted, and slots that are used again.
    """
    rig = Rig(Disk(), slots=4)
    rig.put(make_line("parents"))
    rig.chain.reset_in_child()
    rig.drain.reset()
    for _ in range(10):
        fill(rig)
        rig.drain_all()

    generations, segment = set(), rig.chain.head
    while segment is not None:
        generations.add(segment.generation)
        segment = segment.next

    assert rig.chain.drops.by_reason() == {QUEUE_FULL: 10}
    assert len(lines_of(rig.disk, PATH)) == rig.chain.accepted >= 30
    assert generations == {1}  # none is taken for one of the parent's


def test_q5_a_producer_that_forked_within_a_put_writes_to_the_childs_queue() -> None:
    """
    It holds a segment of the parent's, which is sealed for it, as are those behind.
    """
    rig = Rig(Disk())
    rig.put(make_line("parents"))
    late = rig.chain._targets[0]
    rig.chain.reset_in_child()
    line = make_line("childs")
    with pytest.raises(ValueError, match="range"):
        late.write(line)
    rig.chain._follow(late, line)

    assert rig.chain.accepted == 1
    assert rig.chain.drops.by_reason() == {}
    assert rig.chain.head is not late
