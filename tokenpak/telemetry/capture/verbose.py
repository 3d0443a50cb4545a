"""
Records that say less or more than usual: bounds of parts, chosen keys, further fields.

An encoder around the usual one: that makes the line, and then it is shortened and
extended here.  Used only where the settings ask for it; see verbosity.

C1  Nothing here raises.  A field that cannot be had is left out, and so is a context
    that cannot be filtered.
A line is never longer than ``max_line_bytes``: room for the further fields is kept
free, and where that bound is very small, those are left out that do not fit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

import orjson

from tokenpak.telemetry.capture.bound import current, merge
from tokenpak.telemetry.capture.encode import Encoder
from tokenpak.telemetry.capture.extras import ROOM, Extras
from tokenpak.telemetry.capture.facts import with_facts
from tokenpak.telemetry.capture.keys import UNFILTERED, KeyFilter
from tokenpak.telemetry.capture.parts import NO_BOUNDS, bound_line
from tokenpak.telemetry.capture.privacy.redactor import Redactor
from tokenpak.telemetry.capture.sink import Catch, Sink
from tokenpak.telemetry.capture.variables import variables_of
from tokenpak.telemetry.capture.verbosity import Verbosity

SHORTEST: Final = 1_000
"""Bytes that are left to the usual fields, whatever else is asked for."""
MOST_LOCALS: Final = 8_000
"""Bytes of local variables in a line; and no more than a quarter of it."""

_Call = Callable[..., None]


class VerboseEncoder(Encoder):
    """
    Encodes records as lines.  Any thread; takes no lock.

    Args:
        max_line_bytes: the longest line, with its newline; at least 1,000.
        wanted: what is asked for.
        clock: nanoseconds since the epoch.
        facts: whether what an exception itself knows goes into the context.
        redactor: what is to be kept out of the lines.

    """

    def __init__(
        self,
        max_line_bytes: int,
        wanted: Verbosity,
        clock: Callable[[], int] = time.time_ns,
        *,
        facts: bool = True,
        redactor: Redactor | None = None,
    ) -> None:
        redactor = redactor or Redactor()
        filters = bool(wanted.allow or wanted.deny)
        locals_room = min(MOST_LOCALS, max_line_bytes // 4) if wanted.frames else 0
        further = sum(ROOM[name] for name in wanted.fields) + locals_room
        super().__init__(
            max(SHORTEST, max_line_bytes - further),
            clock,
            # What is filtered has to be together first: then that is done here.
            facts=facts and not filters,
            redactor=redactor,
            merges=not filters,
            parts=wanted.parts,
        )
        self._longest = max_line_bytes
        self._parts = wanted.parts
        self._frames, self._locals_room = wanted.frames, locals_room
        self._extras = Extras(wanted.fields, redactor, self.stacks)
        self._keys: KeyFilter | None = None
        if filters:
            self._keys = KeyFilter(wanted.allow, wanted.deny, max_line_bytes, redactor)
        self._adds_facts = facts

    def error(
        self, request_id: object, error: object, context: object, *, own: bool = False
    ) -> bytes:
        """Return the line for *error*; see Encoder.error()."""
        catch = Catch()
        record = self._error_recorder(catch.sink, {}, type, filtered=not own)
        record(request_id, error, context)
        return catch.line

    def event(
        self, event: object, request_id: object, context: object, *, own: bool = False
    ) -> bytes:
        """Return the line for *event*; see Encoder.event()."""
        catch = Catch()
        self._event_recorder(catch.sink, filtered=not own)(event, request_id, context)
        return catch.line

    def record_error(
        self,
        sink: Sink,
        counts: Mapping[type, Callable[[], object]],
        count_new: Callable[[type], object],
    ) -> _Call:
        """Return ``log_error(request_id, error, context=None)``; see Encoder."""
        return self._error_recorder(sink, counts, count_new, filtered=True)

    def record_event(self, sink: Sink) -> _Call:
        """Return ``log_event(event, request_id=None, context=None)``; see Encoder."""
        return self._event_recorder(sink, filtered=True)

    def record_described(self, sink: Sink) -> _Call:
        """Return ``log(error_type, message, stack_trace, context)``; see Encoder."""
        make = _pooled(super().record_described)

        def log_described(
            error_type: str, message: str, stack_trace: str, context: object
        ) -> None:
            line = make(error_type, message, stack_trace, context)
            _put(self._finished(line, None), sink)

        return log_described

    def _error_recorder(
        self,
        sink: Sink,
        counts: Mapping[type, Callable[[], object]],
        count_new: Callable[[type], object],
        *,
        filtered: bool,
    ) -> _Call:
        record = super().record_error
        make = _pooled(lambda inner: record(inner, counts, count_new))
        unmade = sink.unmade

        def log_error(
            request_id: object, error: object, context: object = None
        ) -> None:
            try:
                request_id, context = self._chosen(request_id, error, context, filtered)
                line = self._finished(make(request_id, error, context), error)
                _put(line, sink)
            except Exception:
                # Not even a call can be made: this is the end of the stack.
                unmade()

        return log_error

    def _event_recorder(self, sink: Sink, *, filtered: bool) -> _Call:
        make = _pooled(super().record_event)
        unmade = sink.unmade

        def log_event(
            event: object, request_id: object = None, context: object = None
        ) -> None:
            try:
                request_id, context = self._chosen(request_id, None, context, filtered)
                _put(self._finished(make(event, request_id, context), None), sink)
            except Exception:
                unmade()

        return log_event

    def _chosen(
        self, request_id: object, error: object, context: object, filtered: bool
    ) -> tuple[object, object]:
        """Return request id and context, together and filtered, if that is asked."""
        if self._keys is None:
            return request_id, context
        try:
            bound = current.get()
            if bound is not None:
                request_id, context = merge(bound, request_id, context)
            plain: object = self._keys.plain(context)
            if self._adds_facts and issubclass(type(error), BaseException):
                plain = with_facts(error, plain)  # type: ignore[arg-type]
            assert isinstance(plain, dict)
            return request_id, self._keys.keep(plain) if filtered else plain
        except Exception:
            return request_id, UNFILTERED.copy()

    def _finished(self, line: bytes, error: object) -> bytes:
        """Return *line* with its parts shortened, and with the further fields."""
        if self._parts != NO_BOUNDS:
            line = bound_line(line, self._parts)
        further = self._extras.fields(error)
        if self._frames and issubclass(type(error), BaseException):
            try:
                found = variables_of(
                    error,  # type: ignore[arg-type]
                    self._frames,
                    self._locals_room - 12,
                    self._redactor,
                )
                if found:
                    further.append(b',"locals":' + orjson.dumps(found))
            except Exception:  # noqa: S110  they are left out
                pass
        whole = b"".join((line[:-2], *further, b"}\n"))
        while further and len(whole) > self._longest:
            further.pop()
            whole = b"".join((line[:-2], *further, b"}\n"))
        return whole


def _pooled(recorder: Callable[[Sink], _Call]) -> Callable[..., bytes]:
    """
    Return what makes a line with one of the functions that *recorder* makes.

    A function and what catches its line belong to one call at a time; they are kept,
    because to make them takes as long as to make a line.  The end of the list is taken
    and given back in one step each: any thread, and signal handlers.
    """
    idle: list[tuple[Catch, _Call]] = []

    def make(*arguments: object) -> bytes:
        try:
            catch, record = idle.pop()
        except IndexError:
            catch = Catch()
            record = recorder(catch.sink)
        record(*arguments)
        line, catch.line = catch.line, b""
        idle.append((catch, record))
        if not line:
            raise RecursionError  # the end of the stack: not even that could be made
        return line

    return make


def _put(line: bytes, sink: Sink) -> None:
    targets, counted, refused, _, bell = sink
    target = targets[0]
    try:
        target.write(line)
    except ValueError:
        refused(target, line)
    else:
        counted()
    if bell.rings:
        try:
            bell.answer()
        except Exception:  # noqa: S110  the next record rings again
            pass


__all__ = ["VerboseEncoder"]
