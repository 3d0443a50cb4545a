"""
A failure or an event becomes one encoded line, in the caller's thread.

C1  Never raises for what it is given, and touches no file (but for the source lines of
    a stack that is seen for the first time).
C2  The line is a snapshot: nothing that the caller holds is referred to afterwards.
C3  ``stack_trace`` is what ``traceback.format_exception`` prints.

Every call makes exactly one valid line, by a ladder: (1) orjson on the values as they
are (see native), put between texts that are ready made; (2) a sanitised copy, shortened
if need be; (3) a stub that says why; and (4) one that is ready made, for a call at the
very end of the stack.  The first step is the hot path: what is the same
in all lines is joined beforehand to what seldom changes.

What the caller's objects raise when they are looked at is caught.  KeyboardInterrupt or
SystemExit from a signal handler that runs meanwhile passes: it must end the program.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import CodeType
from typing import Final, NamedTuple, NoReturn, Protocol, cast

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
    kind_of,
)
from tokenpak.telemetry.counter import Counter

_MILLISECOND: Final = 1_000_000
"""In nanoseconds, like all times here."""
_MILLIS: Final = tuple(b"%03d" % number for number in range(1000))
_MICROS: Final = tuple(b'%03dZ","request_id":' % number for number in range(1000))
_NOT_ENCODED: Final = b"<not encoded: the stack or the memory was exhausted>"
_NO_KIND: Final = kind_of(object)
_END: Final = _NOT_ENCODED + b'","stack_trace":"","context":{}}\n'
_NO_EVENT: Final = b'null,"event":"%b","context":{}}\n' % _NOT_ENCODED
"""What a call takes that has no frames left: at the end of an endless recursion."""
_MAX_EVENTS: Final = 1_000
"""How many names of events are kept ready.  Beyond that the cache is emptied."""


class Target(Protocol):
    """What a line can be written to."""

    def write(self, line: bytes, /) -> object:
        """Take *line*; ValueError: not here, ask ``Sink.refused``."""


class Bell(Protocol):
    """What somebody wants of those who put lines."""

    rings: bool
    """Whether there is anything that they want."""

    def answer(self) -> None:
        """Do it."""


class Sink(NamedTuple):
    """
    Where a line goes, taken apart: the hot path does the steps itself.

    A line is written to the last of *targets*, and then *counted* is called.
    """

    targets: Sequence[Target]
    counted: Callable[[], object]
    refused: Callable[[Target, bytes], object]
    """Called with target and line if the target has refused the line."""
    unmade: Callable[[], object]
    """Called if no line could be made or put; must be written in C, as the stack may
    have no room for another frame."""
    bell: Bell


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
        self._stacks = StackCache()
        self._day: dict[str, int] = {}
        self._day_changes = Counter()
        self._events: dict[str, bytes] = {}
        # The millisecond that was formatted last: (its start in ns, how a line begins).
        # In a list, for the closures; the pair is replaced as a whole, so that no
        # thread sees one half of it.
        self._moment: list[tuple[int, bytes]] = [(1 << 63, b"")]  # none yet
        self._second = (-1, b"")  # likewise: (seconds, how a line begins)
        self._clock = clock

    def error(self, request_id: object, error: object, context: object) -> bytes:
        """Return the line for *error*: an exception, or whatever else was passed."""
        catch = _Catch()
        self.record_error(catch.sink, {}, _ignore)(request_id, error, context)
        return catch.line

    def event(self, event: object, request_id: object, context: object) -> bytes:
        """Return the line for *event*."""
        catch = _Catch()
        self.record_event(catch.sink)(event, request_id, context)
        return catch.line

    # The two functions of the hot path are closures: what they need is a local name
    # then, and not an attribute to be looked up with every record; and they write the
    # line themselves, which saves a call.

    def record_error(
        self,
        sink: Sink,
        counts: Mapping[type, Callable[[], object]],
        count_new: Callable[[type], object],
    ) -> Callable[..., None]:
        """
        Return ``log_error(request_id, error, context=None)``, which puts a line.

        *error* is an exception, or whatever else was passed.

        Args:
            sink: where it is put.
            counts: what to call first, by the class of the error.
            count_new: called with the class if it is not in *counts*.

        """
        clock = self._clock
        moment, limit = self._moment, self._limit
        find_kind, parts_of = self._stacks.kind, self._stacks.parts
        dumps, join, micros = orjson.dumps, b"".join, _MICROS
        targets, counted, refused, unmade, bell = sink

        def log_error(
            request_id: object, error: object, context: object = None
        ) -> None:
            try:
                cls = type(error)
                try:
                    counts[cls]()
                except Exception:
                    count_new(cls)
                # Stamped first: formatting an unknown stack can take a while.
                start, prefix = moment[0]
                past = clock() - start
                if not 0 <= past < _MILLISECOND:
                    past, prefix = self._next_moment(past + start)
                line = b""
                kind = _NO_KIND
                try:
                    kind = find_kind(cls)
                    try:
                        text = str(error)
                    except BaseException:  # user code
                        _refuse()
                    if type(text) is not str or len(text) > limit:
                        _refuse()  # before 50 MB are encoded, only to be thrown away
                    if type(context) is dict:
                        shown = dumps(context, None, NATIVE)
                        if 10 in shown:  # a newline: a fragment holds it
                            _refuse()
                    elif context is None:
                        shown = b"{}"
                    else:
                        _refuse()
                    message = dumps(text)[1:-1]
                    built = join(
                        (
                            prefix,
                            micros[past // 1000],
                            dumps(request_id) if type(request_id) is str else _refuse(),
                            kind.fields_json,
                            message,
                            b'","stack_trace":"',
                            *parts_of(error, kind, message),  # type: ignore[arg-type]
                            b'","context":',
                            shown,
                            b"}\n",
                        )
                    )
                    if len(built) <= limit:
                        line = built
                except Exception:  # noqa: S110  see the ladder
                    pass
                if not line:
                    try:
                        line = self._error_the_slow_way(
                            _stamp(prefix, past), request_id, error, context
                        )
                    except Exception:
                        line = join(
                            (
                                prefix,
                                micros[past // 1000],
                                b"null",
                                kind.fields_json,
                                _END,
                            )
                        )
                target = targets[-1]
                try:
                    target.write(line)
                except ValueError:
                    refused(target, line)
                else:
                    counted()
            except Exception:
                # Not even a call can be made: this is the end of the stack.
                unmade()
            if bell.rings:
                try:
                    bell.answer()
                except Exception:  # noqa: S110  the next record rings again
                    pass

        return log_error

    def record_event(self, sink: Sink) -> Callable[..., None]:
        """
        Return ``log_event(event, request_id=None, context=None)``, which puts a line.

        Args:
            sink: where it is put.

        """
        clock = self._clock
        moment, limit = self._moment, self._limit
        known = self._events
        dumps, join, micros = orjson.dumps, b"".join, _MICROS
        targets, counted, refused, unmade, bell = sink

        def log_event(
            event: object, request_id: object = None, context: object = None
        ) -> None:
            try:
                start, prefix = moment[0]
                past = clock() - start
                if not 0 <= past < _MILLISECOND:
                    past, prefix = self._next_moment(past + start)
                line = b""
                try:
                    if type(context) is dict and type(request_id) is str:
                        # A name that is not known, or is none: KeyError or TypeError.
                        shown = dumps(context, None, NATIVE)
                        built = join(
                            (
                                prefix,
                                micros[past // 1000],
                                dumps(request_id),
                                known[event],  # type: ignore[index]
                                shown,
                                b"}\n",
                            )
                        )
                        # A newline in the context: a fragment holds it.
                        if len(built) <= limit and 10 not in shown:
                            line = built
                except Exception:  # noqa: S110  see the ladder
                    pass
                if not line:
                    try:
                        line = self._event_with_care(
                            prefix, past, event, request_id, context
                        )
                    except Exception:
                        line = join((prefix, micros[past // 1000], _NO_EVENT))
                target = targets[-1]
                try:
                    target.write(line)
                except ValueError:
                    refused(target, line)
                else:
                    counted()
            except Exception:
                # Not even a call can be made: this is the end of the stack.
                unmade()
            if bell.rings:
                try:
                    bell.answer()
                except Exception:  # noqa: S110  the next record rings again
                    pass

        return log_event

    def _event_with_care(
        self,
        prefix: bytes,
        past: int,
        event: object,
        request_id: object,
        context: object,
    ) -> bytes:
        try:
            if type(event) is not str or (
                request_id is not None and type(request_id) is not str
            ):
                _refuse()
            if type(context) is dict:
                shown = orjson.dumps(context, None, NATIVE)
            elif context is None:
                shown = b"{}"
            else:
                _refuse()
            name = self._events.get(event) or self._learn_event(event)
            line = b"".join(
                (
                    prefix,
                    _MICROS[past // 1000],
                    orjson.dumps(request_id),
                    name,
                    shown,
                    b"}\n",
                )
            )
            if len(line) <= self._limit and 10 not in shown:
                return line
        except Exception:  # noqa: S110  see the ladder
            pass
        return self._finish(
            {
                "timestamp": _stamp(prefix, past),
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

    @property
    def codes(self) -> tuple[CodeType, CodeType]:
        """The code of the functions that stamp a record and put it."""
        sink = _Catch().sink
        return (
            self.record_error(sink, {}, _ignore).__code__,
            self.record_event(sink).__code__,
        )

    def _next_moment(self, now: int) -> tuple[int, bytes]:
        """Return (ns into the millisecond of *now*, how a line begins in it)."""
        start = now - now % _MILLISECOND
        seconds, millis = divmod(start // _MILLISECOND, 1000)
        day = seconds // 86_400
        if self._day.setdefault("current", day) != day:
            # Counted before the record is put: see DayWatch.
            self._day_changes.add()
            self._day["current"] = day
        second, text = self._second
        if second != seconds:
            text = (
                b'{"timestamp":"%04d-%02d-%02dT%02d:%02d:%02d.'
                % (time.gmtime(seconds)[:6])
            )
            self._second = (seconds, text)
        prefix = text + _MILLIS[millis]
        self._moment[0] = (start, prefix)
        return now - start, prefix

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


def _stamp(prefix: bytes, past: int) -> str:
    return f"{prefix.decode()[-23:]}{past // 1000:03}Z"


class _Catch:
    """A sink for one line."""

    rings = False

    def __init__(self) -> None:
        self.line = b""
        self.sink = Sink([self], int, self.refuse, int, self)

    def write(self, line: bytes, /) -> None:
        """Keep *line*."""
        self.line = line

    def refuse(self, target: Target, line: bytes) -> None:
        """Is never called, since nothing is refused."""

    def answer(self) -> None:
        """Is never called, since nothing rings."""


def _ignore(cls: type) -> None:
    del cls


def _refuse() -> NoReturn:
    raise TypeError  # not the type that step 1 of the ladder is for


__all__ = ["Encoder"]
