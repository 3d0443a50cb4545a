"""
The slow road: a line for whatever was passed, however odd.

Taken when orjson refused a value, when a line would be too long, and for what is no
exception, no str, no dict.  Everything is copied into plain data first, by code that
expects any of the caller's objects to raise at any touch.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NoReturn, cast

import orjson

from tokenpak.telemetry.capture.facts import describe
from tokenpak.telemetry.capture.interrupt import is_interrupt
from tokenpak.telemetry.capture.native import NATIVE, check_native
from tokenpak.telemetry.capture.parts import NO_BOUNDS, Parts, bound_parts
from tokenpak.telemetry.capture.privacy.redactor import Redactor
from tokenpak.telemetry.capture.sanitise import (
    Plain,
    class_name,
    clean_text,
    safe_str,
    sanitise_context,
)
from tokenpak.telemetry.capture.shorten import shorten
from tokenpak.telemetry.capture.stack import StackCache, format_exactly, json_text

NOTHING: Final[Mapping[str, Plain]] = MappingProxyType({})
_MOST: Final = 16
"""How many times the length of a line is searched for secrets in a context; the rest is
left out, and would not have been in the line."""


class CarefulEncoder:
    """
    Encodes anything.  Any thread; takes no lock.

    Args:
        max_line_bytes: the longest line, with its newline.
        stacks: the stack traces that are known.
        redactor: what is kept out of the lines.  It sees each text before it is cut.
        parts: bounds for the parts of a record.

    """

    def __init__(
        self,
        max_line_bytes: int,
        stacks: StackCache,
        redactor: Redactor,
        parts: Parts = NO_BOUNDS,
    ) -> None:
        self._limit = max_line_bytes
        self._parts = parts
        self._stacks = stacks
        self._redactor = redactor

    def _text(self, value: object) -> str:
        return safe_str(value, self._limit, cut=self._redactor.window)

    def event(
        self, stamp: str, event: object, request_id: object, context: object
    ) -> bytes:
        """Return the line for *event*, whatever it is."""
        return self._finish(
            {
                "timestamp": stamp,
                "request_id": None if request_id is None else self._text(request_id),
                "event": self._text(event),
            },
            context,
        )

    def error(
        self, stamp: str, request_id: object, error: object, context: object
    ) -> bytes:
        """Return the line for *error*, whatever it is."""
        facts: dict[str, Plain] = {}
        # By the real class: an object may claim another one, or fail to claim any.
        if issubclass(type(error), BaseException):
            name, message, stack = self._describe(cast("BaseException", error))
            if self._stacks.facts:
                facts = describe(cast("BaseException", error))
        elif issubclass(type(error), type) and issubclass(
            cast("type", error), BaseException
        ):
            name, message, stack = class_name(cast("type", error)), "", ""
        else:
            name = class_name(type(error))
            message, stack = self._text(error), ""
        return self._finish(
            {
                "timestamp": stamp,
                "request_id": None if request_id is None else self._text(request_id),
                "error_type": clean_text(name, self._limit),
                "message": message,
                "stack_trace": stack,
            },
            context,
            facts,
        )

    def described(
        self,
        stamp: str,
        error_type: str,
        message: str,
        stack_trace: str,
        context: object,
    ) -> bytes:
        """Return the line for a record of the logger's own, whose error is gone."""
        fields: dict[str, Plain] = {
            "timestamp": stamp,
            "request_id": None,
            "error_type": clean_text(error_type, self._limit),
            "message": clean_text(message, self._limit),
            "stack_trace": stack_trace,
        }
        return self._finish(fields, context)

    def _describe(self, error: BaseException) -> tuple[str, str, str]:
        try:
            given = str(error)
            text = str.__str__(given)  # a plain one, if __str__ gave a subclass
        except BaseException as reason:  # user code
            if is_interrupt(reason):
                raise
            given = text = "<exception str() failed>"  # what traceback prints for it
        # Of a huge message no more than a line's worth can stay, in either field.
        message = clean_text(text, self._limit, self._redactor.window)
        try:
            kind = self._stacks.kind(type(error))
            name = kind.name
            parts = self._stacks.parts(error, kind, json_text(message))
            stack = str(orjson.loads(b'"%b"' % b"".join(parts)))
            # Surrogates, whose escapes are there too; a str with methods of its own.
            plain = type(given) is str and clean_text(text, self._limit) is text
            if not plain and len(text) <= self._limit:
                stack = self._exactly(error)
        except BaseException as reason:
            if is_interrupt(reason):
                raise
            # Not cacheable; or __notes__ or __cause__ is user code.
            name = class_name(type(error))
            stack = self._exactly(error)
        stack = stack.encode(errors="backslashreplace").decode()
        return name, message, stack

    def _exactly(self, error: BaseException) -> str:
        return self._redactor.trace(format_exactly(error), self._limit)

    def _finish(
        self,
        fields: dict[str, Plain],
        context: object,
        facts: Mapping[str, Plain] = NOTHING,
    ) -> bytes:
        try:
            if type(context) is not dict:
                _refuse()
            check_native(context, self._limit)
            encoded = orjson.dumps(context, None, NATIVE)
            if len(encoded) > 4 * self._limit:
                _refuse()  # the copy is bounded
            snapshot = orjson.loads(encoded)
        except Exception:
            snapshot = sanitise_context(context, self._limit, self._redactor.cut)
        for key, value in facts.items():
            snapshot.setdefault(key, value)  # what the caller says wins
        if self._redactor.active:
            snapshot = self._redactor.context(snapshot, _MOST * self._limit)
        try:
            record = {**fields, "context": snapshot}
            if self._parts != NO_BOUNDS:
                record = bound_parts(record, self._parts)
            return shorten(record, self._limit)
        except Exception as reason:
            stub: dict[str, Plain] = {
                "not_encoded": f"{type(reason).__name__}: {self._text(reason)[:200]}"
            }
            return shorten({**fields, "context": stub}, self._limit)


def _refuse() -> NoReturn:
    raise TypeError  # not what orjson is given as it is


__all__ = ["CarefulEncoder"]
