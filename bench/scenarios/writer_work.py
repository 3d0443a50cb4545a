"""
How much Python does the writer thread run for a record?

None, it is claimed: a batch is found, checked and appended by a number of calls into C
that does not depend on how many records it holds.  Whatever the writer ran in Python it
would take from the application, GIL and all.  So its lines and calls are counted, with
the hooks of the interpreter, for batches of the same bytes in few records and in many.
Counts, not times: the same on every machine.
"""

from __future__ import annotations

import _thread
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.model import Figures, Job, Row, Samples, Scenario, at_most
from bench.rows import value_row
from tokenpak.telemetry.error_logger import ErrorLogger

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

FEW, MANY = 100, 10_000
PADDING = 8_400
"""What each of the few has more than each of the many, so that the bytes are equal."""
REPEATS = 5

HOW = f"""\
Every line of Python that runs, and every function called, in the threads that the
logger starts, counted with `sys.settrace` and `sys.setprofile`: for a batch of
{FEW:,} events, and for one of {MANY:,} that are as many bytes (some 850 kB, less
than a segment). The least of {REPEATS} of each, since the writer also does things
now and then that no record causes."""


@dataclass(slots=True)
class _Work:
    lines: int = 0
    calls: int = 0

    def trace(self, _frame: FrameType, event: str, _arg: object) -> object:
        if event == "line":
            self.lines += 1
        return self.trace

    def profile(self, _frame: FrameType, event: str, _arg: object) -> None:
        if event in {"call", "c_call"}:
            self.calls += 1


def _watch_new_threads(work: _Work) -> None:
    """Count what is run by threads that start from now on; not by this one."""
    # threading.settrace() knows nothing of a thread that is started without
    # threading.Thread, as the writer is.
    start: Callable[..., int] = _thread.start_new_thread

    def start_watched(function: Callable[..., object], args: tuple[object, ...]) -> int:
        def run() -> None:
            sys.settrace(work.trace)  # type: ignore[arg-type]
            sys.setprofile(work.profile)
            function(*args)

        return start(run, ())

    _thread.start_new_thread = start_watched  # type: ignore[assignment]


def measure(job: Job) -> Figures:
    """Count the work of the writer for batches of few and of many records."""
    work = _Work()
    _watch_new_threads(work)
    # It must not wake up half-way through a batch by itself.
    logger = ErrorLogger(log_dir=job.directory, linger=5.0)
    logger.log_event("warm-up")
    logger.flush(timeout=60)

    least: dict[int, tuple[int, int]] = {}
    for _ in range(REPEATS):
        for size, context in ((FEW, {"text": "x" * PADDING}), (MANY, None)):
            before = (work.lines, work.calls)
            for _ in range(size):
                logger.log_event("e", None, context)
            logger.flush(timeout=60)
            spent = (work.lines - before[0], work.calls - before[1])
            least[size] = min(least.get(size, spent), spent)
    stats = logger.stats()
    logger.close(timeout=60)
    if not work.lines:
        raise RuntimeError("no thread was seen at work: the count means nothing")
    return {
        "lines_few": least[FEW][0],
        "lines_many": least[MANY][0],
        "calls_few": least[FEW][1],
        "calls_many": least[MANY][1],
        "each": max(0, sum(least[MANY]) - sum(least[FEW])) / (MANY - FEW),
        "dropped": sum(stats.dropped.values()),
    }


def judge(samples: Samples) -> list[Row]:
    """Compare the batch of many with the batch of few."""
    return [
        # Not exactly 0: the chunks in which bytes are looked through end at lines.
        value_row(
            samples,
            "Python lines and calls for each further record",
            ("writer", "each"),
            "",
            at_most(0.01),
        ),
        *(
            value_row(samples, label, ("writer", figure), "")
            for label, figure in (
                (f"lines for a batch of {FEW:,}", "lines_few"),
                (f"lines for a batch of {MANY:,}", "lines_many"),
                (f"calls for a batch of {FEW:,}", "calls_few"),
                (f"calls for a batch of {MANY:,}", "calls_many"),
            )
        ),
    ]


SCENARIO = Scenario(
    name="writer_work",
    title="Python work in the writer thread",
    how=HOW,
    rounds=1,
    measurements={"writer": measure},
    judge=judge,
)

__all__ = ["SCENARIO", "judge", "measure"]
