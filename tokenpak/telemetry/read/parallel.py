"""
An export by several processes: each reads whole days, and writes them in its turn.

A day is independent of all others, since rows are in order within a day and days follow
one another.  So days are handed out one by one, to helper processes and to this one.
Whoever has a day reads it at once, holds what it may hold (see ``order``), and writes
when all days before it are written: all write to the same open file, one at a time, so
that no byte goes through a second process.

A helper is a fresh interpreter, not a fork: whoever calls this may have threads.  While
they start, this process is at work on the first day, so the first row is not late.

This process keeps the days that are watched for what is pending, and takes over a day
whose helper died before it had begun to write.  Helpers end when their input ends, so
they end with this process, however it ends.
"""

from __future__ import annotations

import errno
import io
import os
import pickle
import select
import subprocess
import sys
from collections import deque
from typing import IO, TYPE_CHECKING, Any, Final, Protocol, cast

import tokenpak
from tokenpak.telemetry.read.export import pieces
from tokenpak.telemetry.read.logs import sizes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import date

    from tokenpak.telemetry.read.export import Plan, Tally, Writable
    from tokenpak.telemetry.read.select import Selection

WORTH_BYTES: Final = 64 * 1024 * 1024
"""Of log, before helpers pay: starting one takes a tenth of a second."""
MOST_PROCESSES: Final = 4
"""Each holds some 40 megabytes, and writing is one at a time."""


WORKER: Final = "tokenpak.telemetry.read.worker"


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
        self._helpers: list[_Helper] = []
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
            for _ in range(helpers):
                self._helpers.append(_Helper(self._plan, fd))
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

    def _hear(self, helper: _Helper) -> None:
        for kind, value in helper.messages():
            if kind == "passed" and self._progress is not None:
                self._progress(value)
            elif kind == "began":
                helper.began = True
            elif kind == "done":
                self._tally.add(value)
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


class _Helper:
    """A process that reads days, see ``worker``."""

    def __init__(self, plan: Plan, fd: int) -> None:
        root = os.path.dirname(next(iter(tokenpak.__path__)))
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        # -P: what lies in the working directory is nobody's module.
        self._process = subprocess.Popen(  # noqa: S603  (our own module)
            [sys.executable, "-P", "-m", WORKER, str(fd)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(fd,),
            env={**os.environ, "PYTHONPATH": path},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input: IO[bytes] = self._process.stdin
        self.output: IO[bytes] = self._process.stdout
        self._buffer = b""
        self.alive = True
        self.ready = False
        self.day: date | None = None
        self.writing = False
        """Whether it may write."""
        self.began = False
        """Whether it has begun to: nobody can tell how far it is."""
        self._send(plan)

    @property
    def free(self) -> bool:
        """Whether it can take a day."""
        return self.alive and self.ready and self.day is None

    def give(self, day: date) -> None:
        """Let it read *day*."""
        self.day = day
        self._send(day)

    def write(self, *, first: bool) -> None:
        """Let it write the day: *first* if nothing is written yet."""
        self.writing = True
        self._send(first)

    def rest(self) -> None:
        """Note that it is done with its day."""
        self.day = None
        self.writing = self.began = False

    def _send(self, message: object) -> None:
        try:
            pickle.dump(message, self._input)
            self._input.flush()
        except BrokenPipeError:
            pass  # its output ends too, and says so

    def messages(self) -> Iterator[tuple[str, Any]]:
        """Yield what it says; its output is ready to be read."""
        data = os.read(self.output.fileno(), 65_536)
        self.alive = bool(data)
        self._buffer += data
        while True:
            stream = io.BytesIO(self._buffer)
            try:
                kind, value = pickle.load(stream)  # noqa: S301  (of our own process)
            except (EOFError, pickle.UnpicklingError):
                return
            self._buffer = self._buffer[stream.tell() :]
            if kind == "ready":
                self.ready = True
            else:
                yield kind, value

    def end(self) -> None:
        """End it, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        try:
            self._input.close()
        except BrokenPipeError:
            pass
        self.output.close()


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
        if not isinstance(getattr(out, "raw", out), io.FileIO):
            return None
        cast("_File", out).fileno()
        cast("_File", out).flush()
    except (AttributeError, OSError, ValueError):
        return None
    return cast("_File", out)


__all__ = ["MOST_PROCESSES", "WORTH_BYTES", "write_days"]
