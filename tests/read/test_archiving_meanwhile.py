"""
S4, exhaustively: the archiver's steps at each moment of a reader's.

A directory in memory, of which every call of the reader's is a moment in which the
archiver may take any number of its steps.  Listing is no snapshot there either: each
name is looked up by itself, at a moment of its own.
"""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from tokenpak.telemetry.read import source
from tokenpak.telemetry.store import names

LOGS = "/logs"
ARCHIVE = "/logs/archive"
DAY = date(2026, 3, 24)
D = "errors-2026-03-24.jsonl"
D1 = "errors-2026-03-24.1.jsonl"

Event = Callable[["Directory"], None]


class Directory:
    """Names and inodes.  *moment* is called before each call of the reader's."""

    def __init__(self) -> None:
        self.inodes: dict[str, int] = {f"{LOGS}/{D}": 1}
        self.contents = {1: {"early"}}
        self.moment: Callable[[], None] = lambda: None

    # -- what the archiver and a late writer do ---------------------------------

    def link(self, old: str, new: str) -> None:
        assert new not in self.inodes
        self.inodes[new] = self.inodes[old]

    def unlink(self, path: str) -> None:
        del self.inodes[path]

    def create(self, path: str, content: set[str]) -> None:
        assert path not in self.inodes
        # The lowest number that is free, as some file systems do.
        number = min(set(range(1, 20)) - set(self.inodes.values()))
        self.inodes[path] = number
        self.contents[number] = content

    def pack(self, plain: str) -> None:
        self.create(f"{plain}.gz", self.contents[self.inodes[plain]])

    # -- what the reader does -----------------------------------------------------

    def listdir(self, path: str) -> list[str]:
        """A .gz is looked for before its plain file: that is how one is missed."""
        found = []
        for name in (f"{D1}.gz", D1, f"{D}.gz", D):
            self.moment()
            if f"{path}/{name}" in self.inodes:
                found.append(name)
        return found

    def lstat(self, path: str) -> os.stat_result:
        self.moment()
        if path not in self.inodes:
            raise FileNotFoundError(2, "No such file or directory", path)
        return self._status(self.inodes[path])

    def open(self, path: str, _flags: int) -> int:
        number = self.lstat(path).st_ino
        # What is open is not used again for another file.
        self.inodes[f"open {path} {len(self.inodes)}"] = number
        return number

    def fstat(self, fd: int) -> os.stat_result:
        return self._status(fd)

    def close(self, fd: int) -> None:
        for name in [n for n in self.inodes if n.startswith("open ")]:
            if self.inodes[name] == fd:
                del self.inodes[name]
                return

    def _status(self, number: int) -> os.stat_result:
        return os.stat_result((stat.S_IFREG, number, 1, 1, 0, 0, 0, 0, 0, 0))


EVENTS: tuple[Event, ...] = (
    lambda d: d.link(f"{LOGS}/{D}", f"{ARCHIVE}/{D}"),
    lambda d: d.unlink(f"{LOGS}/{D}"),
    lambda d: d.create(f"{LOGS}/{D}", {"late"}),
    lambda d: d.pack(f"{ARCHIVE}/{D}"),
    lambda d: d.unlink(f"{ARCHIVE}/{D}"),
    lambda d: d.link(f"{LOGS}/{D}", f"{ARCHIVE}/{D1}"),
    lambda d: d.unlink(f"{LOGS}/{D}"),
    lambda d: d.pack(f"{ARCHIVE}/{D1}"),
    lambda d: d.unlink(f"{ARCHIVE}/{D1}"),
)
LATE = 3  # the late record is there from then on


class Calls:
    """What the reader takes for the module os: the newest of some directories."""

    path = os.path

    def __init__(self) -> None:
        self.directories: list[Directory] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.directories[-1], name)


@contextmanager
def calls() -> Iterator[Calls]:
    """Put directories in the place of the operating system."""
    fake = Calls()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(source, "os", fake)
        monkeypatch.setattr(names, "os", fake)
        # No times to rely on: look again each time.
        monkeypatch.setattr(source.LogDirectory, "_look", lambda _self: None)
        yield fake


def read(fake: Calls, begun: int, bursts: dict[int, int]) -> list[str]:
    """
    Read while events happen; return what was read.

    Args:
        fake: where the directory goes.
        begun: how many events there were before.
        bursts: at which moment of the reader's, up to which event.

    """
    directory = Directory()
    fake.directories = [directory]
    state = 0
    moments = itertools.count()

    def advance(to: int) -> None:
        nonlocal state
        while state < to:
            EVENTS[state](directory)
            state += 1

    advance(begun)
    directory.moment = lambda: advance(bursts.get(next(moments), 0))
    found: list[str] = []
    log = source.LogDirectory(LOGS, "errors", lambda _: True)
    for day in log.days():
        with log.open_day(day) as opened:
            assert opened.unreadable == []
            for file in opened.files:
                found.extend(directory.contents[file.fd])
    return sorted(found)


def check(fake: Calls, begun: int, bursts: dict[int, int]) -> None:
    found = read(fake, begun, bursts)
    end = max([begun, *bursts.values()])
    allowed = [["early"], ["early", "late"]]
    if begun >= LATE:
        allowed = allowed[1:]
    elif end < LATE:
        allowed = allowed[:1]
    assert found in allowed, (begun, bursts)


def test_s4_a_late_records_new_file_does_not_hide_the_one_that_is_moved() -> None:
    """
    A failure that a prototype had: listed under the old name, where by the time of the
    opening the late record's file was, and compressed during the look after that.
    """
    with calls() as fake:
        # Two listings of 2 * 4 names; then the opening, in moment 16; then a look.
        check(fake, 0, {16: 3, 24: 5})


@pytest.mark.parametrize("begun", [0, 1, 2, 3])
def test_s4_each_record_is_read_once_wherever_two_or_three_bursts_of_steps_fall(
    begun: int,
) -> None:
    """All of them: a file can be missed twice, and it would take three times."""
    with calls() as fake:
        for one in range(begun, 5):
            for first, second in itertools.combinations(range(40), 2):
                check(fake, begun, {first: one, second: 5})
        for one, two in itertools.combinations(range(begun + 1, 5), 2):
            for first, second, third in itertools.combinations(range(8, 34), 3):
                check(fake, begun, {first: one, second: two, third: 5})


@settings(max_examples=400)
@given(
    begun=st.integers(0, len(EVENTS)),
    bursts=st.lists(
        st.tuples(st.integers(0, 50), st.integers(0, len(EVENTS))), max_size=9
    ),
)
def test_s4_each_record_is_read_once_however_the_steps_fall(
    begun: int, bursts: list[tuple[int, int]]
) -> None:
    """Also when the late record's file is archived, too."""
    highest = begun
    planned = {}
    for moment, event in sorted(bursts):
        highest = max(highest, event)
        planned[moment] = highest
    with calls() as fake:
        check(fake, begun, planned)


def test_days_are_those_of_the_names() -> None:
    """What the model is made of."""
    parsed = names.parse_log_name(D1)

    assert parsed is not None
    assert (parsed.day, parsed.part) == (DAY, 1)
