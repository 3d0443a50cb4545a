"""
Archive finished days: move them into ``archive/``, compress them there.

S4  Any number of processes may do it at the same time, and die anywhere.  At every
    moment a reader that takes no lock sees each record exactly once; the next one
    finishes what a dead one left, and no temporary file stays.

What a day's file goes through, D for ``errors-2026-03-24.jsonl``:

    D                            the day's file
    D, archive/D                 one file with two names: link(), which never replaces
    archive/D                    unlink(D); a late record makes a new D, another file
    archive/D, archive/.D.gz.tmp
    archive/D, archive/D.gz      by rename(); readers take the plain one
    archive/D.gz                 unlink(archive/D), last

*One lock, the file's own* (flock on its descriptor), for all of it, since it is one
file all the way; never two at a time.  Behind the lock, as in DayFiles: is what we have
locked still what has the name?  Whoever does not get the lock leaves the file alone.

1. Nobody appends to it: who appends holds the lock, and has checked the name behind it.
   Who finds the lock taken and the name gone makes a new file, and does not wait.
2. Nobody settles with it any more: a spool with a pending note of the file puts the
   archiving off (see store/unsettled).
3. Nobody else moves into the names of that day: they are taken under the lock of the
   file that is called D, and that is ours.  A name, ``errors-D.N.jsonl`` with the
   first N that is free, is free if neither the plain file nor the ``.gz`` is there;
   looked for in this order, since a plain file becomes a ``.gz``, never the reverse.
4. Nobody else makes, or deletes, the temporary file and the ``.gz``: they belong to
   whoever holds the lock of the plain file beside them.

Left half-way, by a death between any two of these calls:

    D and archive/D are one file   not compressed while it is so: records still go into
                                   D.  Whoever comes next takes D away, as in 2.
    archive/D.gz beside archive/D  it is held against the plain file; the same: the
                                   plain one is deleted.  A beginning of it: made anew.
                                   Anything else is not ours: both stay, with a warning.

Power failures: the ``.gz`` is on the disk before it gets its name, the name before the
plain file is deleted, and D's end before that, too.
The bytes stay as they are (S2), also a torn tail: it has no owner any more.  An empty
file holds no record and is deleted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from datetime import date
from typing import Final, NamedTuple

from tokenpak.telemetry.errors import SpoolError
from tokenpak.telemetry.store.entries import Entries, same_file
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.names import (
    ARCHIVE_DIR,
    LogFile,
    day_file_name,
    parse_log_name,
)
from tokenpak.telemetry.store.notes import Notes
from tokenpak.telemetry.store.packing import OTHER, SAME, compare, pack
from tokenpak.telemetry.store.unsettled import DayFile, find_unsettled

GZ: Final = ".gz"
TEMPORARY: Final = ".tmp"
LOCKED: Final = "another process is working with it"
WAITING: Final = -1
"""Yielded while a disk is waited for, by who waits aside."""
_PARTS: Final = 1_000_000
_MASK: Final = 2**64 - 1
"""A note has one word for each number (see files.FileStatus)."""


class Archived(NamedTuple):
    """
    What an archiving did, or would do.  Paths; with the reason where there is one.

    Whoever races with others for the same files sees only their own share.
    """

    files: tuple[str, ...] = ()
    """What was archived, by the names of the archives."""
    empty: tuple[str, ...] = ()
    """Files without a byte, which were deleted."""
    put_off: tuple[tuple[str, str], ...] = ()
    """Not yet: others are at work.  A later archiving does it."""
    failed: tuple[tuple[str, str], ...] = ()
    """Not done because of an error."""
    plain_bytes: int = 0
    """Bytes of the files that were archived."""
    archive_bytes: int = 0
    """Bytes of their archives."""


def temporary_name(plain: str) -> str:
    """Return the path under which the archive of *plain* is made."""
    place, name = os.path.split(plain)
    return os.path.join(place, f".{name}{GZ}{TEMPORARY}")


def plain_of_temporary(name: str) -> str | None:
    """Return the name of the plain file that a temporary one belongs to, or None."""
    plain = name.removeprefix(".").removesuffix(TEMPORARY).removesuffix(GZ)
    parsed = parse_log_name(plain)
    ours = parsed is not None and not parsed.compressed
    return plain if ours and name == os.path.basename(temporary_name(plain)) else None


def at_once(work: Callable[[], None]) -> Iterator[int]:
    """Do *work* here and now."""
    work()
    return iter(())


class Archiver:
    """
    One archiving of one directory.  One thread.

    Args:
        disk: the operations.
        files: those of the logger, to look into spools.
        log_dir: absolute.
        before: only files of earlier days.  What somebody began is finished always.
        spool_dir: the setting.
        own: the notes of this process's spools.
        aside: does what may take long, forcing to the disk; whoever has other things to
            do meanwhile yields WAITING until it is done.

    """

    def __init__(
        self,
        disk: Entries,
        files: OsFiles,
        log_dir: str,
        *,
        before: date,
        spool_dir: str | None = None,
        own: Callable[[], Iterable[Notes]] = tuple,
        aside: Callable[[Callable[[], None]], Iterator[int]] = at_once,
    ) -> None:
        self._disk = disk
        self._files = files
        self._dir = log_dir
        self._archive = os.path.join(log_dir, ARCHIVE_DIR)
        self._before = before
        self._spool_dir = spool_dir
        self._own = own
        self._aside = aside
        self._pid = os.getpid()
        self._made_files: list[str] = []
        self._empty: list[str] = []
        self._put_off: list[tuple[str, str]] = []
        self._failed: list[tuple[str, str]] = []
        self._bytes = [0, 0]

    @property
    def result(self) -> Archived:
        """What was done so far."""
        return Archived(
            tuple(self._made_files),
            tuple(self._empty),
            tuple(self._put_off),
            tuple(self._failed),
            *self._bytes,
        )

    # -- what there is to do ----------------------------------------------------

    def pending(self) -> Iterator[list[LogFile]]:
        """
        Yield, piece by piece, the files that are to be archived.  Changes nothing.

        Raises:
            OSError: the directory cannot be listed.

        """
        for place in (self._archive, self._dir):
            for names in self._disk.names(place):
                found = []
                for name in names:
                    log = parse_log_name(os.path.join(place, name))
                    if log is None or log.compressed:
                        continue
                    if place == self._archive or (
                        log.part == 0 and log.day < self._before
                    ):
                        found.append(log)
                yield found

    def steps(self) -> Generator[int]:
        """
        Archive what is to be archived; between two steps others may have their turn.

        It may be closed at any step, which leaves nothing half-done that a reader or
        the next archiver would mind, and no temporary file.

        Yields:
            How many bytes were compressed since the last step, or WAITING.

        Raises:
            OSError: a directory cannot be listed.  What goes wrong with single files
                is in ``result``.

        """
        todo: list[LogFile] = []
        for found in self.pending():
            todo.extend(found)
            yield 0
        todo.sort(key=lambda log: (log.day, log.stream, log.part, log.path))
        for log in todo:
            yield from self._guarded(log.path, self._one(log))
        for names in self._disk.names(self._archive):
            for name in names:
                self._remove_stray(name)
            yield 0

    def _guarded(self, path: str, work: Iterator[int]) -> Iterator[int]:
        try:
            yield from work
        except SpoolError as error:
            self._fail(path, f"a spool cannot be looked into: {error}")
        except OSError as error:
            other = error.filename if error.filename != path else None
            reason = error.strerror or str(error)
            self._fail(path, f"{other}: {reason}" if other else reason)

    def _one(self, log: LogFile) -> Iterator[int]:
        plain: str | None = log.path
        if os.path.dirname(log.path) != self._archive:
            plain = yield from self._move(log)
            yield 0
        if plain is not None:
            yield from self._pack(log, plain)

    # -- from the directory into the archive --------------------------------------

    def _move(self, log: LogFile) -> Generator[int, None, str | None]:
        """Move a day's file; return its new path, or None if there is none."""
        fd = self._locked(log.path)
        if fd < 0:
            return None
        try:
            status = self._disk.status(fd)
            if self._is_unsettled(log, status):
                return None
            if status.st_size == 0:
                self._disk.unlink(log.path)
                self._empty.append(log.path)
                return None
            self._disk.make_directory(self._archive, self._dir)
            plain = self._linked(log, status)
            if plain is None:
                plain = self._free_name(log)
                self._disk.link(log.path, plain)
            yield from self._aside(lambda: self._disk.sync_directory(self._archive))
            self._disk.unlink(log.path)
            return plain
        finally:
            self._release(fd)

    def _locked(self, path: str) -> int:
        """Return the descriptor of *path*, which is locked; -1: it is not to be had."""
        try:
            fd = self._disk.open_existing(path)
        except FileNotFoundError:
            return -1  # somebody else was faster
        locked = False
        try:
            if not self._disk.lock(fd):
                self._put_off.append((path, LOCKED))
            elif same_file(self._disk.status(fd), self._disk.look(path)):
                locked = True
        finally:
            if not locked and self._is_here():
                self._disk.close(fd)
        return fd if locked else -1

    def _release(self, fd: int) -> None:
        if self._is_here():
            try:
                self._disk.unlock(fd)
            finally:
                self._disk.close(fd)

    def _is_here(self) -> bool:
        """Whether this is no forked child, in which an unfinished step is thrown away.

        The lock is its parent's, the temporary file, too, and the number of the
        descriptor may be anybody's by now.
        """
        return self._pid == os.getpid()

    def _is_unsettled(self, log: LogFile, status: os.stat_result) -> bool:
        identity = (status.st_dev & _MASK, status.st_ino & _MASK)
        file = DayFile(log.stream, log.day, identity)
        spool = find_unsettled(
            self._files, self._dir, self._spool_dir, file, self._own()
        )
        if spool is not None:
            self._put_off.append((log.path, f"{spool} has an append to settle with it"))
        return spool is not None

    def _linked(self, log: LogFile, status: os.stat_result) -> str | None:
        """Return the name in the archive that a dead archiver has given the file."""
        if status.st_nlink == 1:
            return None
        for names in self._disk.names(self._archive):
            for name in names:
                path = os.path.join(self._archive, name)
                other = parse_log_name(path)
                if (
                    other is not None
                    and (other.stream, other.day) == (log.stream, log.day)
                    and not other.compressed
                    and same_file(status, self._disk.look(path))
                ):
                    return path
        return None

    def _free_name(self, log: LogFile) -> str:
        base = f"{log.stream}-{log.day.isoformat()}"
        for part in range(_PARTS):
            name = f"{base}.{part}.jsonl" if part else f"{base}.jsonl"
            plain = os.path.join(self._archive, name)
            # In this order: see the head.
            if self._disk.look(plain) is None and self._disk.look(plain + GZ) is None:
                return plain
        raise OSError(f"has no name left in {self._archive}")

    # -- in the archive -------------------------------------------------------------

    def _pack(self, log: LogFile, plain: str) -> Iterator[int]:
        """Compress *plain*, which is in the archive, and delete it."""
        fd = self._locked(plain)
        if fd < 0:
            return
        try:
            status = self._disk.status(fd)
            if not self._taken_away(log, status):
                return
            temporary, packed = temporary_name(plain), plain + GZ
            self._delete(temporary)
            if status.st_size == 0:
                self._disk.unlink(plain)
                self._empty.append(plain)
                return
            verdict = yield from self._compared(fd, status.st_size, packed)
            if verdict == OTHER:
                self._fail(
                    plain,
                    f"{packed} is there and holds something else; only the plain file "
                    f"is read. Rename one of them, to .1.jsonl for example",
                )
                return
            if verdict != SAME:
                yield from self._made(fd, status, plain, temporary, packed)
            made = self._disk.look(packed)
            yield from self._aside(lambda: self._disk.sync_directory(self._archive))
            self._disk.unlink(plain)
            self._made_files.append(packed)
            self._bytes[0] += status.st_size
            self._bytes[1] += made.st_size if made else 0
        finally:
            self._release(fd)

    def _taken_away(self, log: LogFile, status: os.stat_result) -> bool:
        """See to it that the file has no name in the directory any more."""
        active = os.path.join(self._dir, day_file_name(log.stream, log.day.isoformat()))
        if same_file(status, self._disk.look(active)):
            if self._is_unsettled(log, status):
                return False
            self._disk.unlink(active)
        return True

    def _compared(
        self, fd: int, size: int, packed: str
    ) -> Generator[int, None, str | None]:
        """Hold *packed* against the plain file *fd*; return None if it isn't there."""
        try:
            other = self._disk.open_existing(packed)
        except FileNotFoundError:
            return None
        try:
            return (yield from compare(self._disk, fd, size, other))
        finally:
            if self._is_here():
                self._disk.close(other)

    def _made(
        self,
        fd: int,
        status: os.stat_result,
        plain: str,
        temporary: str,
        packed: str,
    ) -> Iterator[int]:
        """Make *packed*."""
        target = self._disk.create(temporary, status)
        named = False
        try:
            yield from pack(self._disk, fd, status.st_size, target)
            self._disk.set_times(target, status)
            yield from self._aside(lambda: self._disk.sync(target))
            # D's end before its archive's beginning: see the head.
            yield from self._aside(lambda: self._disk.sync_directory(self._dir))
            now = self._disk.status(fd)
            if now.st_size != status.st_size or not same_file(
                now, self._disk.look(plain)
            ):
                raise OSError(f"{plain} was changed while it was compressed")
            self._disk.rename(temporary, packed)
            named = True
        finally:
            if self._is_here():
                self._disk.close(target)
                if not named:
                    self._delete(temporary)

    def _delete(self, temporary: str) -> None:
        try:
            self._disk.unlink(temporary)
        except FileNotFoundError:
            pass

    def _remove_stray(self, name: str) -> None:
        """Delete a temporary file whose plain one somebody has taken away."""
        plain = plain_of_temporary(name)
        if plain is None:
            return
        try:
            if self._disk.look(os.path.join(self._archive, plain)) is None:
                self._delete(os.path.join(self._archive, name))
        except OSError as error:
            self._fail(os.path.join(self._archive, name), error.strerror or str(error))

    def _fail(self, path: str, reason: str) -> None:
        self._failed.append((path, reason))


__all__ = [
    "GZ",
    "LOCKED",
    "TEMPORARY",
    "WAITING",
    "Archived",
    "Archiver",
    "at_once",
    "plain_of_temporary",
    "temporary_name",
]
