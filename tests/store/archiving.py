"""
A directory to archive, and operations on it that fail, or are the last, when planned.

The files are real; only the calls of the archiver go through FaultyEntries, which
counts them as steps.  After a death every call dies again, so that ``finally`` clauses
have no effect, and close_all() drops the locks as the kernel does.
"""

from __future__ import annotations

import errno
import gzip
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from tests.read.log_making import read_all
from tests.store.fakes import Died
from tokenpak.telemetry.store.archive import Archiver
from tokenpak.telemetry.store.entries import Entries
from tokenpak.telemetry.store.files import Buffer, OsFiles

DAY = "2026-03-24"
BEFORE = date(2026, 4, 1)
T = TypeVar("T")


class FastEntries(Entries):
    """Does not wait for the disk: no test here cuts the power."""

    def sync(self, fd: int) -> None:
        pass

    def sync_directory(self, path: str) -> None:
        pass


class FaultyEntries(Entries):
    """
    Entries of which the step of number *at* goes wrong, or calls *between*.

    Args:
        files: the operations.
        at: number of the step, from 0; None: all goes well.
        kind: "before" or "after" for an OSError; "die before" or "die after".
        number: of the OSError.
        for_ever: whether each later step fails, too.

    """

    def __init__(
        self,
        files: OsFiles,
        at: int | None = None,
        kind: str = "before",
        number: int = errno.EIO,
        *,
        for_ever: bool = False,
    ) -> None:
        super().__init__(files)
        self.calls: list[str] = []
        self.between: Callable[[str], None] = lambda _: None
        self.interrupt: tuple[int, Callable[[], None]] | None = None
        """Before which step others come, and what they do."""
        self.dead = False
        self._at = at
        self._kind = kind
        self._number = number
        self._for_ever = for_ever

    def _step(self, name: str, call: Callable[[], T]) -> T:
        if self.dead:
            raise Died
        step = len(self.calls)
        self.calls.append(name)
        self.between(name)
        if self.interrupt is not None and self.interrupt[0] == step:
            self.interrupt[1]()
        hit = self._at is not None and (
            step == self._at or (self._for_ever and step > self._at)
        )
        if not hit:
            return call()
        if self._kind == "die before":
            self.dead = True
            raise Died
        # Closing and unlocking do what they say, even if they report an error.
        if self._kind == "before" and name not in {"close", "unlock"}:
            raise OSError(self._number, os.strerror(self._number))
        try:
            call()
        except OSError:  # nothing was there: the planned one comes instead
            pass
        if self._kind == "die after":
            self.dead = True
            raise Died
        raise OSError(self._number, os.strerror(self._number))

    def open_existing(self, path: str) -> int:
        if self._kind == "after":  # an open that fails has opened nothing
            self._kind = "before"
            try:
                return self._step("open", lambda: Entries.open_existing(self, path))
            finally:
                self._kind = "after"
        return self._step("open", lambda: Entries.open_existing(self, path))

    def create(self, path: str, model: os.stat_result) -> int:
        if self._kind == "after":
            self._kind = "before"
            try:
                return self._step("create", lambda: Entries.create(self, path, model))
            finally:
                self._kind = "after"
        return self._step("create", lambda: Entries.create(self, path, model))

    def status(self, fd: int) -> os.stat_result:
        return self._step("status", lambda: Entries.status(self, fd))

    def read(self, fd: int, size: int, offset: int) -> bytes:
        return self._step("read", lambda: Entries.read(self, fd, size, offset))

    def write(self, fd: int, parts: Sequence[Buffer]) -> int:
        short = [parts[0][: max(1, len(parts[0]) // 2)]]
        return self._step("write", lambda: Entries.write(self, fd, short))

    def sync(self, fd: int) -> None:
        self._step("sync", lambda: None)

    def set_times(self, fd: int, model: os.stat_result) -> None:
        self._step("set_times", lambda: Entries.set_times(self, fd, model))

    def lock(self, fd: int) -> bool:
        return self._step("lock", lambda: Entries.lock(self, fd))

    def unlock(self, fd: int) -> None:
        self._step("unlock", lambda: Entries.unlock(self, fd))

    def close(self, fd: int) -> None:
        self._step("close", lambda: Entries.close(self, fd))

    def look(self, path: str) -> os.stat_result | None:
        return self._step("look", lambda: Entries.look(self, path))

    def link(self, path: str, new: str) -> None:
        self._step("link", lambda: Entries.link(self, path, new))

    def rename(self, path: str, new: str) -> None:
        self._step("rename", lambda: Entries.rename(self, path, new))

    def unlink(self, path: str) -> None:
        self._step("unlink", lambda: Entries.unlink(self, path))

    def make_directory(self, path: str, model: str) -> None:
        if os.path.isdir(path):  # else it looks by itself, which is a step
            self._step("make_directory", lambda: None)
        else:
            self._step("make_directory", lambda: os.mkdir(path, 0o700))

    def sync_directory(self, path: str) -> None:
        self._step("sync_directory", lambda: None)

    def names(self, directory: str) -> Iterator[list[str]]:
        self._step("names", lambda: None)
        yield from Entries.names(self, directory)


def make_archiver(
    log_dir: Path, disk: Entries | None = None, **changes: Any
) -> Archiver:
    """Return an archiver of all days before BEFORE."""
    files = OsFiles()
    return Archiver(
        disk or FastEntries(files),
        files,
        str(log_dir),
        **{"before": BEFORE, **changes},
    )


def run(archiver: Archiver) -> None:
    """Take all its steps."""
    for _ in archiver.steps():
        pass


def archive_fully(log_dir: Path) -> None:
    """Do what the next archiver does, for which nothing goes wrong."""
    run(make_archiver(log_dir))


def close_all(files: OsFiles) -> None:
    """Close what a dead process had open."""
    for fd in list(files.descriptors):
        files.close(fd)


def tree(log_dir: Path) -> list[str]:
    """Return the names of all files, those of the archive as "archive/…"."""
    return sorted(
        str(path.relative_to(log_dir))
        for path in log_dir.rglob("*")
        if not path.is_dir() or path.is_symlink()
    )


def ids(log_dir: Path) -> list[str]:
    """Return the ids that a reader sees, sorted; it must see no damage."""
    records, damage = read_all(log_dir)
    assert damage == []
    return sorted(record["request_id"] for record in records)


def unpacked(path: Path) -> bytes:
    """Return what the archive *path* holds."""
    return gzip.decompress(path.read_bytes())


__all__ = [
    "BEFORE",
    "DAY",
    "FastEntries",
    "FaultyEntries",
    "archive_fully",
    "close_all",
    "ids",
    "make_archiver",
    "run",
    "tree",
    "unpacked",
]
