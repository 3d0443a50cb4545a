"""What is going on when a process ends, forks, or waits for a disk."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

import pytest

from tests.queue.rig import make_line
from tests.queue.upkeep_rig import Rig, days_ago, write_days
from tests.read.log_making import write_log
from tests.store.archiving import ids, tree
from tokenpak.telemetry.queue import upkeep
from tokenpak.telemetry.store.entries import Entries


def half_way(rig: Rig, log_dir: Path) -> None:
    """Go on until there is a temporary file."""
    rig.now += rig.upkeep.turn()
    for _ in range(1_000_000):
        if list(log_dir.glob("archive/.*")):
            return
        rig.now += rig.upkeep.turn()
        time.sleep(0.0001)
    raise AssertionError("there never is one")


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every turn a step, and the file take many."""
    monkeypatch.setattr(upkeep, "TURN", 0.00005)
    monkeypatch.setattr("tokenpak.telemetry.store.packing.PIECE", 16)


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("way", ["close", "quit"])
def test_the_end_leaves_nothing_half_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """close() in the writer's thread, or quit() from another one."""
    write_days(tmp_path, 8)
    rig = Rig(tmp_path, monkeypatch)
    half_way(rig, tmp_path)
    if way == "close":
        rig.upkeep.close()
    else:
        woken: SimpleQueue[None] = SimpleQueue()
        monkeypatch.setattr(upkeep, "QUIT_TIMEOUT", 60.0)
        thread = threading.Thread(
            target=rig.upkeep.quit, args=(lambda: woken.put(None), 60.0)
        )
        thread.start()
        woken.get(timeout=60)
        assert rig.upkeep.turn() == float("inf")
        thread.join(60)
        assert not thread.is_alive()

    assert tree(tmp_path) == [f"archive/errors-{days_ago(8)}.jsonl"]
    assert rig.files.descriptors == {}
    rig.now += 10**6
    assert rig.upkeep.turn() > 10**6


@pytest.mark.usefixtures("small_steps")
def test_q5_a_forked_child_forgets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own first look comes with its own first record."""
    write_days(tmp_path, 8)
    rig = Rig(tmp_path, monkeypatch)
    half_way(rig, tmp_path)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            rig.files.close_all_in_child()
            rig.upkeep.reset()
            first = rig.upkeep.turn()
            status = 0 if 1 < first < 10 and list(tmp_path.glob("archive/.*")) else 2
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    rig.finish()
    assert tree(tmp_path) == [f"archive/errors-{days_ago(8)}.jsonl.gz"]


def test_quit_is_at_once_if_nothing_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is woken for it."""
    rig = Rig(tmp_path, monkeypatch)

    rig.upkeep.quit(lambda: pytest.fail("woken"), 60)


def test_records_are_appended_while_a_disk_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is forced to it, and however long it takes."""
    write_days(tmp_path, 8)
    begun: SimpleQueue[str] = SimpleQueue()
    disk_is_done = threading.Semaphore(0)
    thread = threading.get_ident()

    class Slow(Entries):
        def sync(self, fd: int) -> None:
            self.sync_directory("")

        def sync_directory(self, path: str) -> None:
            assert threading.get_ident() != thread
            begun.put(path)
            assert disk_is_done.acquire(timeout=60)

    rig = Rig(tmp_path, monkeypatch, Slow)
    rig.now += rig.upkeep.turn()
    for number in range(4):
        while begun.empty():
            rig.now += rig.upkeep.turn()
            time.sleep(0.0001)
            assert rig.upkeep._steps is not None
        begun.get()
        for _ in range(10):  # each turn is over at once
            wait = rig.upkeep.turn()
            assert 0 < wait < 0.1, number
            rig.now += wait
        disk_is_done.release()
    rig.finish()

    assert tree(tmp_path) == [f"archive/errors-{days_ago(8)}.jsonl.gz"]


def test_where_no_thread_is_to_be_had_the_disk_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Better late records than no archive."""

    def fail(*_args: object) -> None:
        raise RuntimeError("can't start new thread")

    write_days(tmp_path, 8)
    rig = Rig(tmp_path, monkeypatch)
    monkeypatch.setattr(
        "tokenpak.telemetry.queue.upkeep._thread.start_new_thread", fail
    )

    rig.run()

    assert tree(tmp_path) == [f"archive/errors-{days_ago(8)}.jsonl.gz"]


def test_a_thread_that_dies_at_birth_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the lock of a day's file would be held for ever.  Nor does a late one harm."""
    late: list[Callable[[], None]] = []

    def start(run: Callable[[], None], _: object) -> None:
        late.append(run)

    write_days(tmp_path, 8)
    rig = Rig(tmp_path, monkeypatch)
    monkeypatch.setattr(upkeep, "STILLBORN", 1.0)
    monkeypatch.setattr(
        "tokenpak.telemetry.queue.upkeep._thread.start_new_thread", start
    )

    rig.run()

    assert tree(tmp_path) == [f"archive/errors-{days_ago(8)}.jsonl.gz"]
    assert len(late) > 1
    monkeypatch.setattr(rig.disk, "sync", lambda _: pytest.fail("twice"))
    monkeypatch.setattr(rig.disk, "sync_directory", lambda _: pytest.fail("twice"))
    for run in late:
        run()


ENDS = """
import glob, sys, time
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.queue import upkeep
from tokenpak.telemetry.store import packing
upkeep.FIRST = (0.0, 0.0)
upkeep.QUIT_TIMEOUT = 60.0
packing.PIECE = 16  # so small that it takes a second
logger = ErrorLogger(sys.argv[1], exit_timeout=60)
logger.log_event("first")
while not glob.glob(sys.argv[1] + "/archive/.*.tmp"):
    time.sleep(0.001)
if sys.argv[2] == "close":
    logger.close()
"""


@pytest.mark.parametrize("way", ["close", "end"])
def test_a_process_that_ends_while_it_archives_leaves_no_temporary_file(
    log_dir: Path, way: str
) -> None:
    """Neither if its logger is closed, nor if it just ends."""
    day = days_ago(8)
    names = [f"{number}" for number in range(9000)]
    write_log(log_dir, b"".join(make_line(name, 300, day) for name in names), day)

    command = [sys.executable, "-c", ENDS, str(log_dir), way]
    subprocess.run(command, check=True, timeout=110)

    assert [name for name in tree(log_dir) if name.startswith("archive")] == [
        f"archive/errors-{day}.jsonl"
    ]
    assert ids(log_dir) == sorted(names)
