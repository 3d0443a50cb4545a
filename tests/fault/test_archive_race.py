"""
S4 under load: many processes archive one directory at once, and are killed.

Meanwhile late records are appended to the days that are being archived, by writers that
are killed, too, and a reader that takes no lock looks again and again: at each look it
must see each record that was in the log before it began exactly once.
"""

from __future__ import annotations

import functools
import mmap
import os
import random
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.queue.rig import Rig, make_line, small_segments
from tests.read.log_making import write_log
from tests.store.archiving import archive_fully, make_archiver, run, tree
from tests.store.fakes import Disk
from tokenpak.telemetry.queue.recovery import recover
from tokenpak.telemetry.read import UnreadableFile, iter_records
from tokenpak.telemetry.store.dayfiles import Contended, DayFiles
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.names import ERRORS
from tokenpak.telemetry.store.spool import SpoolFile

pytestmark = pytest.mark.fault

ARCHIVERS = 16
WRITERS = 2
DAYS = ("2026-03-24", "2026-03-25", "2026-03-26")
SIZES = (1, 20, 800)
LATE = 15
"""Records of each writer."""
MOST_PASSES = 10_000


@dataclass
class Words:
    """What a writer has done, in memory that outlives it."""

    name: str
    memory: mmap.mmap = field(default_factory=lambda: mmap.mmap(-1, 16))

    def store(self, index: int, value: int) -> None:
        self.memory[8 * index : 8 * index + 8] = value.to_bytes(8, "little")

    def get(self, index: int) -> int:
        return int.from_bytes(self.memory[8 * index : 8 * index + 8], "little")

    def ids(self, count: int) -> set[str]:
        return {f"{self.name}-{number}" for number in range(count)}

    @property
    def written(self) -> set[str]:
        """Records whose append has returned."""
        return self.ids(self.get(1))

    @property
    def accepted(self) -> set[str]:
        return self.ids(self.get(0))


def start(work: Callable[[], None], gate: tuple[int, int]) -> int:
    """Fork a child that works as soon as the gate's writing end is closed."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.close(gate[1])
        os.read(gate[0], 1)
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def append_late(log_dir: Path, words: Words) -> None:
    files = OsFiles()
    rig = Rig(
        Disk(),
        day_files=DayFiles(files, str(log_dir)),
        make_spool=lambda: SpoolFile.create(files, str(log_dir / "spool"), ERRORS, 6),
    )
    for number in range(LATE):
        day = DAYS[number % len(DAYS)]
        assert rig.put(make_line(f"{words.name}-{number}", 100, day))
        words.store(0, number + 1)
        while True:
            try:
                rig.drain_all()
                break
            except Contended:
                time.sleep(0.0005)
        words.store(1, number + 1)
        time.sleep(0.002)


def archive(log_dir: Path, stop: mmap.mmap) -> None:
    """Archive as long as there are late records, and once more."""
    for _ in range(MOST_PASSES):
        ending = stop[0]
        run(make_archiver(log_dir))
        if ending:
            break


def look(log_dir: Path, expected: set[str]) -> Counter[str]:
    """Read everything; each record of *expected* must be there, and none twice."""
    seen: Counter[str] = Counter()
    for item in iter_records(log_dir):
        if isinstance(item, dict):
            seen[item["request_id"]] += 1
        else:
            # A writer that is killed may leave a torn line, but all files are read.
            assert not isinstance(item, UnreadableFile), item
    missing = expected - set(seen)
    assert not missing, sorted(missing)[:5]
    doubled = [name for name, count in seen.items() if count > 1]
    assert not doubled, sorted(doubled)[:5]
    return seen


def race(log_dir: Path, chance: random.Random) -> tuple[int, int]:
    """One round; return how many were killed, and how many looks there were."""
    expected = set()
    for day, size in zip(DAYS, SIZES, strict=True):
        names = [f"{day}/{number}" for number in range(size)]
        expected.update(names)
        write_log(log_dir, b"".join(make_line(n, 150, day) for n in names), day)
    writers = [Words(f"late{number}") for number in range(WRITERS)]
    children: dict[int, float] = {}
    killed = looks = 0
    gate, stop = os.pipe(), mmap.mmap(-1, 1)
    try:
        for words in writers:
            child = start(functools.partial(append_late, log_dir, words), gate)
            children[child] = chance.choice([60.0, 0.1 * chance.random()])
        for _ in range(ARCHIVERS):
            child = start(functools.partial(archive, log_dir, stop), gate)
            children[child] = chance.choice([60.0, 0.1 * chance.random()])
        appending = set(list(children)[:WRITERS])
        os.close(gate[1])
        begin = time.monotonic()
        while children:
            look(log_dir, expected.union(*(words.written for words in writers)))
            looks += 1
            stop[0] = not appending
            for child, end in list(children.items()):
                if time.monotonic() - begin > end:
                    os.kill(child, signal.SIGKILL)
                reaped, status = os.waitpid(child, os.WNOHANG)
                if reaped:
                    del children[child]
                    appending.discard(child)
                    ended = os.waitstatus_to_exitcode(status)
                    assert ended in {0, -signal.SIGKILL}, ended
                    killed += ended != 0
    finally:
        os.close(gate[0])
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    recover(str(log_dir))
    everything = expected.union(*(words.accepted for words in writers))
    look(log_dir, everything)
    archive_fully(log_dir)
    seen = look(log_dir, everything)
    # The call under way at a writer's death may have been accepted or not.
    under_way = {f"{words.name}-{words.get(0)}" for words in writers}
    assert set(seen) - everything <= under_way
    # A spool that was being born when its process died is deleted after a minute;
    # and what dead processes counted is kept.
    other = ("spool/.new-", "metrics/pipeline-v1.")
    left = [name for name in tree(log_dir) if not name.startswith(other)]
    assert all(name.endswith(".jsonl.gz") for name in left), left
    return killed, looks


def rounds(tmp_path: Path, count: int, seed: int) -> None:
    chance = random.Random(seed)
    killed = looks = 0
    with small_segments():
        for number in range(count):
            one, other = race(tmp_path / f"{number}", chance)
            killed, looks = killed + one, looks + other
    assert killed > count
    assert looks > count


@pytest.mark.timeout(900)
def test_s4_processes_race_to_archive_and_are_killed(tmp_path: Path) -> None:
    """Some rounds of what the long one does."""
    rounds(tmp_path, 8, 1)


@pytest.mark.heavy
@pytest.mark.timeout(1800)
def test_s4_sixteen_processes_race_to_archive_in_200_rounds(tmp_path: Path) -> None:
    """Each record exactly once at each look, no temporary file at the end."""
    rounds(tmp_path, 200, 2)
