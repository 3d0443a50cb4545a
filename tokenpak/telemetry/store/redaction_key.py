"""
The key of the marks that stand in the place of secrets, kept in the log directory.

All processes that log there make the same mark for the same secret, also tomorrow.  Who
has the key can test a guess at a secret, so it is as private as the log: 0600, with
group access 0640, never following a symbolic link (S5).  It comes into being whole: a
file without its name, or under a temporary one, is linked into place, never replacing.
Only a file too short to be a key, as a power failure may leave it, is replaced, and by
one process alone: that which has its lock.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from typing import Final

from tokenpak.telemetry.store.lock import try_lock, unlock
from tokenpak.telemetry.store.modes import (
    DIRECTORY_MODE,
    GROUP_DIRECTORY_MODE,
    make_directories,
    set_mode,
)
from tokenpak.telemetry.store.names import KEY_NAME

KEY_BYTES: Final = 32
_TRIES: Final = 50
_PAUSE: Final = 0.001
"""Seconds: how long, and how often, the lock of a file that is too short is tried."""
_FLAGS: Final = (
    getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)


class TooShortError(OSError):
    """What is there is a file, and holds no key."""


def redaction_key(log_dir: str, *, group_access: bool = False) -> bytes:
    """
    Return the key of *log_dir*, and make it if there is none.

    Never raises OSError: where no key can be kept, it is a random one, and marks can be
    compared within the process and its forked children only.

    Args:
        log_dir: absolute; made if it is missing.
        group_access: whether the group may use it, too.

    """
    path = os.path.join(log_dir, KEY_NAME)
    mode = 0o640 if group_access else 0o600
    key = os.urandom(KEY_BYTES)
    try:
        try:
            return _read(path)
        except TooShortError:
            _repair(path, key, mode)
        except OSError:
            make_directories(
                log_dir, GROUP_DIRECTORY_MODE if group_access else DIRECTORY_MODE
            )
            _create(path, key, mode, os.link)
        return _read(path)  # the one of whoever was first
    except OSError:
        return key


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | _FLAGS)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(f"{path} is no file")
        key = os.read(fd, KEY_BYTES)
    finally:
        os.close(fd)
    if len(key) < KEY_BYTES:
        raise TooShortError(f"{path} holds no key")
    return key


def _repair(path: str, key: bytes, mode: int) -> None:
    """Put *key* in the place of a file that is too short, unless somebody else does."""
    fd = os.open(path, os.O_RDONLY | _FLAGS)
    try:
        for _ in range(_TRIES):
            if try_lock(fd):
                break
            time.sleep(_PAUSE)
        else:
            return
        try:
            # Of two that found it, the second finds another file in its place.
            found = os.fstat(fd)
            if os.path.samestat(found, os.lstat(path)) and found.st_size < KEY_BYTES:
                _create(path, key, mode, os.replace)
        finally:
            unlock(fd)
    finally:
        os.close(fd)


def _create(
    path: str, key: bytes, mode: int, put: Callable[[str, str], object]
) -> None:
    temporary = f"{path}.{os.urandom(8).hex()}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, mode)
    try:
        try:
            set_mode(fd, mode)
            os.write(fd, key)
        finally:
            os.close(fd)
        try:
            put(temporary, path)
        except FileExistsError:
            pass
    finally:
        try:
            os.unlink(temporary)
        except FileNotFoundError:  # it has its name
            pass


__all__ = ["KEY_BYTES", "KEY_NAME", "redaction_key"]
