"""
What was appended to the log since the last look, once.

A file is known by its inode and how it begins, and how far it was read is remembered
with it, so renaming loses nothing.  (The inode alone will not do: a file that is made
after another was archived and deleted often gets its number.)  An archive is the same
bytes in another file; so much of it as was read is passed over.  A line without its
newline is not finished, and is read at the next look.

R1  No lock is taken, and damage is passed over: what is malformed is counted.
R2  One chunk is held.  Days before the last few are not looked at again (records that
    are older concern nobody who is to be woken), and of their files, so many are
    remembered.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from tokenpak.telemetry.read.chunks import plain_chunks
from tokenpak.telemetry.read.lines import Block, split_lines
from tokenpak.telemetry.read.records import MalformedLine, Record
from tokenpak.telemetry.read.scan import end_of, found_in
from tokenpak.telemetry.read.source import LogDirectory, OpenDay, OpenFile
from tokenpak.telemetry.read.unpack import gzip_chunks
from tokenpak.telemetry.store.names import ERRORS

DAYS: Final = 3
"""Before the day of the last look: they are looked at again."""
MOST_FILES: Final = 64
_LAST: Final = date.max
_HEAD: Final = 256
"""Bytes; records begin with the time and the request."""


class Follower:
    """
    A reader that remembers.

    Args:
        log_dir: the directory of the daily files.
        learn_days: how far it goes back at its first look.
        stream: ``errors`` or ``events``.
        arrived: is given each line, and says whether it is wanted; None: each is.
        only: bytes of those lines that are wanted; others are not decoded.

    """

    def __init__(
        self,
        log_dir: str,
        learn_days: int = 14,
        *,
        stream: str = ERRORS,
        arrived: Callable[[bytes], bool] | None = None,
        only: bytes = b"",
    ) -> None:
        self._log_dir = log_dir
        self._stream = stream
        self._arrived = arrived
        self._only = only
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
        directory = LogDirectory(self._log_dir, self._stream, lambda day: day >= since)
        for day in directory.days():
            with directory.open_day(day) as opened:
                yield day, self._records(opened)
        self._day = today
        if len(self._files) > MOST_FILES:
            self._files.sort(key=lambda known: known.day)
            # None that is looked at again: all of it would come once more.
            again = today - timedelta(days=DAYS)
            old = sum(known.day < again for known in self._files)
            del self._files[: min(old, len(self._files) - MOST_FILES)]

    def _records(self, opened: OpenDay) -> Iterator[Record]:
        of_day = [known for known in self._files if known.day == opened.day]
        # Those whose files are there: no archive is one of them.
        plain = [file for file in opened.files if not file.file.compressed]
        found = {id(known) for file in plain if (known := _known(file, of_day))}
        for file in opened.files:
            known = self._know(file, opened.day, found)
            grown = not file.file.compressed and file.size > known.read
            if grown or (file.file.compressed and not known.done):
                yield from self._rest(file, known)

    def _know(self, file: OpenFile, day: date, found: set[int]) -> _Known:
        """Return what is remembered of *file*."""
        of_day = [known for known in self._files if known.day == day]
        if file.file.compressed:
            name = os.path.basename(file.file.path)
            for known in of_day:
                if known.archive == name:
                    return known
            for known in of_day:
                if (
                    known.archive is None
                    and known.read
                    and id(known) not in found
                    and known.head == _head(file, known.read)
                ):
                    known.archive, known.done = name, False
                    return known
            made = _Known(day, _inode(file), 0, archive=name)
        else:
            before = _known(file, of_day)
            if before is not None:
                return before
            made = _Known(day, _inode(file), 0)
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
            wanted = placed
            if self._only:
                # Offsets are lost with the others; nobody asks for them.
                lines = [line for line in placed.lines if self._only in line]
                wanted = placed._replace(lines=lines)
            for item in found_in(wanted, file.file.path, self._stream):
                if isinstance(item, MalformedLine):
                    self.malformed += 1
                elif self._arrived is None or self._arrived(item[2]):
                    yield item[0]
            if not file.file.compressed and known.read < _HEAD:
                known.head = _head(file, end_of(placed))
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

    __slots__ = ("archive", "day", "done", "head", "inode", "read")

    def __init__(
        self,
        day: date,
        inode: tuple[int, int],
        read: int,
        archive: str | None = None,
        *,
        done: bool = False,
        head: str = "",
    ) -> None:
        self.day = day
        self.inode = inode
        self.read = read
        """Bytes, uncompressed."""
        self.archive = archive
        """The name of what it was compressed to; None: it is plain."""
        self.done = done
        """Whether there is nothing more to come: an archive never grows."""
        self.head = head
        """Of a plain file: a hash of the first bytes of what was read."""

    def as_data(self) -> list[Any]:
        place = (self.day.isoformat(), *self.inode)
        return [*place, self.read, self.archive, self.done, self.head]

    @classmethod
    def from_data(cls, data: Any) -> _Known:
        day, device, inode, read, archive, done, head = data
        if not isinstance(archive, str | None) or int(read) < 0:
            raise ValueError("no file")
        return cls(
            date.fromisoformat(day),
            (int(device), int(inode)),
            int(read),
            archive,
            done=bool(done),
            head=str(head),
        )


def _known(file: OpenFile, of_day: list[_Known]) -> _Known | None:
    """Return which of *of_day* the plain *file* is."""
    inode = _inode(file)
    for known in of_day:
        if (
            known.archive is None
            and known.inode == inode
            # Files never shrink, and never begin in another way.
            and known.read <= file.size
            and (not known.read or known.head == _head(file, known.read))
        ):
            return known
    return None


def _head(file: OpenFile, read: int) -> str:
    """Return a hash of the first bytes of *file*, at most *read* ones."""
    size, data = min(read, _HEAD), b""
    before = os.lseek(file.fd, 0, os.SEEK_CUR)
    os.lseek(file.fd, 0, os.SEEK_SET)
    try:
        if file.file.compressed:
            chunks = gzip_chunks(file.fd, lambda _problem: None)
        else:
            chunks = iter(lambda: os.read(file.fd, size), b"")
        while len(data) < size and (chunk := next(chunks, b"")):
            data += chunk
    except OSError:
        pass  # a bad place on the disk, each time
    finally:
        os.lseek(file.fd, before, os.SEEK_SET)
    return hashlib.blake2b(data[:size], digest_size=8).hexdigest()


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
