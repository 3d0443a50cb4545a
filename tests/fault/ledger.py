"""
Which records were accepted, known outside of the logger and its process.

Each thread of a worker has one 64-bit word in a shared file, the number of its calls
that have returned.  The word is stored after the call, so it survives any death: what
it says was accepted.  The call under way at death may have been accepted or not.
"""

from __future__ import annotations

import json
import mmap
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


class Ledger:
    """The words of one worker."""

    def __init__(self, path: Path, threads: int) -> None:
        self.path = path
        if not path.exists():
            path.write_bytes(bytes(8 * threads))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 8 * threads)
        self.words = memoryview(self._map).cast("Q")

    def acknowledged(self) -> list[int]:
        """How many calls of each thread have returned."""
        return list(self.words)


@dataclass(frozen=True)
class Verdict:
    """What became of the accepted records."""

    accepted: int
    lost: int
    doubled: int
    malformed: int
    merged: int
    disordered: int

    @property
    def clean(self) -> bool:
        """Whether nothing is lost, doubled, merged or out of order."""
        return not (self.lost or self.doubled or self.merged or self.disordered)


def request_id(worker: str, thread: int, number: int) -> str:
    """The id of a worker's record; numbers of a thread count from 0."""
    return f"{worker}/{thread}/{number}"


def audit(log_dir: Path, ledgers: dict[str, list[int]]) -> Verdict:
    """Hold the log files of *log_dir* against the *ledgers* of all workers."""
    seen: Counter[str] = Counter()
    malformed = merged = disordered = 0
    last: dict[tuple[str, int], int] = {}
    for line in log_lines(log_dir):
        try:
            record = json.loads(line)
        except ValueError:
            malformed += 1
            # A valid record behind a torn one, on the same line, is a merged one.
            merged += line.count(b'{"timestamp":"') > 1
            continue
        if record["request_id"] is None:
            continue
        worker, thread, number = record["request_id"].split("/")
        seen[record["request_id"]] += 1
        key = (worker, int(thread))
        disordered += int(number) <= last.get(key, -1)
        last[key] = int(number)
    accepted = lost = 0
    for worker, words in ledgers.items():
        for thread, count in enumerate(words):
            accepted += count
            for number in range(count):
                lost += request_id(worker, thread, number) not in seen
    doubled = sum(count > 1 for count in seen.values())
    return Verdict(accepted, lost, doubled, malformed, merged, disordered)


def log_lines(log_dir: Path) -> Iterable[bytes]:
    """All lines of all streams, complete or not."""
    for name in sorted(os.listdir(log_dir)):
        if name.endswith(".jsonl"):
            yield from (log_dir / name).read_bytes().split(b"\n")[:-1] or [b""]
