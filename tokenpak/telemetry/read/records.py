"""
A line becomes a record, or what is wrong with it in words.

Most lines are *canonical*: exactly what orjson writes for the record that it reads.
Such a line holds no duplicate key, no NaN, no integer that orjson would round to a
float, nothing that other tools refuse; so it can be copied as it stands, and to see
that costs less than to look for any one of these.

All other lines are read by the standard ``json``, which takes what the earlier,
simpler logger wrote: spaces after separators, ``NaN``, escaped lone surrogates,
integers of any size.  Damage is data here, never an exception that ends the reading
(R1).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

import orjson

from tokenpak.telemetry.store.names import ERRORS, EVENTS

FIELDS: Final = {
    ERRORS: (
        "timestamp",
        "request_id",
        "error_type",
        "message",
        "stack_trace",
        "context",
    ),
    EVENTS: ("timestamp", "request_id", "event", "context"),
}
"""The fields that every record of a stream has, in their order."""

HUGE_LINE: Final = 4 * 1024 * 1024
"""Bytes; orjson takes twelve times the memory of what it decodes."""

Record = dict[str, Any]
"""
One record, as it was logged.

It has the FIELDS of its stream.  The files of other writers may lack some, and fields
that are not known are kept.
"""

Entry = tuple[Record, bytes | None]
"""A record, and its line if that is canonical."""

Found = tuple[Record, bytes | None, bytes, int]
"""An entry; its line, canonical or not, without the newline; the line's offset."""


@dataclass(frozen=True, slots=True)
class MalformedLine:
    """
    Bytes of a log file that are no record, and are skipped.

    Attributes:
        file: its path.
        offset: of the first such byte, from 0; in an archive, of the uncompressed data.
        length: bytes, without the newline; 0 where only a newline is missing.
        reason: what is wrong, in words.

    """

    file: str
    offset: int
    length: int
    reason: str


@dataclass(frozen=True, slots=True)
class UnreadableFile:
    """
    A log file or spool that could not be read, or not all of it.

    Attributes:
        file: its path.
        offset: how many bytes (of an archive: uncompressed) were read before that.
        reason: what is wrong, in words.

    """

    file: str
    offset: int
    reason: str


Damage = MalformedLine | UnreadableFile


class NotARecordError(Exception):
    """A line does not decode; the text says why.  Never leaves this package."""


def decode_line(line: bytes) -> Entry:
    """
    Return the record of *line* (without its newline), and the line if canonical.

    Raises:
        NotARecordError: it is none.

    """
    record = None
    if len(line) > HUGE_LINE:
        return _decode_slowly(line, record), None
    try:
        record = orjson.loads(line)
        if orjson.dumps(record) == line and type(record) is dict:
            return record, line
    except (ValueError, TypeError):
        # TypeError: nested more deeply than orjson would write.
        pass
    return _decode_slowly(line, record), None


def is_blank(line: bytes) -> bool:
    """Return whether *line* holds nothing at all: it is neither record nor damage."""
    return line in {b"", b"\r"}


def _decode_slowly(line: bytes, record: object) -> Record:
    """Decode *line* by the standard library; *record* is what orjson made of it."""
    try:
        # The byte order mark is what some editors put before the first line.
        text = line.decode("utf-8-sig")
        value = _load(text)
    except UnicodeDecodeError as e:
        raise NotARecordError(f"not UTF-8 at byte {e.start} of the line") from None
    except json.JSONDecodeError as e:
        if not line.strip(b"\0"):
            raise NotARecordError("NUL bytes only") from None
        at = len(text[: e.pos].encode())
        raise NotARecordError(
            f"not JSON at byte {at} of the line: {e.msg.lower()}"
        ) from None
    except RecursionError:
        # orjson goes deeper; all that is lost then are digits of huge integers.
        if record is None:
            raise NotARecordError("nested too deeply to decode") from None
        value = record
    if not isinstance(value, dict):
        raise NotARecordError(f"JSON, but not an object: {type(value).__name__}")
    return value


def _load(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError:
        # More digits than int() takes (sys.set_int_max_str_digits): kept as text.
        return json.loads(text, parse_int=_int_or_text)


def _int_or_text(digits: str) -> int | str:
    try:
        return int(digits)
    except ValueError:
        return digits


__all__ = [
    "FIELDS",
    "Damage",
    "Entry",
    "Found",
    "MalformedLine",
    "NotARecordError",
    "Record",
    "UnreadableFile",
    "decode_line",
    "is_blank",
]
