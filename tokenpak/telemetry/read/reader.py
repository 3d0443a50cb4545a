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

import os
from typing import TYPE_CHECKING

from tokenpak.telemetry.read.filter import Query
from tokenpak.telemetry.read.scan import blocks_of, found_in
from tokenpak.telemetry.read.source import LogDirectory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenpak.telemetry.read.pending import Pending
    from tokenpak.telemetry.read.records import Damage, Found, Record, UnreadableFile


def iter_records(
    log_dir: str | os.PathLike[str],
    query: Query | None = None,
    *,
    pending: bool = False,
    spool_dir: str | None = None,
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
        pending: whether what has been accepted and is not in the log yet comes too,
            behind the log's own records; by default not.
        spool_dir: where that is, as the setting; None: ``$TOKENPAK_SPOOL_DIR``, else
            where it belongs.

    Raises:
        OSError: *log_dir* cannot be listed.  Raised by the call itself; after it,
            nothing is.

    """
    entries = read_entries(log_dir, query, pending=pending, spool_dir=spool_dir)
    return (item[0] if isinstance(item, tuple) else item for item in entries)


def read_entries(
    log_dir: str | os.PathLike[str],
    query: Query | None = None,
    *,
    pending: bool = False,
    spool_dir: str | None = None,
) -> Iterator[Found | Damage]:
    """
    Do what iter_records() does, and keep beside a record its line and its place.

    Raises:
        OSError: *log_dir* cannot be listed.

    """
    query = query or Query()
    place = os.fspath(log_dir)
    if pending:
        # Imported here: with it comes what only the looker into spools needs.
        from tokenpak.telemetry.read.pending import Pending  # noqa: PLC0415

        # The sizes of the files and the spools come before the log, and this is what
        # raises, from the call, if there is none.
        waiting = Pending(place, query.stream, spool_dir)
        try:
            directory = LogDirectory(place, query.stream, query.covers)
        except BaseException:
            waiting.close()
            raise
        return _read_both(directory, query, waiting)
    # Listed here, not in the generator, so that the error comes from the call.
    return _read_days(LogDirectory(place, query.stream, query.covers), query, None)


def _read_both(
    directory: LogDirectory, query: Query, waiting: Pending
) -> Iterator[Found | Damage]:
    with waiting:
        yield from _read_days(directory, query, waiting)
        # A record whose timestamp cannot be read is of no day that is not wanted.
        first, _ = query.bounds()
        yield from waiting.records(query.predicate(first.date()))


def _read_days(
    directory: LogDirectory, query: Query, waiting: Pending | None
) -> Iterator[Found | Damage]:
    problems: list[UnreadableFile] = []
    for day in directory.days():
        accepts = query.predicate(day)
        with directory.open_day(day) as opened:
            yield from opened.unreadable
            for file in opened.files:
                look = None if waiting is None else waiting.watch(file)
                for block in blocks_of(file, problems.append):
                    if look is not None:
                        look(block)
                    yield from found_in(block, file.file.path, query.stream, accepts)
                    if problems:
                        yield from problems
                        problems.clear()
                yield from problems
                problems.clear()


__all__ = ["iter_records", "read_entries"]
