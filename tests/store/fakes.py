"""
A disk in memory, of which any operation can be made to fail or to be the last.

A Disk outlives its processes.  Each process has a FakeFiles of its own, and FakeWords
over the words of its spool.  Both count steps on one Fate, which says what happens at
which step.  A process that has died does nothing more: whatever it calls raises Died
again, so that its ``finally`` clauses have no effect, as after a real death.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tokenpak.telemetry.store.dayfiles import DayFiles
from tokenpak.telemetry.store.files import Buffer, FileStatus
from tokenpak.telemetry.store.notes import Words

LOG_DIR = "/logs"


class Died(BaseException):
    """The process was killed here."""


@dataclass(frozen=True)
class Fault:
    """What happens at one step.  *part* says how much of a write is done before it."""

    kind: str
    part: float = 0.0


class Fate:
    """
    What happens to one process.

    Args:
        faults: by the number of the step, or by the name of an operation, whose next
            step it is then.
        others: what other processes do in a fault of a kind that begins with "others".

    """

    def __init__(
        self,
        faults: Mapping[int | str, Fault] | None = None,
        others: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.steps = 0
        self.dead = False
        self._faults = dict(faults or {})
        self._others = others

    def plan(self, faults: Mapping[int | str, Fault]) -> None:
        """Replace what is to come; steps are counted from here."""
        self.steps = 0
        self._faults = dict(faults)

    def begin(self, operation: str) -> Fault | None:
        """Begin a step of *operation*; return what happens in its middle, or None."""
        if self.dead:
            raise Died
        fault = self._faults.get(self.steps) or self._faults.pop(operation, None)
        self.steps += 1
        if fault is None:
            return None
        if fault.kind == "die before":
            self.die()
        elif fault.kind.startswith("others"):
            self._others(fault.kind)
        elif fault.kind == "error before":
            raise OSError(errno.EIO, "as planned")
        return fault

    def end(self, fault: Fault | None) -> None:
        """End the step that begin() began."""
        if fault is not None and fault.kind in {"die after", "die within"}:
            self.die()
        if fault is not None and fault.kind == "error after":
            raise OSError(errno.ENOSPC, "as planned")

    def die(self) -> None:
        """Be the last step."""
        self.dead = True
        raise Died


@dataclass(eq=False)
class Inode:
    """A file, whether or not it still has a name."""

    number: int
    data: bytearray = field(default_factory=bytearray)
    links: int = 1


class Disk:
    """What all processes share: names, files and locks."""

    def __init__(self) -> None:
        self.names: dict[str, Inode] = {}
        self.inodes: list[Inode] = []
        self.locks: dict[int, tuple[FakeFiles, int]] = {}

    def open(self, path: str) -> Inode:
        """Return the file of that name, which is created if need be."""
        if path not in self.names:
            self.inodes.append(Inode(len(self.inodes) + 1))
            self.names[path] = self.inodes[-1]
        return self.names[path]

    def delete(self, path: str) -> None:
        """Take the name away; who has the file open still has it."""
        inode = self.names.pop(path, None)
        if inode is not None:
            inode.links = 0

    def locked(self, path: str) -> bool:
        """Whether some process holds the lock of the file of that name."""
        return path in self.names and self.names[path].number in self.locks

    def release_all(self, files: FakeFiles) -> None:
        """Drop what a dead process held."""
        for number, (owner, _) in list(self.locks.items()):
            if owner is files:
                del self.locks[number]


class FakeFiles:
    """``Files`` of one process."""

    def __init__(self, disk: Disk, fate: Fate | None = None) -> None:
        self.disk = disk
        self.fate = fate or Fate()
        self._open: dict[int, Inode] = {}
        self._next = 3

    def open_append(self, path: str) -> int:
        """Open *path*; create it."""
        fault = self.fate.begin("open_append")
        fd, self._next = self._next, self._next + 1
        self._open[fd] = self.disk.open(path)
        self.fate.end(fault)
        return fd

    def status(self, fd: int) -> FileStatus:
        """Return the status of *fd*."""
        fault = self.fate.begin("status")
        status = _status(self._open[fd])
        self.fate.end(fault)
        return status

    def status_at(self, path: str) -> FileStatus | None:
        """Return the status of *path*."""
        fault = self.fate.begin("status_at")
        inode = self.disk.names.get(path)
        self.fate.end(fault)
        return None if inode is None else _status(inode)

    def read(self, fd: int, size: int, offset: int) -> bytes:
        """Read; a short read gives at least one byte."""
        fault = self.fate.begin("read")
        if fault is not None and fault.kind == "short":
            size = max(1, int(size * fault.part))
        data = bytes(self._open[fd].data[offset : offset + size])
        self.fate.end(fault)
        return data

    def write(self, fd: int, parts: Sequence[Buffer]) -> int:
        """Append, all or as much as the fault says."""
        fault = self.fate.begin("write")
        data = b"".join(parts)
        if fault is not None and fault.kind in {"short", "die within", "error after"}:
            data = data[: int(len(data) * fault.part)]
            if fault.kind == "short" and not data:
                data = bytes(parts[0])[:1]
        self._open[fd].data += data
        self.fate.end(fault)
        return len(data)

    def sync(self, fd: int) -> None:
        """Do nothing."""
        self.fate.end(self.fate.begin("sync"))

    def sync_directory(self, path: str) -> None:
        """Do nothing."""
        self.fate.end(self.fate.begin("sync"))

    def lock(self, fd: int) -> bool:
        """Take the lock, unless another descriptor has it."""
        fault = self.fate.begin("lock")
        if fault is not None and fault.kind == "contended":
            return False
        owner = self.disk.locks.setdefault(self._open[fd].number, (self, fd))
        self.fate.end(fault)
        return owner == (self, fd)

    def unlock(self, fd: int) -> None:
        """Release the lock."""
        fault = self.fate.begin("unlock")
        self._drop_lock(fd)
        self.fate.end(fault)

    def close(self, fd: int) -> None:
        """Close, which drops the lock."""
        fault = self.fate.begin("close")
        self._drop_lock(fd)
        del self._open[fd]
        self.fate.end(fault)

    def _drop_lock(self, fd: int) -> None:
        number = self._open[fd].number
        if self.disk.locks.get(number) == (self, fd):
            del self.disk.locks[number]


class FakeWords:
    """Words whose every store is a step: before it or after it the process may die."""

    def __init__(self, words: Words, fate: Fate) -> None:
        self._words = words
        self._fate = fate

    def __getitem__(self, index: int, /) -> int:
        return self._words[index]

    def __setitem__(self, index: int, value: int, /) -> None:
        # A store cannot fail, nor be half done: other faults mean nothing here.
        try:
            fault = self._fate.begin("store")
        except OSError:
            fault = None
        self._words[index] = value
        if fault is not None and fault.kind in {"die after", "die within"}:
            self._fate.die()


def fake_day_files(disk: Disk, fate: Fate | None = None) -> DayFiles:
    """Return the day files of a process on *disk*."""
    return DayFiles(FakeFiles(disk, fate), LOG_DIR)


def lines_of(disk: Disk, path: str) -> list[bytes]:
    """Return the complete lines of the file of that name."""
    inode = disk.names.get(path)
    return [] if inode is None else bytes(inode.data).split(b"\n")[:-1]


def _status(inode: Inode) -> FileStatus:
    return FileStatus(1, inode.number, len(inode.data), inode.links)


__all__ = [
    "LOG_DIR",
    "Died",
    "Disk",
    "FakeFiles",
    "FakeWords",
    "Fate",
    "Fault",
    "fake_day_files",
    "lines_of",
]
