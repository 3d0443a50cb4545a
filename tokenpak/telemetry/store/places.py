"""
Where the spools of a log directory are.

Usually in ``spool/`` inside it.  A file system that is shared by machines, or that
copies on write, cannot promise that a store into a mapped page has room: a full disk
would kill the process with SIGBUS.  For log directories there the spool moves to a
local directory, whose name is made from the log directory's, so that all processes of
the machine find it.
"""

from __future__ import annotations

import os
import stat
from typing import Final

from tokenpak.telemetry.store.modes import is_private
from tokenpak.telemetry.store.names import METRICS_DIR, SPOOL_DIR

RELIABLE: Final = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "tmpfs", "f2fs", "jfs", "overlay", "ramfs"}
)
"""File systems on which ``posix_fallocate`` is kept to.  Overlays (containers) hand it
on to one of these, nearly always; where not, creating the spool fails, and that is
noticed."""


def spool_directories(log_dir: str, spool_dir: str | None = None) -> list[str]:
    """
    Return where spools of *log_dir* may be, the place for new ones first.

    Args:
        log_dir: the log directory, absolute.
        spool_dir: the setting; None chooses.

    """
    own = os.path.join(log_dir, SPOOL_DIR)
    local = _local_directory(log_dir)
    if spool_dir is not None:
        places = [os.path.join(spool_dir, _tag(log_dir)), own, local]
    elif file_system_of(log_dir) in RELIABLE:
        places = [own, local]
    else:
        places = [local, own]
    # In a directory that everybody may write to, somebody else may have been first.
    user_place = os.path.dirname(local)
    if os.path.lexists(user_place) and not is_private(user_place):
        places.remove(local)
    return places


def _tag(log_dir: str) -> str:
    """Return 16 hexadecimal digits made from *log_dir*: FNV-1a, 64 bits."""
    # Not of hashlib: the first record may come in a signal handler, or after the
    # process has given up its rights, when nothing should be imported any more.
    tag = 0xCBF29CE484222325
    for byte in os.fsencode(os.path.realpath(log_dir)):
        tag = (tag ^ byte) * 0x100000001B3 % 2**64
    return f"{tag:016x}"


def is_shared(directory: str) -> bool:
    """Return whether *directory*, for spools, is every user's of the log directory."""
    return os.path.basename(os.path.dirname(directory)) != _user_place()


def used_by_group(log_dir: str) -> bool:
    """
    Return whether processes with group access have made something in *log_dir*.

    For who appends to a log and was not told of that setting: a day's file that only
    one user may write to would shut out the others for the rest of the day.
    """
    # Spools may be elsewhere; counters are saved here all the same.
    return any(
        _has_mode(os.path.join(log_dir, name), stat.S_IWGRP | bit)
        for name, bit in ((SPOOL_DIR, stat.S_ISVTX), (METRICS_DIR, stat.S_ISGID))
    )


def _has_mode(path: str, bits: int) -> bool:
    """Return whether *path* is a directory with *bits*, and not for everybody."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return False
    return stat.S_ISDIR(mode) and not mode & stat.S_IWOTH and mode & bits == bits


def _user_place(user: int | None = None) -> str:
    if user is None and hasattr(os, "getuid"):
        user = os.getuid()
    return f"tokenpak-{'user' if user is None else user}"


def readable_spool_directories(log_dir: str, spool_dir: str | None = None) -> list[str]:
    """
    Return where spools of *log_dir* may be, also those of the user whose it is.

    For whoever only reads: an administrator, or a reporting user.

    Args:
        log_dir: the log directory, absolute.
        spool_dir: the setting; None chooses.

    """
    places = spool_directories(log_dir, spool_dir)
    try:
        owner = os.stat(log_dir).st_uid
        local = _local_directory(log_dir, owner)
        status = os.lstat(os.path.dirname(local))
    except OSError:
        return places
    # Who owns the log can write into it what they like, so may into its spools.
    theirs = stat.S_ISDIR(status.st_mode) and status.st_uid == owner
    if theirs and local not in places:
        places.append(local)
    return places


def _local_directory(log_dir: str, user: int | None = None) -> str:
    base = "/dev/shm"  # noqa: S108  (what is in it is checked to be ours)
    if not os.path.isdir(base):
        base = os.environ.get("TMPDIR") or "/tmp"  # noqa: S108  (likewise)
    return os.path.join(base, _user_place(user), _tag(log_dir))


def file_system_of(path: str, mounts: str = "/proc/self/mountinfo") -> str:
    """
    Return the type of the file system that *path* is on, or will be, e.g. ``ext4``.

    ``unknown`` where the system does not tell (there is no /proc).
    """
    path = os.path.realpath(path)
    best, found = "", "unknown"
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                # 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw
                left, _, right = line.partition(" - ")
                point = _unescape(left.split(" ")[4])
                inside = path == point or path.startswith(point.rstrip("/") + "/")
                # The last of equal ones is mounted over the others.
                if inside and len(point) >= len(best):
                    best, found = point, right.split(" ", 1)[0]
    except (OSError, IndexError):
        return "unknown"
    return found


def _unescape(text: str) -> str:
    # mountinfo writes space, tab, newline and backslash as three octal digits.
    for code in ("040", "011", "012", "134"):
        text = text.replace("\\" + code, chr(int(code, 8)))
    return text


__all__ = [
    "RELIABLE",
    "file_system_of",
    "is_shared",
    "readable_spool_directories",
    "spool_directories",
    "used_by_group",
]
