"""
What was appended to the log since the last look, once.

A file is known by its inode, and how far it was read is remembered with it, so renaming
loses nothing.  An archive is the same bytes in another file: the one whose plain file
is gone, the oldest first, for that is the order in which a day's files are archived; so
much of it as was read is passed over.  A line without its newline is not finished, and
is read at the next look.

R1  No lock is taken, and damage is passed over: what is malformed is counted.
R2  One chunk is held.  So many files are remembered, and days before the last few are
    not looked at again: records that are older concern nobody who is to be woken.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from tokenpak.telemetry.read.chunks import gzip_chunks, plain_chunks
from tokenpak.telemetry.read.lines import Block, split_lines
from tokenpak.telemetry.read.records import MalformedLine, Record
from tokenpak.telemetry.read.scan import end_of, found_in
from tokenpak.telemetry.read.source import LogDirectory, OpenDay, OpenFile
from tokenpak.telemetry.store.names import ERRORS

DAYS: Final = 3
"""Before the day of the last look: they are looked at again."""
MOST_FILES: Final = 64
_LAST: Final = date.max


class Follower:
    """
    A reader that remembers.

    Args:
        log_dir: the directory of the daily files.
        learn_days: how far it goes back at its first look.

    """

    def __init__(self, log_dir: str, learn_days: int = 14) -> None:
        self._log_dir = log_dir
        self._learn_days = learn_days
        self._day: date | None = None
        """Of the last look; None: there was none."""
        self._files: list[_Known] = []
        self.malformed = 0
        """Lines, and pieces of lines, that were no record."""

    def new_records(self, now: float) -> Iterator[tuple[date, Iterator[Record]]]:
        """
        Yield, day by day, the records that were appended since the last look.

        Each day's records are read before the next day is asked for; what is not read
        of them comes again.

        Args:
            now: seconds since the epoch.

        Raises:
            OSError: the directory cannot be listed.

        """
        today = _day_of(now)
        if self._day is None:
            since = today - timedelta(days=self._learn_days)
        else:
            # The clock may have been set, either way.
            since = min(today, self._day) - timedelta(days=DAYS)
            since = max(since, today - timedelta(days=self._learn_days + DAYS))
        directory = LogDirectory(self._log_dir, ERRORS, lambda day: day >= since)
        for day in directory.days():
            with directory.open_day(day) as opened:
                yield day, self._records(opened)
        self._day = today
        if len(self._files) > MOST_FILES:
            self._files.sort(key=lambda known: known.day)
            del self._files[:-MOST_FILES]

    def _records(self, opened: OpenDay) -> Iterator[Record]:
        inodes = {_inode(file) for file in opened.files if not file.file.compressed}
        for file in opened.files:
            known = self._know(file, opened.day, inodes)
            grown = not file.file.compressed and file.size > known.read
            if grown or (file.file.compressed and not known.done):
                yield from self._rest(file, known)

    def _know(self, file: OpenFile, day: date, inodes: set[tuple[int, int]]) -> _Known:
        """Return what is remembered of *file*."""
        of_day = [known for known in self._files if known.day == day]
        inode = _inode(file)
        if file.file.compressed:
            name = os.path.basename(file.file.path)
            for known in of_day:
                if known.archive == name:
                    return known
            for known in of_day:
                if known.archive is None and known.inode not in inodes:
                    known.archive, known.done = name, False
                    return known
            made = _Known(day, inode, 0, archive=name)
        else:
            for known in of_day:
                # Files never shrink: a smaller one has got the inode of one that was.
                if (
                    known.archive is None
                    and known.inode == inode
                    and known.read <= file.size
                ):
                    return known
            made = _Known(day, inode, 0)
        self._files.append(made)
        return made

    def _rest(self, file: OpenFile, known: _Known) -> Iterator[Record]:
        problems: list[str] = []
        begin = known.read
        if file.file.compressed:
            chunks = _behind(begin, gzip_chunks(file.fd, problems.append))
        else:
            os.lseek(file.fd, begin, os.SEEK_SET)
            chunks = plain_chunks(file.fd, file.size - begin, problems.append, _no_gap)
        for block in split_lines(chunks):
            placed: Block = block._replace(offset=begin + block.offset)
            if block.end == "file" and not file.file.compressed:
                break  # the rest of the line is on its way
            for item in found_in(placed, file.file.path, ERRORS):
                if isinstance(item, MalformedLine):
                    self.malformed += 1
                else:
                    yield item[0]
            known.read = end_of(placed)
        if file.file.compressed:
            known.done = True

    def as_data(self) -> dict[str, Any]:
        """Return what restore() takes, of what JSON knows."""
        return {
            "day": None if self._day is None else self._day.isoformat(),
            "files": [known.as_data() for known in self._files],
        }

    def restore(self, data: Any) -> None:
        """
        Take over what as_data() gave.

        Raises:
            KeyError, TypeError, ValueError: it did not.

        """
        day = None if data["day"] is None else date.fromisoformat(data["day"])
        files = [_Known.from_data(known) for known in data["files"]]
        self._day, self._files = day, files


class _Known:
    """A file, and how much of it was read."""

    __slots__ = ("archive", "day", "done", "inode", "read")

    def __init__(
        self,
        day: date,
        inode: tuple[int, int],
        read: int,
        archive: str | None = None,
        *,
        done: bool = False,
    ) -> None:
        self.day = day
        self.inode = inode
        self.read = read
        """Bytes, uncompressed."""
        self.archive = archive
        """The name of what it was compressed to; None: it is plain."""
        self.done = done
        """Whether there is nothing more to come: an archive never grows."""

    def as_data(self) -> list[Any]:
        return [self.day.isoformat(), *self.inode, self.read, self.archive, self.done]

    @classmethod
    def from_data(cls, data: Any) -> _Known:
        day, device, inode, read, archive, done = data
        if not isinstance(archive, str | None) or int(read) < 0:
            raise ValueError("no file")
        return cls(
            date.fromisoformat(day),
            (int(device), int(inode)),
            int(read),
            archive,
            done=bool(done),
        )


def _behind(size: int, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield *chunks* without their first *size* bytes."""
    for chunk in chunks:
        if size < len(chunk):
            yield chunk[size:] if size else chunk
        size = max(0, size - len(chunk))


def _inode(file: OpenFile) -> tuple[int, int]:
    status = os.fstat(file.fd)
    return status.st_dev, status.st_ino


def _day_of(when: float) -> date:
    try:
        return datetime.fromtimestamp(when, UTC).date()
    except (ValueError, OverflowError, OSError):
        return _LAST


def _no_gap(_offset: int, _length: int, _reason: str) -> None:
    """Let a place that the disk does not give back be: NULs stand for it."""


__all__ = ["DAYS", "MOST_FILES", "Follower"]
