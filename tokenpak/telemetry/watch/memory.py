"""
The state of a watch in a small file, so that a restart repeats nothing.

The file is replaced as a whole (a new one is renamed over it), so a death leaves the
old or the new one.  It carries a checksum: what is damaged is not believed in part, but
begun anew.  A lock on a file beside it keeps two watches from telling everything twice;
if that file is deleted under a watch, it makes and locks another.

S5  Both are 0600, in a directory that is 0700; symbolic links are not followed.
"""

from __future__ import annotations

import errno
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import orjson

from tokenpak.telemetry.store.files import READ_FLAGS
from tokenpak.telemetry.store.lock import try_lock

VERSION: Final = 1
_MOST_BYTES: Final = 32 * 1024 * 1024
"""Of a state that is believed; a real one has less than a hundredth of it."""
_WRITE: Final = (
    os.O_RDWR
    | os.O_CREAT
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)


class DamagedStateError(Exception):
    """The state is there and cannot be used; the text says why."""


class Memory:
    """
    Where the state of one watch is.

    Args:
        path: of the file.

    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock: int | None = None
        """A descriptor; it is held."""

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """
        Hold the lock within; False: another watch of that state has it.

        Raises:
            OSError: the directory or the file of the lock cannot be made, or what is
                there is no file: root would put /dev/null aside.

        """
        try:
            regular = stat.S_ISREG(os.lstat(self.path).st_mode)
        except FileNotFoundError:
            regular = True
        if not regular:
            raise OSError(errno.EINVAL, "it is not a regular file", self.path)
        directory = os.path.dirname(self.path)
        os.makedirs(directory or ".", mode=0o700, exist_ok=True)
        fd = os.open(f"{self.path}.lock", _WRITE, 0o600)
        try:
            alone = try_lock(fd)
            if alone:
                self._lock = fd
            yield alone
        finally:
            os.close(fd if self._lock is None else self._lock)
            self._lock = None

    def _keep_lock(self) -> None:
        """
        See to it that the lock is that of the file which others find.

        Raises:
            OSError: somebody else has made and locked one, or none can be made.

        """
        if self._lock is None:
            return
        place = f"{self.path}.lock"
        try:
            if os.path.samestat(os.lstat(place), os.fstat(self._lock)):
                return
        except FileNotFoundError:
            pass
        fd = os.open(place, _WRITE, 0o600)
        try:
            if not try_lock(fd):
                raise OSError(errno.EAGAIN, "another watch has it", self.path)
        except BaseException:
            os.close(fd)
            raise
        os.close(self._lock)
        self._lock = fd

    def load(self) -> Any:
        """
        Return what was saved last; None: nothing ever was.

        Raises:
            DamagedStateError: it cannot be used.
            OSError: it cannot be read.

        """
        try:
            fd = os.open(self.path, READ_FLAGS)
        except FileNotFoundError:
            return None
        with open(fd, "rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise DamagedStateError("it is too large")
        head, _, body = data.partition(b"\n")
        try:
            told = orjson.loads(head)
            version, checksum = told["tokenpak_watch"], told["crc32"]
        except (ValueError, TypeError, KeyError, IndexError):
            raise DamagedStateError("its first line is damaged") from None
        if version != VERSION:
            raise DamagedStateError(f"it is of version {version}, not {VERSION}")
        if zlib.crc32(body) != checksum:
            raise DamagedStateError("its checksum is wrong")
        try:
            return orjson.loads(body)
        except ValueError:
            raise DamagedStateError("it is no JSON") from None

    def save(self, state: Any) -> None:
        """
        Replace what is saved.

        Raises:
            OSError: it could not be written, and the old one is there still.

        """
        body = orjson.dumps(state, option=orjson.OPT_NON_STR_KEYS)
        head = orjson.dumps({"tokenpak_watch": VERSION, "crc32": zlib.crc32(body)})
        temporary = f"{self.path}.tmp"
        directory = os.path.dirname(self.path) or "."
        if not os.path.isdir(directory):
            # The log directory was deleted and made anew.  Its parents are not made
            # here: a file system that is not mounted is none to write to.
            os.mkdir(directory, 0o700)
        self._keep_lock()
        # Under the lock nobody else writes it; what is there is of a death.
        try:
            os.unlink(temporary)
        except FileNotFoundError:
            pass
        fd = os.open(temporary, _WRITE | os.O_EXCL, 0o600)
        try:
            with open(fd, "wb") as file:
                file.write(head + b"\n" + body)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.path)
        except BaseException:
            try:
                os.unlink(temporary)
            except OSError:
                pass
            raise

    def put_aside(self) -> None:
        """Rename a damaged state, so that a person can look at it."""
        try:
            os.replace(self.path, f"{self.path}.damaged")
        except OSError:
            pass


__all__ = ["VERSION", "DamagedStateError", "Memory"]
