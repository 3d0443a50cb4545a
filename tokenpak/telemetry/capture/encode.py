"""
A failure or an event becomes one encoded line, in the caller's thread.

C1  Never raises for what it is given, and touches no file (but for the source lines of
    a stack that is seen for the first time).
C2  The line is a snapshot: nothing that the caller holds is referred to afterwards.
C3  ``stack_trace`` is what ``traceback.format_exception`` prints.

Every call makes exactly one valid line, by a ladder: (1) orjson on the values as they
are (see native), put between texts that are ready made; (2) a sanitised copy, shortened
if need be; (3) a stub that says why.  The first step is the hot path: what is the same
in all lines is joined beforehand to what seldom changes.

What the caller's objects raise when they are looked at is caught.  KeyboardInterrupt or
SystemExit from a signal handler that runs meanwhile passes: it must end the program.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NoReturn, cast

import orjson

from tokenpak.telemetry.capture.native import NATIVE, check_native
from tokenpak.telemetry.capture.sanitise import (
    Plain,
    class_name,
    clean_text,
    safe_str,
    sanitise_context,
)
from tokenpak.telemetry.capture.shorten import shorten
from tokenpak.telemetry.capture.stack import (
    StackCache,
    format_exactly,
    json_text,
)
from tokenpak.telemetry.counter import Counter

_MICROSECONDS: Final = 1_000_000
_DAY: Final = 86_400 * _MICROSECONDS
_MILLIS: Final = tuple(b"%03d" % number for number in range(1000))
_MICROS: Final = tuple(b'%03dZ","request_id":' % number for number in range(1000))
_MAX_EVENTS: Final = 1_000
"""How many names of events are kept ready.  Beyond that the cache is emptied."""


class Encoder:
    """
    Encodes records as lines.  Any thread; takes no lock.

    Args:
        max_line_bytes: the longest line, with its newline; at least 1,000.
        clock: nanoseconds since the epoch.

    """

    def __init__(
        self, max_line_bytes: int, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self._limit = max_line_bytes
        self._clock = clock
        self._stacks = StackCache()
        # The second that was formatted last: (its start in microseconds, how a line
        # begins).  Replaced as a whole, so that no thread sees one half of it.
        self._second = (0, b'{"timestamp":"1970-01-01T00:00:00.')
        self._day: dict[str, int] = {}
        self._day_changes = Counter()
        self._events: dict[str, bytes] = {}

    def error(self, request_id: object, error: object, context: object) -> bytes:
        """Return the line for *error*: an exception, or whatever else was passed."""
        # Stamped first: formatting an unknown stack can take a while.
        start, second = self._second
        past = self._clock() // 1000 - start
        if not 0 <= past < _MICROSECONDS:
            past, second = self._next_second(past + start)
        milli, micro = divmod(past, 1000)
        try:
            kind = self._stacks.kind(type(error))
            try:
                text = str(error)
            except BaseException:  # user code
                _refuse()
            if type(text) is not str or len(text) > self._limit:
                _refuse()  # before 50 MB are encoded, only to be thrown away
            if type(context) is dict:
                shown = orjson.dumps(context, None, NATIVE)
                if 10 in shown or 0 in shown:  # a newline or a NUL, in a fragment
                    _refuse()
            elif context is None:
                shown = b"{}"
            else:
                _refuse()
            message = orjson.dumps(text)[1:-1]
            line = b"".join(
                (
                    second,
                    _MILLIS[milli],
                    _MICROS[micro],
                    orjson.dumps(request_id) if type(request_id) is str else _refuse(),
                    kind.fields_json,
                    message,
                    b'","stack_trace":"',
                    *self._stacks.parts(error, kind, message),  # type: ignore[arg-type]
                    b'","context":',
                    shown,
                    b"}\n",
                )
            )
            if len(line) <= self._limit:
                return line
        except Exception:  # noqa: S110  see the ladder
            pass
        return self._error_the_slow_way(
            _stamp(second, past), request_id, error, context
        )

    def event(self, event: object, request_id: object, context: object) -> bytes:
        """Return the line for *event*."""
        start, second = self._second
        past = self._clock() // 1000 - start
        if not 0 <= past < _MICROSECONDS:
            past, second = self._next_second(past + start)
        milli, micro = divmod(past, 1000)
        try:
            if type(context) is dict:
                shown = orjson.dumps(context, None, NATIVE)
                if 10 in shown or 0 in shown:  # a newline or a NUL, in a fragment
                    _refuse()
            elif context is None:
                shown = b"{}"
            else:
                _refuse()
            line = b"".join(
                (
                    second,
                    _MILLIS[milli],
                    _MICROS[micro],
                    b"null"
                    if request_id is None
                    else orjson.dumps(request_id)
                    if type(request_id) is str
                    else _refuse(),
                    self._events.get(event) or self._learn_event(event)
                    if type(event) is str
                    else _refuse(),
                    shown,
                    b"}\n",
                )
            )
            if len(line) <= self._limit:
                return line
        except Exception:  # noqa: S110  see the ladder
            pass
        return self._finish(
            {
                "timestamp": _stamp(second, past),
                "request_id": self._text(request_id),
                "event": safe_str(event, self._limit),
            },
            context,
        )

    def _learn_event(self, event: str) -> bytes:
        fields = b',"event":%b,"context":' % orjson.dumps(event)
        # Names are few and short.  What is not (an id was put into it) is not kept.
        if len(event) <= 100:
            if len(self._events) >= _MAX_EVENTS:
                self._events.clear()
            self._events[event] = fields
        return fields

    @property
    def day_changes(self) -> int:
        """How often a record was stamped with another UTC day than the one before."""
        return self._day_changes.value

    def _next_second(self, now: int) -> tuple[int, bytes]:
        start = now - now % _MICROSECONDS
        day = start // _DAY
        if self._day.setdefault("current", day) != day:
            # Counted before the record is put: see DayWatch.
            self._day_changes.add()
            self._day["current"] = day
        parts = time.gmtime(start // _MICROSECONDS)[:6]
        second = b'{"timestamp":"%04d-%02d-%02dT%02d:%02d:%02d.' % parts
        self._second = (start, second)
        return now - start, second

    def _text(self, value: object) -> str | None:
        return None if value is None else safe_str(value, self._limit)

    def _error_the_slow_way(
        self, stamp: str, request_id: object, error: object, context: object
    ) -> bytes:
        # By the real class: an object may claim another one, or fail to claim any.
        if issubclass(type(error), BaseException):
            name, message, stack = self._describe(cast("BaseException", error))
        elif issubclass(type(error), type) and issubclass(
            cast("type", error), BaseException
        ):
            name, message, stack = class_name(cast("type", error)), "", ""
        else:
            name = class_name(type(error))
            message, stack = safe_str(error, self._limit), ""
        return self._finish(
            {
                "timestamp": stamp,
                "request_id": self._text(request_id),
                "error_type": clean_text(name, self._limit),
                "message": message,
                "stack_trace": stack,
            },
            context,
        )

    def _describe(self, error: BaseException) -> tuple[str, str, str]:
        try:
            given = str(error)
            text = str.__str__(given)  # a plain one, if __str__ gave a subclass
        except BaseException:  # user code
            given = text = "<exception str() failed>"  # what traceback prints for it
        # Of a huge message no more than a line's worth can stay, in either field.
        message = clean_text(text, self._limit)
        try:
            kind = self._stacks.kind(type(error))
            name = kind.name
            parts = self._stacks.parts(error, kind, json_text(message))
            stack = str(orjson.loads(b'"%b"' % b"".join(parts)))
            # Surrogates, whose escapes are there too; a str with methods of its own.
            if given is not message and len(text) <= self._limit:
                stack = format_exactly(error)
        except BaseException:  # not cacheable; or __notes__ or __cause__ is user code
            name = class_name(type(error))
            stack = format_exactly(error)
        stack = stack.encode(errors="backslashreplace").decode()
        return name, message, stack

    def _finish(self, fields: dict[str, Plain], context: object) -> bytes:
        try:
            if type(context) is not dict:
                _refuse()
            check_native(context, self._limit)
            encoded = orjson.dumps(context, None, NATIVE)
            if len(encoded) > 4 * self._limit:
                _refuse()  # the copy is bounded
            snapshot = orjson.loads(encoded)
        except Exception:
            snapshot = sanitise_context(context, self._limit)
        try:
            return shorten({**fields, "context": snapshot}, self._limit)
        except Exception as reason:
            stub: dict[str, Plain] = {
                "not_encoded": f"{type(reason).__name__}: {safe_str(reason, 200)}"
            }
            return shorten({**fields, "context": stub}, self._limit)


def _stamp(second: bytes, past: int) -> str:
    return f"{second.decode()[-20:]}{past:06}Z"


def _refuse() -> NoReturn:
    raise TypeError  # not the type that step 1 of the ladder is for


__all__ = ["Encoder"]
