"""
A log file of 64 KiB that is damaged in place, one case after another, and read whole.

Each case is read by iter_records() from the directory, as anybody would; what makes it
fast is only that the file is long in bytes and short in lines, and that a case is made
by changing one byte, or the length, of the same file.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path

import orjson

from tests.read.log_making import make_record, read_all, write_log
from tokenpak.telemetry.read import MalformedLine, Record

SIZE = 64 * 1024
LINES = 30
FRAME = (
    '  File "/srv/app/llm/client.py", line {}, in {}\n    return self._send("{}", é)\n'
)
NEWLINE = 0x0A


def make_lines() -> list[bytes]:
    """Return lines of some two kilobytes, with newlines, which are SIZE bytes long."""
    lines: list[bytes] = []
    for number in range(LINES):
        frames = "".join(FRAME.format(n, f"call_{n}", "\\" * n) for n in range(15))
        record = make_record(
            number,
            stack_trace=f"Traceback (most recent call last):\n{frames}ValueError",
            context={"provider": "openai", "inner": {"timestamp": "of something"}},
        )
        left = (SIZE - sum(map(len, lines))) // (LINES - number)
        line = orjson.dumps(record) + b"\n"
        record["message"] += "." * (left - len(line))
        lines.append(orjson.dumps(record) + b"\n")
    assert sum(map(len, lines)) == SIZE
    return lines


def flipped_bit(case: int) -> int:
    """Return one bit of each sixteen, not always the same one of them."""
    return 16 * case + 7 * case % 16


FLIPS = SIZE * 8 // 16
CUTS = SIZE


class DamagedLog:
    """The file, whole between two cases."""

    def __init__(self, log_dir: Path) -> None:
        self.log_dir = log_dir
        self.lines = make_lines()
        self.data = b"".join(self.lines)
        self.records: list[Record] = [orjson.loads(line) for line in self.lines]
        self.starts = [0, *accumulate(map(len, self.lines))]
        self.path = write_log(log_dir, self.data)
        self._fd = os.open(self.path, os.O_RDWR)

    def close(self) -> None:
        os.close(self._fd)

    def check_flip(self, bit: int) -> None:
        """Flip *bit*, read, compare, and flip it back."""
        at = bit // 8
        os.pwrite(self._fd, bytes([self.data[at] ^ 1 << bit % 8]), at)
        found, reports = read_all(self.log_dir)
        os.pwrite(self._fd, self.data[at : at + 1], at)

        hit = bisect_right(self.starts, at) - 1
        start, end = self.starts[hit], self.starts[hit + 1] - 1
        behind = LINES - hit - 1
        case = f"bit {bit} of line {hit}"
        places = []
        for report in reports:
            assert isinstance(report, MalformedLine), case
            assert report.file == str(self.path), case
            assert report.reason, case
            places.append((report.offset, report.length))
        if at == end:  # the newline: both of its neighbours are intact
            assert found == self.records, case
            assert places == ([(at, 1)] if behind else places), case
            return
        assert found[:hit] == self.records[:hit], case
        assert found[len(found) - behind :] == self.records[hit + 1 :], case
        kept = len(found) - hit - behind
        if kept:  # what the bit made is JSON, too
            assert (kept, places) == (1, []), case
        else:  # each byte of the line is in a report, but for a newline that was made
            assert places[0][0] == start, case
            reached = start
            for offset, length in places:
                assert offset - reached in {0, 1}, case
                reached = offset + length
            assert reached == end, case

    def check_cut(self, cut: int) -> None:
        """Cut the file behind *cut* bytes, at most as many as it has, and read."""
        os.ftruncate(self._fd, cut)
        found, reports = read_all(self.log_dir)

        hit = bisect_right(self.starts, cut) - 1
        torn = cut - self.starts[hit]
        if hit < LINES and cut == self.starts[hit + 1] - 1:  # all but the newline
            hit, torn = hit + 1, 0
        assert found == self.records[:hit], f"cut at {cut}"
        if torn:
            (report,) = reports
            assert isinstance(report, MalformedLine), f"cut at {cut}"
            assert (report.offset, report.length) == (cut - torn, torn)
            assert report.reason.startswith("unfinished: "), f"cut at {cut}"
        else:
            assert reports == [], f"cut at {cut}"


__all__ = ["CUTS", "FLIPS", "LINES", "SIZE", "DamagedLog", "flipped_bit", "make_lines"]
