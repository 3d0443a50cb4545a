"""
From a directory to records: the loop that joins scanner, decoder, salvage and filter.

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

from tokenpak.telemetry.read.chunks import gzip_chunks, plain_chunks
from tokenpak.telemetry.read.filter import Query
from tokenpak.telemetry.read.lines import split_lines
from tokenpak.telemetry.read.records import (
    Damage,
    Entry,
    NotARecordError,
    Record,
    UnreadableFile,
    decode_line,
    is_blank,
)
from tokenpak.telemetry.read.salvage import salvage_line
from tokenpak.telemetry.read.source import LogDirectory

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from tokenpak.telemetry.read.lines import Block
    from tokenpak.telemetry.read.source import OpenFile


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
) -> Iterator[Entry | Damage]:
    """
    Do what iter_records() does, and keep the line of a record beside it.

    Raises:
        OSError: *log_dir* cannot be listed.

    """
    query = query or Query()
    # Listed here, not in the generator, so that the error comes from the call.
    directory = LogDirectory(str(log_dir), query.stream, query.covers)
    return _read_days(directory, query)


def _read_days(directory: LogDirectory, query: Query) -> Iterator[Entry | Damage]:
    for day in directory.days():
        accepts = query.predicate(day)
        with directory.open_day(day) as opened:
            yield from opened.unreadable
            for file in opened.files:
                yield from _read_file(file, accepts)


def _read_file(
    file: OpenFile, accepts: Callable[[Record], bool] | None
) -> Iterator[Entry | Damage]:
    path = file.file.path
    problems: list[str] = []
    if file.file.compressed:
        chunks = gzip_chunks(file.fd, problems.append)
    else:
        chunks = plain_chunks(file.fd, file.size, problems.append)
    offset = 0
    for block in split_lines(chunks):
        offset = block.offset
        decode = _refuse if block.end == "limit" else decode_line
        # The hot loop of all reading.  It is written out: each generator or function
        # more around a line costs a tenth of what decoding it does.
        for line in block.lines:
            try:
                entry = decode(line)
            except NotARecordError as e:
                if not is_blank(line):
                    for item in _salvage(file, line, offset, _why(block, e)):
                        if isinstance(item, tuple) and not (
                            accepts is None or accepts(item[0])
                        ):
                            continue
                        yield item
            else:
                if accepts is None or accepts(entry[0]):
                    yield entry
            offset += len(line) + 1
        if block.end != "newline":
            offset -= 1
    for problem in problems:
        yield UnreadableFile(path, offset, problem)


def _salvage(
    file: OpenFile, line: bytes, offset: int, reason: str
) -> Iterator[Entry | Damage]:
    return salvage_line(
        line,
        file=file.file.path,
        offset=offset,
        stream=file.file.stream,
        reason=reason,
    )


def _refuse(line: bytes) -> Entry:
    raise NotARecordError(f"part of a line of more than {len(line):,} bytes")


def _why(block: Block, error: NotARecordError) -> str:
    if block.end == "file":
        return f"unfinished: the file ends inside this line ({error})"
    return str(error)


__all__ = ["iter_records", "read_entries"]
