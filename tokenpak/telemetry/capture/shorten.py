"""
A record that is too long for a line becomes one that fits, and says so.

Log shippers give up on long lines: Fluent Bit stops reading a whole file at its first
line over 32 KB, Vector discards lines over 100 KB.  So a line has a limit, and what
does not fit is shortened where it hurts least: the middle of the stack trace (both of
its ends name the failure), then the largest values of the context, then the message.
Each cut leaves a mark in its place that says how much is missing.

Pure functions on plain data (see sanitise); all sizes are in bytes of encoded JSON.
"""

from __future__ import annotations

from typing import Final

import orjson

from tokenpak.telemetry.capture.sanitise import Plain

_SMALLEST: Final = 60
"""A value is not cut to less than this: there would be only the mark left."""


def size(value: Plain) -> int:
    """Return how many bytes *value* takes in a line."""
    return len(orjson.dumps(value))


def cut_middle(text: str, budget: int) -> str:
    """Return *text* with its middle replaced by a mark, in at most *budget* bytes."""
    if len(text) <= budget and size(text) <= budget:
        return text
    # Encoding never makes a text shorter, so no more than the budget can stay.
    low, high = 0, min(len(text), budget)
    while low < high:
        keep = (low + high + 1) // 2
        if size(_without_middle(text, keep)) <= budget:
            low = keep
        else:
            high = keep - 1
    return _without_middle(text, low)


def _without_middle(text: str, keep: int) -> str:
    tail = keep // 2
    head = keep - tail
    mark = f"...[{len(text) - keep:,} characters left out]..."
    return text[:head] + mark + (text[-tail:] if tail else "")


def shorten_context(context: dict[str, Plain], budget: int) -> dict[str, Plain]:
    """Return *context* with its largest values cut, in at most *budget* bytes."""
    sizes = {key: size(value) for key, value in context.items()}
    names = sum(size(key) + 2 for key in context) + 2
    room = budget - names
    if room < _SMALLEST * len(context):
        return _first_keys(context, budget)
    # The largest values pay: the highest common limit under which all of them fit.
    limit, rest = room, len(sizes)
    for value_size in sorted(sizes.values()):
        limit = room // rest
        if value_size > limit:
            break
        room, rest = room - value_size, rest - 1
    return {
        key: value if sizes[key] <= limit else cut_value(value, limit)
        for key, value in context.items()
    }


def _first_keys(context: dict[str, Plain], budget: int) -> dict[str, Plain]:
    mark = "<keys left out>"
    kept: dict[str, Plain] = {}
    used = size(mark) + 30
    for key, value in context.items():
        # A large value among the first ones does not cost the other keys.
        small = value if size(value) <= _SMALLEST else cut_value(value, _SMALLEST)
        cost = size(key) + size(small) + 2
        if used + cost > budget:
            break
        used += cost
        kept[key] = small
    kept[mark] = len(context) - len(kept)
    return kept


def cut_value(value: Plain, budget: int) -> Plain:
    """Return *value* in at most *budget* bytes: a container becomes a text."""
    if isinstance(value, str):
        return cut_middle(value, budget)
    return cut_middle(orjson.dumps(value).decode(), budget)


def shorten(record: dict[str, Plain], limit: int) -> bytes:
    """
    Return *record* as one encoded line, with its newline, of at most *limit* bytes.

    Args:
        record: plain data (see sanitise), the fields in their order.
        limit: at least 1,000.

    """
    # What is longer than a line by itself is cut before anything is encoded.
    record = {
        field: cut_middle(value, limit)
        if isinstance(value, str) and len(value) > limit
        else value
        for field, value in record.items()
    }
    line = _encode(record)
    if len(line) <= limit:
        return line
    stack = record.get("stack_trace")
    if isinstance(stack, str):
        room = limit - (len(line) - size(stack))
        record["stack_trace"] = cut_middle(stack, max(room, limit // 4))
        line = _encode(record)
    context = record["context"]
    if len(line) > limit and isinstance(context, dict):
        room = limit - (len(line) - size(context))
        record["context"] = shorten_context(context, max(room, limit // 8))
        line = _encode(record)
    for field in ("message", "event", "request_id", "error_type"):
        value = record.get(field)
        if len(line) > limit and isinstance(value, str):
            room = limit - (len(line) - size(value))
            record[field] = cut_middle(value, max(room, limit // 8))
            line = _encode(record)
    return line


def _encode(record: dict[str, Plain]) -> bytes:
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


__all__ = ["cut_middle", "cut_value", "shorten", "shorten_context", "size"]
