"""
A helper of an export: reads the days that it is told, writes each when it may.

Started by ``helper``: as ``python -m tokenpak.telemetry.read.worker FD``, and a Plan
comes first on stdin; or as a fork, which has one, with two pipes.  On stdin comes a
day, and, when all days before it are written, whether it is the first that is written;
then the next day.  On stdout go ``ready``, ``began``, ``passed`` (bytes that were
read), ``done`` and ``failed``.  The rows go to the descriptor FD, which all share.

All that is said is numbers and text, by ``marshal``: to load ``pickle`` takes as long
as to read some megabytes of log.
"""

from __future__ import annotations

import errno
import gc
import marshal
import os
import signal
import sys
from datetime import date
from typing import TYPE_CHECKING, Final

from tokenpak.telemetry.read.export import Tally, pieces
from tokenpak.telemetry.read.select import Selection
from tokenpak.telemetry.store.whole import write_all

if TYPE_CHECKING:
    from typing import IO

    from tokenpak.telemetry.read.export import Plan, Told
    from tokenpak.telemetry.read.records import Damage

_TELL_BYTES: Final = 4 * 1024 * 1024


class Worker:
    """
    What one helper does.

    Args:
        plan: what is exported.
        asked: where it is told which days.
        said: where it says what it has done.
        out: the descriptor of the export.

    """

    def __init__(self, plan: Plan, asked: IO[bytes], said: IO[bytes], out: int) -> None:
        self._plan = plan
        self._asked = asked
        self._said = said
        self._out = out
        self._passed = 0
        self._tally = Tally()

    def run(self) -> None:
        """Work until there is nothing more to do."""
        plan = self._plan
        shape = plan.shape()
        with Selection(
            plan.log_dir,
            plan.query,
            shape.row,
            self._note,
            copies=shape.copies,
            passed=self._note_passed,
        ) as selection:
            self._say("ready", None)
            while True:
                try:
                    day = date.fromordinal(self._hear())
                except EOFError:
                    return
                self._tally = Tally()
                rows = selection.of_day(day)
                # A day that fits is read as a whole before its first rows come.
                waiting = next(rows, None)
                first = self._hear()
                # What is written first stands behind a head, not behind a separator.
                self._tally.records = 0 if first else 1
                if waiting is not None:
                    self._say("began", None)
                    for source in (iter((waiting,)), rows):
                        for piece in pieces(source, shape, self._tally):
                            write_all(self._out, piece)
                self._tally.records -= 0 if first else 1
                self._say("passed", self._passed)
                self._passed = 0
                self._say("done", self._tally.told())

    def _note(self, damage: Damage) -> None:
        self._tally.note(damage)

    def _note_passed(self, size: int) -> None:
        self._passed += size
        if self._passed > _TELL_BYTES:
            self._say("passed", self._passed)
            self._passed = 0

    def _hear(self) -> int:
        number: int = marshal.load(self._asked)  # noqa: S302  (of our own process)
        return number

    def _say(self, kind: str, value: int | Told | None) -> None:
        self._said.write(marshal.dumps((kind, value)))
        self._said.flush()


def work(plan: Plan, asked: IO[bytes], said: IO[bytes], out: int) -> None:
    """Work for the process that has started this one, see Worker, until it ends."""
    # Ctrl-C is that process's business: it ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Records are trees: nothing in them needs to be searched for cycles.
    gc.disable()
    try:
        Worker(plan, asked, said, out).run()
    except EOFError:
        pass  # that process is gone, and so is whoever wanted the day
    except OSError as e:
        failure = ("failed", (e.errno or errno.EIO, e.strerror or str(e)))
        try:
            said.write(marshal.dumps(failure))
            said.flush()
        except BrokenPipeError:
            os._exit(1)  # nobody listens any more, to the flush of the exit either


def _main() -> None:
    # Imported here: a fork does not need it.
    import pickle  # noqa: PLC0415

    try:
        plan = pickle.load(sys.stdin.buffer)  # noqa: S301  (of our own process)
    except EOFError:
        return
    work(plan, sys.stdin.buffer, sys.stdout.buffer, int(sys.argv[1]))


if __name__ == "__main__":
    _main()

__all__ = ["Worker", "work"]
