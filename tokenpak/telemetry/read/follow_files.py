"""
What is appended to the files of a log, followed while others rename them.

No lock is taken.  A file goes three steps in its life: renamed into ``archive/``,
compressed beside itself, unlinked (see source).  So that each line comes once (S4),

- a plain file is told from others by its inode, whatever it is called, and its position
  is kept.  What was appended between the last look and its archiving is still read:
  through the descriptor, which stays, or from the position on in the archive;
- a part in ``archive/`` never changes again, and is known by stream, day and number.
  One that is new there is that of a file which has moved away from its name, if there
  is such a file, the oldest first; or else a file that was born and archived between
  two looks, and all of it is new.

While nothing happens, a look is a stat of the two directories and of the plain files:
the newest ones each time, of many old ones some, in turns.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tokenpak.telemetry.read.chunks import CHUNK_BYTES
from tokenpak.telemetry.read.lines import Block, split_lines
from tokenpak.telemetry.read.records import (
    NotARecordError,
    UnreadableFile,
    decode_line,
)
from tokenpak.telemetry.read.scan import blocks_of, end_of
from tokenpak.telemetry.read.source import OpenFile
from tokenpak.telemetry.store.files import READ_FLAGS, read_at
from tokenpak.telemetry.store.names import ARCHIVE_DIR, LogFile, list_log_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import date

HELD: Final = 256
"""How many plain files are held open, the newest: a day's file is archived after a
week by default."""
_HEAD: Final = 128
"""Bytes of the first line that a file is known by if it is not held open: then its
inode can be given to another one."""
_IN_TURN: Final = 64
"""Of the other plain files, how many are looked at each time."""
_TRIES: Final = 50
_SETTLED: Final = 2.0
"""Seconds; see source: the clock of a directory's times is coarse."""
_SHARE: Final = 10
"""Listing takes at most a tenth of the time, also while thousands are archived."""

Identity = tuple[int, int]
Key = tuple[str, "date", int]
"""What a part in the archive is known by."""
NOBODY: Final[Identity] = (-1, -1)


@dataclass(slots=True, eq=False)
class Followed:
    """A plain file, and how far it has been read."""

    file: LogFile
    identity: Identity
    size: int
    """Bytes when it was last looked at: of which nothing more is to be had."""
    position: int
    """Behind the last line that was given out."""
    fd: int = -1
    at_end: bool = False
    """Whether it is archived and all of it was given out."""
    head: bytes = b""


class FollowedFiles:
    """
    The files of a log directory, from now on.

    Args:
        log_dir: the log directory.
        streams: which ones.
        covers: which days are wanted.
        on_problem: is told of what cannot be read.

    Raises:
        OSError: *log_dir* cannot be listed.

    """

    def __init__(
        self,
        log_dir: str,
        streams: Iterable[str],
        covers: Callable[[date], bool],
        on_problem: Callable[[UnreadableFile], None],
    ) -> None:
        self._log_dir = log_dir
        self._archive = os.path.join(log_dir, ARCHIVE_DIR)
        self._streams = tuple(streams)
        self._covers = covers
        self._on_problem = on_problem
        self._followed: list[Followed] = []
        self._moved: list[Followed] = []  # whose part in the archive was not seen yet
        self._known: set[Key] = set()
        self._absent: set[Key] = set()
        self._next = 0  # in _followed, of those that are looked at in turn
        self._beginning, self._hidden, self._told = True, False, ""
        self._stamp: tuple[int, int] | None = None
        self._listed_at = self._listing_took = 0.0
        self.up_to_date = True
        """Whether the last poll() has looked at all that there is."""
        self.archived: list[LogFile] = []
        """The parts in the archive, compressed, at the beginning."""
        self._begin()
        self._beginning = False

    def close(self) -> None:
        """Let go of the files.  Idempotent."""
        for each in (*self._followed, *self._moved):
            self._let_go(each)

    def followed(self) -> list[Followed]:
        """Return the plain files, by stream, day and part."""
        return list(self._followed)

    # The beginning.

    def _begin(self) -> None:
        for _ in range(_TRIES):
            stamp = self._look()
            self._stamp = stamp if _is_settled(stamp) else None
            files = self._list()
            before = {file.path: _identity(file.path) for file in files}
            if before != {file.path: _identity(file.path) for file in self._list()}:
                continue
            self.close()
            self._known = {_key(file) for file in files if self._is_archived(file)}
            self.archived = [file for file in files if file.compressed]
            plain = [file for file in files if not file.compressed]
            few = set(sorted(plain, key=lambda file: file.day, reverse=True)[:HELD])
            self._followed = []
            if all(self._take(file, before[file.path], file in few) for file in plain):
                return
        raise OSError(0, "files are renamed too fast to be followed", self._log_dir)

    def _take(self, file: LogFile, identity: Identity, hold: bool) -> bool:
        if identity == NOBODY:
            return False
        each = Followed(file, identity, 0, 0)
        self._followed.append(each)
        try:
            each.fd = os.open(file.path, READ_FLAGS)
            status = os.fstat(each.fd)
            each.size = status.st_size
            each.position = _line_start(each.fd, each.size)
            each.head = read_at(each.fd, _HEAD, 0)
        except FileNotFoundError:
            return False
        except OSError as e:
            self._give_up(each, e)
            return True
        if not hold:
            self._let_go(each)
        return _of(status) == identity

    # Looking.

    def poll(self) -> Iterator[tuple[LogFile, Block]]:
        """Yield what has come since the last time, file by file."""
        self.up_to_date = True
        yield from self._list_anew()
        held = [each for each in self._followed if each.fd >= 0]
        others = [each for each in self._followed if each.fd < 0]
        if len(others) > _IN_TURN:
            first = self._next % len(others)
            self._next = first + _IN_TURN
            self.up_to_date = False
            others = (others + others)[first : first + _IN_TURN]
        for each in (*others, *held):
            yield from self._grown(each)

    def _grown(self, each: Followed) -> Iterator[tuple[LogFile, Block]]:
        try:
            if each.fd >= 0:
                size = os.fstat(each.fd).st_size
                if size != each.size:
                    yield from self._rest(each, each.fd, size)
                return
            status = os.lstat(each.file.path)
            if _of(status) != each.identity or status.st_size == each.size:
                return
            fd = os.open(each.file.path, READ_FLAGS)
            try:
                status = os.fstat(fd)
                if _of(status) == each.identity and _begins_as(fd, each):
                    yield from self._rest(each, fd, status.st_size)
            finally:
                os.close(fd)
        except FileNotFoundError:  # archived meanwhile: the next listing finds it
            return
        except OSError as e:
            self._give_up(each, e)

    def _rest(
        self, each: Followed, fd: int, size: int
    ) -> Iterator[tuple[LogFile, Block]]:
        if size < each.position:
            reason = "it has become shorter: somebody else has written to it"
            self._on_problem(UnreadableFile(each.file.path, size, reason))
            each.position = _line_start(fd, size)
        each.size = size
        if len(each.head) < _HEAD:
            each.head = read_at(fd, _HEAD, 0)
        start = each.position
        for block in split_lines(_chunks(fd, start, size)):
            placed = block._replace(offset=start + block.offset)
            if block.end == "file" and not _is_record(block.lines[0]):
                return  # somebody is in the middle of it
            each.position = end_of(placed)
            yield each.file, placed

    # Listing.

    def _list(self) -> list[LogFile]:
        return [
            file
            for stream in self._streams
            for file in list_log_files(self._log_dir, f"{stream}-", self._hide)
            if self._covers(file.day) and not (self._hidden and self._is_archived(file))
        ]

    def _hide(self, path: str, error: OSError) -> None:
        """Go without an archive that cannot be listed at the beginning."""
        if not (self._hidden or self._beginning):
            raise error  # for a while, it may be: to tell what is new there, all counts
        if not self._hidden:
            self._on_problem(UnreadableFile(path, 0, error.strerror or str(error)))
        self._hidden = True

    def _look(self) -> tuple[int, int]:
        return _changed(self._log_dir), _changed(self._archive)

    def _list_anew(self) -> Iterator[tuple[LogFile, Block]]:
        stamp = self._look()
        settled = _is_settled(stamp)
        if stamp == self._stamp and settled:
            return
        now = time.monotonic()
        if now < self._listed_at + self._listing_took * _SHARE:
            self.up_to_date = False
            return
        self._stamp = stamp if settled else None
        try:
            files = self._list()
        except OSError as e:
            self._stamp, self.up_to_date = None, False
            place, reason = e.filename or self._log_dir, e.strerror or str(e)
            told = f"{place}: {reason}"
            if not isinstance(e, FileNotFoundError) and told != self._told:
                self._on_problem(UnreadableFile(place, 0, reason))
                self._told = told  # once, not at each look
            return
        finally:
            self._listed_at = time.monotonic()
            self._listing_took = self._listed_at - now
        self._told = ""
        yield from self._sort_out(files)

    def _sort_out(self, files: list[LogFile]) -> Iterator[tuple[LogFile, Block]]:
        by_identity = {each.identity: each for each in self._followed + self._moved}
        fresh: dict[Identity, LogFile] = {}
        plain = [file for file in files if not file.compressed]
        # A file that is linked in both places is on its way into the archive.
        for file in sorted(plain, key=self._is_archived):
            identity = _identity(file.path)
            each = by_identity.get(identity)
            if each is not None and each.fd < 0 and not _is_it(file.path, each):
                each.identity = NOBODY  # it has moved, and another has its inode
                each = None
            if each is not None and identity != NOBODY:
                each.file = file
                if each in self._moved:
                    self._moved.remove(each)
                    self._followed.append(each)
                if self._is_archived(file):
                    self._known.add(_key(file))
            elif identity != NOBODY:
                fresh[identity] = file
        yield from self._find_moved()
        # By number: of two that have moved, the older one has the lower number.
        for file in files:
            if file.compressed and _key(file) not in self._known:
                self._known.add(_key(file))
                yield from self._archive_of(file)
        for identity, file in fresh.items():
            if not self._is_archived(file) or _key(file) not in self._known:
                self._begin_to_follow(file, identity)
        present = {_key(file) for file in files if self._is_archived(file)}
        # Missed by two listings it is gone, not only missed by a listing.
        absent = self._known - present
        self._known -= absent & self._absent
        self._absent = absent

    def _find_moved(self) -> Iterator[tuple[LogFile, Block]]:
        """Set aside the files that do not have their names any more."""
        for each in list(self._followed):
            if _identity(each.file.path) == each.identity:
                continue
            if each.fd >= 0 and os.fstat(each.fd).st_nlink:
                continue  # it has a name: the next listing finds it
            self._followed.remove(each)
            if each.fd >= 0:
                yield from self._end_of(each)
            if not self._is_archived(each.file):
                self._moved.append(each)
            elif not each.at_end:
                packed = f"{each.file.path}.gz"
                file = each.file._replace(path=packed, compressed=True)
                yield from self._in_archive(file, each.position)

    def _archive_of(self, file: LogFile) -> Iterator[tuple[LogFile, Block]]:
        """Yield what of *file*, a new part in the archive, was not given out."""
        day = (file.stream, file.day)
        for each in self._moved:
            if (each.file.stream, each.file.day) == day:
                self._moved.remove(each)
                if not each.at_end:
                    yield from self._in_archive(file, each.position)
                return
        yield from self._in_archive(file, 0)

    def _end_of(self, each: Followed) -> Iterator[tuple[LogFile, Block]]:
        """Yield the rest of *each*, which has no name any more, and let go of it."""
        try:
            yield from self._rest(each, each.fd, os.fstat(each.fd).st_size)
        except OSError as e:
            reason = e.strerror or str(e)
            self._on_problem(UnreadableFile(each.file.path, each.position, reason))
        finally:
            self._let_go(each)
        each.at_end, each.identity = True, NOBODY

    def _in_archive(
        self, file: LogFile, position: int
    ) -> Iterator[tuple[LogFile, Block]]:
        try:
            fd = os.open(file.path, READ_FLAGS)
        except OSError as e:
            self._on_problem(UnreadableFile(file.path, 0, e.strerror or str(e)))
            return
        try:
            size = os.fstat(fd).st_size
            for block in blocks_of(OpenFile(file, fd, size), self._on_problem):
                if end_of(block) > position:
                    yield file, _behind(block, position)
        finally:
            os.close(fd)

    def _begin_to_follow(self, file: LogFile, identity: Identity) -> None:
        if self._is_archived(file):
            self._known.add(_key(file))
        each = Followed(file, identity, 0, 0)
        try:
            fd = os.open(file.path, READ_FLAGS)
        except FileNotFoundError:
            return  # the next listing finds it
        except OSError as e:
            self._give_up(each, e)
            self._followed.append(each)
            return
        if _of(os.fstat(fd)) != identity:
            os.close(fd)
            return
        self._followed.append(each)
        each.fd = fd
        held = [other for other in self._followed if other.fd >= 0]
        if len(held) > HELD:
            self._let_go(min(held, key=lambda other: other.file.day))

    def _give_up(self, each: Followed, error: OSError) -> None:
        reason = error.strerror or str(error)
        self._on_problem(UnreadableFile(each.file.path, each.position, reason))
        self._let_go(each)
        try:  # until it changes, it is not tried again
            each.size = os.lstat(each.file.path).st_size
        except OSError:
            pass

    def _is_archived(self, file: LogFile) -> bool:
        return os.path.dirname(file.path) == self._archive

    @staticmethod
    def _let_go(each: Followed) -> None:
        if each.fd >= 0:
            os.close(each.fd)
            each.fd = -1


def _key(file: LogFile) -> Key:
    return file.stream, file.day, file.part


def _of(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


def _is_it(path: str, each: Followed) -> bool:
    """Return whether *path* begins as what was read of *each*."""
    try:
        fd = os.open(path, READ_FLAGS)
        try:
            return _begins_as(fd, each)
        finally:
            os.close(fd)
    except OSError:
        return True  # as far as can be known


def _begins_as(fd: int, each: Followed) -> bool:
    size = len(each.head)
    return os.fstat(fd).st_size >= size and read_at(fd, size, 0) == each.head


def _identity(path: str) -> Identity:
    try:
        return _of(os.lstat(path))
    except OSError:
        return NOBODY


def _is_settled(stamp: tuple[int, int]) -> bool:
    """Return whether these times are old enough to tell of every change since."""
    return max(stamp) < (time.time() - _SETTLED) * 1e9


def _changed(directory: str) -> int:
    try:
        return os.stat(directory).st_mtime_ns
    except OSError:
        return 0


def _chunks(fd: int, start: int, end: int) -> Iterator[bytes]:
    while start < end:
        chunk = read_at(fd, min(CHUNK_BYTES, end - start), start)
        if not chunk:
            return
        start += len(chunk)
        yield chunk


def _line_start(fd: int, position: int) -> int:
    """Return where the line begins that is under way at *position*."""
    start = position
    while start > 0:
        length = min(CHUNK_BYTES, start)
        start -= length
        cut = read_at(fd, length, start).rfind(b"\n") + 1
        if cut:
            start += cut
            break
    if start < position and _is_record(read_at(fd, position - start, start)):
        return position  # it lacks nothing but its newline
    return start


def _is_record(line: bytes) -> bool:
    try:
        decode_line(line)
    except NotARecordError:
        return False
    return True


def _behind(block: Block, position: int) -> Block:
    """Return the lines of *block* that begin at *position* or behind it."""
    offset = block.offset
    for index, line in enumerate(block.lines):
        if offset >= position:
            return block._replace(offset=offset, lines=block.lines[index:])
        offset += len(line) + 1
    return block._replace(lines=[])


__all__ = ["Followed", "FollowedFiles"]
