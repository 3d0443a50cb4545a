"""
An export as Parquet, by DuckDB (the extra ``query``).

The columns are those of csv, with types that do not depend on what a log holds:

``timestamp``                 TIMESTAMP, in UTC
``input_size``                BIGINT
``cost_estimate``, ``duration_ms``  DOUBLE
``context``, ``other_fields``  the whole context, and the fields that are not known, as
                              JSON text
all others                    VARCHAR

What is of another type is NULL in a column with a type; the context has it all.  With
*fields*, the types of others than these are found from all rows, see column_types.

The rows go through a temporary file of JSON Lines, in time order.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any, Final

from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.read.column_types import types_of
from tokenpak.telemetry.read.export import Exported, Tally, pieces
from tokenpak.telemetry.read.render import (
    COLUMNS,
    CONTEXT_COLUMNS,
    REST_COLUMNS,
    found,
    shape_of,
)
from tokenpak.telemetry.read.rows import key_of
from tokenpak.telemetry.read.scratch import Scratch
from tokenpak.telemetry.read.select import Selection
from tokenpak.telemetry.read.strict import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tokenpak.telemetry.read.export import Plan, Writable
    from tokenpak.telemetry.read.records import Record

MISSING: Final = (
    "the extra that it needs to be installed: pip install 'tokenpak-telemetry[query]'"
)
_TYPES: Final = {
    "timestamp": "TIMESTAMP",
    "input_size": "BIGINT",
    "cost_estimate": "DOUBLE",
    "duration_ms": "DOUBLE",
}
_MEMORY: Final = "512MB"
"""What DuckDB may take: a group of rows is held until it is compressed."""
_GROUP_ROWS: Final = 20_480
_BIGGEST: Final = 2**63


def export_parquet(
    plan: Plan,
    out: Writable,
    *,
    pending: bool,
    progress: Callable[[int], None] | None,
) -> Exported:
    """
    Do what *plan* says, as export_records() does for parquet.

    Raises:
        SettingError: duckdb is not installed, or cannot tell two *fields* apart.

    """
    try:
        import duckdb  # noqa: PLC0415
    except ImportError:
        raise SettingError("format", "parquet", MISSING) from None
    tally = Tally()
    fields = plan.fields
    if fields is not None and len({name.lower() for name in fields}) < len(fields):
        # It would call the second one something else, or refuse it if there is no row.
        raise SettingError(
            "fields",
            ",".join(fields),
            "names that differ by more than case, for DuckDB",
        )
    stream = plan.query.stream
    row = _row_of(stream) if fields is None else _picked(fields, _usual(stream))
    shape = shape_of("jsonl", stream)._replace(row=row, copies=False)
    with Scratch("tokenpak-") as folder:
        source = os.path.join(folder.name, "rows.jsonl")
        target = os.path.join(folder.name, "rows.parquet")
        with (
            open(source, "wb") as file,
            Selection(
                plan.log_dir,
                plan.query,
                shape.row,
                tally.note,
                pending=pending,
                passed=progress,
            ) as selection,
        ):
            file.writelines(pieces(selection.rows(), shape, tally))
        types = dict.fromkeys(fields or _names(stream), "VARCHAR")
        usual = _usual(stream) & types.keys()
        types |= {name: _TYPES.get(name, "VARCHAR") for name in usual}
        others = [name for name in fields or () if name not in usual]
        if others and tally.records:
            with open(source, "rb") as lines:
                types |= types_of(lines, others)
        try:
            with duckdb.connect(config={"memory_limit": _MEMORY}) as database:
                database.execute(f"SET temp_directory = {_quoted(folder.name)}")
                database.execute("SET preserve_insertion_order = true")
                database.execute("SET threads = 1")
                # A directory that is called "message=1" is no column.
                rows = (
                    f"SELECT * FROM read_json({_quoted(source)}, "
                    f"format = 'newline_delimited', hive_partitioning = false, "
                )
                database.execute(
                    f"COPY ({rows}columns = {_struct(types)})) TO {_quoted(target)} "
                    f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {_GROUP_ROWS})"
                )
        except duckdb.Error as e:
            reason = str(e).splitlines()[0]
            raise OSError(None, f"DuckDB cannot write Parquet: {reason}") from None
        with open(target, "rb") as made:
            shutil.copyfileobj(made, out)
    return Exported(tally.records, dict(tally.malformed), tuple(tally.unreadable))


def _names(stream: str) -> list[str]:
    return [*COLUMNS[stream][:-1], *CONTEXT_COLUMNS, *REST_COLUMNS]


def _usual(stream: str) -> set[str]:
    """Return the columns that have one type, chosen or not."""
    return {*_names(stream)} - {*REST_COLUMNS}


def _struct(types: dict[str, str]) -> str:
    pairs = (f"{_quoted(name)}: {_quoted(kind)}" for name, kind in types.items())
    return f"{{{', '.join(pairs)}}}"


def _stamp(record: Record) -> str | None:
    stamp = key_of(record)
    return stamp.removesuffix("Z") if stamp else None


def _picked(fields: Sequence[str], usual: set[str]) -> Callable[..., bytes]:
    def row(record: Record, _copied: bytes | None, _line: bytes = b"") -> bytes:
        cells = {name: found(record, name) for name in fields}
        for name in usual & cells.keys():
            cells[name] = _typed(name, cells[name])
        if "timestamp" in cells:
            cells["timestamp"] = _stamp(record)
        return encode(cells)

    return row


def _row_of(stream: str) -> Callable[..., bytes]:
    known_fields = COLUMNS[stream]

    def row(record: Record, _copied: bytes | None, _line: bytes = b"") -> bytes:
        context = record.get("context")
        known = context if isinstance(context, dict) else {}
        cells = {name: _typed(name, record.get(name)) for name in known_fields[:-1]}
        cells["timestamp"] = _stamp(record)
        cells |= {name: _typed(name, known.get(name)) for name in CONTEXT_COLUMNS}
        cells["context"] = encode(context).decode() if context else None
        other = {k: v for k, v in record.items() if k not in known_fields}
        cells["other_fields"] = encode(other).decode() if other else None
        return encode(cells)

    return row


def _typed(name: str, value: Any) -> Any:
    """Return *value* as the column *name* has it."""
    kind = _TYPES.get(name, "VARCHAR")
    if kind == "VARCHAR":
        if value is None or isinstance(value, str):
            return value
        return encode(value).decode()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if kind == "BIGINT":
        exact = isinstance(value, int) and -_BIGGEST <= value < _BIGGEST
        return value if exact else None
    try:
        return float(value)
    except OverflowError:
        return None


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


__all__ = ["export_parquet"]
