"""
The pipeline counters of all processes of a directory that have ended (M1).

    metrics/pipeline-v1.totals    replaced as a whole
    metrics/pipeline-v1.lock      held by who replaces it; empty

The counters of a process are in the head of its spool (see meters), until the spool is
deleted.  Before that they are folded into this file:

    gone     sums, for each stream, of those that nobody will see again
    known    for each ident the newest values that somebody saw
    buried   the idents of those that went into gone last

    total = gone + for each ident that is known or has a spool, the newer of the two

To fold means to make the newer values the known ones.  So it can be done again at any
time, by anybody: who is killed between folding and deleting leaves a spool whose values
are known, and they count once.  Whoever reads looks at the spools first and then at
this file, so a spool that is deleted in between is in one of the two.

``known`` is bounded: the oldest of those that have ended go into ``gone``, when they
have been there for long enough that their spools should be deleted.  Who comes with the
values of one that is ``buried`` all the same (a worker that is asked once an hour; the
spool of a user who was away) is told by its ident that they are counted.

The file is of one version of the layout; another version has a file of its own.  One
that is damaged is no error: it is begun anew, as another edition, and that is counted.
Who still has counters of an edition that is not in the file adds them to it, once.

S5  0600, in a directory 0700; for the group, too, where the log is.
"""

from __future__ import annotations

import errno
import os
import struct
import time
import zlib
from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from tokenpak.telemetry.store import meters
from tokenpak.telemetry.store.dayfiles import Contended
from tokenpak.telemetry.store.files import READ_FLAGS, OsFiles
from tokenpak.telemetry.store.meters import Reading, Values
from tokenpak.telemetry.store.modes import (
    DIRECTORY_MODE,
    FILE_MODE,
    GROUP_DIRECTORY_MODE,
    GROUP_FILE_MODE,
    give_to_owner,
    let_group_into,
    make_directory_for_owner,
    set_mode,
)
from tokenpak.telemetry.store.names import METRICS_DIR, STREAMS
from tokenpak.telemetry.store.places import used_by_group

KEPT: Final = 64
"""Ended processes whose counters are kept apart, at least."""
MOST_KEPT: Final = 1024
"""At most."""
DELETED_AFTER: Final = 600.0
"""Seconds after which the spool of one that has ended is certainly deleted: a process
that logs looks for such every 30 s."""
UNSEEN_AFTER: Final = 86_400.0
"""The same for one of which nobody said that it had ended, and that has no spool."""
BURIED: Final = 2048
"""Of which the file remembers that they are in ``gone``."""
EDITIONS: Final = 8
"""Of which the file remembers that they are in it."""
_MAGIC: Final = b"TPTOTALS"
_HEAD: Final = struct.Struct("<8sIIIII")
"""Magic, version, places, entries, buried, check sum of the rest."""
_VALUES: Final = struct.Struct(f"<{meters.PLACES}Q")
_EDITIONS: Final = struct.Struct(f"<{EDITIONS}Q")
_ENTRY: Final = struct.Struct("<QIId")
"""Ident, stream, ended, when it was seen last."""
_IDENT: Final = struct.Struct("<Q")
_CREATE: Final = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0)
_SAFELY: Final = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_LARGEST: Final = 64 * 1024 * 1024

Stamp = tuple[int, int, int] | None
"""Which edition of the file it is; None: there is none."""


class DamagedTotalsError(Exception):
    """The file does not hold counters.  Never leaves this package and its readers."""


class Known(NamedTuple):
    """The counters of one process, as they were seen last."""

    stream: str
    values: Values
    ended: bool
    seen: float
    """Seconds since the epoch."""


class Saved:
    """What the file holds."""

    def __init__(self) -> None:
        self.gone: dict[str, Values] = {stream: meters.zeros() for stream in STREAMS}
        self.known: dict[int, Known] = {}
        self.buried: dict[int, None] = {}
        """Idents whose values are in ``gone``, the oldest first."""
        self.editions: tuple[int, ...] = ()
        """Which are in it, the newest first; none: it was never saved."""
        self.stamp: Stamp = None
        """Of the file that holds just this; None: not known."""

    def copy(self) -> Saved:
        """Return another one with the same in it."""
        return Saved.unpacked(self.pack())

    def lacks(self, other: Saved) -> bool:
        """Return whether what *other* holds was begun apart from this."""
        return bool(other.editions) and other.editions[0] not in self.editions

    def add(self, other: Saved) -> None:
        """Add what *other* holds, which was begun apart from this."""
        for stream in STREAMS:
            self.gone[stream] = meters.plus(self.gone[stream], other.gone[stream])
        for ident in other.buried:
            self.known.pop(ident, None)
        for ident, known in other.known.items():
            if ident in self.buried:
                continue
            before = self.known.get(ident, known)
            self.known[ident] = known._replace(
                values=meters.newer(before.values, known.values),
                ended=known.ended or before.ended,
                seen=max(known.seen, before.seen),
            )
        editions = dict.fromkeys((*self.editions, *other.editions))
        self.editions = tuple(editions)[:EDITIONS]
        self._bury(other.buried)

    def _bury(self, idents: Iterable[int]) -> None:
        self.buried.update(dict.fromkeys(idents))
        for ident in [*self.buried][:-BURIED]:
            del self.buried[ident]

    def fold(self, reading: Reading, *, ended: bool, now: float) -> None:
        """Make what *reading* has newer the known values."""
        if reading.ident in self.buried:
            return
        values = list(reading.values)
        if reading.left_out is not None:
            values[meters.COUNTER_AT[meters.LEFT_OUT, reading.left_out]] += 1
        before = self.known.get(reading.ident)
        if before is not None:
            values = meters.newer(before.values, values)
            ended = ended or before.ended
        self.known[reading.ident] = Known(reading.stream, values, ended, now)

    def compact(self, now: float, living: Collection[int] | None = None) -> None:
        """
        Put into ``gone`` what is beyond the bounds of ``known``.

        Args:
            now: seconds since the epoch.
            living: those that have a spool; None: that is not known.

        """
        excess = len(self.known) - KEPT
        if excess <= 0:
            return
        oldest = sorted(self.known, key=lambda ident: self.known[ident].seen)
        buried = []
        for ident in oldest[:excess]:
            known = self.known[ident]
            # Clocks may have been set back.
            age = abs(now - known.seen)
            if known.ended:
                gone = age > DELETED_AFTER or len(self.known) > MOST_KEPT
            else:
                gone = living is not None and ident not in living
                gone = gone and age > UNSEEN_AFTER
            if gone:
                del self.known[ident]
                stream = known.stream
                self.gone[stream] = meters.plus(self.gone[stream], known.values)
                buried.append(ident)
        self._bury(buried)

    def pack(self) -> bytes:
        """Return the file."""
        editions = (*self.editions, *([0] * EDITIONS))[:EDITIONS]
        parts = [_EDITIONS.pack(*editions)]
        parts += [_VALUES.pack(*self.gone[stream]) for stream in STREAMS]
        for ident, known in self.known.items():
            stream = STREAMS.index(known.stream)
            parts.append(_ENTRY.pack(ident, stream, known.ended, known.seen))
            parts.append(_VALUES.pack(*known.values))
        parts += map(_IDENT.pack, self.buried)
        body = b"".join(parts)
        numbers = len(self.known), len(self.buried)
        layout = meters.VERSION, meters.PLACES
        return _HEAD.pack(_MAGIC, *layout, *numbers, zlib.crc32(body)) + body

    @classmethod
    def unpacked(cls, data: bytes) -> Saved:
        """
        Return what pack() was made of.

        Raises:
            DamagedTotalsError: it was made of nothing.

        """
        if len(data) < _HEAD.size:
            raise DamagedTotalsError
        magic, version, places, number, buried, crc = _HEAD.unpack_from(data)
        size = _VALUES.size * (len(STREAMS) + number) + _ENTRY.size * number
        size += _EDITIONS.size + _IDENT.size * buried
        if (
            (magic, version, places) != (_MAGIC, meters.VERSION, meters.PLACES)
            or len(data) != _HEAD.size + size
            or zlib.crc32(data[_HEAD.size :]) != crc
        ):
            raise DamagedTotalsError
        saved, at = cls(), _HEAD.size
        editions = _EDITIONS.unpack_from(data, at)
        saved.editions = tuple(edition for edition in editions if edition)
        at += _EDITIONS.size
        for stream in STREAMS:
            saved.gone[stream] = list(_VALUES.unpack_from(data, at))
            at += _VALUES.size
        for _ in range(number):
            ident, place, ended, seen = _ENTRY.unpack_from(data, at)
            values = list(_VALUES.unpack_from(data, at + _ENTRY.size))
            if place >= len(STREAMS):
                raise DamagedTotalsError
            saved.known[ident] = Known(STREAMS[place], values, bool(ended), seen)
            at += _ENTRY.size + _VALUES.size
        saved.buried = {ident: None for (ident,) in _IDENT.iter_unpack(data[at:])}
        return saved


class Totals:
    """
    The file of one directory.  Any thread: nothing is kept from one call to the next.

    Args:
        files: opens and registers descriptors, for fork (Q5).
        log_dir: the log directory.

    """

    def __init__(self, files: OsFiles, log_dir: str) -> None:
        self._files = files
        self._log_dir = log_dir
        self._dir = os.path.join(log_dir, METRICS_DIR)
        name = os.path.join(self._dir, f"pipeline-v{meters.VERSION}")
        self.path, self._lock_path = f"{name}.totals", f"{name}.lock"

    def stamp(self) -> Stamp:
        """Return which edition of the file is there."""
        try:
            status = os.lstat(self.path)
        except OSError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns

    def load(self) -> Saved | None:
        """
        Return what was saved; None: nothing.

        Raises:
            DamagedTotalsError: that cannot be told.
            OSError: the file cannot be read.

        """
        try:
            fd = self._files.open(self.path, READ_FLAGS)
        except FileNotFoundError:
            return None
        try:
            size = self._files.status(fd).size
            if size > _LARGEST:
                raise DamagedTotalsError
            return Saved.unpacked(self._files.read(fd, size, 0))
        finally:
            self._files.close(fd)

    def fold(
        self,
        readings: Iterable[Reading],
        *,
        ended: bool,
        instead: Saved | None = None,
        living: Collection[int] | None = None,
        timeout: float = 0.0,
    ) -> Saved:
        """
        Make what *readings* have newer the known values; return what is saved now.

        Args:
            readings: the counters of processes.
            ended: whether these will not count any more.
            instead: what it held before, if it is damaged, or gone, or begun anew.
            living: the idents of those that have a spool; None: that is not known.
            timeout: seconds to wait for the lock.

        Raises:
            Contended: somebody else has the lock; nothing was done.
            OSError: it cannot be saved.

        """
        group = self._files.group_access or used_by_group(self._log_dir)
        self._make_directory(group=group)
        lock = self._open(self._lock_path, group=group)
        try:
            until = time.monotonic() + timeout
            while not self._files.lock(lock):
                if time.monotonic() >= until:
                    raise Contended
                time.sleep(0.001)
            try:
                saved = self._current(instead)
                now = time.time()
                for reading in readings:
                    saved.fold(reading, ended=ended, now=now)
                saved.compact(now, living)
                self._replace(saved.pack(), group=group)
                # Under the lock: the next one's file is not this.
                saved.stamp = self.stamp()
                return saved
            finally:
                self._files.unlock(lock)
        finally:
            self._files.close(lock)

    def _current(self, instead: Saved | None) -> Saved:
        saved = damaged = None
        try:
            saved = self.load()
        except DamagedTotalsError:
            damaged = meters.COUNTER_AT[meters.LEFT_OUT, meters.DAMAGED]
        if saved is None:
            # A copy: if it cannot be saved, nothing has happened.
            saved = instead.copy() if instead else Saved()
            instead = None
        if damaged is not None:
            saved.gone[STREAMS[0]][damaged] += 1
        if not saved.editions:
            saved.editions = (int.from_bytes(os.urandom(8), "little") | 1,)
        if instead is not None and saved.lacks(instead):
            saved.add(instead)
        return saved

    def _replace(self, data: bytes, *, group: bool) -> None:
        temporary = f"{self.path}.tmp"
        try:
            os.unlink(temporary)  # of one who died
        except FileNotFoundError:
            pass
        fd = self._open(temporary, group=group, new=True)
        try:
            rest = memoryview(data)
            while rest:
                taken = self._files.write(fd, [rest])
                if taken <= 0:
                    raise OSError(errno.EIO, "the file takes no more bytes", temporary)
                rest = rest[taken:]
        except BaseException:
            self._files.close(fd)
            os.unlink(temporary)  # it takes what the log may need
            raise
        self._files.close(fd)
        os.replace(temporary, self.path)

    def _make_directory(self, *, group: bool) -> None:
        if os.path.islink(self._dir):
            raise OSError(errno.ELOOP, "is a symbolic link, not followed", self._dir)
        if not os.path.isdir(self._dir):
            if not os.path.isdir(self._log_dir):
                raise FileNotFoundError(
                    errno.ENOENT, os.strerror(errno.ENOENT), self._log_dir
                )
            make_directory_for_owner(
                self._dir,
                GROUP_DIRECTORY_MODE if group else DIRECTORY_MODE,
                self._log_dir,
            )
        elif group:
            let_group_into(self._dir)

    def _open(self, path: str, *, group: bool, new: bool = False) -> int:
        mode = GROUP_FILE_MODE if group else FILE_MODE
        flags = _CREATE | _SAFELY | (os.O_EXCL if new else 0)
        fd = self._files.open(path, flags, mode)
        try:
            if group and os.fstat(fd).st_uid == os.geteuid():
                set_mode(fd, mode)
            give_to_owner(fd, self._log_dir)
        except BaseException:
            self._files.close(fd)
            raise
        return fd


__all__ = [
    "KEPT",
    "MOST_KEPT",
    "DamagedTotalsError",
    "Known",
    "Saved",
    "Stamp",
    "Totals",
]
