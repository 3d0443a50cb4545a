"""
The lines that were appended to a directory's files since they were counted last.

A file is followed through its life: it is renamed into the archive, gzipped, and its
number (inode) given to another file of the same day.  What stays is how it begins: of
each file the first line is remembered, as a hash, and up to where it is counted, in
bytes of the uncompressed text.  So each line is counted once, under whatever name.

S4  Which files there are is asked of ``read.source``, which misses none that is being
    moved; unless the directories have not changed since: then the day's file is looked
    at by its name, and nothing is listed.
R1  No lock of the log's is taken, nothing ends at damage.  A line without its newline
    is not counted: it is under way, or torn, and completed or closed by who appends.
    At the end of an archive nobody does that any more, so there it counts.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any, Final, NamedTuple

import orjson

from tokenpak.telemetry.metrics.tally import Tally, count
from tokenpak.telemetry.read.lines import Block, split_lines
from tokenpak.telemetry.read.records import is_blank
from tokenpak.telemetry.read.scan import end_of, found_in
from tokenpak.telemetry.read.source import LogDirectory, OpenFile
from tokenpak.telemetry.read.unpack import gzip_chunks
from tokenpak.telemetry.store.files import READ_FLAGS
from tokenpak.telemetry.store.names import (
    ARCHIVE_DIR,
    STREAMS,
    LogFile,
    list_log_files,
)

HEAD: Final = 4096
"""Bytes of a first line that tell a file from others."""
SHORTEST: Final = 48
"""Bytes; where the first line is shorter, the next one belongs to it: it may be the
beginning of a line that was torn, of which another file may have the same.  Each record
of ours is longer."""
_CHUNK: Final = 1024 * 1024
_PAGE: Final = 4096
_BAD_PLACE: Final = {errno.EIO, getattr(errno, "EUCLEAN", errno.EIO)}
_SETTLED: Final = 2.0
"""Seconds; the clock of a directory's times is coarse (see read.source)."""
MOST_MARKS: Final = 20_000
"""Files that are remembered; 27 years of two streams."""

_WHOLE: Final = 2**62
"""Bytes; of an archive that is passed over nobody asks how many it has."""

Signature = tuple[int, int, int]
"""Inode, size and time of the last change."""


class Mark:
    """How far a file is counted."""

    __slots__ = ("final", "offset")

    def __init__(self, offset: int = 0, final: Signature | None = None) -> None:
        self.offset = offset
        self.final = final
        """Of the archive that is counted to its end; None: more may come."""


class _Known(NamedTuple):
    file: LogFile
    inode: int
    size: int
    """At which there was nothing more to count."""


class Follower:
    """
    The files of one directory.  One thread.

    Args:
        log_dir: the directory.

    Attributes:
        marks: by stream, day and hash of the first line.
        changed: whether a file was begun, archived or left out since the last save.
        last_append: when a day's file changed last, in seconds since the epoch.

    """

    def __init__(self, log_dir: str) -> None:
        self.log_dir = log_dir
        self.marks: dict[str, Mark] = {}
        self.changed = False
        self.last_append = 0.0
        self.read_bytes = 0
        self._stamp: tuple[int, int] | None = None
        self._plain: dict[str, _Known] = {}

    # -- the saved form -------------------------------------------------------------

    def saved(self) -> list[list[Any]]:
        """Return the marks as lists of what JSON has."""
        return [[key, mark.offset, mark.final] for key, mark in self.marks.items()]

    def restore(self, saved: list[list[Any]]) -> None:
        """
        Go on where saved() was asked.

        Raises:
            ValueError, TypeError: it was not.

        """
        marks = {}
        for key, offset, final in saved:
            if type(key) is not str or type(offset) is not int or offset < 0:
                raise TypeError("marks are offsets by key")
            marks[key] = Mark(offset, None if final is None else _signature(final))
        self.marks = marks
        self._stamp = None
        self._plain = {}

    # -- looking --------------------------------------------------------------------

    def bytes_to_read(self) -> int:
        """Return about how many bytes a first count would read."""
        size = 0
        for file in list_log_files(self.log_dir):
            try:
                size += os.lstat(file.path).st_size * (10 if file.compressed else 1)
            except OSError:
                continue
        return size

    def follow(
        self, tally: Tally, on_problem: Callable[[str], None], *, skip: bool = False
    ) -> bool:
        """
        Count what was appended since the last time.

        Args:
            tally: what counts.
            on_problem: is told, in a word, what could not be read.
            skip: only note how far the files go.

        Returns:
            Whether there was anything.

        """
        before = self.read_bytes, self.changed
        stamp = self._look()
        if (
            stamp is not None
            and stamp == self._stamp
            and self._quickly(tally)
            and stamp == self._look()
        ):
            return (self.read_bytes, self.changed) != before
        self._stamp = stamp
        self._fully(tally, on_problem, skip=skip)
        return (self.read_bytes, self.changed) != before

    def _look(self) -> tuple[int, int] | None:
        """Return the times of the directories, or None if they cannot be relied on."""
        times = (
            _changed(self.log_dir),
            _changed(os.path.join(self.log_dir, ARCHIVE_DIR)),
        )
        return times if max(times) < (time.time() - _SETTLED) * 1e9 else None

    def _quickly(self, tally: Tally) -> bool:
        """Count what the known files have more; False: they are not what they were."""
        for path, known in list(self._plain.items()):
            try:
                status = os.lstat(path)
            except OSError:
                return False
            if status.st_ino != known.inode or not stat.S_ISREG(status.st_mode):
                return False
            self.last_append = max(self.last_append, status.st_mtime)
            if status.st_size == known.size:
                continue
            try:
                fd = os.open(path, READ_FLAGS)
            except OSError:
                return False
            try:
                if os.fstat(fd).st_ino != known.inode:
                    return False
                self._plain_file(fd, known.file, tally)
            except OSError:
                return False
            finally:
                os.close(fd)
        return True

    def _fully(
        self, tally: Tally, on_problem: Callable[[str], None], *, skip: bool
    ) -> None:
        try:
            # Twice: listing a directory is no snapshot of it (see read.source).
            files = [*list_log_files(self.log_dir), *list_log_files(self.log_dir)]
        except OSError as error:
            # One that is not there yet has nothing to count.
            if not isinstance(error, FileNotFoundError):
                on_problem("unreadable_directory")
            self._stamp = None
            return
        finals = {mark.final for mark in self.marks.values()}
        wanted: dict[str, set[date]] = {}
        plain: dict[str, _Known] = {}
        for file in dict.fromkeys(files):
            if self._is_counted(file, finals, plain):
                continue
            wanted.setdefault(file.stream, set()).add(file.day)
        self._plain = plain
        for stream in STREAMS:
            days = wanted.get(stream)
            if not days:
                continue
            try:
                directory = LogDirectory(self.log_dir, stream, days.__contains__)
            except OSError:  # it has gone since, or there is no descriptor left
                on_problem("unreadable_directory")
                self._stamp = None
                return
            for day in directory.days():
                with directory.open_day(day) as opened:
                    for damage in opened.unreadable:
                        vanished = "vanished" in damage.reason
                        on_problem("vanished_file" if vanished else "unreadable_file")
                        self._stamp = None
                    for open_file in opened.files:
                        self._one(open_file, tally, on_problem, skip=skip)
        self._forget_oldest()

    def _is_counted(
        self, file: LogFile, finals: set[Signature | None], plain: dict[str, _Known]
    ) -> bool:
        try:
            status = os.lstat(file.path)
        except OSError:
            return False
        if file.compressed:
            return _signature_of(status) in finals
        self.last_append = max(self.last_append, status.st_mtime)
        known = self._plain.get(file.path)
        if known is None or (known.inode, known.size) != (
            status.st_ino,
            status.st_size,
        ):
            return False
        plain[file.path] = known
        return True

    def _forget_oldest(self) -> None:
        if len(self.marks) > MOST_MARKS:
            # Keys begin with the day.
            for key in sorted(self.marks)[: len(self.marks) - MOST_MARKS]:
                del self.marks[key]

    # -- reading --------------------------------------------------------------------

    def _one(
        self,
        file: OpenFile,
        tally: Tally,
        on_problem: Callable[[str], None],
        *,
        skip: bool,
    ) -> None:
        try:
            if file.file.compressed:
                self._archive(file, tally, on_problem, skip=skip)
            else:
                self._plain_file(file.fd, file.file, tally, skip=skip)
        except OSError:
            on_problem("unreadable_file")
            self._stamp = None

    def _plain_file(
        self, fd: int, file: LogFile, tally: Tally, *, skip: bool = False
    ) -> None:
        status = os.fstat(fd)
        size = status.st_size
        head = _head(_read_at(fd, HEAD, 0))
        if head is not None:
            mark = self._mark(file, head)
            if size < mark.offset:  # somebody has cut it short
                count(tally.trouble, ("file_cut_short",))
                self.changed = True
                mark.offset = size
            if skip:
                mark.offset = _behind_last_newline(fd, size, mark.offset)
            start = mark.offset
            for block in split_lines(_chunks(fd, start, size)):
                if block.end == "file":
                    break
                _count_block(block, file, tally)
                mark.offset = start + end_of(block)
            self.read_bytes += mark.offset - start
        self._plain[file.path] = _Known(file, status.st_ino, size)

    def _archive(
        self,
        file: OpenFile,
        tally: Tally,
        on_problem: Callable[[str], None],
        *,
        skip: bool,
    ) -> None:
        problems: list[str] = []
        chunks = gzip_chunks(file.fd, problems.append)
        start = b""
        head = None
        for chunk in chunks:
            start += chunk
            head = _head(start)
            if head is not None:
                break
        mark = self._mark(file.file, start if head is None else head)
        if skip:
            mark.offset = _WHOLE
        else:
            rest = _behind(start, chunks, mark.offset)
            base = mark.offset
            for block in split_lines(rest):
                _count_block(block, file.file, tally)
                mark.offset = base + end_of(block)
            self.read_bytes += mark.offset - base
        for _ in problems:
            on_problem("damaged_archive")
            count(tally.trouble, ("damaged_archive",))
        if mark.final is None:
            count(tally.archived, (file.file.stream,))
        mark.final = _signature_of(os.fstat(file.fd))
        self.changed = True

    def _mark(self, file: LogFile, head: bytes) -> Mark:
        name = hashlib.blake2b(head, digest_size=8).hexdigest()
        key = f"{file.day} {file.stream} {name}"
        mark = self.marks.get(key)
        if mark is None:
            mark = self.marks[key] = Mark()
            self.changed = True
        return mark


def _count_block(block: Block, file: LogFile, tally: Tally) -> None:
    stream = file.stream
    if block.end == "limit":
        count(tally.malformed, (stream,))
        return
    loads, add = orjson.loads, tally.add
    for line in block.lines:
        try:
            record = loads(line)
        except ValueError:
            record = None
        if type(record) is dict:
            _add(add, record, stream, tally)
        elif not is_blank(line):
            _count_damage(line, file, tally)


def _count_damage(line: bytes, file: LogFile, tally: Tally) -> None:
    """Count a line that is not what the logger writes: also what is intact of it."""
    for item in found_in(Block(0, [line], "newline"), file.path, file.stream):
        if isinstance(item, tuple):
            _add(tally.add, item[0], file.stream, tally)
        else:
            count(tally.malformed, (file.stream,))


def _add(
    add: Callable[[Any, str], None], record: Any, stream: str, tally: Tally
) -> None:
    try:
        add(record, stream)
    except Exception:  # an integer with too many digits to be text, and the like
        count(tally.ignored, ("record",))


def _head(start: bytes) -> bytes | None:
    """Return what tells a file that begins with *start*; None: too early to say."""
    head = start[:HEAD]
    newline = head.find(b"\n", SHORTEST)
    if newline >= 0:
        return head[: newline + 1]
    return head if len(head) == HEAD else None


def _read_at(fd: int, size: int, offset: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(fd, size, offset)
    os.lseek(fd, offset, os.SEEK_SET)  # Windows
    return os.read(fd, size)


def _chunks(fd: int, offset: int, size: int) -> Iterator[bytes]:
    """Yield what *fd* holds from *offset* to *size*; NULs for what cannot be read."""
    while offset < size:
        length = min(_CHUNK, size - offset)
        try:
            chunk = _read_at(fd, length, offset)
        except OSError as error:
            if error.errno not in _BAD_PLACE:
                raise
            length = min(length, _PAGE - offset % _PAGE)
            try:
                chunk = _read_at(fd, length, offset)
            except OSError:
                chunk = bytes(length)
        if not chunk:
            return
        yield chunk
        offset += len(chunk)


def _behind(start: bytes, chunks: Iterator[bytes], offset: int) -> Iterator[bytes]:
    """Yield *start* and *chunks* but for their first *offset* bytes."""
    chunk: bytes | None = start
    while chunk is not None:
        if offset < len(chunk):
            yield chunk[offset:]
        offset = max(0, offset - len(chunk))
        chunk = next(chunks, None)


def _behind_last_newline(fd: int, size: int, least: int) -> int:
    """Return the offset behind the last newline before *size*."""
    while size > least:
        start = max(least, size - _CHUNK)
        found = _read_at(fd, size - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        size = start
    return least


def _signature_of(status: os.stat_result) -> Signature:
    return status.st_ino, status.st_size, status.st_mtime_ns


def _signature(saved: list[int]) -> Signature:
    inode, size, changed = saved
    return int(inode), int(size), int(changed)


def _changed(directory: str) -> int:
    try:
        return os.stat(directory).st_mtime_ns
    except OSError:
        return 0


__all__ = ["Follower", "Mark"]
