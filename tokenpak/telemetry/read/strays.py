"""
What lies in a log directory and does not belong there, or lies open.

The logger ignores such files, and so does everything else here; but a backup copy that
somebody made is not read by an export, and who looks at the disk's use wants to know.

S5  Nothing is readable by other users unless configured so: files that are, are named.

Nothing is opened: names and modes only.
"""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING, Final

from tokenpak.telemetry.read.copies import INDEX, QUARANTINE
from tokenpak.telemetry.read.finding import Finding
from tokenpak.telemetry.store.names import (
    ARCHIVE_DIR,
    KEY_NAME,
    METRICS_DIR,
    SPOOL_DIR,
    WATCH_DIR,
    parse_log_name,
)
from tokenpak.telemetry.store.spool import NEW_PREFIX, SUFFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BIRTH: Final = 60.0
"""Seconds; a spool that was begun longer ago than that was never finished."""


def find_strays(
    log_dir: str, spool_dirs: list[str], *, group_access: bool
) -> Iterator[Finding]:
    """
    Yield what does not belong into *log_dir*, its archive and its spools.

    Args:
        log_dir: the log directory.
        spool_dirs: where its spools may be.
        group_access: whether the group may read it.

    """
    open_to = 0o007 if group_access else 0o077
    places: list[tuple[str, Callable[[str, str], str | None]]] = [
        (log_dir, _in_log_dir),
        (os.path.join(log_dir, ARCHIVE_DIR), _in_archive),
        *((place, _in_spool) for place in spool_dirs),
    ]
    for place, judge in places:
        try:
            names = sorted(os.listdir(place))
        except OSError:  # not there; or the reader has said why
            continue
        yield from _exposed(place, open_to)
        for name in names:
            path = os.path.join(place, name)
            reason = judge(path, name)
            if reason is not None:
                yield Finding("stray", path, None, None, reason)
            elif name not in {ARCHIVE_DIR, METRICS_DIR, SPOOL_DIR, WATCH_DIR}:
                yield from _exposed(path, open_to)


def _in_log_dir(path: str, name: str) -> str | None:
    if name in {ARCHIVE_DIR, METRICS_DIR, SPOOL_DIR, WATCH_DIR}:
        return None if os.path.isdir(path) else "is not a directory"
    if name == KEY_NAME:
        return None
    if name in {QUARANTINE, INDEX}:
        return None  # of a repair, which made this directory
    return _in_archive(path, name)


def _in_archive(_path: str, name: str) -> str | None:
    if parse_log_name(name) is not None:
        return None  # what is no regular file is reported by the reader
    if name.endswith(".tmp"):
        return (
            "a temporary file: of an archiving or export that is under way, or that "
            "died under way"
        )
    return "is not read: no log file has such a name"


def _in_spool(path: str, name: str) -> str | None:
    if not name.endswith(SUFFIX):
        return "no spool has such a name"
    if name.startswith(NEW_PREFIX):
        try:
            age = time.time() - os.lstat(path).st_mtime
        except OSError:
            return None  # it was born meanwhile
        if age > _BIRTH:
            return "of a process that died while it created its spool: it is empty"
    return None


def _exposed(path: str, open_to: int) -> Iterator[Finding]:
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return
    if hasattr(os, "geteuid") and not stat.S_ISLNK(mode) and mode & open_to:
        who = "everybody" if mode & 0o007 & open_to else "the group"
        reason = f"{who} may use it: mode {stat.S_IMODE(mode):04o}"
        yield Finding("exposed", path, None, None, reason)


__all__ = ["find_strays"]
