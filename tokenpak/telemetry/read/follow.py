"""
The last records, and then each one that comes, once.

    from tokenpak.telemetry.read import Follower, Query

    with Follower("/var/log/app", Query(provider="anthropic")) as follower:
        items = follower.last(10)
        while True:
            for item in items:
                print(item)
            time.sleep(0.25)
            items = follower.poll()

R1  No lock is taken, nothing is written, no logger is started.  Damage is told of at
    its place; what cannot be read does not end the following.
S4  Each record comes once, across midnight, archiving and the deaths of processes; what
    waits in the spool of a process, living or dead, comes before it is in the log.
R2  Memory does not grow with the log.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Self

from tokenpak.telemetry.read.backwards import last_of
from tokenpak.telemetry.read.filter import Query
from tokenpak.telemetry.read.follow_files import FollowedFiles
from tokenpak.telemetry.read.follow_spools import FollowedSpools
from tokenpak.telemetry.read.records import UnreadableFile
from tokenpak.telemetry.read.scan import found_in
from tokenpak.telemetry.read.source import OpenFile
from tokenpak.telemetry.store.files import READ_FLAGS
from tokenpak.telemetry.store.names import ARCHIVE_DIR

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from tokenpak.telemetry.read.records import Damage, Found
    from tokenpak.telemetry.store.names import LogFile

INTERVAL: Final = 0.25
"""Seconds between two polls."""


class Follower:
    """
    The records of a log directory, from the last ones on.

    A context manager: files stay open until its end.

    Args:
        log_dir: the directory of the daily files.
        query: by default all errors.
        spool_dir: as the setting; None: ``$TOKENPAK_SPOOL_DIR``, else where it belongs.

    Raises:
        OSError: *log_dir* cannot be listed.

    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str],
        query: Query | None = None,
        *,
        spool_dir: str | None = None,
    ) -> None:
        self._query = query or Query()
        self._streams = self._query.streams
        self._problems: list[UnreadableFile] = []
        place = os.fspath(log_dir)
        tell = self._problems.append
        # The positions in the files come before the first look into spools.
        self._files = FollowedFiles(place, self._streams, self._query.covers, tell)
        self._spools = FollowedSpools(place, self._streams, spool_dir, tell)
        first, _ = self._query.bounds()
        self._accepts_pending = self._query.predicate(first.date())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of files and spools.  Idempotent."""
        self._files.close()
        self._spools.close()

    def last(self, count: int = 10) -> list[Found | Damage]:
        """
        Return the last *count* records, and the damage among them; call it first.

        They come in the order of the files; of several streams, by their timestamps.
        What waits in spools is behind them, and counts.  Files are read from their
        ends, no more of them than that takes.
        """
        found: list[Found | Damage] = []
        for stream in self._streams if count else ():
            found += self._last_of_stream(stream, count)
        if len(self._streams) > 1:
            found.sort(key=_time_of)
        recent: deque[Found | Damage] = deque(found)
        records = sum(isinstance(item, tuple) for item in found)
        for item in self.poll():
            recent.append(item)
            records += isinstance(item, tuple)
            while records > count:
                records -= isinstance(recent.popleft(), tuple)
        while records > count:
            records -= isinstance(recent.popleft(), tuple)
        return list(recent)

    def poll(self) -> Iterator[Found | Damage]:
        """Yield what has come since the last call, and damage; take all of it."""
        self._spools.look()
        for file, block in self._files.poll():
            accepts = self._query.predicate(file.day)
            for item in found_in(block, file.path, file.stream, accepts):
                if not isinstance(item, tuple) or self._spools.arrived(item[2]):
                    yield item
        yield from self._spools.waiting(self._accepts_pending)
        if self._files.up_to_date:
            self._spools.forget_arrived()
        yield from self._problems
        self._problems.clear()

    def _last_of_stream(self, stream: str, count: int) -> list[Found | Damage]:
        """Return the last *count* records of the files up to their positions."""
        plain = {
            each.file.path: each
            for each in self._files.followed()
            if each.file.stream == stream
        }
        archived = [file for file in self._files.archived if file.stream == stream]
        files = [*archived, *(each.file for each in plain.values())]
        files.sort(key=_order)
        parts: list[list[Found | Damage]] = []
        while files and count > 0:
            file = files.pop()
            each = plain.get(file.path)
            fd = -1 if each is None else each.fd
            size = None if each is None else each.position
            part = self._last_of_file(file, fd, size, count)
            count -= sum(isinstance(item, tuple) for item in part)
            parts.append(part)
        return [item for part in reversed(parts) for item in part]

    def _last_of_file(
        self, file: LogFile, fd: int, size: int | None, count: int
    ) -> list[Found | Damage]:
        accepts = self._query.predicate(file.day)
        try:
            own = os.open(file.path, READ_FLAGS) if fd < 0 else fd
        except OSError as e:
            return [UnreadableFile(file.path, 0, e.strerror or str(e))]
        try:
            whole = os.fstat(own).st_size
            opened = OpenFile(file, own, whole if size is None else min(size, whole))
            return last_of(opened, count, accepts)
        except OSError as e:  # a pipe, say
            return [UnreadableFile(file.path, 0, e.strerror or str(e))]
        finally:
            if fd < 0:
                os.close(own)


def _order(file: LogFile) -> tuple[Any, ...]:
    # A day is archived before records that came late make a new file of it.
    archived = os.path.basename(os.path.dirname(file.path)) == ARCHIVE_DIR
    return file.day, not archived, file.part


def _time_of(item: Found | Damage) -> str:
    stamp = item[0].get("timestamp") if isinstance(item, tuple) else ""
    return stamp if isinstance(stamp, str) else ""


__all__ = ["INTERVAL", "Follower"]
