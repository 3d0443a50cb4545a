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
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tokenpak.telemetry.read.filter import Query
from tokenpak.telemetry.read.lines import split_stretch
from tokenpak.telemetry.read.logs import Logs
from tokenpak.telemetry.read.needles import Screen
from tokenpak.telemetry.read.records import decode_line
from tokenpak.telemetry.read.scan import found_in, stretches_of
from tokenpak.telemetry.read.select import Selection

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
    ordered: bool = False,
) -> Iterator[Record | Damage]:
    """
    Yield the records of *log_dir* that *query* wants, and what was skipped.

    A record is a dict; anything else is a report of damage, and comes at its place::

        for item in iter_records("/var/log/app"):
            if isinstance(item, dict):
                print(item["timestamp"], item["message"])
            else:
                print("skipped:", item.file, item.offset, item.reason)

    Active and archived files are read; only those whose day can match are opened, and
    only lines that can match are decoded: with a query, malformed lines are reported of
    those that were.

    Args:
        log_dir: the directory of the daily files.
        query: by default all errors.
        pending: whether what has been accepted and is not in the log yet comes too,
            behind the log's own records; by default not.
        spool_dir: where that is, as the setting; None: ``$TOKENPAK_SPOOL_DIR``, else
            where it belongs.
        ordered: whether the records of each day come in time order, as in an export;
            else, the default, as they stand in the files.  A query with *limit* or
            *last* is always ordered.

    Raises:
        OSError: *log_dir* cannot be listed.  Raised by the call itself; after it,
            nothing is.

    """
    query = query or Query()
    if ordered or query.limit is not None or query.last is not None:
        return _in_order(os.fspath(log_dir), query, pending, spool_dir)
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

    Never *ordered*, and without *limit* and *last*, which are about an order.

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
        waiting: dict[str, Pending] = {}
        try:
            for stream in query.streams:
                waiting[stream] = Pending(place, stream, spool_dir)
            logs = Logs(place, query)
        except BaseException:
            for spools in waiting.values():
                spools.close()
            raise
        return _read_both(logs, query, waiting)
    # Listed here, not in the generator, so that the error comes from the call.
    return _read_days(Logs(place, query), query, {})


def _read_both(
    logs: Logs, query: Query, waiting: dict[str, Pending]
) -> Iterator[Found | Damage]:
    with ExitStack() as stack:
        for spools in waiting.values():
            stack.enter_context(spools)
        yield from _read_days(logs, query, waiting)
        # A record whose timestamp cannot be read is of no day that is not wanted.
        first, _ = query.bounds()
        for spools in waiting.values():
            yield from spools.records(query.predicate(first.date()))


def _read_days(
    logs: Logs, query: Query, waiting: dict[str, Pending]
) -> Iterator[Found | Damage]:
    problems: list[UnreadableFile] = []
    screen = Screen(query)
    yield from logs.unreadable
    for day in logs.days():
        accepts = query.predicate(day)
        with logs.open_day(day) as (files, unreadable):
            yield from unreadable
            for file in files:
                path, stream = file.file.path, file.file.stream
                spools = waiting.get(stream)
                look = None if spools is None else spools.watch(file)
                for stretch in stretches_of(file, problems.append):
                    if look is not None or not screen:
                        block = split_stretch(stretch)
                        if look is not None:
                            look(block)
                        yield from found_in(block, path, stream, accepts)
                    else:
                        for block in screen.blocks(stretch):
                            yield from found_in(block, path, stream, accepts)
                    if problems:
                        yield from problems
                        problems.clear()
                yield from problems
                problems.clear()


def _in_order(
    log_dir: str, query: Query, pending: bool, spool_dir: str | None
) -> Iterator[Record | Damage]:
    damage: list[Damage] = []
    selection = Selection(
        log_dir,
        query,
        _as_it_is,
        damage.append,
        pending=pending,
        spool_dir=spool_dir,
    )
    return _decoded(selection, damage)


def _decoded(selection: Selection, damage: list[Damage]) -> Iterator[Record | Damage]:
    with selection:
        for _, lines in selection.rows():
            yield from damage
            damage.clear()
            for line in lines:
                yield decode_line(line)[0]
        yield from damage


def _as_it_is(_record: Record, _copied: bytes | None, line: bytes) -> bytes:
    return line


__all__ = ["iter_records", "read_entries"]
