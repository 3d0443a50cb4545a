"""
Names on the disk: link, rename, delete, list; for archiving and retention.

The append needs none of these, so they are apart from Files.  All of them go through
one object, so that a test can make any of them fail, or be the last of the process.

S2  Nothing is ever replaced by a name that was free a moment ago: a file gets another
    name by link(), which fails if somebody has it.
S4  "It is not there" is FileNotFoundError alone.  Whatever else keeps us from looking
    is an error: to take it for "not there" would be to take a name twice.
S5  What is no regular file is refused.  What is made is as private as its model.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from typing import Final

from tokenpak.telemetry.store.files import Buffer, OsFiles

_OPEN: Final = (
    os.O_RDWR
    | os.O_APPEND
    | getattr(os, "O_NONBLOCK", 0)  # a FIFO of that name must not hang us
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_LISTED_AT_ONCE: Final = 256
"""Names in a piece: about 0.3 ms."""
CAN_ARCHIVE: Final = os.name != "nt"
"""Windows neither renames nor deletes a file that somebody has open."""


class Entries:
    """
    The operating system's calls on names, and those on files that go with them.

    All raise OSError.

    Args:
        files: opens and registers descriptors, for fork (Q5).

    """

    def __init__(self, files: OsFiles) -> None:
        self._files = files

    # -- files ------------------------------------------------------------------

    def open_existing(self, path: str) -> int:
        """Open the regular file *path* for reading and locking; never create it."""
        try:
            fd = self._files.open(path, _OPEN)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise OSError(
                    errno.ELOOP, "is a symbolic link, which is not followed", path
                ) from error
            raise
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(errno.EINVAL, "is not a regular file", path)
        except BaseException:
            self._files.close(fd)
            raise
        return fd

    def create(self, path: str, model: os.stat_result) -> int:
        """
        Create *path*, which must not be there, for those who may read *model*.

        0600 from the first byte; then, while it is still empty, its group and owner, as
        far as we may, and its mode.
        """
        fd = self._files.open(path, _CREATE)
        try:
            if hasattr(os, "fchmod"):
                os.fchmod(fd, _mode_like(fd, model))
        except BaseException:
            self._files.close(fd)
            os.unlink(path)
            raise
        return fd

    def status(self, fd: int) -> os.stat_result:
        """Return the status of the open file *fd*."""
        return os.fstat(fd)

    def read(self, fd: int, size: int, offset: int) -> bytes:
        """Read *size* bytes at *offset*, or what there is of them."""
        return self._files.read(fd, size, offset)

    def write(self, fd: int, parts: Sequence[Buffer]) -> int:
        """Append *parts*; return how many bytes were taken."""
        return self._files.write(fd, parts)

    def sync(self, fd: int) -> None:
        """Force the file to the disk."""
        self._files.sync(fd)

    def set_times(self, fd: int, model: os.stat_result) -> None:
        """Give *fd* the times of *model*: ``find -mtime`` then finds the records'."""
        if os.utime in os.supports_fd:
            os.utime(fd, ns=(model.st_atime_ns, model.st_mtime_ns))

    def let_go(self, fd: int, offset: int, size: int) -> None:
        """
        Begin to write out a range, and give up its place in the page cache.

        So the sync at the end has little left to do, and what the application has in
        the cache is not pushed out by what nobody is going to read.
        """
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(fd, offset, size, os.POSIX_FADV_DONTNEED)

    def lock(self, fd: int) -> bool:
        """Take the exclusive lock, or return False at once: somebody has it."""
        return self._files.lock(fd)

    def unlock(self, fd: int) -> None:
        """Release the lock explicitly: a forked child may hold a copy of *fd*."""
        self._files.unlock(fd)

    def close(self, fd: int) -> None:
        """Close *fd*."""
        self._files.close(fd)

    # -- names ------------------------------------------------------------------

    def look(self, path: str) -> os.stat_result | None:
        """Return the status of what is called *path*, a link itself; None: nothing."""
        try:
            return os.lstat(path)
        except FileNotFoundError:
            return None

    def link(self, path: str, new: str) -> None:
        """Give the file *path* the name *new*, too, which must be free."""
        if os.link in os.supports_follow_symlinks:
            os.link(path, new, follow_symlinks=False)
        else:
            os.link(path, new)

    def rename(self, path: str, new: str) -> None:
        """Rename *path*, a temporary file of ours, to *new*."""
        os.replace(path, new)

    def unlink(self, path: str) -> None:
        """Take the name *path* away."""
        os.unlink(path)

    def make_directory(self, path: str, model: str) -> None:
        """Create the directory *path*, if it is missing, for the owner of *model*."""
        status = self.look(path)
        if status is None:
            self._files.make_directories(path)
            owner = os.lstat(model)
            if hasattr(os, "geteuid") and os.geteuid() != owner.st_uid:
                # Made by root, it would keep the application out of its own archive.
                _own_like(path, owner)
        elif not stat.S_ISDIR(status.st_mode):
            raise OSError(errno.ENOTDIR, "is not a directory", path)

    def sync_directory(self, path: str) -> None:
        """Force the names in *path* to the disk, where that is possible."""
        self._files.sync_directory(path)

    def names(self, directory: str) -> Iterator[list[str]]:
        """Yield the names in *directory*, piece by piece; none if it is missing."""
        try:
            listing = os.scandir(directory)
        except FileNotFoundError:
            return
        with listing:
            piece: list[str] = []
            for entry in listing:
                piece.append(entry.name)
                if len(piece) == _LISTED_AT_ONCE:
                    yield piece
                    piece = []
        yield piece


def same_file(one: os.stat_result, other: os.stat_result | None) -> bool:
    """Return whether both are one file."""
    return other is not None and (
        (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
    )


def _mode_like(fd: int, model: os.stat_result) -> int:
    """Make *fd* its model's in owner and group; return the mode that this allows."""
    mode = stat.S_IMODE(model.st_mode) & 0o666 | 0o600
    _own_like(fd, model)
    if os.fstat(fd).st_gid != model.st_gid:
        mode &= ~0o060  # that right was another group's
    return mode


def _own_like(file: int | str, model: os.stat_result) -> None:
    if not hasattr(os, "chown"):
        return  # Windows: files belong to who may write to the directory
    for uid in (model.st_uid, -1):  # the owner only root may give away
        try:
            os.chown(file, uid, model.st_gid)
        except OSError:
            continue
        return


__all__ = ["CAN_ARCHIVE", "Entries", "same_file"]
