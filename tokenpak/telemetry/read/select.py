"""
The rows that a query wants, in time order: days, limits, and what is pending.

R1  Exactly the records that iter_records() yields, each once, and all that is told of
    damage is told once.
R2  Rows of one day are held at most, and those of ``last``.
"""

from __future__ import annotations

import heapq
from collections import deque
from contextlib import ExitStack
from itertools import islice
from typing import TYPE_CHECKING, Self

from tokenpak.telemetry.read.logs import Logs
from tokenpak.telemetry.read.needles import Screen
from tokenpak.telemetry.read.order import Day
from tokenpak.telemetry.read.rows import FileRows, key_of
from tokenpak.telemetry.read.spill import Spill, by_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import date
    from types import TracebackType

    from tokenpak.telemetry.read.filter import Query
    from tokenpak.telemetry.read.order import Rows
    from tokenpak.telemetry.read.pending import Pending
    from tokenpak.telemetry.read.records import Damage, Record
    from tokenpak.telemetry.read.source import OpenFile
    from tokenpak.telemetry.read.spill import Keyed

_GROUP = 512
_FEW = 4


class Selection:
    """
    What *query* wants of *log_dir*, as rows.

    A context manager: spools stay open until its end.

    Args:
        log_dir: the directory of the daily files.
        query: what is wanted.
        render: see FileRows.
        tell: is given what is damaged.
        copies: see FileRows.
        pending: whether what is accepted and not in the log yet comes, too.
        spool_dir: as for iter_records().
        passed: is told how many bytes of the files were read, again and again.

    Raises:
        OSError: *log_dir* cannot be listed.

    """

    def __init__(
        self,
        log_dir: str,
        query: Query,
        render: Callable[[Record, bytes | None, bytes], bytes],
        tell: Callable[[Damage], None],
        *,
        copies: bool = False,
        pending: bool = False,
        spool_dir: str | None = None,
        passed: Callable[[int], None] | None = None,
    ) -> None:
        self._query = query
        self._render = render
        self._tell = tell
        self._copies = copies
        self.passed = passed
        """Is told how many bytes of the files were read, after each block."""
        screen = Screen(query)
        self._screen = screen or None
        self._waiting: dict[str, Pending] = {}
        with ExitStack() as stack:
            if pending:
                # Imported here: with it comes what only the looker into spools needs.
                from tokenpak.telemetry.read.pending import (  # noqa: PLC0415
                    Pending,
                )

                # The sizes of the files and the spools come before the log.
                for stream in query.streams:
                    waiting = Pending(log_dir, stream, spool_dir)
                    self._waiting[stream] = stack.enter_context(waiting)
            self._logs = Logs(log_dir, query)
            for damage in self._logs.unreadable:
                tell(damage)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def days(self) -> list[date]:
        """Return the days of which there are files, in order."""
        return self._logs.days()

    def watched(self) -> set[date | None]:
        """Return the days of what is pending; None: of some it cannot be told."""
        return {day for waiting in self._waiting.values() for day in waiting.days()}

    def rows(self) -> Iterator[Rows]:
        """Yield all rows in time order, some at a time; what is pending at the end."""
        if self._query.last is not None:
            yield from self._last(self._query.last)
        elif self._query.limit is not None:
            yield from self._first(self._query.limit)
        else:
            for day in self.days():
                yield from self.of_day(day)
            yield from self.pending()

    def of_day(self, day: date) -> Iterator[Rows]:
        """Yield the rows of the files of *day*, in time order."""
        accepts = self._query.predicate(day)
        with self._logs.open_day(day) as (files, unreadable):
            for damage in unreadable:
                self._tell(damage)
            opened = [
                FileRows(
                    file,
                    accepts,
                    self._screen,
                    self._render,
                    copies=self._copies,
                    large=len(files) <= _FEW,
                )
                for file in files
            ]
            looks = [self._look(file) for file in files]
            yield from Day(opened, self._tell, looks=looks, passed=self.passed).rows()

    def _look(self, file: OpenFile) -> Callable[..., None] | None:
        waiting = self._waiting.get(file.file.stream)
        return None if waiting is None else waiting.watch(file)

    def pending(self) -> Iterator[Rows]:
        """Yield what is pending and was not met in the log, in time order."""
        # A record whose timestamp cannot be read is of no day that is not wanted.
        first, _ = self._query.bounds()
        accepts = self._query.predicate(first.date())
        spill = Spill()
        try:
            key = ""
            for waiting in self._waiting.values():
                for item in waiting.records(accepts):
                    if isinstance(item, tuple):
                        key = key_of(item[0]) or key
                        spill.add(key, self._render(*item[:3]))
                    else:
                        self._tell(item)
            rows = spill.rows()
            while part := list(islice(rows, _GROUP)):
                yield [key for key, _ in part], [row for _, row in part]
        finally:
            spill.close()

    def _first(self, limit: int) -> Iterator[Rows]:
        """Yield the first rows; what is behind them is not read."""
        left = limit
        for day in self.days():
            for keys, rows in self.of_day(day) if left else ():
                yield keys[:left], rows[:left]
                left -= min(left, len(rows))
                if not left:
                    return
        for keys, rows in self.pending() if left else ():
            yield keys[:left], rows[:left]
            left -= min(left, len(rows))

    def _last(self, wanted: int) -> Iterator[Rows]:
        """Yield the last rows; the days before them are not read."""
        found: list[Keyed] = []
        for day in reversed(self.days()) if wanted else ():
            newest: deque[Keyed] = deque(maxlen=wanted - len(found))
            for keys, rows in self.of_day(day):
                newest.extend(zip(keys, rows, strict=True))
            found[:0] = newest
            if len(found) >= wanted:
                break
        late: deque[Keyed] = deque(maxlen=wanted)
        for keys, rows in self.pending() if wanted else ():
            late.extend(zip(keys, rows, strict=True))
        both = list(heapq.merge(found, late, key=by_key))[-wanted:] if wanted else []
        for start in range(0, len(both), _GROUP):
            part = both[start : start + _GROUP]
            yield [key for key, _ in part], [row for _, row in part]


__all__ = ["Selection"]
