"""
A chain, its drain and its supply without a thread, on small segments.

Everything happens when the test says so.  Segments are of the smallest size that can be
mapped, so that a few lines fill one.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Callable, Iterator
from unittest import mock

from tests.store.fakes import Disk, fake_day_files
from tokenpak.telemetry.queue.chain import Chain
from tokenpak.telemetry.queue.daywatch import DayWatch
from tokenpak.telemetry.queue.drain import Drain
from tokenpak.telemetry.queue.supply import open_chain
from tokenpak.telemetry.store import spool
from tokenpak.telemetry.store.dayfiles import DayFiles
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.limits import Limits
from tokenpak.telemetry.store.names import ERRORS
from tokenpak.telemetry.store.segment import Segment
from tokenpak.telemetry.store.spool import SpoolFile

SEGMENT = mmap.ALLOCATIONGRANULARITY
DAY = "2026-03-24"
NEXT_DAY = "2026-03-25"


class QuietBell:
    """A bell that nobody hears: the test is the writer."""

    rings = False

    def __init__(self) -> None:
        self.answers = 0
        self.hurries: list[tuple[int, int]] = []

    def answer(self) -> None:
        """Count."""
        self.answers += 1

    def ease(self) -> None:
        """Press no longer: nobody did."""

    def hurry(self, behind: int, ahead: int) -> None:
        """Remember."""
        self.hurries.append((behind, ahead))


@contextlib.contextmanager
def small_segments() -> Iterator[None]:
    """Make new spools have segments of SEGMENT bytes."""
    with mock.patch.object(spool, "SEGMENT_BYTES", SEGMENT):
        yield


def make_line(name: str, size: int = 0, day: str = DAY) -> bytes:
    """Return a line of *size* bytes at least; all begin alike, up to the name."""
    bare = b'{"timestamp":"%bT12:00:00.000000Z","request_id":"%b","pad":"' % (
        day.encode(),
        name.encode(),
    )
    return bare + b"x" * (size - len(bare) - 3) + b'"}\n'


def name_of(line: bytes) -> str:
    """Return the name that make_line() was given."""
    return line.split(b'"')[7].decode()


def always_look() -> DayWatch:
    """Return a watch that never says that a range is of one day."""
    watch = DayWatch(lambda: 0, lambda: False)
    watch.reset(quiet=False)
    return watch


def fail_in_child() -> None:
    """Stand in for what a forked child would do: there is none."""
    raise AssertionError("this is no child")


class Rig:
    """One chain over *disk*, drained by hand."""

    def __init__(
        self,
        disk: Disk,
        *,
        day_files: DayFiles | None = None,
        slots: int = 6,
        full_wait: float = 0.0,
        make_spool: Callable[[], SpoolFile] | None = None,
        watch: DayWatch | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.disk = disk
        self.bell = QuietBell()
        self.files = OsFiles()
        self._slots = slots
        self._make_spool = make_spool or self._in_memory
        self.chain = Chain(ERRORS, self.open_first, self.bell, fail_in_child, full_wait)
        self.day_files = day_files or fake_day_files(disk)
        self.drain = Drain(
            self.chain,
            self.day_files,
            watch or always_look(),
            sync=False,
            limits=limits,
        )

    def _in_memory(self) -> SpoolFile:
        return SpoolFile.in_memory(self.files, ERRORS, self._slots)

    def open_first(self) -> Segment:
        """Make a spool."""
        with small_segments():
            return open_chain(self._make_spool())

    def put(self, line: bytes) -> bool:
        """Put *line*; return whether it was accepted."""
        before = self.chain.accepted
        self.chain.put(line)
        return self.chain.accepted > before

    def drain_all(self) -> None:
        """Take steps until one finds nothing."""
        while self.drain.step():
            pass


__all__ = [
    "DAY",
    "NEXT_DAY",
    "SEGMENT",
    "QuietBell",
    "Rig",
    "always_look",
    "fail_in_child",
    "make_line",
    "name_of",
    "small_segments",
]
