"""
Records into a table of DuckDB, quickly.

What is a record is decided by our own reader, as everywhere (R1, S4).  It writes the
lines of some megabytes into a file, which DuckDB then takes by its own reader of JSON,
on all processors, while the next ones are written.  To hand them over as values, and to
have each line taken apart by functions of JSON, took three times as long.

What that reader might not take as we do (a line of a hundred megabytes, a directory
whose name is a pattern) goes the other way, value by value; as does all if DuckDB
objects to something, or has not taken as many rows as there were lines.
"""

from __future__ import annotations

import os
from itertools import islice
from typing import TYPE_CHECKING, Final

from tokenpak.telemetry.read.strict import encode
from tokenpak.telemetry.store.names import ERRORS, EVENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tokenpak.telemetry.read.records import Damage, Found

PIECE_BYTES: Final = 16 * 1024 * 1024
"""Of a file that DuckDB takes at once, and a little more; there are two at most."""
LONG_LINE: Final = 1024 * 1024
"""Bytes; DuckDB holds twice as much for each processor as the longest line may have."""
_JOINED: Final = 32
"""Lines that are written at once; they are held."""
_BATCH_ROWS: Final = 2000
_BATCH_BYTES: Final = 4 * 1024 * 1024

FIELD_COLUMNS: Final = {
    ERRORS: ("request_id", "error_type", "message", "stack_trace"),
    EVENTS: ("request_id", "event"),
}
CONTEXT_COLUMNS: Final = (
    ("model", "VARCHAR"),
    ("provider", "VARCHAR"),
    ("input_size", "BIGINT"),
    ("cost_estimate", "DOUBLE"),
    ("duration_ms", "DOUBLE"),
    ("kind", "VARCHAR"),
    ("status_code", "BIGINT"),
    ("provider_request_id", "VARCHAR"),
)
"""Keys of the context that have a column of their own; NULL where the value is none of
the type."""

_TIME: Final = "TRY_CAST({} AS TIMESTAMPTZ) AT TIME ZONE 'UTC'"


class CountError(Exception):
    """DuckDB has not taken as many rows as there were lines."""


class Pieces:
    """
    Fills a table from files.

    Args:
        stream: ``errors`` or ``events``, which the table is called by, too.
        paths: of two files, which are made and deleted.
        begin: begins to execute a statement.
        end: waits for its end, and returns how many rows it has inserted.

    """

    def __init__(
        self,
        stream: str,
        paths: tuple[str, str],
        begin: Callable[[str], None],
        end: Callable[[], int],
    ) -> None:
        self._stream = stream
        self._paths = paths
        self._begin = begin
        self._end = end
        self._under_way: tuple[str, int] | None = None

    def add_all(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        """
        Insert *lines*; yield those that are too long, when all before them are there.

        Raises:
            CountError: see there.
            OSError: a file cannot be written; it says which.

        """
        turn = 0
        while True:
            path = self._paths[turn]
            turn = 1 - turn
            try:
                count, extra = self._write(path, lines)
            except OSError as e:
                # Else nobody could tell which disk is full.
                e.filename = e.filename or path
                raise
            self._wait()
            if count:
                self._begin(_insert_file(self._stream, path))
                self._under_way = path, count
            else:
                os.unlink(path)
            if extra is not None:
                self._wait()
                yield extra
            elif not count:
                return

    def _write(self, path: str, lines: Iterator[bytes]) -> tuple[int, bytes | None]:
        """Return how many lines were written, and one that is too long."""
        count = size = 0
        extra = None
        with open(path, "wb") as file:
            while size < PIECE_BYTES and extra is None:
                rows: list[bytes] = []
                for line in islice(lines, _JOINED):
                    if len(line) > LONG_LINE:
                        extra = line
                        break
                    rows.append(line)
                if not rows:
                    break
                count += len(rows)
                rows.append(b"")
                data = b"\n".join(rows)
                file.write(data)
                size += len(data)
        return count, extra

    def _wait(self) -> None:
        if self._under_way is not None:
            (path, count), self._under_way = self._under_way, None
            if self._end() != count:
                raise CountError
            os.unlink(path)


def is_pattern(path: str) -> bool:
    """Return whether DuckDB would take *path* for a pattern of names."""
    return any(sign in path for sign in "*?[]{}\\")


def lines_of(
    items: Iterable[Found | Damage], tell: Callable[[Damage], None] | None
) -> Iterator[bytes]:
    """Yield a strict line for each record of *items*; *tell* is given the damage."""
    for item in items:
        if isinstance(item, tuple):
            yield encode(item[0]) if item[1] is None else item[1]
        elif tell is not None:
            tell(item)


def batches_of(lines: Iterator[bytes]) -> Iterator[list[str]]:
    """Yield *lines* as lists that can be handed over as values."""
    rows: list[str] = []
    size = 0
    for line in lines:
        rows.append(line.decode())
        size += len(line)
        if len(rows) >= _BATCH_ROWS or size >= _BATCH_BYTES:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows


def table(stream: str) -> str:
    """Return the statement that makes the table of *stream*."""
    fields = [f"{name} VARCHAR" for name in FIELD_COLUMNS[stream]]
    keys = [f"{name} {kind}" for name, kind in CONTEXT_COLUMNS]
    columns = ", ".join(["timestamp TIMESTAMP", *fields, "context JSON", *keys])
    return f"CREATE TABLE {stream} ({columns})"


def _insert_file(stream: str, path: str) -> str:
    """Return the statement that makes rows of the lines of a file."""
    fields = FIELD_COLUMNS[stream]
    columns = [f"{name}: 'VARCHAR'" for name in ("timestamp", *fields)]
    columns.append("context: 'JSON'")
    # A list of paths, so that each context is parsed once.
    paths = [f"$.{name}" for name, _ in CONTEXT_COLUMNS]
    cells = [_TIME.format("timestamp"), *fields, "context"]
    cells += [
        f"TRY_CAST(v[{index}] AS {kind})"
        for index, (_, kind) in enumerate(CONTEXT_COLUMNS, 1)
    ]
    quoted = path.replace("'", "''")
    # What it reads at once is twice the size of the largest object.  And a directory
    # that is called "message=1" is no column.
    source = (
        f"read_json('{quoted}', format = 'newline_delimited', "
        f"columns = {{{', '.join(columns)}}}, compression = 'uncompressed', "
        f"hive_partitioning = false, maximum_object_size = {LONG_LINE + 2})"
    )
    return (
        f"INSERT INTO {stream} SELECT {', '.join(cells)} FROM "  # noqa: S608
        f"(SELECT *, json_extract_string(context, {paths}) v FROM {source})"
    )


def insert_values(stream: str) -> str:
    """Return the statement that makes rows of a list of lines, its parameter."""
    fields = FIELD_COLUMNS[stream]
    keys = [f"context.{name}" for name, _ in CONTEXT_COLUMNS]
    paths = [f"$.{name}" for name in ("timestamp", *fields, *keys)]
    # A list of paths, so that each line is parsed once; and once more for the context,
    # which may be a text, and must then not be taken for JSON.
    cells = [_TIME.format("v[1]")]
    cells += [f"v[{2 + index}]" for index in range(len(fields))]
    cells.append("nullif(json_extract(line, '$.context')::VARCHAR, 'null')::JSON")
    for index, (_, kind) in enumerate(CONTEXT_COLUMNS, 2 + len(fields)):
        cells.append(f"TRY_CAST(v[{index}] AS {kind})")
    return (
        f"INSERT INTO {stream} SELECT {', '.join(cells)} FROM "  # noqa: S608
        f"(SELECT line, json_extract_string(line, {paths}) v FROM "
        "(SELECT unnest(?::VARCHAR[]) line))"
    )


__all__ = [
    "CONTEXT_COLUMNS",
    "FIELD_COLUMNS",
    "LONG_LINE",
    "PIECE_BYTES",
    "CountError",
    "Pieces",
    "batches_of",
    "insert_values",
    "is_pattern",
    "lines_of",
    "table",
]
