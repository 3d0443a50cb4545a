"""
A failure or an event becomes one encoded line, in the caller's thread.

C1  Never raises for what it is given, and touches no file (but for the source lines of
    a stack that is seen for the first time).
C2  The line is a snapshot: nothing that the caller holds is referred to afterwards.
C3  ``stack_trace`` is what ``traceback.format_exception`` prints.

Every call makes exactly one valid line, by a ladder: (1) orjson on the values as they
are, put between texts that are ready made; (2) a sanitised copy, shortened if need be;
(3) a stub that says why.  The first step is the hot path.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import orjson

from tokenpak.telemetry.capture.sanitise import (
    Plain,
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
_THREE_DIGITS: Final = tuple(b"%03d" % number for number in range(1000))


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
        # The second that was formatted last: (its start in microseconds, its text).
        # Replaced as a whole, so that no thread sees one half of it.
        self._second = (0, b"1970-01-01T00:00:00.")
        self._day: dict[str, int] = {}
        self._day_changes = Counter()

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
            text = str(error)
            if len(text) > self._limit:
                _refuse()  # before 50 MB are encoded, only to be thrown away
            message = orjson.dumps(text)[1:-1]
            line = b"".join(
                (
                    b'{"timestamp":"',
                    second,
                    _THREE_DIGITS[milli],
                    _THREE_DIGITS[micro],
                    b'Z","request_id":',
                    orjson.dumps(request_id) if type(request_id) is str else _refuse(),
                    b',"error_type":',
                    kind.error_type_json,
                    b',"message":"',
                    message,
                    b'","stack_trace":"',
                    self._stacks.render(error, kind, message),  # type: ignore[arg-type]
                    b'","context":',
                    b"{}"
                    if context is None
                    else orjson.dumps(context)
                    if type(context) is dict
                    else _refuse(),
                    b"}\n",
                )
            )
            if len(line) <= self._limit:
                return line
        except BaseException:  # noqa: S110  str(error) is user code; see the ladder
            pass
        stamp = b"%b%03d%03dZ" % (second, milli, micro)
        return self._error_the_slow_way(stamp.decode(), request_id, error, context)

    def event(self, event: object, request_id: object, context: object) -> bytes:
        """Return the line for *event*."""
        start, second = self._second
        past = self._clock() // 1000 - start
        if not 0 <= past < _MICROSECONDS:
            past, second = self._next_second(past + start)
        milli, micro = divmod(past, 1000)
        try:
            line = b"".join(
                (
                    b'{"timestamp":"',
                    second,
                    _THREE_DIGITS[milli],
                    _THREE_DIGITS[micro],
                    b'Z","request_id":',
                    b"null"
                    if request_id is None
                    else orjson.dumps(request_id)
                    if type(request_id) is str
                    else _refuse(),
                    b',"event":',
                    orjson.dumps(event) if type(event) is str else _refuse(),
                    b',"context":',
                    b"{}"
                    if context is None
                    else orjson.dumps(context)
                    if type(context) is dict
                    else _refuse(),
                    b"}\n",
                )
            )
            if len(line) <= self._limit:
                return line
        except Exception:  # noqa: S110  see the ladder
            pass
        stamp = b"%b%03d%03dZ" % (second, milli, micro)
        return self._finish(
            {
                "timestamp": stamp.decode(),
                "request_id": self._text(request_id),
                "event": safe_str(event, self._limit),
            },
            context,
        )

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
        second = b"%04d-%02d-%02dT%02d:%02d:%02d." % parts
        self._second = (start, second)
        return now - start, second

    def _text(self, value: object) -> str | None:
        return None if value is None else safe_str(value, self._limit)

    def _error_the_slow_way(
        self, stamp: str, request_id: object, error: object, context: object
    ) -> bytes:
        if isinstance(error, BaseException):
            name, message, stack = self._describe(error)
        elif isinstance(error, type) and issubclass(error, BaseException):
            name, message, stack = error.__name__, "", ""
        else:
            name = type(error).__name__
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
            text = str.__str__(str(error))  # a plain one, if __str__ gave a subclass
        except BaseException:  # user code
            text = "<exception str() failed>"  # what traceback prints for it
        # Of a huge message no more than a line's worth can stay, in either field.
        message = clean_text(text, self._limit)
        try:
            kind = self._stacks.kind(type(error))
            name = kind.name
            rendered = self._stacks.render(error, kind, json_text(message))
            stack = str(orjson.loads(b'"%b"' % rendered))
            if text != message and len(text) <= self._limit:
                stack = format_exactly(error)  # the surrogates' escapes are there too
        except BaseException:  # not cacheable; or __notes__ or __cause__ is user code
            name = type.__dict__["__name__"].__get__(type(error))
            stack = format_exactly(error)
        stack = stack.encode(errors="backslashreplace").decode()
        return name, message, stack

    def _finish(self, fields: dict[str, Plain], context: object) -> bytes:
        # The snapshot is orjson's own, where it can take one: it knows more types.
        try:
            encoded = orjson.dumps(context) if type(context) is dict else _refuse()
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


def _refuse() -> bytes:
    raise TypeError  # not the type that step 1 of the ladder is for


__all__ = ["Encoder"]
