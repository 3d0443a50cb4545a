"""
Split a range of lines where the day changes (S3).

A record belongs to the file of its own timestamp's day, whoever appends it, whenever.
First and last line are not enough to know: a thread that was stamped before midnight
may put after others.  So the lines are counted twice, all of them and those of the
first line's day, each count one pass in C; only where the counts differ is a line
looked at.
"""

from __future__ import annotations

import mmap
from datetime import date
from typing import Final, NamedTuple

LINE_START: Final = b'{"timestamp":"'
_DAY: Final = slice(len(LINE_START), len(LINE_START) + 10)
LINE_HEAD: Final = len(LINE_START) + 10
"""How many bytes of a line tell its day."""
_CHUNK: Final = 128 * 1024
"""Copied and counted at a time: fits a core's cache."""


class Run(NamedTuple):
    """Lines of one day, one behind the other."""

    day: str
    """``YYYY-MM-DD``; empty: these are no lines of ours, but damage."""
    start: int
    end: int
    lines: int


def split_days(segment: mmap.mmap, start: int, end: int) -> list[Run]:
    """
    Return the runs of lines in ``segment[start:end]``, in order, without a gap.

    Args:
        segment: holds the lines.
        start: where a line begins.
        end: behind a newline.

    """
    runs: list[Run] = []
    while start < end:
        stop = end
        if end - start > _CHUNK:
            stop = segment.rfind(b"\n", start, start + _CHUNK) + 1
            if stop == 0:  # a line longer than a chunk
                stop = segment.find(b"\n", start + _CHUNK, end) + 1 or end
        for run in _split_chunk(segment[start:stop], start):
            _extend(runs, run)
        start = stop
    return runs


def _split_chunk(chunk: bytes, at: int) -> list[Run]:
    day = chunk[_DAY]
    lines = chunk.count(b"\n")
    same = chunk.count(b"\n" + LINE_START + day) + chunk.startswith(LINE_START)
    text = day_of(chunk)
    if same == lines and text:
        return [Run(text, at, at + len(chunk), lines)]
    runs: list[Run] = []
    for line in _lines(chunk):
        _extend(runs, Run(day_of(line), at, at + len(line), 1))
        at += len(line)
    return runs


def _lines(chunk: bytes) -> list[bytes]:
    # Not splitlines(): a damaged range may hold a carriage return.
    parts = chunk.split(b"\n")
    lines = [part + b"\n" for part in parts[:-1]]
    return lines + ([parts[-1]] if parts[-1] else [])


def day_of(line: bytes) -> str:
    """Return the day of *line* (or of its first LINE_HEAD bytes); empty: no line."""
    if not line.startswith(LINE_START) or b"\0" in line:
        return ""
    try:
        return date.fromisoformat(line[_DAY].decode()).isoformat()
    except ValueError:
        return ""


def _extend(runs: list[Run], run: Run) -> None:
    if runs and runs[-1].day == run.day:
        last = runs[-1]
        runs[-1] = Run(run.day, last.start, run.end, last.lines + run.lines)
    else:
        runs.append(run)


__all__ = ["LINE_HEAD", "LINE_START", "Run", "day_of", "split_days"]
