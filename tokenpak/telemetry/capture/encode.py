"""
A failure or an event becomes one encoded line, in the caller's thread.

C1  Never raises for what it is given, and touches no file (but for the source lines of
    a stack that is seen for the first time).
C2  The line is a snapshot: nothing that the caller holds is referred to afterwards.
C3  ``stack_trace`` is what ``traceback.format_exception`` prints, but for secrets.

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
from typing import Final, NoReturn

import orjson

from tokenpak.telemetry.capture.bound import EVER_BOUND, current, merge
from tokenpak.telemetry.capture.careful import CarefulEncoder
from tokenpak.telemetry.capture.facts import with_facts
from tokenpak.telemetry.capture.index import find
from tokenpak.telemetry.capture.interrupt import is_interrupt
from tokenpak.telemetry.capture.mark import mark
from tokenpak.telemetry.capture.moment import MICROS, MILLISECOND, Moments, stamp
from tokenpak.telemetry.capture.native import NATIVE, is_sound
from tokenpak.telemetry.capture.parts import NO_BOUNDS, Parts
from tokenpak.telemetry.capture.privacy.redactor import Redactor
from tokenpak.telemetry.capture.privacy.rule import HEX
from tokenpak.telemetry.capture.sink import Catch, Sink
from tokenpak.telemetry.capture.stack import StackCache, kind_of

_NOT_ENCODED: Final = b"<not encoded: the stack or the memory was exhausted>"
_NO_KIND: Final = kind_of(object)
_END: Final = _NOT_ENCODED + b'","stack_trace":"","context":{}}\n'
_NO_EVENT: Final = b'null,"event":"%b","context":{}}\n' % _NOT_ENCODED
"""What a call takes that has no frames left: at the end of an endless recursion."""
_MAX_EVENTS: Final = 1_000
"""How many names of events are kept ready.  Beyond that the cache is emptied."""


class Encoder:
    """
    Encodes records as lines.  Any thread; takes no lock.

    Args:
        max_line_bytes: the longest line, with its newline; at least 1,000.
        clock: nanoseconds since the epoch.
        facts: whether what an exception itself knows goes into the context.
        redactor: what is to be kept out of the lines; None: nothing.
        merges: whether what is bound is added.
        parts: bounds for the parts of a record that takes the slow road.

    """

    def __init__(
        self,
        max_line_bytes: int,
        clock: Callable[[], int] = time.time_ns,
        *,
        facts: bool = True,
        redactor: Redactor | None = None,
        merges: bool = True,
        parts: Parts = NO_BOUNDS,
    ) -> None:
        self._limit = max_line_bytes
        self._redactor = redactor or Redactor()
        self._ever_bound: Sequence[bool] = EVER_BOUND if merges else ()
        self._stacks = StackCache(self._redactor, facts)
        self._careful = CarefulEncoder(
            max_line_bytes, self._stacks, self._redactor, parts
        )
        self._moments = Moments(clock)
        self._events: dict[str, bytes] = {}

    def error(
        self, request_id: object, error: object, context: object, *, own: bool = False
    ) -> bytes:
        """
        Return the line for *error*: an exception, or whatever else was passed.

        Args:
            request_id: as for log_error().
            error: likewise.
            context: likewise.
            own: whether the record is the logger's own, whose context is not filtered.

        """
        del own  # nothing is filtered here
        catch = Catch()
        self.record_error(catch.sink, {}, _ignore)(request_id, error, context)
        return catch.line

    def event(
        self, event: object, request_id: object, context: object, *, own: bool = False
    ) -> bytes:
        """Return the line for *event*; *own* as for error()."""
        del own
        catch = Catch()
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
        clock, move_on = self._moments.clock, self._moments.move_on
        moment, limit = self._moments.current, self._limit
        stacks = self._stacks
        known_kind, sys_names = stacks.kinds.get, stacks.sys_names
        dumps, join, micros = orjson.dumps, b"".join, MICROS
        ever_bound, bound_here = self._ever_bound, current.get
        watched, clears = self._redactor.active, self._redactor.clears
        harmless = self._redactor.harmless
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
                now = clock()
                past = now - start
                if not 0 <= past < MILLISECOND:
                    past, prefix = move_on(now)
                line = b""
                kind = _NO_KIND
                try:
                    kind = known_kind(cls) or stacks.kind(cls)
                    if ever_bound and (bound := bound_here()) is not None:
                        request_id, context = merge(bound, request_id, context)
                    if kind.knows:
                        context = with_facts(error, context)  # type: ignore[arg-type]
                    try:
                        text = str(error)
                    except BaseException as reason:  # user code
                        if is_interrupt(reason):
                            raise
                        _refuse()
                    if (
                        type(text) is not str
                        or len(text) > limit  # 50 MB, only to be thrown away
                        or (type(request_id) is not str and request_id is not None)
                    ):
                        _refuse()
                    if type(context) is dict:
                        shown = dumps(context, None, NATIVE)
                    elif context is None:
                        shown = b"{}"
                    else:
                        _refuse()
                    message = dumps(text)[1:-1]
                    name = dumps(request_id)
                    if watched:
                        # What varies; a stack's frames are redacted when it is learnt.
                        skeleton = (name + message + shown).translate(None, HEX)
                        # A skeleton with a newline is never harmless.
                        if skeleton not in harmless and (
                            len(shown) > limit  # before 50 MB are searched
                            or 10 in shown  # a newline: a fragment holds it
                            or not is_sound(context, shown)
                            or not clears((name, message, shown), skeleton)
                        ):
                            _refuse()
                    elif 10 in shown:
                        _refuse()
                    # What stacks.parts() does, for an exception that is not chained
                    # and has a message: its call is a twelfth of all.
                    if (
                        message
                        and kind.plain
                        and "tracebacklimit" not in sys_names
                        and getattr(error, "__notes__", None) is None
                        and error.__cause__ is None  # type: ignore[attr-defined]
                        and error.__context__ is None  # type: ignore[attr-defined]
                    ):
                        tb = error.__traceback__  # type: ignore[attr-defined]
                        known = find(kind.stacks, tb) or stacks.learn(tb, kind)
                        frames, colon, last = known.head, b": ", message
                    else:
                        # It ends in a newline: two bytes in JSON.
                        parts = stacks.parts(error, kind, message)  # type: ignore[arg-type]
                        frames, colon, last = join(parts)[:-2], b"", b""
                    built = join(
                        (
                            prefix,
                            micros[past // 1000],
                            name,
                            kind.fields_json,
                            message,
                            b'","stack_trace":"',
                            frames,
                            colon,
                            last,
                            b'\\n","context":',
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
                        line = self._careful.error(
                            stamp(prefix, past), request_id, error, context
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
                target = targets[0]
                try:
                    target.write(line)
                except ValueError:
                    refused(target, line)
                else:
                    counted()
                try:
                    if kind.plain_attributes:
                        error._tokenpak_recorded = now  # type: ignore[attr-defined]  # noqa: SLF001
                    else:
                        mark(error, now)
                except Exception:  # noqa: S110  an outer layer records it again
                    pass
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
        clock, move_on = self._moments.clock, self._moments.move_on
        moment, limit = self._moments.current, self._limit
        known = self._events
        dumps, join, micros = orjson.dumps, b"".join, MICROS
        ever_bound, bound_here = self._ever_bound, current.get
        watched, clears = self._redactor.active, self._redactor.clears
        harmless = self._redactor.harmless
        targets, counted, refused, unmade, bell = sink

        def log_event(
            event: object, request_id: object = None, context: object = None
        ) -> None:
            try:
                start, prefix = moment[0]
                past = clock() - start
                if not 0 <= past < MILLISECOND:
                    past, prefix = move_on(past + start)
                line = b""
                try:
                    if ever_bound and (bound := bound_here()) is not None:
                        request_id, context = merge(bound, request_id, context)
                    if type(context) is dict and type(request_id) is str:
                        # A name that is not known, or is none: KeyError or TypeError.
                        shown = dumps(context, None, NATIVE)
                        name = dumps(request_id)
                        if watched:
                            skeleton = (name + shown).translate(None, HEX)
                            # As in log_error().
                            if skeleton not in harmless and (
                                len(shown) > limit
                                or 10 in shown
                                or not is_sound(context, shown)
                                or not clears((name, shown), skeleton)
                            ):
                                _refuse()
                        elif 10 in shown:
                            _refuse()
                        built = join(
                            (
                                prefix,
                                micros[past // 1000],
                                name,
                                known[event],  # type: ignore[index]
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
                        line = self._event_with_care(
                            prefix, past, event, request_id, context
                        )
                    except Exception:
                        line = join((prefix, micros[past // 1000], _NO_EVENT))
                target = targets[0]
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

    def record_described(self, sink: Sink) -> Callable[..., None]:
        """
        Return ``log(error_type, message, stack_trace, context)``, which puts a line.

        For records of the logger's own.  Any thread.

        Args:
            sink: where it is put.

        """
        moments, careful = self._moments, self._careful
        targets, counted, refused, _, bell = sink

        def log_described(
            error_type: str, message: str, stack_trace: str, context: object
        ) -> None:
            past, prefix = moments.move_on(moments.clock())
            line = careful.described(
                stamp(prefix, past), error_type, message, stack_trace, context
            )
            target = targets[0]
            try:
                target.write(line)
            except ValueError:
                refused(target, line)
            else:
                counted()
            if bell.rings:
                bell.answer()

        return log_described

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
                if len(shown) > self._limit or not is_sound(context, shown):
                    _refuse()
            elif context is None:
                shown = b"{}"
            else:
                _refuse()
            name = self._events.get(event) or self._learn_event(event)
            identity = orjson.dumps(request_id)
            if self._redactor.active:
                if len(shown) > self._limit:
                    _refuse()
                skeleton = (identity + shown).translate(None, HEX)
                if skeleton not in self._redactor.harmless and not (
                    self._redactor.clears((identity, shown), skeleton)
                ):
                    _refuse()
            line = b"".join(
                (
                    prefix,
                    MICROS[past // 1000],
                    identity,
                    name,
                    shown,
                    b"}\n",
                )
            )
            if len(line) <= self._limit and 10 not in shown:
                return line
        except Exception:  # noqa: S110  see the ladder
            pass
        return self._careful.event(stamp(prefix, past), event, request_id, context)

    def _learn_event(self, event: str) -> bytes:
        fields = b',"event":%b,"context":' % orjson.dumps(self._redactor.text(event))
        # Names are few and short.  What is not (an id was put into it) is not kept.
        if len(event) <= 100:
            if len(self._events) >= _MAX_EVENTS:
                self._events.clear()
            self._events[event] = fields
        return fields

    @property
    def day_changes(self) -> int:
        """How often a record was stamped with another UTC day than the one before."""
        return self._moments.day_changes

    @property
    def codes(self) -> tuple[CodeType, ...]:
        """The code of the functions that stamp a record and put it."""
        sink = Catch().sink
        return (
            self.record_error(sink, {}, _ignore).__code__,
            self.record_event(sink).__code__,
            self.record_described(sink).__code__,
        )

    def redact(self, text: str, limit: int) -> str:
        """Return the first *limit* characters of *text*, without secrets."""
        return self._redactor.window(text, limit)

    @property
    def stacks(self) -> StackCache:
        """The stack traces that are known."""
        return self._stacks


def _ignore(cls: type) -> None:
    del cls


def _refuse() -> NoReturn:
    raise TypeError  # not the type that step 1 of the ladder is for


__all__ = ["Encoder"]
