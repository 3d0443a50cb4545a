"""
The operating system, as far as the store needs it: a dozen calls behind one interface.

Everything that touches a file goes through Files, so that a test can make any call
fail, write short, or be the last one of the process.

S5  Files are 0600 and directories 0700 from the first byte, whatever the umask.
    Symbolic links, and what is no regular file, are refused.
Q5  A forked child closes its copies of our descriptors, or it would keep the locks of
    its dead parent for ever.  So every descriptor is registered.  ``os.open`` gives up
    the GIL, so a fork can come before the registration: that moment is marked.

Only ``os.open`` and ``os.write``: a buffered file object carries a lock of its own
through fork.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from tokenpak.telemetry.store.lock import try_lock, unlock

FILE_MODE: Final = 0o600
DIRECTORY_MODE: Final = 0o700

_APPEND: Final = (
    os.O_APPEND
    | os.O_RDWR
    | os.O_CREAT
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a FIFO of that name must not hang us
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)

READ_FLAGS: Final = (
    os.O_RDONLY
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)
"""To read what may be a link or a FIFO without following it or waiting for it."""

Buffer = bytes | bytearray | memoryview


class FileStatus(NamedTuple):
    """What of ``os.stat_result`` tells one file from another, and its size."""

    device: int
    inode: int
    size: int
    links: int

    def same_file(self, other: FileStatus | None) -> bool:
        """Return whether both are one file, which still has a name."""
        return (
            other is not None
            and (self.device, self.inode) == (other.device, other.inode)
            and self.links > 0
        )


class Files(Protocol):
    """The operations of the store on files.  All raise OSError."""

    def open_append(self, path: str) -> int:
        """Open *path* for appending and reading; create it and its directories."""

    def status(self, fd: int) -> FileStatus:
        """Return the status of the open file *fd*."""

    def status_at(self, path: str) -> FileStatus | None:
        """Return the status of the file that is called *path* now, or None."""

    def read(self, fd: int, size: int, offset: int) -> bytes:
        """Read at most *size* bytes at *offset*."""

    def write(self, fd: int, parts: Sequence[Buffer]) -> int:
        """Append *parts*; return how many bytes were taken."""

    def sync(self, fd: int) -> None:
        """Force the file to the disk."""

    def sync_directory(self, path: str) -> None:
        """Force the names in *path* to the disk, and the name of *path* itself."""

    def lock(self, fd: int) -> bool:
        """Take the exclusive lock, or return False at once: somebody has it."""

    def unlock(self, fd: int) -> None:
        """Release the lock explicitly: a forked child may hold a copy of *fd*."""

    def close(self, fd: int) -> None:
        """Close *fd*."""


class OsFiles:
    """Files as the operating system has them.  One for each logger."""

    def __init__(self) -> None:
        # fd -> path.  Single dict operations, atomic, so fork may come at any time.
        self.descriptors: dict[int, str] = {}
        # Not empty while some descriptor is open but not registered.
        self.opening: list[str] = []

    def open(self, path: str, flags: int, mode: int = FILE_MODE) -> int:
        """Open and register; ``O_CLOEXEC`` and ``O_NOFOLLOW`` are added."""
        flags |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
        self.opening.append(path)
        try:
            fd = os.open(path, flags, mode)
            self.descriptors[fd] = path
        finally:
            self.opening.remove(path)
        return fd

    def open_append(self, path: str) -> int:
        """Open *path* for appending and reading; create it and its directories."""
        try:
            fd = self._open_append(path)
        except FileNotFoundError:
            make_directories(os.path.dirname(path))
            fd = self._open_append(path)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "is not a regular file", path)
        except BaseException:
            self.close(fd)
            raise
        return fd

    def _open_append(self, path: str) -> int:
        try:
            return self.open(path, _APPEND & ~os.O_CREAT)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise OSError(
                    errno.ELOOP, "is a symbolic link, which is not followed", path
                ) from error
            raise
        fd = self.open(path, _APPEND)
        # The umask may have taken away even our own right to write.
        if hasattr(os, "fchmod") and os.fstat(fd).st_size == 0:
            os.fchmod(fd, FILE_MODE)
        return fd

    def status(self, fd: int) -> FileStatus:
        """Return the status of the open file *fd*."""
        return _file_status(os.fstat(fd))

    def status_at(self, path: str) -> FileStatus | None:
        """Return the status of the file that is called *path* now, or None."""
        try:
            return _file_status(os.lstat(path))
        except FileNotFoundError:
            return None

    def read(self, fd: int, size: int, offset: int) -> bytes:
        """Read *size* bytes at *offset*, or what there is of them."""
        if hasattr(os, "pread"):
            return os.pread(fd, size, offset)
        os.lseek(fd, offset, os.SEEK_SET)
        return os.read(fd, size)

    def write(self, fd: int, parts: Sequence[Buffer]) -> int:
        """Append *parts*; return how many bytes were taken."""
        if hasattr(os, "writev"):
            return os.writev(fd, parts)
        return os.write(fd, parts[0])

    def sync(self, fd: int) -> None:
        """Force the file to the disk."""
        os.fsync(fd)

    def sync_directory(self, path: str) -> None:
        """Force the names in *path* to the disk, and the name of *path* itself."""
        # Most file systems do so with the first fsync of a new file; POSIX does not say
        # that they must.  Windows cannot open a directory.
        if not hasattr(os, "O_DIRECTORY"):
            return
        for place in (path, os.path.dirname(path)):
            fd = self.open(place, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(fd)
            finally:
                self.close(fd)

    def lock(self, fd: int) -> bool:
        """Take the exclusive lock, or return False at once: somebody has it."""
        return try_lock(fd)

    def unlock(self, fd: int) -> None:
        """Release the lock."""
        unlock(fd)

    def close(self, fd: int) -> None:
        """Close *fd*."""
        # Unregistered first: a child forked between the two closes one copy too few,
        # which is harmless for what we close; the other order could hit a stranger's.
        self.descriptors.pop(fd, None)
        # A daemonizer may have closed all descriptors, ours among them.
        _close_quietly(fd)

    def close_all_in_child(self) -> None:
        """Close this child's copies of its parent's descriptors.  After fork."""
        # Taken away in one step: a signal handler that logs meanwhile opens others, and
        # a number that is closed twice could be theirs.
        inherited, self.descriptors = self.descriptors, {}
        for fd in inherited:
            _close_quietly(fd)
        if self.opening:
            places = {os.path.realpath(os.path.dirname(path)) for path in self.opening}
            self.opening.clear()
            _close_unregistered(places)


def _close_unregistered(places: set[str]) -> None:
    # Mapping objects own duplicates of read-write descriptors and close those
    # themselves, so only what can hold a lock is closed: log files, which are opened
    # for appending, and the locks of spools, which are opened for reading.
    import fcntl  # noqa: PLC0415  (not there on Windows, nor is fork)

    try:
        numbers = os.listdir("/proc/self/fd")
    except OSError:  # no /proc (macOS): the window stays, and is documented
        return
    for number in numbers:
        fd = int(number)
        try:
            path = os.readlink(f"/proc/self/fd/{number}")
            flags = fcntl.fcntl(fd, fcntl.F_GETFL)
        except OSError:
            continue
        path = path.removesuffix(" (deleted)")
        place, name = os.path.split(path)
        log_file = bool(flags & os.O_APPEND) and name.endswith(".jsonl")
        reads_only = flags & os.O_ACCMODE == os.O_RDONLY
        if place in places and (log_file or (reads_only and name.endswith(".spool"))):
            _close_quietly(fd)


def _close_quietly(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:
        pass


def _file_status(status: os.stat_result) -> FileStatus:
    mask = 2**64 - 1  # a note has a word for each (Windows has larger inodes)
    return FileStatus(
        status.st_dev & mask, status.st_ino & mask, status.st_size, status.st_nlink
    )


def make_directories(path: str) -> None:
    """Create *path* and what is missing above it, each 0700; leave others as is."""
    try:
        os.mkdir(path, DIRECTORY_MODE)
    except FileExistsError:
        return
    except FileNotFoundError:
        parent = os.path.dirname(path)
        if parent == path:
            raise
        make_directories(parent)
        make_directories(path)
        return
    os.chmod(path, DIRECTORY_MODE)  # whatever the umask left of it


def is_private(path: str) -> bool:
    """Return whether *path* is a directory of ours that others cannot write to."""
    if not hasattr(os, "geteuid"):
        return True
    status = os.lstat(path)
    return (
        stat.S_ISDIR(status.st_mode)
        and status.st_uid == os.geteuid()
        and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


__all__ = [
    "DIRECTORY_MODE",
    "FILE_MODE",
    "READ_FLAGS",
    "Buffer",
    "FileStatus",
    "Files",
    "OsFiles",
    "is_private",
    "make_directories",
]
