"""
Try on a temporary file what the logger relies on: locks, reserved space, mapped pages.

S1 rests on the exclusive lock: who has it keeps out every other descriptor, of this
process and of others.  Q1 rests on pages that are shared with the file, and on space
that is there once it is reserved.

The file has no name where the system can do without (``O_TMPFILE``), so that not even
a SIGKILL leaves it behind.  Elsewhere it has one that begins with a dot, for the tenth
of a second that this takes.
"""

from __future__ import annotations

import errno
import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from tokenpak.telemetry.store.lock import try_lock, unlock

PREFIX: Final = ".doctor-"
RESERVED: Final = 1024 * 1024
"""Bytes that are reserved for a moment."""
_MAPPED: Final = 65_536
_PATIENCE: Final = 30.0
"""Seconds for the child; it needs a twentieth of one."""
_REFUSED, _HAD = 10, 11

_CHILD: Final = f"""
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
try:
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    sys.exit({_REFUSED})
sys.exit({_HAD})
"""


@dataclass(frozen=True, slots=True)
class Probe:
    """What came out of it.  A text says what is wrong; empty: it works."""

    failed: OSError | None = None
    """Why no file could be made; the others say nothing then."""
    locks: str = ""
    child: str = ""
    child_asked: bool = False
    """Whether the child could be asked at all."""
    space: str = ""
    full: bool = False
    """Whether it is for want of room that no space could be reserved."""
    mapping: str = ""

    @property
    def durable(self) -> bool:
        """Whether a spool can be had here."""
        return self.failed is None and not (self.space or self.mapping)


def probe(directory: str, *, named: bool = True, ask: bool = True) -> Probe:
    """
    Try a temporary file in *directory*, which exists.

    Args:
        directory: where.
        named: whether it may have a name for a moment, if it cannot be had without.
        ask: whether to let another process try the lock.

    """
    try:
        with _temporary(directory, named=named) as (fd, path):
            locks = _try_locks(fd, path)
            child = None if locks or not ask else _ask_child(path)
            space, full = _try_space(fd)
            return Probe(
                locks=locks,
                child=child or "",
                child_asked=child is not None,
                space=space,
                full=full,
                mapping="" if space else _try_mapping(fd),
            )
    except OSError as error:
        return Probe(failed=error)


@contextmanager
def _temporary(directory: str, *, named: bool) -> Iterator[tuple[int, str]]:
    """Make a file; yield a descriptor of it, and a path to open it again by."""
    nameless = _open_nameless(directory)
    if nameless is not None:
        try:
            yield nameless, f"/proc/{os.getpid()}/fd/{nameless}"
        finally:
            os.close(nameless)
        return
    if not named:
        raise OSError(0, "no file without a name can be had", directory)
    path = os.path.join(directory, f"{PREFIX}{os.urandom(8).hex()}.tmp")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        yield fd, path
    finally:
        os.close(fd)
        os.unlink(path)


def _open_nameless(directory: str) -> int | None:
    if not hasattr(os, "O_TMPFILE") or not os.path.isdir("/proc/self/fd"):
        return None
    try:
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:
        # Not here.  Why no file can be made at all is told better with a name.
        return None


def _try_locks(fd: int, path: str) -> str:
    """Lock by one descriptor, and see the other refused, and not for ever."""
    other = os.open(path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
    try:
        if not try_lock(fd):
            return "a lock that nobody has is refused"
        if try_lock(other):
            return "a second descriptor gets a lock that the first one has"
        unlock(fd)
        if not try_lock(other):
            return "a lock that was given back is still refused"
        unlock(other)
        if not try_lock(fd):  # for the child to try
            return "a lock that was given back is still refused"
    except OSError as error:
        return f"locking fails: {error.strerror or error}"
    finally:
        os.close(other)
    return ""


def _ask_child(path: str) -> str | None:
    """Let a child try the lock that we hold; None: it could not be asked."""
    if sys.platform == "win32" or not sys.executable:
        return None
    try:
        # Another interpreter and no fork: this may be called in a program with threads.
        done = subprocess.run(  # noqa: S603  (our own interpreter, our own text)
            [sys.executable, "-I", "-S", "-c", _CHILD, path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode == _HAD:
        return "another process gets a lock that this one has"
    return "" if done.returncode == _REFUSED else None


def _try_space(fd: int) -> tuple[str, bool]:
    if not hasattr(os, "posix_fallocate"):
        return "this system cannot reserve space", False
    try:
        os.posix_fallocate(fd, 0, RESERVED)
    except OSError as error:
        full = error.errno in {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
        return f"posix_fallocate fails: {error.strerror or error}", full
    return "", False


def _try_mapping(fd: int) -> str:
    """Store into a mapped page, and find it in the file."""
    sign = b"mapped\n"
    try:
        with mmap.mmap(fd, _MAPPED) as mapped:
            mapped.write(sign)
            if os.pread(fd, len(sign), 0) != sign:
                return "what is stored into a mapped page is not in the file"
    except (OSError, ValueError) as error:
        return f"mmap fails: {getattr(error, 'strerror', None) or error}"
    return ""


__all__ = ["PREFIX", "RESERVED", "Probe", "probe"]
