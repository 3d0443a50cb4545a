"""
What a malformed line still holds.

When a newline is damaged, two records share a line; when a process dies in the middle
of a write and another logger appends, a record follows the beginning of one; after a
power failure, a run of NULs precedes one.  The damage must cost no record but those
that hold a damaged byte (R1), so each place where a record could begin is tried.

A piece counts as a record only if

1. it decodes as a whole, every byte of it valid,
2. it has all the fields of its stream, and
3. no ``,``, ``}`` or ``]`` follows: after an object inside a damaged record's context
   one does.  (Torn right behind such an object, with all fields, the line is like one
   that was torn before a whole record; then it counts, rather than lose the record.)

Everything else on the line is accounted for as malformed, by offset and length.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from tokenpak.telemetry.read.lines import RECORD_START
from tokenpak.telemetry.read.records import (
    FIELDS,
    Entry,
    Found,
    MalformedLine,
    NotARecordError,
    Record,
    decode_line,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_START: Final = RECORD_START.decode()
_LOOKS: Final = 16
"""How often, on average, a character may be looked at before the search is given up:
only a line made for the purpose, of starts inside of starts, takes more than two."""
_PREFIX: Final = 1024 * 1024
"""Characters; a longer prefix that is done with is cut off, because for the line number
in each of its errors the decoder counts all newlines from the beginning."""

_raw_decode = json.JSONDecoder(parse_int=str).raw_decode


def salvage_line(
    line: bytes, *, file: str, offset: int, stream: str, reason: str
) -> Iterator[Found | MalformedLine]:
    """
    Yield the records in *line*, which does not decode, and what lies between them.

    Args:
        line: without its newline.
        file: for the reports.
        offset: of the line in the file.
        stream: ``errors`` or ``events``.
        reason: why the line as a whole does not decode.

    """
    if RECORD_START not in line:
        yield MalformedLine(file, offset, len(line), reason)
        return
    # Bytes that are not UTF-8 become lone surrogates, which do not encode again, so
    # that the search goes on behind them but no record can hold them.
    text = line.decode("utf-8", "surrogateescape")
    position = offset
    done = 0
    reports = 0
    for start, end, entry in _find_records(text, FIELDS[stream]):
        gap = len(text[done:start].encode("utf-8", "surrogateescape"))
        if gap or done:
            why = "no record; the rest of its line was recovered"
            yield MalformedLine(
                file, position, gap, why if gap else "a newline is missing"
            )
            reports += 1
        position += gap
        raw = text[start:end].encode()
        yield *entry, raw, position
        position += len(raw)
        done = end
    left = offset + len(line) - position
    if left or not reports:
        yield MalformedLine(file, position, left, reason)


def _find_records(
    text: str, wanted: tuple[str, ...]
) -> Iterator[tuple[int, int, Entry]]:
    """Yield start, end and entry of each record in *text*; none overlaps another."""
    budget = _LOOKS * (len(text) + _PREFIX)
    base = 0
    start = text.find(_START)
    while start >= 0 and budget > 0:
        if start > _PREFIX:
            text = text[start:]
            base += start
            start = 0
        following = start + 1
        try:
            value, end = _raw_decode(text, start)
        except json.JSONDecodeError as e:
            budget -= e.pos - start
        except RecursionError:
            budget -= len(text) - start
        else:
            budget -= end - start
            entry = _entry(text[start:end], value, wanted)
            if entry is not None and text[end : end + 1] not in {",", "}", "]"}:
                yield base + start, base + end, entry
                following = end
        start = text.find(_START, following)


def _entry(text: str, value: Record, wanted: tuple[str, ...]) -> Entry | None:
    if any(name not in value for name in wanted):
        return None
    try:
        return decode_line(text.encode())
    except (UnicodeEncodeError, NotARecordError):
        return None


__all__ = ["salvage_line"]
