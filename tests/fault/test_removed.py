"""
Q3, S1, S5: file, directory or spool deleted, renamed or replaced under load.

The law: what was accepted is in the files, those included that were taken away (the
test keeps them open), or it is pending, or dropped under a reason.  At most one batch
goes to a file that is already gone: that of the process which holds its lock.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.queue import housekeeping
from tokenpak.telemetry.store.files import Buffer, OsFiles
from tokenpak.telemetry.store.spool import spool_paths

pytestmark = pytest.mark.fault

ROUNDS = 200
EXCHANGES = 5
LOGGERS = 2
"""Each with a writer and descriptors of its own, like two processes."""
PATIENCE = 120.0


class Appends:
    """Which files were appended to, in the order in which the appends began."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun: list[int] = []
        write = OsFiles.write

        def watched(files: OsFiles, fd: int, parts: Sequence[Buffer]) -> int:
            self.begun.append(os.fstat(fd).st_ino)
            return write(files, fd, parts)

        monkeypatch.setattr(OsFiles, "write", watched)

    def wait_for(self, inode: int, count: int) -> None:
        """Return when *inode* was appended to *count* times: it is in use."""
        deadline = time.monotonic() + PATIENCE
        while self.begun.count(inode) < count:
            assert time.monotonic() < deadline, "nobody appends"
            signal.sigtimedwait([], 0.001)


class Load:
    """Two loggers, each called by a thread of its own, paced."""

    def __init__(self, loggers: list[ErrorLogger]) -> None:
        self.loggers = loggers
        self.calls = [0] * len(loggers)
        self.raised: list[BaseException] = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number,))
            for number in range(len(loggers))
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, number: int) -> None:
        error = ValueError("x")
        try:
            while not self._stop.wait(0.0005):
                self.loggers[number].log_error(f"{number}/{self.calls[number]}", error)
                self.calls[number] += 1
        except BaseException as raised:  # C1: none may
            self.raised.append(raised)

    def stop(self) -> None:
        """Let the threads end."""
        self._stop.set()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def load(make_logger: Callable[..., ErrorLogger]) -> Iterator[Load]:
    """The load, which ends with the test."""
    loggers = [make_logger(linger=0.002) for _ in range(LOGGERS)]
    load = Load(loggers)
    yield load
    load.stop()


class Taken:
    """Files that were taken away, kept open, and what they held by then."""

    def __init__(self) -> None:
        self.files: dict[int, int] = {}
        """Inode and descriptor."""

    def open(self, path: Path) -> int:
        """Keep *path* open; return its inode."""
        fd = os.open(path, os.O_RDONLY)
        inode = os.fstat(fd).st_ino
        if inode in self.files:
            os.close(fd)
        self.files[inode] = self.files.get(inode, fd)
        return inode

    def contents(self) -> list[bytes]:
        """All of them, closed by that."""
        found = []
        for fd in self.files.values():
            with os.fdopen(fd, "rb") as file:
                found.append(file.read())
        self.files = {}
        return found


@pytest.fixture
def taken() -> Iterator[Taken]:
    """Closed by the end of the test."""
    taken = Taken()
    yield taken
    taken.contents()


# Each takes the file *path* away, or its directory.


def unlink(path: Path, place: Path) -> None:
    path.unlink()


def rename(path: Path, place: Path) -> None:
    path.rename(place / "moved")


def replace_by_file(path: Path, place: Path) -> None:
    (place / "new").write_bytes(b"")
    (place / "new").rename(path)


def replace_by_torn_file(path: Path, place: Path) -> None:
    (place / "new").write_bytes(b'{"timestamp":"torn')
    (place / "new").rename(path)


def replace_by_link(path: Path, place: Path) -> None:
    (place / "new").symlink_to(place / "precious")
    (place / "new").rename(path)


def replace_by_directory(path: Path, place: Path) -> None:
    path.unlink()
    try:
        path.mkdir()
    except FileExistsError:  # a writer was faster, and has made it anew
        pass


def rename_directory(path: Path, place: Path) -> None:
    path.parent.rename(place / f"moved-{time.monotonic_ns()}")


def delete_directory(path: Path, place: Path) -> None:
    # As "rm -r" does, while files come into being in it.
    shutil.rmtree(path.parent, ignore_errors=True)


def replace_directory(path: Path, place: Path) -> None:
    path.parent.rename(place / f"moved-{time.monotonic_ns()}")
    try:
        path.parent.mkdir(mode=0o700)
    except FileExistsError:
        pass


WAYS = (
    unlink,
    rename,
    replace_by_file,
    replace_by_torn_file,
    replace_by_link,
    replace_by_directory,
    rename_directory,
    delete_directory,
    replace_directory,
)


def test_q3_files_and_directories_taken_away_under_load(
    load: Load,
    log_dir: Path,
    tmp_path: Path,
    taken: Taken,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    200 times, each when both writers have the file in use.
    """
    monkeypatch.setattr(housekeeping, "SPOOL_CHECK", 0.01)
    appends = Appends(monkeypatch)
    place = tmp_path / "place"
    place.mkdir()
    (place / "precious").write_bytes(b"precious")
    late: Counter[str] = Counter()
    ways: Counter[str] = Counter()
    for number in range(ROUNDS):
        way = WAYS[number % len(WAYS)]
        path, inode = file_in_use(log_dir, taken)
        appends.wait_for(inode, 1 + LOGGERS)
        way(path, place)
        if path.exists() and path.stat().st_ino == inode:
            continue  # "rm -r" had not come to it; it is the next one's
        gone = len(appends.begun)
        clear(path)
        wait_for_another(appends, gone, inode)
        late[way.__name__] = max(late[way.__name__], appends.begun[gone:].count(inode))
        ways[way.__name__] += 1
    load.stop()
    flushed = [logger.flush(PATIENCE) for logger in load.loggers]
    stats = [logger.stats() for logger in load.loggers]
    for path in log_dir.glob("errors-*.jsonl"):
        taken.open(path)
    contents = taken.contents()

    assert sum(ways.values()) >= ROUNDS * 9 // 10, ways
    assert set(ways) == {way.__name__ for way in WAYS}
    assert load.raised == []
    assert flushed == [True, True]
    assert max(late.values()) <= 1, late
    assert (place / "precious").read_bytes() == b"precious"
    written, merged, torn = counted(contents)
    assert merged == 0
    assert torn <= ways["replace_by_torn_file"]
    for number, each in enumerate(stats):
        accepted = load.calls[number]
        assert (each.accepted, each.pending_records) == (accepted, 0)
        assert dict(each.dropped) == {}
        expected = {f"{number}/{call}" for call in range(accepted)}
        mine = {i: n for i, n in written.items() if i.startswith(f"{number}/")}
        assert mine.keys() == expected, "lost, or of nobody"
        assert set(mine.values()) == {1}, "doubled"


def file_in_use(log_dir: Path, taken: Taken) -> tuple[Path, int]:
    """Return the path and inode of a log file, which is kept open."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for path in sorted(log_dir.glob("errors-*.jsonl"), reverse=True):
            try:
                return path, taken.open(path)
            except OSError:  # an obstacle of ours, or gone
                pass
        signal.sigtimedwait([], 0.001)
    raise AssertionError("there is no log file")


def clear(path: Path) -> None:
    """Take away what keeps a file from being made at *path*, after a moment."""
    if path.is_symlink():
        signal.sigtimedwait([], 0.003)
        path.unlink()
    elif path.is_dir():
        signal.sigtimedwait([], 0.003)
        path.rmdir()


def wait_for_another(appends: Appends, start: int, inode: int) -> None:
    """Return when each writer has appended to another file than *inode*."""
    deadline = time.monotonic() + PATIENCE
    while sum(each != inode for each in appends.begun[start:]) < 2 * LOGGERS:
        assert time.monotonic() < deadline, "nobody goes on"
        signal.sigtimedwait([], 0.001)


def counted(contents: list[bytes]) -> tuple[Counter[str], int, int]:
    """Return how often each record is there, and merged and torn lines."""
    written: Counter[str] = Counter()
    merged = torn = 0
    for content in contents:
        assert content.endswith(b"\n") or content in {b"", b'{"timestamp":"torn'}
        for line in content.splitlines():
            try:
                written[json.loads(line)["request_id"]] += 1
            except ValueError:
                torn += 1
                merged += line != b'{"timestamp":"torn'
    return written, merged, torn


@pytest.mark.parametrize("what", ["file", "directory"])
def test_q3_spools_taken_away_under_load(
    what: str,
    load: Load,
    log_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Logging goes on in a new one, and nothing is lost while the process lives.
    """
    monkeypatch.setattr(housekeeping, "SPOOL_CHECK", 0.0)
    directory = log_dir / "spool"
    exchanged = 0
    deadline = time.monotonic() + PATIENCE
    while exchanged < EXCHANGES:
        assert time.monotonic() < deadline, "there is no new one"
        spools = spool_paths(str(directory))
        if len(spools) < LOGGERS:
            signal.sigtimedwait([], 0.001)
            continue
        if what == "file":
            for spool in spools:
                os.unlink(spool)
        else:
            directory.rename(log_dir / f"moved-{exchanged}")
        exchanged += 1
        deadline = time.monotonic() + PATIENCE
    load.stop()
    closed = [logger.close(PATIENCE) for logger in load.loggers]
    contents = [path.read_bytes() for path in log_dir.glob("errors-*.jsonl")]
    written, merged, torn = counted(contents)

    assert load.raised == []
    assert closed == [True, True]
    assert (merged, torn) == (0, 0)
    assert written == Counter(
        f"{number}/{call}"
        for number, calls in enumerate(load.calls)
        for call in range(calls)
    )
    assert [each.stats().dropped for each in load.loggers] == [{}, {}]
    assert spool_paths(str(directory)) == []
