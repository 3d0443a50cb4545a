"""
The key of the marks that stand in the place of secrets, kept in the log directory.

All processes that log there make the same mark for the same secret, also tomorrow.  Who
has the key can test a guess at a secret, so it is as private as the log: 0600, with
group access 0640, never following a symbolic link (S5).  It comes into being whole: a
file without its name, or under a temporary one, is linked into place, never replacing.
"""

from __future__ import annotations

import os
import stat
from typing import Final

from tokenpak.telemetry.store.modes import (
    DIRECTORY_MODE,
    GROUP_DIRECTORY_MODE,
    make_directories,
    set_mode,
)
from tokenpak.telemetry.store.names import KEY_NAME

KEY_BYTES: Final = 32
_FLAGS: Final = (
    getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)


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
    try:
        return _read(path)
    except OSError:
        pass
    key = os.urandom(KEY_BYTES)
    try:
        make_directories(
            log_dir, GROUP_DIRECTORY_MODE if group_access else DIRECTORY_MODE
        )
        _create(path, key, 0o640 if group_access else 0o600)
        return _read(path)  # the one of whoever was first
    except OSError:
        return key


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | _FLAGS)
    try:
        key = os.read(fd, KEY_BYTES) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    finally:
        os.close(fd)
    if len(key) < KEY_BYTES:  # somebody else's file, or damaged
        raise OSError(f"{path} holds no key")
    return key


def _create(path: str, key: bytes, mode: int) -> None:
    temporary = f"{path}.{os.urandom(8).hex()}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, mode)
    try:
        try:
            set_mode(fd, mode)
            os.write(fd, key)
        finally:
            os.close(fd)
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
    finally:
        os.unlink(temporary)


__all__ = ["KEY_BYTES", "KEY_NAME", "redaction_key"]
