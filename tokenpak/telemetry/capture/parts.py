"""
Bounds for the parts of a record, each for itself, below that of the whole line.

A message of a megabyte should not cost the stack its room, nor a prompt in the context
the message.  What is shortened says so, as everywhere (see shorten).  Off by default:
then nobody asks here.

All sizes are in bytes of encoded JSON, quotes included; 0 is no bound.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import orjson

from tokenpak.telemetry.capture.sanitise import Plain
from tokenpak.telemetry.capture.shorten import cut_middle, shorten_context, size

_MESSAGE: Final = b'"message":"'
_STACK: Final = b'","stack_trace":"'
_CONTEXT: Final = b'","context":'
"""None of these can be inside of a text, where a quote is escaped; and what has them in
the context comes behind."""


class Parts(NamedTuple):
    """The bounds."""

    message: int = 0
    stack: int = 0
    context: int = 0


NO_BOUNDS: Final = Parts()


def bound_parts(record: dict[str, Plain], parts: Parts) -> dict[str, Plain]:
    """Return *record*, plain data, with its parts shortened."""
    bounded = dict(record)
    for field, budget in (("message", parts.message), ("stack_trace", parts.stack)):
        value = record.get(field)
        if budget and isinstance(value, str):
            bounded[field] = cut_middle(value, budget)
    context = record.get("context")
    if parts.context and isinstance(context, dict) and size(context) > parts.context:
        bounded["context"] = shorten_context(context, parts.context)
    return bounded


def bound_line(line: bytes, parts: Parts) -> bytes:
    """Return *line*, a line of the logger's own making, with its parts shortened."""
    # The first that looks so: in the context, an event's, there may be all of them.
    context = line.find(_CONTEXT)
    stack = line.find(_STACK, 0, context)
    if _within(len(line) - context - len(_CONTEXT) - 2, parts.context) and (
        stack < 0
        or (
            _within(stack - line.find(_MESSAGE) - len(_MESSAGE) + 2, parts.message)
            and _within(context - stack - len(_STACK) + 2, parts.stack)
        )
    ):
        return line
    record = bound_parts(orjson.loads(line), parts)
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


def _within(length: int, bound: int) -> bool:
    return not bound or length <= bound


__all__ = ["NO_BOUNDS", "Parts", "bound_line", "bound_parts"]
