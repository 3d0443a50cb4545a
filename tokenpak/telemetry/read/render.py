"""
The shapes of an export: what stands before, between and after the records.

``json``     one array, a record a line, so that two exports can be compared by diff
``jsonl``    a record a line
``csv``      RFC 4180: a column for each field, one for each context key that costs and
             delays are looked up by, and the rest as JSON.  Values that are text,
             numbers or booleans are written as such, null as an empty cell, others as
             JSON.
``parquet``  see ``parquet``; the rows that it is made of are those of ``jsonl``

With *fields*, a row has these, in their order, and no others.

A spreadsheet takes a cell that begins with ``=``, ``+``, ``-`` or ``@`` for a formula
and runs it, whoever wrote it into a message: such a cell gets an apostrophe in front,
unless it is a plain number.

All of it is UTF-8.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from tokenpak.telemetry.read.filter import ALL
from tokenpak.telemetry.read.records import FIELDS
from tokenpak.telemetry.read.strict import encode, strict_text
from tokenpak.telemetry.read.where import MISSING, value_at

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tokenpak.telemetry.read.records import Record

Format = Literal["json", "jsonl", "csv", "parquet"]
FORMATS: Final[tuple[Format, ...]] = ("json", "jsonl", "csv", "parquet")

CONTEXT_COLUMNS: Final = (
    "model",
    "provider",
    "input_size",
    "cost_estimate",
    "duration_ms",
)
"""The context keys that have a column of their own."""

REST_COLUMNS: Final = ("context", "other_fields")
"""The rest of the context, and the fields that are not known, each as JSON."""


COLUMNS: Final = {
    **FIELDS,
    ALL: (
        "timestamp",
        "request_id",
        "error_type",
        "event",
        "message",
        "stack_trace",
        "context",
    ),
}
"""The fields that have a column of their own; the last is the context."""

_SPECIAL: Final = re.compile(r'[",\r\n]').search
_FORMULA: Final = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""What a formula begins with, also in full width; or what is skipped before one."""
_PLAIN_NUMBER: Final = re.compile(
    r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII
).fullmatch


class Shape(NamedTuple):
    """How records are put together."""

    head: bytes
    between: bytes
    tail: bytes
    empty: bytes
    """Instead of all the others, when there is no record."""
    row: Callable[..., bytes]
    """Of a record, its line if that can be copied as it stands, and, if given, its line
    as it is."""
    copies: bool
    """Whether a line that can be copied is its row."""


def shape_of(
    form: Format,
    stream: str,
    fields: Sequence[str] | None = None,
    *,
    raw: bool = False,
) -> Shape:
    """
    Return the shape of an export.

    Args:
        form: the format.
        stream: ``errors``, ``events`` or ``all``: csv has columns for its fields.
        fields: of a row, as for value_at(); None: all.
        raw: whether cells that a spreadsheet would run as formulas are left as they
            are.

    """
    if form == "csv":
        columns, cells_of = _table_of(stream) if fields is None else _picked(fields)

        def table_row(
            record: Record, _copied: bytes | None, _line: bytes = b""
        ) -> bytes:
            return csv_row(cells_of(record), raw=raw)

        header = csv_row([*columns], raw=raw)
        return Shape(header, b"", b"", header, table_row, copies=False)
    row = _json_row if fields is None else _json_of(fields)
    copies = fields is None
    if form == "json":
        return Shape(b"[\n", b",\n", b"\n]\n", b"[]\n", row, copies)
    return Shape(b"", b"\n", b"\n", b"", row, copies)


def _json_row(record: Record, copied: bytes | None, _line: bytes = b"") -> bytes:
    return encode(record) if copied is None else copied


def _json_of(fields: Sequence[str]) -> Callable[..., bytes]:
    def row(record: Record, _copied: bytes | None, _line: bytes = b"") -> bytes:
        # null where there is none: all rows have the same columns.
        return encode({name: found(record, name) for name in fields})

    return row


def found(record: Record, name: str) -> Any:
    """Return what *record* has by *name*, of its own or in its context; or None."""
    value = record.get(name, MISSING)  # "context" is the context, not a key in it
    if value is MISSING:
        value = value_at(record, name)
    return None if value is MISSING else value


def _picked(
    fields: Sequence[str],
) -> tuple[Sequence[str], Callable[[Record], list[str]]]:
    return fields, lambda record: [_cell(found(record, name)) for name in fields]


def _table_of(stream: str) -> tuple[Sequence[str], Callable[[Record], list[str]]]:
    known_fields = COLUMNS[stream]
    fields = known_fields[:-1]  # the last is the context

    def cells_of(record: Record) -> list[str]:
        context = record.get("context")
        known = context if isinstance(context, dict) else {}
        rest = context
        if known:
            rest = {k: v for k, v in known.items() if k not in CONTEXT_COLUMNS}
        other = {k: v for k, v in record.items() if k not in known_fields}
        cells = [_cell(record.get(name)) for name in fields]
        cells += [_cell(known.get(name)) for name in CONTEXT_COLUMNS]
        cells += [encode(part).decode() if part else "" for part in (rest, other)]
        return cells

    return (*fields, *CONTEXT_COLUMNS, *REST_COLUMNS), cells_of


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return encode(value).decode()


def csv_row(cells: list[str], *, raw: bool) -> bytes:
    """
    Return a row of csv, in UTF-8, with its line end.

    Args:
        cells: what is in it.
        raw: whether what a spreadsheet would run as formulas is left as it is; else it
            gets an apostrophe in front.

    """
    if not raw:
        cells = [
            f"'{cell}"
            if cell and cell[0] in _FORMULA and not _PLAIN_NUMBER(cell)
            else cell
            for cell in cells
        ]
    # Not the csv module, which looks at each character by itself: of a row with a
    # stack trace in it, that is nine tenths of the time.
    quoted = [
        '"' + cell.replace('"', '""') + '"' if _SPECIAL(cell) else cell
        for cell in cells
    ]
    if quoted == [""]:  # else an empty line, which readers of csv pass over
        quoted = ['""']
    text = ",".join(quoted) + "\r\n"
    try:
        return text.encode()
    except UnicodeEncodeError:
        return strict_text(text).encode()


__all__ = [
    "COLUMNS",
    "CONTEXT_COLUMNS",
    "FORMATS",
    "REST_COLUMNS",
    "Format",
    "Shape",
    "csv_row",
    "found",
    "shape_of",
]
