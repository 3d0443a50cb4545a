"""
The operating system, as far as the store needs it: a dozen calls behind one interface.

Everything that touches a file goes through Files, so that a test can make any call
fail, write short, or be the last one of the process.

S5  Files are 0600 and directories 0700 from the first byte, whatever the umask; with
    group access 0660 and 2770.  What exists keeps its mode, but for files of ours that
    lack what group access gives: they get it.  Nothing is ever taken away: an operator
    may have given it.
    Symbolic links, and what is no regular file, are refused, in words that say what is
    there.  (The log directory may be a link to one: that is an operator's decision,
    and who can change that link can change all the rest.)
Q5  A forked child closes its copies of our descriptors, or it would keep the locks of
    its dead parent for ever.  So every descriptor is registered.  ``os.open`` gives up
    the GIL, so a fork can come before the registration: that moment is marked.

Only ``os.open`` and ``os.write``: a buffered file object carries a lock of its own
through fork.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from tokenpak.telemetry.store.lock import try_lock, unlock
from tokenpak.telemetry.store.modes import (
    DIRECTORY_MODE,
    FILE_MODE,
    GROUP_DIRECTORY_MODE,
    GROUP_FILE_MODE,
    let_group_in,
    make_directories,
    not_a_directory,
    refuse_irregular,
    set_mode,
    whose_it_is,
)
from tokenpak.telemetry.store.names import METRICS_DIR

NO_DESCRIPTOR: Final = frozenset({errno.EMFILE, errno.ENFILE})
"""The process, or the system, has no descriptor left."""

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

NO_SYNC: Final = frozenset({errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.ENOSYS})
"""What file systems say that cannot force a directory to the disk."""

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
        """Force the names in the directory *path* to the disk, where it can be done."""

    def lock(self, fd: int) -> bool:
        """Take the exclusive lock, or return False at once: somebody has it."""

    def unlock(self, fd: int) -> None:
        """Release the lock explicitly: a forked child may hold a copy of *fd*."""

    def close(self, fd: int) -> None:
        """Close *fd*."""


class OsFiles:
    """
    Files as the operating system has them.  One for each logger.

    Args:
        group_access: whether files are for their group, too: 0660, in directories 2770.

    """

    def __init__(self, *, group_access: bool = False) -> None:
        self.group_access = group_access
        self.file_mode = GROUP_FILE_MODE if group_access else FILE_MODE
        self.directory_mode = GROUP_DIRECTORY_MODE if group_access else DIRECTORY_MODE
        # fd -> path.  Single dict operations, atomic, so fork may come at any time.
        self.descriptors: dict[int, str] = {}
        # Not empty while some descriptor is open but not registered.
        self.opening: list[str] = []

    def open(self, path: str, flags: int, mode: int | None = None) -> int:
        """
        Open and register; ``O_CLOEXEC`` and ``O_NOFOLLOW`` are added.

        Args:
            path: what to open.
            flags: as for ``os.open``.
            mode: of a file that is created; None: that of log files.  With ``O_EXCL``
                it is exactly this, whatever the umask.

        Raises:
            OSError: it cannot be opened, or not be given its mode.

        """
        flags |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
        mode = self.file_mode if mode is None else mode
        self.opening.append(path)
        try:
            fd = os.open(path, flags, mode)
            self.descriptors[fd] = path
        finally:
            self.opening.remove(path)
        if flags & os.O_EXCL:
            try:
                set_mode(fd, mode)
            except BaseException:
                self.close(fd)
                raise
        return fd

    def check_descriptors(self) -> None:
        """
        Do nothing, if another file could be opened now.

        Raises:
            OSError: the process, or the system, has used up its descriptors.

        """
        try:
            self.close(self.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            if error.errno in NO_DESCRIPTOR:
                raise

    def make_directories(self, path: str) -> None:
        """Create *path* and what is missing above it, each with our mode."""
        make_directories(path, self.directory_mode)

    def open_append(self, path: str) -> int:
        """
        Open *path* for appending and reading; create it and its directories.

        Raises:
            OSError: it cannot be, or is no regular file; ``strerror`` says what is
                there, and whose.

        """
        try:
            fd = self._open_append(path)
        except FileNotFoundError:
            self.make_directories(os.path.dirname(path))
            fd = self._open_append(path)
        except NotADirectoryError as error:
            raise not_a_directory(path) from error
        try:
            status = os.fstat(fd)
            refuse_irregular(path, status)
            if self.group_access:
                let_group_in(fd, status)
        except BaseException:
            self.close(fd)
            raise
        return fd

    def _open_append(self, path: str) -> int:
        try:
            # Looked at first: to open a device may already do something.
            status = os.lstat(path)
        except FileNotFoundError:
            try:
                return self._create(path)
            except FileExistsError:  # somebody else was faster
                status = os.lstat(path)
        refuse_irregular(path, status)
        try:
            return self.open(path, _APPEND & ~os.O_CREAT)
        except OSError as error:
            if error.errno == errno.ELOOP:  # it has become one just now
                refuse_irregular(path, os.lstat(path))
            if isinstance(error, PermissionError) and (whose := whose_it_is(status)):
                raise PermissionError(error.errno, whose, path) from error
            raise

    def _create(self, path: str) -> int:
        # O_EXCL, or it could not be told whose mode it is.
        if self.group_access and self._create_for_group(path):
            return self.open(path, _APPEND & ~os.O_CREAT)
        return self.open(path, _APPEND | os.O_EXCL)

    def _create_for_group(self, path: str) -> bool:
        """
        Create *path* with its mode from the moment on at which it has a name.

        The umask takes the group's right to write away, as a rule.  If that were given
        back to a file that has its name, others would be refused it meanwhile, and for
        good if we died.  Return False where a file without a name cannot be had.
        """
        if not hasattr(os, "O_TMPFILE"):
            return False
        # "/.": the log directory itself may be a link, which open() would refuse.
        place = os.path.join(os.path.dirname(path), ".")
        try:
            fd = self.open(place, os.O_TMPFILE | os.O_RDWR)
        except FileNotFoundError:
            raise
        except OSError:
            return False
        try:
            set_mode(fd, self.file_mode)
            # With a descriptor, which is not used, or os.link would not follow the
            # link in /proc to the file.
            os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=fd, follow_symlinks=True)
        except FileExistsError:
            raise
        except OSError:  # no /proc, no hard links
            return False
        finally:
            self.close(fd)
        return True

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
        return read_at(fd, size, offset)

    def write(self, fd: int, parts: Sequence[Buffer]) -> int:
        """Append *parts*; return how many bytes were taken."""
        if hasattr(os, "writev"):
            return os.writev(fd, parts)
        return os.write(fd, parts[0])

    def sync(self, fd: int) -> None:
        """Force the file to the disk."""
        os.fsync(fd)

    def sync_directory(self, path: str) -> None:
        """Force the names in the directory *path* to the disk, where it can be done."""
        # Most file systems do so with the first fsync of a new file; POSIX does not say
        # that they must.  Windows cannot open a directory.
        if not hasattr(os, "O_DIRECTORY"):
            return
        fd = self.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        except OSError as error:
            if error.errno not in NO_SYNC:
                raise
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
    # for appending, the locks of spools, which are opened for reading, and files that
    # are locks.
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
        spool = reads_only and name.endswith(".spool")
        # Elsewhere it may be the application's.
        ours = os.path.basename(place) == METRICS_DIR and name.endswith(".lock")
        if place in places and (log_file or spool or ours):
            _close_quietly(fd)


def read_at(fd: int, size: int, offset: int) -> bytes:
    """Read *size* bytes of *fd* at *offset*, or what there is of them."""
    if hasattr(os, "pread"):
        return os.pread(fd, size, offset)
    os.lseek(fd, offset, os.SEEK_SET)  # Windows
    return os.read(fd, size)


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


__all__ = [
    "DIRECTORY_MODE",
    "FILE_MODE",
    "GROUP_DIRECTORY_MODE",
    "GROUP_FILE_MODE",
    "NO_DESCRIPTOR",
    "READ_FLAGS",
    "Buffer",
    "FileStatus",
    "Files",
    "OsFiles",
    "read_at",
]
