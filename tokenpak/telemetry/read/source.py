"""
The files of a directory, opened day by day while others rename them.

No lock is taken.  A file goes three steps in its life: renamed into ``archive/``,
compressed beside itself, unlinked.  So that at each moment each record is read once
(S4),

1. all files of a day are open together before the first is read: what is open stays,
   under whatever name, and is told from others by its inode;
2. then the directory is looked at again, twice; if the day's files are not each time
   those that are open, they are closed and the day starts anew.

Twice, because listing a directory is no snapshot, and there are two moments in which a
file can be missed by who lists, and then looks what is called so:

    when it is moved      it was listed under its old name, which by the time it is
                          opened is another file's: that of a late record
    when it is compressed its plain name was not listed any more, its ``.gz`` not yet

Each file has these moments once.  To be missed when the files are opened takes one of
them, to be missed by two looks after that takes two more.  And none is read twice: a
look finds a plain file that is still in the directory, so its ``.gz`` did not exist
when the archive was listed; in the archive, the plain one hides it.

While the directories' own times show that nothing has changed, listing again can be
spared: otherwise 10,000 days would list 10,000 names each.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from tokenpak.telemetry.read.records import UnreadableFile
from tokenpak.telemetry.store.files import READ_FLAGS
from tokenpak.telemetry.store.names import ARCHIVE_DIR, LogFile, list_log_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import date

_TRIES: Final = 50
"""How often a day starts anew; its files together do not take that many steps."""
_LOOKS: Final = 2
_SETTLED: Final = 2.0
"""Seconds; the clock of a directory's times is coarse, so that a second change right
after a first may leave the same time."""


Identity = tuple[int, int] | str | None


class OpenFile(NamedTuple):
    """A log file, and the descriptor under which it stays readable."""

    file: LogFile
    fd: int
    size: int
    """Bytes, when it was opened."""


class OpenDay(NamedTuple):
    """All files of one day, and those that could not be opened."""

    day: date
    files: list[OpenFile]
    unreadable: list[UnreadableFile]
    refused: set[Identity]
    """What those files are; None: one had vanished, so look again."""


class LogDirectory:
    """
    The files of one stream on the days that are wanted.

    Attributes:
        unreadable: the archive, if it cannot be listed and *partial* says to go on.

    """

    def __init__(
        self,
        log_dir: str,
        stream: str,
        covers: Callable[[date], bool],
        *,
        partial: bool = False,
    ) -> None:
        """
        List *log_dir*; opens nothing.

        Args:
            log_dir: the directory of the daily files.
            stream: which of them.
            covers: which days are wanted.
            partial: whether to read what can be read without an archive that cannot be
                listed; by default that is raised.

        Raises:
            OSError: it, or its archive, cannot be listed.

        """
        self.unreadable: list[UnreadableFile] = []
        self._on_problem = self._note_problem if partial else None
        self._log_dir = log_dir
        self._stream = stream
        self._covers = covers
        self._files: dict[date, list[LogFile]] = {}
        self._stamp: tuple[int, int] | None = None
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

    def _list(self, day: date | None = None) -> None:
        """List all files, or those of *day* anew."""
        stamp = self._look()
        found: dict[date, list[LogFile]] = {}
        only = f"{self._stream}-" if day is None else f"{self._stream}-{day}"
        for file in list_log_files(self._log_dir, only, self._on_problem):
            if self._covers(file.day):
                found.setdefault(file.day, []).append(file)
        archive = os.path.join(self._log_dir, ARCHIVE_DIR)
        for files in found.values():
            # A day is archived before records that came late make a new file of it.
            files.sort(key=lambda f: (os.path.dirname(f.path) != archive, f.part))
        if day is None:
            self._stamp, self._files = stamp, found
        else:
            self._files[day] = found.get(day, [])

    def _note_problem(self, path: str, error: OSError) -> None:
        if not self.unreadable:  # it is listed again and again
            self.unreadable.append(UnreadableFile(path, 0, _reason(error)))

    def _look(self) -> tuple[int, int] | None:
        """Return the times of the directories, or None if they cannot be relied on."""
        archive = os.path.join(self._log_dir, ARCHIVE_DIR)
        times = _changed(self._log_dir), _changed(archive)
        settled = (time.time() - _SETTLED) * 1e9
        return times if max(times) < settled else None

    def _open(self, day: date) -> OpenDay:
        opened = OpenDay(day, [], [], set())
        seen = set()
        for file in self._files.get(day, []):
            try:
                fd = os.open(file.path, READ_FLAGS)
                status = os.fstat(fd)
            except OSError as e:
                opened.unreadable.append(UnreadableFile(file.path, 0, _reason(e)))
                vanished = isinstance(e, FileNotFoundError)
                opened.refused.add(None if vanished else _identity(file.path))
                continue
            inode = (status.st_dev, status.st_ino)
            if not stat.S_ISREG(status.st_mode):
                opened.unreadable.append(
                    UnreadableFile(file.path, 0, "not a regular file")
                )
                opened.refused.add(inode)
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
        then = set(opened.refused)
        for file in opened.files:
            status = os.fstat(file.fd)
            then.add((status.st_dev, status.st_ino))
        try:
            for _ in range(_LOOKS):
                # All of it, if that can spare the days to come a listing.
                self._list(day if self._look() is None else None)
                now = {_identity(file.path) for file in self._files.get(day, [])}
                if None in now | then or now != then:
                    return False
        except OSError as e:
            opened.unreadable.append(UnreadableFile(self._log_dir, 0, _reason(e)))
        return True


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


def _identity(path: str) -> Identity:
    """Return what the file of that name is, or None if there is none."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    except OSError:  # nobody can tell, the next time either
        return path
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
