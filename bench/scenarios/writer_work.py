"""
How much Python does the writer thread run for a record?

None, it is claimed: a batch is found, checked and appended by a fixed number of calls
into C.  Whatever it ran in Python it would take from the application, GIL and all.  So
its lines and calls are counted, with the hooks of the interpreter, for batches of very
different size.  Counts, not times: the same on every machine.
"""

from __future__ import annotations

import _thread
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.model import Figures, Job, Row, Samples, Scenario, at_most
from bench.rows import total_row, value_row
from tokenpak.telemetry.error_logger import ErrorLogger

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

SMALL, LARGE = 100, 10_000
REPEATS = 5

HOW = f"""\
Every line of Python that runs, and every function called, in the threads that the
logger starts, counted with `sys.settrace` and `sys.setprofile`: for a
batch of {SMALL:,} records and for one of {LARGE:,}, both small enough for one segment.
The least of {REPEATS} of each, since the writer also does things now and then that no
record causes."""


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
    """Count the work of the writer for small and large batches."""
    work = _Work()
    _watch_new_threads(work)
    # It must not wake up half-way through a batch by itself.
    logger = ErrorLogger(log_dir=job.directory, linger=5.0)
    logger.log_event("warm-up")
    logger.flush(timeout=60)

    least: dict[int, tuple[int, int, int]] = {}
    for _ in range(REPEATS):
        for size in (SMALL, LARGE):
            before = (work.lines, work.calls, logger.stats().batches)
            for _ in range(size):
                logger.log_event("e")
            logger.flush(timeout=60)
            after = (work.lines, work.calls, logger.stats().batches)
            spent = (after[0] - before[0], after[1] - before[1], after[2] - before[2])
            least[size] = min(least.get(size, spent), spent)
    logger.close(timeout=60)
    if not work.lines:
        raise RuntimeError("no thread was seen at work: the count means nothing")
    return {
        "lines_small": least[SMALL][0],
        "lines_large": least[LARGE][0],
        "calls_small": least[SMALL][1],
        "calls_large": least[LARGE][1],
        "batches_small": least[SMALL][2],
        "batches_large": least[LARGE][2],
        "lines_more": max(0, least[LARGE][0] - least[SMALL][0]),
        "calls_more": max(0, least[LARGE][1] - least[SMALL][1]),
    }


def judge(samples: Samples) -> list[Row]:
    """Compare the large batch with the small one."""
    more = f"more for {LARGE - SMALL:,} more records"
    return [
        total_row(
            samples,
            f"Python lines and calls {more}",
            [("writer", "lines_more"), ("writer", "calls_more")],
            at_most(0),
        ),
        value_row(samples, f"lines, batch of {SMALL:,}", ("writer", "lines_small"), ""),
        value_row(samples, f"lines, batch of {LARGE:,}", ("writer", "lines_large"), ""),
        value_row(samples, f"calls, batch of {SMALL:,}", ("writer", "calls_small"), ""),
        value_row(samples, f"calls, batch of {LARGE:,}", ("writer", "calls_large"), ""),
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
