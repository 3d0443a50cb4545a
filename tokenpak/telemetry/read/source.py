"""
The files of a directory, opened day by day while others rename them.

No lock is taken.  A file goes three steps in its life: renamed into ``archive/``,
compressed beside itself, unlinked.  So that at each moment each record is read once
(S4),

1. all files of a day are open together before the first is read: what is open stays,
   under whatever name, and is told from others by its inode;
2. then the directory is looked at again; if the day's files are not those that are
   open, they are closed and the day starts anew.

Listing a directory is no snapshot: a file that takes its last two steps meanwhile can
be missed, under both names.  But it takes them once, so that of two listings in a row
one has it.

While the directories' own times show that nothing has changed, listing again can be
spared: otherwise 10,000 days would list 10,000 names each.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tokenpak.telemetry.read.records import UnreadableFile
from tokenpak.telemetry.store.names import ARCHIVE_DIR, LogFile, list_log_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import date

# O_NOFOLLOW: S5.  O_NONBLOCK: opening a FIFO must not wait for a writer.
_FLAGS: Final = (
    os.O_RDONLY
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)
_TRIES: Final = 50
"""How often a day starts anew; its files together do not take that many steps."""
_SETTLED: Final = 2.0
"""Seconds; the clock of a directory's times is coarse, so that a second change right
after a first may leave the same time."""


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A log file, and the descriptor under which it stays readable."""

    file: LogFile
    fd: int
    size: int
    """Bytes, when it was opened."""


@dataclass(frozen=True, slots=True)
class OpenDay:
    """All files of one day, and those that could not be opened."""

    day: date
    files: list[OpenFile]
    unreadable: list[UnreadableFile]


class LogDirectory:
    """The files of one stream on the days that are wanted."""

    def __init__(
        self, log_dir: str, stream: str, covers: Callable[[date], bool]
    ) -> None:
        """
        List *log_dir*; opens nothing.

        Raises:
            OSError: it, or its archive, cannot be listed.

        """
        self._log_dir = log_dir
        self._stream = stream
        self._covers = covers
        self._list()
        days = set(self._files)
        self._list()
        self._days = sorted(days.union(self._files))

    def days(self) -> list[date]:
        """Return the days of which there were files, in order."""
        return self._days

    @contextmanager
    def open_day(self, day: date) -> Iterator[OpenDay]:
        """Open the files of *day*, the archived ones first; close them at the end."""
        expected = self._files.get(day, [])
        for last_try in (*[False] * (_TRIES - 1), True):
            opened = self._open(day)
            try:
                if last_try or self._is_complete(day, opened):
                    _report_vanished(expected, opened)
                    yield opened
                    return
            finally:
                for file in opened.files:
                    os.close(file.fd)

    def _list(self) -> None:
        self._stamp = self._look()
        self._files: dict[date, list[LogFile]] = {}
        for file in list_log_files(self._log_dir):
            if file.stream == self._stream and self._covers(file.day):
                self._files.setdefault(file.day, []).append(file)
        archive = os.path.join(self._log_dir, ARCHIVE_DIR)
        for files in self._files.values():
            # A day is archived before records that came late make a new file of it.
            files.sort(key=lambda f: (os.path.dirname(f.path) != archive, f.part))

    def _look(self) -> tuple[int, int] | None:
        """Return the times of the directories, or None if they cannot be relied on."""
        archive = os.path.join(self._log_dir, ARCHIVE_DIR)
        times = _changed(self._log_dir), _changed(archive)
        settled = (time.time() - _SETTLED) * 1e9
        return times if max(times) < settled else None

    def _open(self, day: date) -> OpenDay:
        opened = OpenDay(day, [], [])
        seen = set()
        for file in self._files.get(day, []):
            try:
                fd = os.open(file.path, _FLAGS)
                status = os.fstat(fd)
            except OSError as e:
                opened.unreadable.append(UnreadableFile(file.path, 0, _reason(e)))
                continue
            inode = (status.st_dev, status.st_ino)
            if not stat.S_ISREG(status.st_mode):
                opened.unreadable.append(
                    UnreadableFile(file.path, 0, "not a regular file")
                )
                os.close(fd)
            elif inode in seen:
                os.close(fd)
            else:
                seen.add(inode)
                opened.files.append(OpenFile(file, fd, status.st_size))
        return opened

    def _is_complete(self, day: date, opened: OpenDay) -> bool:
        stamp = self._stamp
        if stamp is not None and stamp == self._look():
            return True
        try:
            self._list()
        except OSError as e:
            opened.unreadable.append(UnreadableFile(self._log_dir, 0, _reason(e)))
            return True
        now = {_identity(file.path) for file in self._files.get(day, [])}
        refused = {_identity(file.file) for file in opened.unreadable}
        then = set()
        for file in opened.files:
            status = os.fstat(file.fd)
            then.add((status.st_dev, status.st_ino))
        return now == then | refused


def _report_vanished(expected: list[LogFile], opened: OpenDay) -> None:
    found = {file.file.path for file in opened.files}
    found.update(file.file for file in opened.unreadable)
    # As many files as there were parts: then the names that are not found are other
    # names of these, from before they were renamed.
    if len(found) < len({file.part for file in expected}):
        opened.unreadable.extend(
            UnreadableFile(file.path, 0, "it vanished before it could be opened")
            for file in expected
            if file.path not in found
        )


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _changed(directory: str) -> int:
    try:
        return os.stat(directory).st_mtime_ns
    except OSError:
        # Not there; when it comes to be, the time of what holds it changes.
        return 0


def _reason(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "a symbolic link, which is not followed"
    return error.strerror or str(error)


__all__ = ["LogDirectory", "OpenDay", "OpenFile"]
