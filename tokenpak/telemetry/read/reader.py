"""
From a directory to records: days, files, blocks, and what is found in them.

R1  A reader takes no lock, never stops at damage, yields every intact record, and says
    where and how much it skipped.  It writes nothing and starts nothing, no logger
    either; what dead processes had accepted is appended by
    :func:`tokenpak.telemetry.queue.recovery.recover`, which is a step of its own.
R2  Memory does not grow with the size of the log: one chunk of one file is held.

Records come day by day, within a day the archived files first, in the order in which
they stand in the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenpak.telemetry.read.filter import Query
from tokenpak.telemetry.read.scan import blocks_of, found_in
from tokenpak.telemetry.read.source import LogDirectory

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from tokenpak.telemetry.read.records import Damage, Found, Record, UnreadableFile


def iter_records(
    log_dir: str | os.PathLike[str], query: Query | None = None
) -> Iterator[Record | Damage]:
    """
    Yield the records of *log_dir* that *query* wants, and what was skipped.

    A record is a dict; anything else is a report of damage, and comes at its place::

        for item in iter_records("/var/log/app"):
            if isinstance(item, dict):
                print(item["timestamp"], item["message"])
            else:
                print("skipped:", item.file, item.offset, item.reason)

    Active and archived files are read; only those whose day can match are opened.

    Args:
        log_dir: the directory of the daily files.
        query: by default all errors.

    Raises:
        OSError: *log_dir* cannot be listed.  Raised by the call itself; after it,
            nothing is.

    """
    entries = read_entries(log_dir, query)
    return (item[0] if isinstance(item, tuple) else item for item in entries)


def read_entries(
    log_dir: str | os.PathLike[str], query: Query | None = None
) -> Iterator[Found | Damage]:
    """
    Do what iter_records() does, and keep beside a record its line and its place.

    Raises:
        OSError: *log_dir* cannot be listed.

    """
    query = query or Query()
    # Listed here, not in the generator, so that the error comes from the call.
    directory = LogDirectory(str(log_dir), query.stream, query.covers)
    return _read_days(directory, query)


def _read_days(directory: LogDirectory, query: Query) -> Iterator[Found | Damage]:
    problems: list[UnreadableFile] = []
    for day in directory.days():
        accepts = query.predicate(day)
        with directory.open_day(day) as opened:
            yield from opened.unreadable
            for file in opened.files:
                for block in blocks_of(file, problems.append):
                    yield from found_in(block, file.file.path, query.stream, accepts)
                yield from problems
                problems.clear()


__all__ = ["iter_records", "read_entries"]
