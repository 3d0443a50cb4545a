"""The files of all streams that a query wants, opened day by day."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from tokenpak.telemetry.read.source import LogDirectory
from tokenpak.telemetry.store.names import list_log_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from tokenpak.telemetry.read.filter import Query
    from tokenpak.telemetry.read.records import UnreadableFile
    from tokenpak.telemetry.read.source import OpenFile

PACKED: Final = 8
"""How many bytes of log a byte of an archive stands for, about."""


class Logs:
    """
    A log directory as a query sees it.

    Args:
        log_dir: the directory of the daily files.
        query: its streams are read, and only days that it covers.

    Raises:
        OSError: *log_dir* cannot be listed.

    """

    def __init__(self, log_dir: str, query: Query) -> None:
        self._directories = [
            LogDirectory(log_dir, stream, query.covers, partial=True)
            for stream in query.streams
        ]
        self.unreadable: list[UnreadableFile] = list(
            # Of all streams it is the same one.
            {each: None for place in self._directories for each in place.unreadable}
        )
        """The archive, if it cannot be listed: then all else is read."""

    def days(self) -> list[date]:
        """Return the days of which there were files, in order."""
        return sorted({day for place in self._directories for day in place.days()})

    @contextmanager
    def open_day(
        self, day: date
    ) -> Iterator[tuple[list[OpenFile], list[UnreadableFile]]]:
        """Open the files of *day*, stream by stream; close them at the end."""
        with ExitStack() as stack:
            opened = [
                stack.enter_context(place.open_day(day)) for place in self._directories
            ]
            yield (
                [file for part in opened for file in part.files],
                [damage for part in opened for damage in part.unreadable],
            )


def pass_over(_path: str, _error: OSError) -> None:
    """Do nothing about an archive that cannot be listed: it is told when it is read."""


def sizes_of(log_dir: str, query: Query) -> tuple[int, int]:
    """
    Return the bytes that *query* has to read, and about how many of log they hold.

    Raises:
        OSError: *log_dir* cannot be listed.

    """
    size = held = 0
    for file in list_log_files(log_dir, on_problem=pass_over):
        if file.stream in query.streams and query.covers(file.day):
            try:
                part = os.lstat(file.path).st_size
            except OSError:  # archived meanwhile; this is an estimate
                continue
            size += part
            held += part * PACKED if file.compressed else part
    return size, held


__all__ = ["Logs", "pass_over", "sizes_of"]
