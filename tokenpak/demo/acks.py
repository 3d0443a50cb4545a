"""
What the workers say was accepted, where a kill cannot take it back.

One file, mapped by all: a row of 64-bit words for each worker.  A worker writes its
own row only; the parent only reads.  After each logging call has returned, the worker
adds one to the count of that kind, with a single 8-byte store into a page that
belongs to the kernel.  So whenever the worker is killed, the row says how many calls
had returned, and the ids are numbered, so it also says which.  One more record, of
the call under way, may be in the log; any other difference is a lost or doubled one.

The row outlives its process as the spool does, but shares no code with it: an account
kept by the logger itself would prove nothing.
"""

from __future__ import annotations

import mmap
import os
from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

FAILURES: Final = 0
SUCCESSES: Final = 1
REPLAYS: Final = 2
_DROPPED: Final = 3
_TIMED: Final = 4
_TIMED_NS: Final = 5
_IN_MEMORY: Final = 6
_HISTOGRAM: Final = 8

BUCKET_NS: Final = 100
BUCKETS: Final = 2_000
"""Calls of 200 microseconds and more share the last bucket."""

_ROW_WORDS: Final = _HISTOGRAM + BUCKETS


@dataclass(frozen=True, slots=True)
class Account:
    """One worker's row: what it has accepted, and how long its calls took."""

    failures: int
    """Calls of the server that failed, each logged with log_error()."""
    successes: int
    """Calls of the server that were answered, each logged with log_event()."""
    replays: int
    """Exceptions of those calls that were logged again, at full speed."""
    dropped: int
    """What the logger said it gave up, of all of these."""
    timed: int
    """How many replays *timed_ns* nanoseconds were enough for."""
    timed_ns: int
    in_memory: bool
    """Whether no spool could be had, so that a kill takes what is pending with it."""
    histogram: tuple[int, ...]
    """Replays by duration, in buckets of BUCKET_NS."""

    @property
    def accepted(self) -> int:
        """How many logging calls have returned."""
        return self.failures + self.successes + self.replays


class AckTable:
    """
    The rows of all workers, in a file.

    Args:
        path: the file; it is created if it is not there.
        workers: how many rows it has.

    Raises:
        OSError: the file cannot be created, enlarged or mapped.

    """

    def __init__(self, path: str, workers: int) -> None:
        size = workers * _ROW_WORDS * 8
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.fstat(descriptor).st_size < size:
                os.ftruncate(descriptor, size)
            self._map = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
        self._bytes = memoryview(self._map)
        self._words = self._bytes.cast("Q")

    def row(self, worker: int) -> memoryview:
        """Return the words of *worker*, to be written by that worker alone."""
        return self._words[worker * _ROW_WORDS : (worker + 1) * _ROW_WORDS]

    def read(self, worker: int) -> Account:
        """Return what *worker* has said so far."""
        with self.row(worker) as row:
            return Account(
                failures=row[FAILURES],
                successes=row[SUCCESSES],
                replays=row[REPLAYS],
                dropped=row[_DROPPED],
                timed=row[_TIMED],
                timed_ns=row[_TIMED_NS],
                in_memory=bool(row[_IN_MEMORY]),
                histogram=tuple(row[_HISTOGRAM:]),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._words.release()
        self._bytes.release()
        self._map.close()


def note_burst(row: memoryview, calls: int, elapsed_ns: int) -> None:
    """Add *calls* at full speed, which took *elapsed_ns* nanoseconds, to *row*."""
    row[_TIMED] += calls
    row[_TIMED_NS] += elapsed_ns


def note_state(row: memoryview, *, dropped: int, in_memory: bool) -> None:
    """Say what the logger says of itself: see Account."""
    row[_DROPPED] = dropped
    row[_IN_MEMORY] = in_memory


def note_duration(row: memoryview, elapsed_ns: int) -> None:
    """Count one call that took *elapsed_ns* nanoseconds."""
    row[_HISTOGRAM + min(elapsed_ns // BUCKET_NS, BUCKETS - 1)] += 1


def median_ns(accounts: list[Account]) -> float | None:
    """Return the median duration of all calls, to half a bucket; None if none."""
    histograms = [account.histogram for account in accounts]
    reached = list(accumulate(sum(calls) for calls in zip(*histograms, strict=True)))
    if not reached or reached[-1] == 0:
        return None
    return (bisect_left(reached, reached[-1] / 2) + 0.5) * BUCKET_NS


__all__ = [
    "BUCKETS",
    "BUCKET_NS",
    "FAILURES",
    "REPLAYS",
    "SUCCESSES",
    "Account",
    "AckTable",
    "median_ns",
    "note_burst",
    "note_duration",
    "note_state",
]
