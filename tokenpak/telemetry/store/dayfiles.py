"""
The day files of a directory: kept open, locked one at a time, checked to be there.

S1  One append at a time: the exclusive lock is on the data file's own descriptor.
    Behind the lock, the descriptor must still be the file of that name: it may have
    been archived, deleted or replaced meanwhile.
X2  When the process has used up its descriptors, a new day's file takes that of an old
    one: an application that leaks them does not stop the log at midnight.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from tokenpak.telemetry.store.files import NO_DESCRIPTOR, Buffer, Files, FileStatus
from tokenpak.telemetry.store.names import day_file_name

MAX_OPEN: Final = 4
"""Day files kept open: today's and yesterday's of two streams."""
_TRIES: Final = 16


class Contended(Exception):  # noqa: N818  (a state, not an error)
    """Somebody else holds the day file's lock; try again."""


class LockedFile:
    """A day file whose lock we hold, at its end."""

    def __init__(self, files: Files, fd: int, status: FileStatus, path: str) -> None:
        self.path = path
        self._files = files
        self._fd = fd
        self.identity = (status.device, status.inode)
        self.size = status.size
        self._new = status.size == 0

    def read(self, size: int, offset: int) -> bytes:
        """Read *size* bytes at *offset*, or what there is of them."""
        parts: list[bytes] = []
        while size > 0:
            part = self._files.read(self._fd, size, offset)
            if not part:
                break
            parts.append(part)
            size -= len(part)
            offset += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, parts: Sequence[Buffer]) -> None:
        """Append all of *parts*, continuing short writes."""
        rest = [memoryview(part) for part in parts if len(part)]
        while rest:
            taken = self._files.write(self._fd, rest)
            if taken <= 0:
                raise OSError(errno.EIO, "the file takes no more bytes")
            self.size += taken
            while rest and taken >= len(rest[0]):
                taken -= len(rest.pop(0))
            if taken:
                rest[0] = rest[0][taken:]

    def close_torn_tail(self) -> None:
        """End the last line, if a dead process left it without its newline."""
        if self.size and self.read(1, self.size - 1) != b"\n":
            self.write([b"\n"])

    def sync(self) -> None:
        """Force the file to the disk, and its name if it is a new one."""
        self._files.sync(self._fd)
        if self._new:
            sync_names(self._files, os.path.dirname(self.path))
            self._new = False


def sync_names(files: Files, log_dir: str) -> None:
    """Force the names in *log_dir* to the disk, and its own name."""
    files.sync_directory(log_dir)
    try:
        files.sync_directory(os.path.dirname(log_dir))
    except PermissionError:
        pass  # somebody else's, who made the directory for us


class DayFiles:
    """The day files of one directory.  One thread at a time."""

    def __init__(self, files: Files, log_dir: str) -> None:
        self._files = files
        self.log_dir = log_dir
        self._open: dict[str, int] = {}
        self._dirty: set[str] = set()
        self._new: set[str] = set()  # whose names were not synced

    def path(self, stream: str, day: str) -> str:
        """Return the path of the file for *day* of *stream*."""
        return os.path.join(self.log_dir, day_file_name(stream, day))

    @contextmanager
    def locked(self, stream: str, day: str) -> Iterator[LockedFile]:
        """
        Hold the lock of the file for *day*, which is created if need be.

        Raises:
            Contended: somebody else holds the lock.
            OSError: the file cannot be opened, or is no regular file.

        """
        path = self.path(stream, day)
        fd, status = self._lock(path)
        try:
            self._dirty.add(path)
            if status.size == 0:
                self._new.add(path)
            yield LockedFile(self._files, fd, status, path)
        finally:
            self._unlock(path, fd)

    def _unlock(self, path: str, fd: int) -> None:
        try:
            self._files.unlock(fd)
        except OSError:
            # Nobody else could have the lock ever after; closing drops it, too.
            self._forget(path)
            raise

    @property
    def dirty(self) -> bool:
        """Whether anything was appended since the last sync()."""
        return bool(self._dirty)

    def sync(self) -> None:
        """Force all that was appended to the disk."""
        for path in list(self._dirty):
            fd = self._open.get(path)
            if fd is None:  # closed meanwhile, for others
                if self._files.status_at(path) is None:
                    # Nor is it there: opening would make an empty one.
                    self._dirty.discard(path)
                    continue
                fd = self._open_file(path)
            self._files.sync(fd)
            if path in self._new:
                sync_names(self._files, self.log_dir)
                self._new.discard(path)
            self._dirty.discard(path)

    def _lock(self, path: str) -> tuple[int, FileStatus]:
        for _ in range(_TRIES):
            fd = self._open.get(path)
            if fd is None:
                fd = self._open_file(path)
            if not self._files.lock(fd):
                # Whoever compresses it in the archive holds it for long, and we want
                # another file: the one that has the name now.
                if self._files.status(fd).same_file(self._files.status_at(path)):
                    raise Contended
                self._forget(path)
                continue
            try:
                status = self._files.status(fd)
                # Archived, deleted or replaced while we did not hold the lock?
                if status.same_file(self._files.status_at(path)):
                    return fd, status
            except BaseException:
                self._unlock(path, fd)
                raise
            self._unlock(path, fd)
            self._forget(path)
        raise OSError(errno.EAGAIN, "is replaced again and again", path)

    def _open_file(self, path: str) -> int:
        if len(self._open) >= MAX_OPEN:
            self._forget(next(iter(self._open)))
        while True:
            try:
                fd = self._files.open_append(path)
            except OSError as error:
                if error.errno not in NO_DESCRIPTOR or not self._open:
                    raise
                # Oldest first.  None of them is locked: one at a time is.
                self._forget(next(iter(self._open)))
            else:
                self._open[path] = fd
                return fd

    def _forget(self, path: str) -> None:
        self._files.close(self._open.pop(path))

    def let_go_of_gone(self) -> None:
        """Close files that lost their name, or their space is not given back."""
        for path, fd in list(self._open.items()):
            if not self._files.status(fd).same_file(self._files.status_at(path)):
                self._forget(path)
                self._dirty.discard(path)  # an archive is synced when it is made

    def forget_all_in_child(self) -> None:
        """Forget the parent's descriptors, which are closed already.  After fork."""
        self._open.clear()
        self._dirty.clear()
        self._new.clear()

    def close(self) -> None:
        """Close all files.  Any thread, when nothing else is done with them."""
        while self._open:
            try:
                _, fd = self._open.popitem()
            except KeyError:
                return  # another thread that closes was quicker
            self._files.close(fd)


__all__ = ["MAX_OPEN", "Contended", "DayFiles", "LockedFile"]
