"""
The shapes of an export: what stands before, between and after the records.

``json``   one array, a record a line, so that two exports can be compared by diff
``jsonl``  a record a line
``csv``    RFC 4180: a column for each field, one for each context key that costs and
           delays are looked up by, and the rest as JSON.  Values that are text, numbers
           or booleans are written as such, null as an empty cell, others as JSON.

All of it is UTF-8.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from tokenpak.telemetry.read.records import FIELDS
from tokenpak.telemetry.read.strict import encode, strict_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenpak.telemetry.read.records import Record

Format = Literal["json", "jsonl", "csv"]
FORMATS: Final[tuple[Format, ...]] = ("json", "jsonl", "csv")

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


_SPECIAL: Final = re.compile(r'[",\r\n]').search


class Shape(NamedTuple):
    """How records are put together."""

    head: bytes
    between: bytes
    tail: bytes
    empty: bytes
    """Instead of all the others, when there is no record."""
    row: Callable[[Record, bytes | None], bytes]
    """Of a record, and of its line if that can be copied as it stands."""


def shape_of(form: Format, stream: str) -> Shape:
    """Return the shape of an export of *stream* in the format *form*."""
    if form == "csv":
        columns, row = _csv_of(stream)
        header = _cells([*columns])
        return Shape(header, b"", b"", header, row)
    if form == "jsonl":
        return Shape(b"", b"\n", b"\n", b"", _json_row)
    return Shape(b"[\n", b",\n", b"\n]\n", b"[]\n", _json_row)


def _json_row(record: Record, line: bytes | None) -> bytes:
    return encode(record) if line is None else line


def _csv_of(
    stream: str,
) -> tuple[tuple[str, ...], Callable[[Record, bytes | None], bytes]]:
    fields = FIELDS[stream][:-1]  # the last is the context

    def row(record: Record, _line: bytes | None) -> bytes:
        context = record.get("context")
        known = context if isinstance(context, dict) else {}
        rest = context
        if known:
            rest = {k: v for k, v in known.items() if k not in CONTEXT_COLUMNS}
        other = {k: v for k, v in record.items() if k not in FIELDS[stream]}
        cells = [_cell(record.get(name)) for name in fields]
        cells += [_cell(known.get(name)) for name in CONTEXT_COLUMNS]
        cells += [encode(part).decode() if part else "" for part in (rest, other)]
        return _cells(cells)

    return (*fields, *CONTEXT_COLUMNS, *REST_COLUMNS), row


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return encode(value).decode()


def _cells(cells: list[str]) -> bytes:
    # Not the csv module, which looks at each character by itself: of a row with a
    # stack trace in it, that is nine tenths of the time.
    quoted = [
        '"' + cell.replace('"', '""') + '"' if _SPECIAL(cell) else cell
        for cell in cells
    ]
    text = ",".join(quoted) + "\r\n"
    try:
        return text.encode()
    except UnicodeEncodeError:
        return strict_text(text).encode()


__all__ = [
    "CONTEXT_COLUMNS",
    "FORMATS",
    "REST_COLUMNS",
    "Format",
    "Shape",
    "shape_of",
]
