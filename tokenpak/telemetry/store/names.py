"""
What the files of a log directory are called, and which day is theirs.

    errors-2026-03-24.jsonl               the day that is written to
    archive/errors-2026-03-24.jsonl.gz    a finished day
    archive/errors-2026-03-24.1.jsonl.gz  records that came after the day was archived
    spool/                                what has been accepted and not yet appended
    redaction.key                         of the marks in the place of secrets
    metrics/                              what was counted, and up to where
    watch/                                what `tokenpak telemetry watch` remembers

A *stream* is a series of daily files.  Days are UTC (S3).  Pure functions on names,
but for list_log_files(), which lists directories and opens nothing.
"""

from __future__ import annotations

import os
import re
from datetime import date
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

ERRORS: Final = "errors"
EVENTS: Final = "events"
STREAMS: Final = (ERRORS, EVENTS)

ARCHIVE_DIR: Final = "archive"
SPOOL_DIR: Final = "spool"
METRICS_DIR: Final = "metrics"
KEY_NAME: Final = "redaction.key"
WATCH_DIR: Final = "watch"

_NAME: Final = re.compile(
    r"(?P<stream>errors|events)-(?P<day>\d{4}-\d{2}-\d{2})"
    r"(?:\.(?P<part>[1-9]\d{0,5}))?\.jsonl(?P<gz>\.gz)?",
    re.ASCII,
)


class LogFile(NamedTuple):
    """One file of a stream: where it is, and what its name says."""

    path: str
    stream: str
    day: date
    part: int
    """0 for the day's first file; later ones hold records that came late."""
    compressed: bool


def day_file_name(stream: str, day: str) -> str:
    """Return the name of the file for *day* (``YYYY-MM-DD``) of *stream*."""
    return f"{stream}-{day}.jsonl"


def parse_log_name(path: str) -> LogFile | None:
    """Return what the name of *path* says, or None if it is not a log file's."""
    match = _NAME.fullmatch(os.path.basename(path))
    if match is None:
        return None
    try:
        day = date.fromisoformat(match["day"])
    except ValueError:  # errors-2026-02-31.jsonl
        return None
    return LogFile(
        path, match["stream"], day, int(match["part"] or 0), match["gz"] is not None
    )


def list_log_files(
    log_dir: str,
    only: str = "",
    on_problem: Callable[[str, OSError], object] | None = None,
) -> list[LogFile]:
    """
    List the log files of *log_dir* and its archive, by stream, day and part.

    Args:
        log_dir: the directory.
        only: how the names begin; other names cost next to nothing then.
        on_problem: is told of an archive that cannot be listed, with its path, and the
            other files are listed all the same; None (default): it is raised.

    A plain file beats the ``.gz`` of the same name: archiving compresses to a
    temporary name, renames to ``.gz`` and unlinks the plain one last, so while both
    are there they hold the same records (S4).

    Raises:
        OSError: *log_dir*, or its archive, cannot be listed.  A missing archive is an
            empty one.

    """
    found: dict[tuple[str, date, int, str], LogFile] = {}
    for place in (log_dir, os.path.join(log_dir, ARCHIVE_DIR)):
        try:
            names = os.listdir(place)
        except FileNotFoundError:
            if place == log_dir:
                raise
            names = []
        except OSError as e:
            if place == log_dir or on_problem is None:
                raise
            on_problem(place, e)
            names = []
        for name in names:
            if not name.startswith(only):
                continue
            file = parse_log_name(os.path.join(place, name))
            if file is None:
                continue
            key = (file.stream, file.day, file.part, place)
            if file.compressed and key in found:
                continue
            found[key] = file
    return sorted(found.values(), key=lambda f: (f.stream, f.day, f.part, f.path))


__all__ = [
    "ARCHIVE_DIR",
    "ERRORS",
    "EVENTS",
    "KEY_NAME",
    "METRICS_DIR",
    "SPOOL_DIR",
    "STREAMS",
    "WATCH_DIR",
    "LogFile",
    "day_file_name",
    "list_log_files",
    "parse_log_name",
]
