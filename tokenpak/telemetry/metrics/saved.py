"""
The counts of a directory on disk: one file, replaced as a whole, under a lock.

    metrics/counts-v1.json    a line with version and check sum, then the counts
    metrics/counts-v1.lock    held by who counts; empty

Another version of this library that counts otherwise has files of its own, so neither
spoils the other's.  A file that is damaged is no error: counting begins anew, and says
so.  The lock is the kernel's: a dead holder has none.

S5  0600, in a directory 0700; for the group, too, where the log is.
"""

from __future__ import annotations

import errno
import os
import random
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import orjson

from tokenpak.telemetry.store.files import READ_FLAGS
from tokenpak.telemetry.store.lock import try_lock, unlock
from tokenpak.telemetry.store.modes import (
    DIRECTORY_MODE,
    FILE_MODE,
    GROUP_DIRECTORY_MODE,
    GROUP_FILE_MODE,
    give_to_owner,
    make_directory_for_owner,
    set_mode,
)
from tokenpak.telemetry.store.names import METRICS_DIR
from tokenpak.telemetry.store.places import used_by_group

VERSION: Final = 1
_PAUSE: Final = 0.004
"""Seconds between two tries to get the lock."""
_WRITE: Final = os.O_WRONLY | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
_SAFELY: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)

Stamp = tuple[int, int, int] | None
"""Which edition of the file it is; None: there is none."""


class DamagedError(Exception):
    """The file does not hold counts.  Never leaves this package."""


class SavedCounts:
    """
    The file of one directory.

    Args:
        log_dir: the log directory; what is missing below it is made when needed.

    """

    def __init__(self, log_dir: str) -> None:
        self._log_dir = log_dir
        self._dir = os.path.join(log_dir, METRICS_DIR)
        self.path = os.path.join(self._dir, f"counts-v{VERSION}.json")
        self._lock_path = os.path.join(self._dir, f"counts-v{VERSION}.lock")
        self.descriptors: set[int] = set()
        """Open now; a forked child closes its copies."""

    @contextmanager
    def locked(self, timeout: float) -> Iterator[bool]:
        """Hold the lock; the value is whether that was possible within *timeout*."""
        try:
            fd = self._open(self._lock_path)
        except OSError:
            yield False
            return
        owner = os.getpid()
        held = False
        try:
            until = time.monotonic() + timeout
            held = try_lock(fd)
            while not held and time.monotonic() < until:
                time.sleep(_PAUSE * (0.5 + random.random()))  # noqa: S311
                held = try_lock(fd)
            yield held
        finally:
            # In a child that was forked meanwhile the number is closed already.
            if owner == os.getpid():
                self.descriptors.discard(fd)
                if held:
                    unlock(fd)
                os.close(fd)

    def _open(self, path: str, flags: int = 0) -> int:
        group = used_by_group(self._log_dir)
        if os.path.islink(self._dir):
            raise OSError(errno.ELOOP, "is a symbolic link, not followed", self._dir)
        if not os.path.isdir(self._dir):
            if not os.path.isdir(self._log_dir):
                raise FileNotFoundError(self._log_dir)
            make_directory_for_owner(
                self._dir,
                GROUP_DIRECTORY_MODE if group else DIRECTORY_MODE,
                self._log_dir,
            )
        mode = GROUP_FILE_MODE if group else FILE_MODE
        fd = os.open(path, _WRITE | _SAFELY | flags, mode)
        self.descriptors.add(fd)
        try:
            if group and os.fstat(fd).st_uid == os.geteuid():
                set_mode(fd, mode)
            give_to_owner(fd, self._log_dir)
        except BaseException:
            self.descriptors.discard(fd)
            os.close(fd)
            raise
        return fd

    def close_in_child(self) -> None:
        """Close the parent's descriptors, whose lock is the parent's.  After fork."""
        for fd in self.descriptors:
            try:
                os.close(fd)
            except OSError:
                continue
        self.descriptors = set()

    def stamp(self) -> Stamp:
        """Return which edition of the file is there."""
        try:
            status = os.lstat(self.path)
        except OSError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns

    def load(self) -> dict[str, Any] | None:
        """
        Return what was saved; None: nothing.

        Raises:
            DamagedError: that cannot be told.
            OSError: the file cannot be read.

        """
        try:
            fd = os.open(self.path, READ_FLAGS)
        except FileNotFoundError:
            return None
        self.descriptors.add(fd)
        try:
            parts = []
            while part := os.read(fd, 1024 * 1024):
                parts.append(part)
        finally:
            self.descriptors.discard(fd)
            os.close(fd)
        first, _, body = b"".join(parts).partition(b"\n")
        try:
            head = orjson.loads(first)
            if head["version"] != VERSION or head["crc"] != zlib.crc32(body):
                raise DamagedError
            saved = orjson.loads(body)
        except (ValueError, TypeError, KeyError) as error:
            raise DamagedError from error
        if type(saved) is not dict:
            raise DamagedError
        return saved

    def save(self, counts: dict[str, Any]) -> None:
        """
        Replace the file.  The lock is held.

        Raises:
            OSError: it cannot be.

        """
        body = orjson.dumps(counts)
        head = orjson.dumps({"version": VERSION, "crc": zlib.crc32(body)})
        temporary = f"{self.path}.tmp"
        try:
            os.unlink(temporary)  # of one who died
        except FileNotFoundError:
            pass
        fd = self._open(temporary, os.O_EXCL)
        try:
            rest = memoryview(head + b"\n" + body)
            while rest:
                rest = rest[os.write(fd, rest) :]
        finally:
            self.descriptors.discard(fd)
            os.close(fd)
        os.replace(temporary, self.path)


__all__ = ["VERSION", "DamagedError", "SavedCounts", "Stamp"]
