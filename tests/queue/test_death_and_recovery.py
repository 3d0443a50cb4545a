"""
Q1, as a state machine: whatever dies or fails wherever, each line is there once.

Real spools, chains, drains and recoveries, over a disk in memory.  Every operation on a
day file and every store of a word may be the last one of its process, or fail, or be
preceded by what other processes do: append, die in the middle of a line, or delete the
file.
"""

from __future__ import annotations

import itertools
import tempfile
from collections import Counter

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tests.queue.rig import DAY, NEXT_DAY, SEGMENT, Rig, make_line
from tests.store.fakes import (
    LOG_DIR,
    Died,
    Disk,
    FakeFiles,
    FakeWords,
    Fate,
    Fault,
    fake_day_files,
)
from tokenpak.telemetry.queue.recovery import empty_orphan
from tokenpak.telemetry.store.append import Appender
from tokenpak.telemetry.store.dayfiles import Contended, DayFiles
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.limits import Limits
from tokenpak.telemetry.store.names import ERRORS
from tokenpak.telemetry.store.notes import DAY_FULL, Notes
from tokenpak.telemetry.store.spool import SpoolFile, spool_paths

PATHS = {day: f"{LOG_DIR}/errors-{day}.jsonl" for day in (DAY, NEXT_DAY)}
KINDS = (
    "die before",
    "die after",
    "die within",
    "error before",
    "error after",
    "short",
    "contended",
    "others append",
    "others die",
)

faults = st.builds(
    Fault,
    st.sampled_from(KINDS),
    st.sampled_from((0.0, 0.01, 0.3, 0.5, 0.9, 0.99, 1.0)),
)
OPERATIONS = ("write", "store", "read", "lock", "unlock")
plans: st.SearchStrategy[dict[int | str, Fault]] = st.dictionaries(
    st.one_of(st.integers(0, 40), st.sampled_from(OPERATIONS)), faults, max_size=4
)
sizes = st.one_of(
    st.integers(80, 400), st.integers(SEGMENT // 3, SEGMENT // 2), st.just(0)
)
days = st.sampled_from((DAY, DAY, DAY, NEXT_DAY))


class Deaths(RuleBasedStateMachine):
    """Processes of one log directory, of which one at a time logs."""

    limits: Limits | None = None

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.disk = Disk()
        self.numbers = itertools.count()
        self.accepted: list[list[bytes]] = []  # by process
        self.attempted: set[bytes] = set()
        self.others: list[bytes] = []
        self.dropped = 0  # for a bound
        self.rig: Rig | None = None
        self.fate = Fate()
        self.spool: SpoolFile | None = None

    # -- what the process does --------------------------------------------------

    @initialize()
    def start(self) -> None:
        """Begin a process."""
        self.fate = Fate(others=self.others_do)
        self.accepted.append([])
        self.rig = Rig(
            self.disk,
            day_files=fake_day_files(self.disk, self.fate),
            make_spool=self.make_spool,
            limits=self.limits,
        )
        self.put([(0, DAY)])

    def make_spool(self) -> SpoolFile:
        """Create a spool whose words are counted."""
        spool = SpoolFile.create(OsFiles(), self.directory.name, ERRORS, 6)
        spool.reserve(0, 1)
        spool.notes = Notes(FakeWords(spool._words, self.fate))
        self.spool = spool
        return spool

    def new_line(self, size: int, day: str, name: str = "") -> bytes:
        """Return a line that there was none like."""
        line = make_line(f"{name}{next(self.numbers):05}", size, day)
        self.attempted.add(line)
        return line

    @precondition(lambda self: self.rig is None)
    @rule()
    def restart(self) -> None:
        """Another process begins, whether or not the dead one's spool is empty."""
        self.start()

    @precondition(lambda self: self.rig is not None)
    @rule(lines=st.lists(st.tuples(sizes, days), min_size=1, max_size=12))
    def put(self, lines: list[tuple[int, str]]) -> None:
        """The application logs."""
        assert self.rig is not None
        for size, day in lines:
            line = self.new_line(size, day)
            if self.rig.put(line):
                self.accepted[-1].append(line)

    @precondition(lambda self: self.rig is not None)
    @rule(plan=plans)
    def drain(self, plan: dict[int | str, Fault]) -> None:
        """The writer takes a step."""
        assert self.rig is not None
        self.fate.plan(plan)
        try:
            self.rig.drain.step()
        except (Contended, OSError):
            pass
        except Died:
            self.bury()
        self.fate.plan({})

    @precondition(lambda self: self.rig is not None)
    @rule(part=st.floats(0, 1, exclude_max=True), backwards=st.booleans())
    def die_in_put(self, part: float, *, backwards: bool) -> None:
        """The process dies while a line is copied, from either end: not accepted."""
        assert self.rig is not None
        line = self.new_line(0, DAY)
        segment = self.rig.chain.head
        while segment is not None and segment.sealed and segment.next is not None:
            segment = segment.next
        if segment is not None and len(segment) - segment.tell() >= len(line):
            at, size = segment.tell(), int(len(line) * part)
            if backwards:
                segment[at + len(line) - size : at + len(line)] = line[
                    len(line) - size :
                ]
            else:
                segment[at : at + size] = line[:size]
        self.bury()

    def bury(self) -> None:
        """Let the kernel drop the locks of a dead process."""
        assert self.rig is not None
        assert self.spool is not None
        self.fate.dead = True
        self.disk.locks.clear()  # nobody else lives between two rules
        self.spool.release()
        self.rig = self.spool = None

    # -- what others do ---------------------------------------------------------

    @rule(plan=plans)
    def recover(self, plan: dict[int | str, Fault]) -> None:
        """Another process recovers the oldest orphan, and may die over it."""
        fate = Fate(plan, self.others_do)
        for path in spool_paths(self.directory.name):
            if not self.recover_one(path, fate):
                return

    def recover_one(self, path: str, fate: Fate) -> bool:
        """Return whether the orphan at *path* is empty, or none."""
        spool = SpoolFile.adopt(OsFiles(), path)
        if spool is None:
            return True
        files = FakeFiles(self.disk, fate)
        try:
            notes = Notes(FakeWords(spool._words, fate))
            day_files = DayFiles(files, LOG_DIR)
            appender = Appender(day_files, notes, sync=False, limits=self.limits)
            empty_orphan(notes, spool.live_segments(), appender)
        except (Contended, OSError, Died):
            spool.release()
            return False
        finally:
            self.disk.release_all(files)
        self.dropped += spool.notes.drop_count(DAY_FULL)
        spool.remove()
        return True

    def others_do(self, kind: str) -> None:
        """Be another process for a moment, if it can have the lock."""
        if not self.disk.locked(PATHS[DAY]):
            self.append_as_another(torn="die" in kind)

    @rule(torn=st.booleans(), size=sizes, part=st.floats(0, 1, exclude_max=True))
    def append_as_another(
        self, *, torn: bool, size: int = 0, part: float = 0.7
    ) -> None:
        """Another process appends a line, after it has closed a torn tail."""
        data = self.disk.open(PATHS[DAY]).data
        line = self.new_line(size, DAY, name="other")
        if data and not data.endswith(b"\n"):
            data += b"\n"
        if torn:
            data += line[: int(len(line) * part)]
        else:
            data += line
            self.others.append(line)

    # -- what must hold ---------------------------------------------------------

    @invariant()
    def nothing_is_merged_or_doubled(self) -> None:
        """Each line is one of ours, or the beginning of one that was torn."""
        for inode in self.disk.inodes:
            lines = bytes(inode.data).splitlines(keepends=True)
            whole = [line for line in lines if line.endswith(b"\n")]
            counts = Counter(line for line in whole if line in self.attempted)
            assert not [line for line, count in counts.items() if count > 1]
            for line in whole:
                assert line in self.attempted or any(
                    other.startswith(line[:-1]) for other in self.attempted
                )

    def teardown(self) -> None:
        """Let everything come to its end, and look."""
        if self.rig is not None:
            self.bury()
        self.recover({})
        assert spool_paths(self.directory.name) == []
        self.check()
        self.directory.cleanup()

    def check(self) -> None:
        """Everything that was accepted is there once, in its order."""
        contents = {
            day: bytes(self.disk.open(path).data).splitlines(keepends=True)
            for day, path in PATHS.items()
        }
        for lines in self.accepted:
            for day, content in contents.items():
                mine = set(lines)
                expected = [line for line in lines if line[14:24] == day.encode()]
                assert [line for line in content if line in mine] == expected
        assert [line for line in contents[DAY] if line in self.others] == self.others


class DeathsAtABound(Deaths):
    """The same, where a day's file may not grow beyond a few segments."""

    limits = Limits(LOG_DIR, max_day_bytes=SEGMENT // 2)

    def check(self) -> None:
        """What is not there was counted, each once; what is there is in its order."""
        there: list[bytes] = []
        for path in PATHS.values():
            there += bytes(self.disk.open(path).data).splitlines(keepends=True)
        found = 0
        for lines in self.accepted:
            mine = set(lines)
            for day in PATHS:
                kept = [x for x in there if x in mine and x[14:24] == day.encode()]
                assert kept == [x for x in lines if x in set(kept)]
                found += len(kept)
        assert found + self.dropped == sum(len(lines) for lines in self.accepted)


class DeathsAndDeletions(Deaths):
    """The same, where the file is deleted at any moment, too."""

    def others_do(self, kind: str) -> None:
        """Delete the file, whoever has its lock: deleting needs none."""
        if "die" in kind:
            self.delete()
        else:
            super().others_do(kind)

    @rule()
    def delete(self) -> None:
        """Somebody deletes the file."""
        self.disk.delete(PATHS[DAY])

    def check(self) -> None:
        """Nothing is missing, counting what was deleted with the file."""
        everything = b"".join(bytes(inode.data) + b"\n" for inode in self.disk.inodes)
        there = set(everything.splitlines(keepends=True))
        for lines in self.accepted:
            assert set(lines) <= there
        assert set(self.others) <= there


_SETTINGS = settings(
    deadline=None,
    max_examples=150,
    stateful_step_count=25,
    suppress_health_check=list(HealthCheck),
)

TestQ1DeathAtAnyPoint = Deaths.TestCase
TestQ1DeathAtAnyPoint.settings = _SETTINGS
TestQ3DeathAtABound = DeathsAtABound.TestCase
TestQ3DeathAtABound.settings = settings(_SETTINGS, max_examples=200)
TestQ1DeathWhileTheFileIsDeleted = DeathsAndDeletions.TestCase
TestQ1DeathWhileTheFileIsDeleted.settings = _SETTINGS
