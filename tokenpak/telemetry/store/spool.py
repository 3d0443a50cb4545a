"""
The spool's file: a head of words (see notes) and slots for the segments of a chain.

    0                      head: notes, drops, which segment is in which slot; behind
                           them what the owner counts of its own work (see meters)
    64 KiB + n * 2 MiB     slot n

A segment (see there) is the zero-filled range of one slot under a mapping of its own.

Owners.  A spool has a random name.  It is created under a temporary one, locked, and
linked into place, so nobody can adopt one that is being born.  The lock is on one open
of the file, the mappings are on another: a mapping keeps a duplicate of its descriptor,
so a forked child that still has one would keep its dead parent's lock.  The kernel
drops the lock at death.  Whoever gets it then, and finds that the file still has its
name, is the new owner.

Space is allocated before it is mapped: a store into a page for which the disk has no
room would kill the process with SIGBUS.  Where that cannot be had, in_memory() has the
same interface, and does not survive the process.
"""

from __future__ import annotations

import errno
import functools
import mmap
import os
import threading
import time
import zlib
from typing import Final

from tokenpak.telemetry.errors import SpoolError
from tokenpak.telemetry.settings import SEGMENT_BYTES
from tokenpak.telemetry.store import meters
from tokenpak.telemetry.store.boot import current_boot
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.lock import only_shared, try_lock
from tokenpak.telemetry.store.modes import (
    FILE_MODE,
    SHARED_SPOOL_FILE_MODE,
    SHARED_SPOOL_MODE,
    make_directories,
    open_to_group,
    refuse_irregular,
    why_not_private,
)
from tokenpak.telemetry.store.notes import HEADER_WORDS, WORD, Notes
from tokenpak.telemetry.store.places import is_shared
from tokenpak.telemetry.store.segment import LockedSegment, Segment, has_gil

HEAD_BYTES: Final = 65_536
"""A multiple of every page size, as the offset of a mapping must be."""
SUFFIX: Final = ".spool"
NEW_PREFIX: Final = ".new-"
_ASKING: Final = 100
"""Milliseconds that are waited for whoever asks whether an owner lives."""


class SpoolFile:
    """
    The file of one spool, or memory that stands in for it.  Its owner only.

    Attributes:
        notes: the head.
        path: None if this is memory.
        counters: the words for meters.
        ident: by which its counters are told from others.

    """

    def __init__(
        self,
        files: OsFiles,
        path: str | None,
        lock_fd: int,
        map_fd: int,
        head: mmap.mmap,
    ) -> None:
        self.path = path
        self._files = files
        self._lock_fd = lock_fd
        self._map_fd = map_fd
        self._words = memoryview(head).cast("Q")
        self.notes = Notes(self._words)
        self.counters = self._words[meters.FIRST : meters.FIRST + meters.BLOCK]
        self.ident = ident_of(path)
        self._gil = has_gil()

    # -- birth ------------------------------------------------------------------

    @classmethod
    def create(
        cls, files: OsFiles, directory: str, stream: str, slots: int
    ) -> SpoolFile:
        """
        Create a spool in *directory*, and own it.

        Args:
            files: the operations of the logger.
            directory: where; created if it is missing: 0700, or with group access
                3770, if it is not this user's alone.
            stream: which stream its records are for.
            slots: how many segments it may grow to.

        Raises:
            OSError: it cannot be created there, or its space not be guaranteed.

        """
        if not hasattr(os, "posix_fallocate"):
            raise SpoolError(directory, "this system cannot reserve space for a spool")
        shared = files.group_access and is_shared(directory)
        if shared:
            make_directories(directory, files.directory_mode, last=SHARED_SPOOL_MODE)
            open_to_group(directory)
        else:
            make_directories(directory)
        problem = why_not_private(directory, shared=shared)
        if problem is not None:
            raise SpoolError(directory, problem)
        name = f"{stream}-{os.urandom(8).hex()}{SUFFIX}"
        new = os.path.join(directory, NEW_PREFIX + name)
        path = os.path.join(directory, name)
        mode = SHARED_SPOOL_FILE_MODE if shared else FILE_MODE
        map_fd = lock_fd = -1
        try:
            map_fd = files.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
            lock_fd = files.open(new, os.O_RDONLY)
            if not files.lock(lock_fd):
                raise SpoolError(new, "somebody took the lock of a spool being born")
            os.posix_fallocate(map_fd, 0, HEAD_BYTES)
            spool = cls(files, path, lock_fd, map_fd, mmap.mmap(map_fd, HEAD_BYTES))
            spool.notes.format(stream, SEGMENT_BYTES, slots, current_boot())
            os.link(new, path)  # never replaces
        except BaseException:
            for fd in (map_fd, lock_fd):
                if fd >= 0:
                    files.close(fd)
            raise
        finally:
            _unlink_quietly(new)
        return spool

    @classmethod
    def in_memory(cls, files: OsFiles, stream: str, slots: int) -> SpoolFile:
        """Return a stand-in that is lost when the process dies."""
        spool = cls(files, None, -1, -1, mmap.mmap(-1, HEAD_BYTES))
        spool.notes.format(stream, SEGMENT_BYTES, slots)
        return spool

    @classmethod
    def adopt(cls, files: OsFiles, path: str) -> SpoolFile | None:
        """
        Become the owner of the spool at *path*, or return None.

        None: it has an owner, or is gone, or is another user's.  Those are theirs to
        recover, with group access, too: who is to keep notes in a spool must be able
        to write to it, and who can write to it can end the process of its owner.

        Raises:
            SpoolError: the file is no spool, or one of another version.
            OSError: it cannot be opened.

        """
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            return None
        try:
            refuse_irregular(path, status)
        except OSError as error:
            raise SpoolError(path, error.strerror or "is no regular file") from None
        if status.st_uid != os.geteuid():
            return None
        try:
            # Not to wait for the other end of what has just become a FIFO.
            lock_fd = files.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        map_fd = -1
        try:
            refuse_irregular(path, os.fstat(lock_fd))
            if _take(files, lock_fd) and files.status(lock_fd).same_file(
                files.status_at(path)
            ):
                map_fd = files.open(path, os.O_RDWR)
                if files.status(map_fd).size < HEAD_BYTES:
                    raise SpoolError(path, "is shorter than the head of a spool")
                head = mmap.mmap(map_fd, HEAD_BYTES)
                spool = cls(files, path, lock_fd, map_fd, head)
                problem = spool.notes.problem()
                if problem is None:
                    return spool
                raise SpoolError(path, problem)
        except BaseException:
            if map_fd >= 0:
                files.close(map_fd)
            files.close(lock_fd)
            raise
        # If the lock is ours, of a file that is gone, closing drops it.
        files.close(lock_fd)
        return None

    # -- segments ---------------------------------------------------------------

    @property
    def durable(self) -> bool:
        """Whether what is stored survives the process."""
        return self.path is not None

    def shares_disk_with(self, path: str) -> bool:
        """Return whether the disk space of *path* is the spool's, too."""
        if not self.durable:
            return False
        try:
            return self._files.status(self._map_fd).device == os.stat(path).st_dev
        except OSError:
            return True  # not known: the cautious answer

    def reserve(self, index: int, count: int) -> None:
        """
        Give *count* slots from *index* on disk space: a store into them cannot fail.

        In one call: it gives up the GIL, and with eight busy threads that may cost the
        writer tens of milliseconds each time.

        What the spool holds must fit the log, which is often on the same disk: so as
        much space is left as the spool takes altogether.

        Raises:
            OSError: there is none, or too little would be left.

        """
        if self.durable:
            size = count * self.notes.segment_bytes
            disk = os.fstatvfs(self._map_fd)
            free = disk.f_bavail * disk.f_frsize
            taken = os.fstat(self._map_fd).st_blocks * 512 + size
            # A file system in memory may have no size at all, and then says 0.
            if disk.f_blocks and free - size < taken:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)
            os.posix_fallocate(self._map_fd, self._offset(index), size)

    def zero(self, index: int, count: int) -> None:
        """
        Fill *count* slots from *index* on, which are free, with zeros.

        Through the file and in one call: the GIL is given up once, and producers go on
        meanwhile.  (Through the mappings, under the GIL, it took them 0.2 ms a slot.)

        Raises:
            OSError: not all of it was done.

        """
        if not self.durable:
            return  # a mapping of memory is always a new one
        slot = memoryview(_zeros(self.notes.segment_bytes))
        rest, offset = [slot] * count, self._offset(index)
        while rest:
            written = os.pwritev(self._map_fd, rest, offset)
            offset += written
            while rest and written >= len(rest[0]):
                written -= len(rest.pop(0))
            if written:
                rest[0] = rest[0][written:]

    def map(self, index: int, sequence: int) -> Segment:
        """
        Return a fresh mapping of slot *index*.

        Raises:
            OSError: it cannot be had, or would take the last descriptor, which the log
                file may need: a spool that nobody can empty helps nobody.

        """
        kind = Segment if self._gil else LockedSegment
        size = self.notes.segment_bytes
        if self.durable:
            segment = kind(self._map_fd, size, offset=self._offset(index))
            self._files.check_descriptors()
        else:
            segment = kind(-1, size)
        if isinstance(segment, LockedSegment):
            segment.lock = threading.RLock()
        segment.spool = self
        segment.index, segment.sequence = index, sequence
        segment.next, segment.generation, segment.warm = None, 0, False
        return segment

    def give_back(self, segment: Segment) -> bool:
        """
        Return the disk space and memory of *segment*, which is sealed and free.

        Return whether it is zeros now.
        """
        # A hole, never a shorter file: a stale mapping past the end is SIGBUS.
        if hasattr(mmap, "MADV_REMOVE"):
            try:
                segment.madvise(mmap.MADV_REMOVE)
                return True
            except OSError:  # a file system without holes keeps the space
                pass
        return False

    def live_segments(self) -> list[Segment]:
        """Return the segments that the head says are in use, in order, all sealed."""
        notes = self.notes
        size = self._files.status(self._map_fd).size
        slots = (size - HEAD_BYTES) // notes.segment_bytes
        order = sorted(
            (notes.slot(index), index)
            for index in range(min(notes.slots, slots))
            if notes.slot(index)
        )
        segments = [self.map(index, sequence) for sequence, index in order]
        for segment in segments:
            segment.seal()
        return segments

    def _offset(self, index: int) -> int:
        return HEAD_BYTES + index * self.notes.segment_bytes

    # -- end --------------------------------------------------------------------

    def exists(self) -> bool:
        """Whether the file still has its name: nobody deleted it."""
        if self.path is None:
            return False
        return self._files.status(self._lock_fd).same_file(
            self._files.status_at(self.path)
        )

    def remove(self) -> None:
        """Delete the file.  Only when nobody can store into it any more."""
        if self.path is not None:
            _unlink_quietly(self.path)
        self.release()

    def release(self) -> None:
        """Give up the ownership: what is left in the file is an orphan's."""
        if self._lock_fd >= 0:
            # Explicitly: a child that was forked meanwhile may hold a copy.
            try:
                self._files.unlock(self._lock_fd)
            except OSError:  # somebody has closed it
                pass
        for fd in (self._map_fd, self._lock_fd):
            if fd >= 0:
                self._files.close(fd)
        self._map_fd = self._lock_fd = -1


def ident_of(path: str | None) -> int:
    """Return the number that a spool's name holds; of memory, one drawn at random."""
    if path is None:
        return int.from_bytes(os.urandom(8), "little")
    name = os.path.basename(path)
    try:
        return int(name.removesuffix(SUFFIX).rpartition("-")[2], 16) % 2**64
    except ValueError:  # somebody has given it another; the same each time all the same
        return zlib.crc32(os.fsencode(name))


@functools.lru_cache(maxsize=1)
def _zeros(size: int) -> bytes:
    return bytes(size)


def _take(files: OsFiles, fd: int) -> bool:
    """Take the lock of *fd*, unless it has an owner."""
    for _ in range(_ASKING):
        if files.lock(fd):
            return True
        if not only_shared(fd):
            return False
        # Somebody asks this moment whether the owner lives: see SpoolView.is_locked().
        time.sleep(0.001)
    return False


def spool_paths(directory: str) -> list[str]:
    """Return the spools in *directory*; none if it cannot be listed."""
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    return [
        os.path.join(directory, name)
        for name in sorted(names)
        if name.endswith(SUFFIX) and not name.startswith(NEW_PREFIX)
    ]


def remove_unborn(directory: str, older_than: float = 60.0) -> None:
    """
    Delete what is left of spools whose process died while it created them.

    Args:
        directory: where.
        older_than: seconds; a younger one may be linked into place any moment.

    """
    try:
        names = os.listdir(directory)
    except OSError:
        return
    for name in names:
        path = os.path.join(directory, name)
        if name.startswith(NEW_PREFIX) and name.endswith(SUFFIX):
            try:
                old = time.time() - os.lstat(path).st_mtime > older_than
                # The clock may have been set meanwhile, so its age is not enough.
                if old and not _owned(path):
                    os.unlink(path)
            except OSError:
                pass


def _owned(path: str) -> bool:
    """Return whether somebody has the lock of *path*."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(path, flags)
    try:
        return not try_lock(fd)
    finally:
        os.close(fd)


def _unlink_quietly(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass


if max(HEADER_WORDS, meters.FIRST + meters.BLOCK) * WORD > HEAD_BYTES:
    raise AssertionError("the words do not fit the head")

__all__ = [
    "HEAD_BYTES",
    "NEW_PREFIX",
    "SUFFIX",
    "SpoolFile",
    "ident_of",
    "remove_unborn",
    "spool_paths",
]
