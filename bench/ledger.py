"""
The audit: what was acknowledged, against the bytes that are in the log.

A *series* is what one thread logged to one stream: records whose request ids are
``<series>:1``, ``<series>:2``, ...  A process acknowledges record n by storing n into
shared memory *after* the call has returned, so that the count outlives its death.
Then the log has to hold 1 to n, each once and in this order.  Record n + 1 may have
been under way: it may be there, once, or not.

The log is read here with plain open() and split(): an error in the package's own
reader must not be able to hide one in its writer.
"""

from __future__ import annotations

import glob
import itertools
import mmap
import os
from collections import defaultdict
from dataclasses import dataclass, field

import orjson

_START = b'{"timestamp":"'
_SLOT_BYTES = 8


class Acks:
    """Counters in memory that is shared with forked children and outlives them."""

    def __init__(self, slots: int) -> None:
        self._pages = mmap.mmap(-1, max(mmap.PAGESIZE, slots * _SLOT_BYTES))
        # One aligned 8-byte store: a process is killed before it or after it.
        self.counts: memoryview[int] = memoryview(self._pages).cast("Q")


@dataclass(slots=True)
class Verdict:
    """How many records were accepted, and what became of them."""

    accepted: int = 0
    lost: int = 0
    doubled: int = 0
    misordered: int = 0
    merged: int = 0
    """Lines in which a record begins after something else: a torn line, say."""
    torn: int = 0
    """Lines that are no record; harmless, if their record is there as well."""
    unexpected: int = 0
    """Records that nobody logged, or long after the last one acknowledged."""

    def add(self, other: Verdict) -> None:
        """Add the counts of *other*."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def figures(self) -> dict[str, float]:
        """Return the counts by name."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class Ledger:
    """What is expected of one log directory."""

    acked: dict[str, int] = field(default_factory=dict)

    def expect(self, series: str, acked: int) -> None:
        """Expect records 1 to *acked* of *series*."""
        self.acked[series] = acked

    def audit(self, log_dir: str) -> Verdict:
        """Read the plain log files of *log_dir* and compare."""
        verdict = Verdict(accepted=sum(self.acked.values()))
        found: dict[str, list[int]] = defaultdict(list)
        for path in sorted(glob.glob(os.path.join(glob.escape(log_dir), "*.jsonl"))):
            with open(path, "rb") as file:
                for line in file:
                    _judge_line(line, found, verdict)
        for series, acked in self.acked.items():
            _judge_series(found.pop(series, []), acked, verdict)
        verdict.unexpected += sum(map(len, found.values()))
        return verdict


def _judge_line(line: bytes, found: dict[str, list[int]], verdict: Verdict) -> None:
    if line.find(_START, 1) >= 0:
        verdict.merged += 1
    try:
        series, _, number = orjson.loads(line)["request_id"].rpartition(":")
        found[series].append(int(number))
    except orjson.JSONDecodeError:
        verdict.torn += 1
    except (KeyError, TypeError, ValueError, AttributeError):
        verdict.unexpected += 1


def _judge_series(numbers: list[int], acked: int, verdict: Verdict) -> None:
    once = set(numbers)
    verdict.doubled += len(numbers) - len(once)
    verdict.lost += acked - sum(1 for number in once if 1 <= number <= acked)
    verdict.unexpected += sum(1 for n in once if not 1 <= n <= acked + 1)
    verdict.misordered += sum(
        1 for n, after in itertools.pairwise(numbers) if after < n
    )


def count_lines(directory: str) -> int:
    """Return the number of newlines in all ``*.jsonl`` files of *directory*."""
    total = 0
    for path in glob.glob(os.path.join(glob.escape(directory), "*.jsonl")):
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                total += chunk.count(b"\n")
    return total


__all__ = ["Acks", "Ledger", "Verdict", "count_lines"]
