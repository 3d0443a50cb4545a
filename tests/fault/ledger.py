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
        size = 8 * threads
        # Whoever comes first makes it, and may be killed before it is filled.
        with path.open("a+b") as file:
            if os.fstat(file.fileno()).st_size < size:
                file.truncate(size)
            self._map = mmap.mmap(file.fileno(), size)
        self.words = memoryview(self._map).cast("Q")

    def acknowledged(self) -> list[int]:
        """How many calls of each thread have returned."""
        return list(self.words)


@dataclass(frozen=True)
class Lines:
    """The lines of a log, by what they are."""

    whole: list[bytes]
    torn: list[bytes]
    """Those that are the beginning of one that is there whole."""
    stray: list[bytes]
    """Those that are neither: nothing that the logger does or suffers leaves one."""


def sort_lines(lines: Iterable[bytes]) -> Lines:
    """
    Tell whole *lines* from what deaths have left of others.

    The kernel looks for SIGKILL between the pages of a write, so a death may end one
    in the middle of a line.  If somebody appends before it is recovered, the line is
    closed, and written again whole (S2): one torn line at most for each death.
    """
    whole: list[bytes] = []
    malformed: list[bytes] = []
    for line in lines:
        (whole if _decodes(line) else malformed).append(line)
    stray = _stray(malformed, whole)
    return Lines(whole, [line for line in malformed if line not in stray], stray)


def _stray(malformed: list[bytes], lines: Iterable[bytes]) -> list[bytes]:
    """Return what of *malformed* is the beginning of none of *lines* that decode."""
    stray = list(malformed)
    begun = [line for line in malformed if line]
    for line in lines:
        for beginning in begun:
            if line.startswith(beginning) and beginning in stray and _decodes(line):
                stray.remove(beginning)
    return stray


def _decodes(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


@dataclass(frozen=True)
class Verdict:
    """What became of the accepted records."""

    accepted: int
    lost: int
    doubled: int
    malformed: int
    """Lines that are torn or stray: see Lines.  Deaths bound them, and only these."""
    stray: int
    merged: int
    disordered: int

    @property
    def clean(self) -> bool:
        """Whether nothing is lost, doubled, stray, merged or out of order."""
        wrong = self.lost, self.doubled, self.stray, self.merged, self.disordered
        return not any(wrong)


def request_id(worker: str, thread: int, number: int) -> str:
    """The id of a worker's record; numbers of a thread count from 0."""
    return f"{worker}/{thread}/{number}"


def audit(log_dir: Path, ledgers: dict[str, list[int]]) -> Verdict:
    """Hold the log files of *log_dir* against the *ledgers* of all workers."""
    seen: Counter[str] = Counter()
    malformed: list[bytes] = []
    merged = disordered = 0
    last: dict[tuple[str, int], int] = {}
    for line in log_lines(log_dir):
        try:
            record = json.loads(line)
        except ValueError:
            malformed.append(line)
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
    return Verdict(
        accepted=accepted,
        lost=lost,
        doubled=doubled,
        malformed=len(malformed),
        stray=len(_stray(malformed, log_lines(log_dir) if malformed else [])),
        merged=merged,
        disordered=disordered,
    )


def log_lines(log_dir: Path) -> Iterable[bytes]:
    """All lines of all streams; what is behind the last newline is being written."""
    for name in sorted(os.listdir(log_dir)):
        if name.endswith(".jsonl"):
            yield from (log_dir / name).read_bytes().split(b"\n")[:-1]
