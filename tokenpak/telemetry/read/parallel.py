"""
An export by several processes: each reads whole days, and writes them in its turn.

A day is independent of all others, since rows are in order within a day and days follow
one another.  So days are handed out one by one, to helper processes and to this one.
Whoever has a day reads it at once, holds what it may hold (see ``order``), and writes
when all days before it are written: all write to the same open file, one at a time, so
that no byte goes through a second process.

A helper is a fresh interpreter, since whoever calls this may have threads, or a fork,
where the caller says that it may be one; see ``helper``.  While they start, this
process is at work on the first day, so the first row is not late.

This process keeps the days that are watched for what is pending, and takes over a day
whose helper died before it had begun to write.  Helpers end when their input ends, so
they end with this process, however it ends.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from tokenpak.telemetry.read.export import pieces
from tokenpak.telemetry.read.helper import Helper
from tokenpak.telemetry.read.logs import sizes_of
from tokenpak.telemetry.store.whole import WholeRaw

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from tokenpak.telemetry.read.export import Plan, Tally, Writable
    from tokenpak.telemetry.read.select import Selection

WORTH_BYTES: Final = 64 * 1024 * 1024
"""Of log, before helpers pay: starting one takes a tenth of a second."""
MOST_PROCESSES: Final = 4
"""Each holds some 40 megabytes, and writing is one at a time."""


class _File(Protocol):
    def write(self, data: bytes, /) -> object: ...

    def flush(self) -> object: ...

    def fileno(self) -> int: ...


def write_days(
    plan: Plan,
    selection: Selection,
    out: Writable,
    tally: Tally,
    processes: int | None,
    progress: Callable[[int], None] | None,
) -> None:
    """
    Write the rows of all days of *selection* to *out*, and count them in *tally*.

    Args:
        plan: what is exported.
        selection: the same, of this process.
        out: where to; helpers are used only if it has a descriptor.
        tally: counts what all of them did.
        processes: how many at most; None: one for each processor.
        progress: as for export_records().

    Raises:
        OSError: *out* cannot be written.

    """
    count = min(processes or _processors(), MOST_PROCESSES)
    days = selection.days()
    file = _file(out)
    _, held = sizes_of(plan.log_dir, plan.query)
    if file is None or count < 2 or len(days) < 2 or held < WORTH_BYTES:
        for day in days:
            for piece in pieces(selection.of_day(day), plan.shape(), tally):
                out.write(piece)
        return
    _Team(plan, selection, file, tally, progress).run(days, count - 1)


class _Team:
    def __init__(
        self,
        plan: Plan,
        selection: Selection,
        out: _File,
        tally: Tally,
        progress: Callable[[int], None] | None,
    ) -> None:
        self._plan = plan
        self._shape = plan.shape()
        self._selection = selection
        self._out = out
        self._tally = tally
        self._progress = progress
        watched = selection.watched()
        self._mine = None in watched
        self._watched = watched
        self._helpers: list[Helper] = []
        self._left: deque[date] = deque()
        """Days that nobody has yet."""
        self._turns: deque[date] = deque()
        """Days that are not written yet, in order."""

    def run(self, days: list[date], helpers: int) -> None:
        self._left.extend(days)
        self._turns.extend(days)
        self._selection.passed = self._passed
        # Another number than that of stdout, which in a helper is something else.
        fd = os.dup(self._out.fileno())
        try:
            try:
                for _ in range(helpers):
                    self._helpers.append(Helper(self._plan, fd, self._helpers))
            except OSError:
                # No room for another process: those that are there do it, or this one.
                pass
            while self._turns:
                day = self._next_of_mine()
                if day is None:
                    self._attend(None)
                else:
                    self._write(day)
        finally:
            os.close(fd)
            self._selection.passed = self._progress
            for helper in self._helpers:
                helper.end()

    def _next_of_mine(self) -> date | None:
        """Take the next day for this process; None: others have all that are left."""
        if not self._left:
            return None
        return self._left.popleft()

    def _write(self, day: date) -> None:
        """Read *day*, and write it when it is its turn."""
        selection, tally = self._selection, self._tally
        rows = selection.of_day(day)
        # Rows are not made into bytes before it is known what stands before them.
        waiting = next(rows, None)
        while self._turns[0] != day:
            if self._turns[0] in self._left:  # of a helper that died
                self._left.remove(self._turns[0])
                self._write(self._turns[0])
            else:
                self._attend(None)
        first = iter(()) if waiting is None else iter((waiting,))
        for source in (first, rows):
            for piece in pieces(cast("Any", source), self._shape, tally):
                self._out.write(piece)
                self._attend(0)
        self._out.flush()
        self._turns.popleft()
        self._attend(0)

    def _passed(self, size: int) -> None:
        """Look after the helpers between two blocks of this process's own."""
        if self._progress is not None:
            self._progress(size)
        self._attend(0)

    def _attend(self, timeout: float | None) -> None:
        """Hand out days and turns, and take what the helpers say."""
        self._hand_out()
        alive = [helper for helper in self._helpers if helper.alive]
        if not alive:
            return
        ready, _, _ = select.select([h.output for h in alive], [], [], timeout)
        for helper in alive:
            if helper.output in ready:
                self._hear(helper)
        self._hand_out()

    def _hand_out(self) -> None:
        for helper in self._helpers:
            if helper.free:
                day = self._for_helper()
                if day is not None:
                    helper.give(day)
            if (
                helper.day is not None
                and self._turns
                and (self._turns[0] == helper.day and not helper.writing)
            ):
                helper.write(first=self._tally.records == 0)

    def _for_helper(self) -> date | None:
        if self._mine:
            return None
        for day in self._left:
            if day not in self._watched:
                self._left.remove(day)
                return day
        return None

    def _hear(self, helper: Helper) -> None:
        for kind, value in helper.messages():
            if kind == "passed" and self._progress is not None:
                self._progress(value)
            elif kind == "began":
                helper.began = True
            elif kind == "done":
                self._tally.add_told(value)
                self._turns.popleft()
                helper.rest()
            elif kind == "failed":
                number, text = value
                raise OSError(number, text)
        if helper.alive or helper.day is None:
            return
        if helper.began:
            raise OSError(errno.EIO, "a helper process died while it was writing")
        self._left.appendleft(helper.day)
        helper.rest()


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _file(out: Writable) -> _File | None:
    """Return *out* if it has a descriptor that others can write to."""
    if os.name != "posix" or not sys.executable:
        return None
    try:
        # Not all that has a descriptor gives it what it is given: gzip compresses it.
        # WholeRaw is what a command's stdout writes to.
        if not isinstance(getattr(out, "raw", out), io.FileIO | WholeRaw):
            return None
        cast("_File", out).fileno()
        cast("_File", out).flush()
    except (AttributeError, OSError, ValueError):
        return None
    return cast("_File", out)


__all__ = ["MOST_PROCESSES", "WORTH_BYTES", "write_days"]
