"""
The stack trace of an exception, as JSON text, without formatting it anew each time.

C3  What comes out is what ``traceback.format_exception`` prints, byte for byte, but for
    secrets, which have a mark in their place: those of source lines when a stack is
    learnt, those of messages each time.
C2  No frame, local variable or exception object is kept alive.

The text of the frames depends only on which instruction of which code object each
frame stands at, so it is formatted once and kept under those.  Only the last line
depends on the message.  The cache is filled from :class:`traceback.TracebackException`
itself, and an entry is made only if its text ends in the last line that we would have
written; whatever traceback treats specially (groups, syntax errors, suggestions, notes)
is left to traceback, every time.

The one exception to C3: a source file that changes under a running process keeps the
text that was first seen.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from types import CodeType, TracebackType
from typing import Final, NamedTuple

import orjson

from tokenpak.telemetry.capture.index import Frame, Node, add, find
from tokenpak.telemetry.capture.privacy.redactor import Redactor
from tokenpak.telemetry.capture.sanitise import class_name

MAX_STACKS: Final = 2_048
MAX_FRAMES: Final = 50_000
"""Bounds of the cache.  Beyond either it is emptied: what is in use comes back."""

_CAUSE: Final = (
    "\nThe above exception was the direct cause of the following exception:\n\n"
)
_CONTEXT: Final = (
    "\nDuring handling of the above exception, another exception occurred:\n\n"
)
_SPECIAL: Final = (
    SyntaxError,
    BaseExceptionGroup,
    # These end in a suggestion, which is looked up in the locals of the frame.
    NameError,
    AttributeError,
    ImportError,
)


def json_text(text: str) -> bytes:
    """Return *text* as the inside of a JSON string, without the quotes."""
    return orjson.dumps(text)[1:-1]


_CAUSE_JSON: Final = json_text(_CAUSE)
_CONTEXT_JSON: Final = json_text(_CONTEXT)


class NotCacheableError(Exception):
    """Only traceback itself can print this exception."""


class ExceptionKind:
    """
    What an exception's class alone decides.  Compared by identity: it is a key.

    Attributes:
        name: of the class.
        title: how the last line begins: qualified, but for builtins and ``__main__``.
        fields_json: what is in a line between the request id and the message.
        plain: whether the frames and the message are all that traceback looks at.
        stacks: those that are known, in which exceptions of this class were raised.

    """

    __slots__ = ("fields_json", "name", "plain", "stacks", "title")

    def __init__(self, name: str, title: str, fields_json: bytes, plain: bool) -> None:
        self.name = name
        self.title = title
        self.fields_json = fields_json
        self.plain = plain
        self.stacks: Node[_Entry] = Node((), None, {})


def kind_of(cls: type) -> ExceptionKind:
    """Return the ExceptionKind of *cls*, which may be any class at all."""
    name = class_name(cls)
    module: object = cls.__module__  # any object, if the class says so
    plain = (
        issubclass(cls, BaseException)
        and not issubclass(cls, _SPECIAL)
        and isinstance(module, str)
        # traceback asks `if exc`, so an exception that can be false is special.
        and not hasattr(cls, "__bool__")
        and not hasattr(cls, "__len__")
    )
    title = cls.__qualname__
    if module not in {"__main__", "builtins"}:
        title = f"{module}.{title}"
    try:
        json_text(title)
    except orjson.JSONEncodeError:  # a lone surrogate; the name itself cannot have one
        plain = False
    fields = b',"error_type":%b,"message":"' % orjson.dumps(name)
    return ExceptionKind(name, title, fields, plain)


def format_exactly(error: BaseException) -> str:
    """Return what ``traceback.format_exception`` prints, or why it cannot; C1."""
    try:
        return "".join(traceback.format_exception(error))
    except BaseException as reason:  # __str__, __notes__, __cause__ are user code
        return (
            f"<the traceback of this {class_name(type(error))} could not be "
            f"formatted: traceback raised {class_name(type(reason))}>\n"
        )


class _Entry(NamedTuple):
    head: bytes
    """The frames and the class's title: all of the text but for the message."""
    frames: tuple[Frame, ...]
    """Never read: they keep the addresses in the index from being reused."""


class StackCache:
    """
    Stack traces as JSON text.  Any thread; takes no lock.

    Args:
        redactor: what is kept out of them.

    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._kinds: dict[type, ExceptionKind] = {}
        self._known_stacks = self._known_frames = 0
        # Looked up at each call, because sys.tracebacklimit may be set at any time.
        self._sys = vars(sys)

    def kind(self, cls: type) -> ExceptionKind:
        """Return the ExceptionKind of *cls*, from the cache if it is there."""
        kind = self._kinds.get(cls)
        if kind is None:
            if len(self._kinds) >= MAX_STACKS:  # classes made at run time
                self._kinds.clear()
            kind = kind_of(cls)
            # A metaclass may call two classes equal, and then one would be found in
            # place of the other.
            if type(cls).__eq__ is type.__eq__:
                self._kinds[cls] = kind
        return kind

    def parts(
        self, error: BaseException, kind: ExceptionKind, message: bytes
    ) -> Sequence[bytes]:
        """
        Return the stack trace of *error*, in pieces, as the inside of a JSON string.

        Args:
            error: the exception.
            kind: that of its class.
            message: ``str(error)`` as the inside of a JSON string, without secrets.

        Raises:
            NotCacheableError: only traceback itself can print this.

        """
        if (
            not kind.plain
            or "tracebacklimit" in self._sys
            or getattr(error, "__notes__", None) is not None
        ):
            raise NotCacheableError
        if error.__cause__ is not None or (
            error.__context__ is not None and not error.__suppress_context__
        ):
            return self._chain(error)
        tb = error.__traceback__
        entry = find(kind.stacks, tb) or self._learn(tb, kind)
        if message:
            return entry.head, b": ", message, b"\\n"
        return entry.head, b"\\n"

    def _chain(self, error: BaseException) -> Sequence[bytes]:
        # As TracebackException(compact=True) follows it: the cause, else the context.
        parts: list[bytes] = []
        seen: set[int] = set()
        link: BaseException | None = error
        while link is not None:
            if id(link) in seen:  # a cycle: traceback has its own way with those
                raise NotCacheableError
            seen.add(id(link))
            kind = self.kind(type(link))
            if not kind.plain or getattr(link, "__notes__", None) is not None:
                raise NotCacheableError
            try:
                text = str(link)
            except BaseException as reason:  # user code
                raise NotCacheableError from reason
            if type(text) is not str:  # its own __str__ or __format__ may differ
                raise NotCacheableError
            message = json_text(text)
            if not self._redactor.clears_message(message):
                message = json_text(self._redactor.text(text))
            tb = link.__traceback__
            entry = find(kind.stacks, tb) or self._learn(tb, kind)
            parts.append(entry.head + (b": " if message else b"") + message + b"\\n")
            if link.__cause__ is not None:
                parts.append(_CAUSE_JSON)
                link = link.__cause__
            elif link.__context__ is not None and not link.__suppress_context__:
                parts.append(_CONTEXT_JSON)
                link = link.__context__
            else:
                link = None
        parts.reverse()
        return parts

    def _learn(self, tb: TracebackType | None, kind: ExceptionKind) -> _Entry:
        frames = tuple(_frames(tb))
        # The exception itself stays out of it, and with it its chain: traceback would
        # format all of that, once for each link.
        stand_in = BaseException()
        text = "".join(
            traceback.TracebackException(
                type(stand_in), stand_in, tb, compact=True
            ).format(chain=False)
        )
        above = text.removesuffix("BaseException\n")
        if above == text:
            raise NotCacheableError
        entry = _Entry(json_text(self._redactor.frames(above) + kind.title), frames)
        self._known_stacks += 1
        self._known_frames += len(frames)
        if self._known_frames > MAX_FRAMES or self._known_stacks > MAX_STACKS:
            self._kinds.clear()  # and with them their stacks
            self._known_stacks, self._known_frames = 1, len(frames)
        kind.stacks = add(kind.stacks, frames, entry)
        return entry


def _frames(tb: TracebackType | None) -> list[Frame]:
    frames = []
    while tb is not None:
        code = tb.tb_frame.f_code
        # A traceback that was put together by hand (a template engine's, say) may have
        # no instruction, or a line that the instruction doesn't tell.
        if tb.tb_lasti < 0 or _line_at(code, tb.tb_lasti) is None:
            raise NotCacheableError
        frames.append((code, tb.tb_lasti))
        tb = tb.tb_next
    return frames


def _line_at(code: CodeType, instruction: int) -> int | None:
    for start, end, line in code.co_lines():
        if start <= instruction < end:
            return line
    return None


__all__ = [
    "ExceptionKind",
    "NotCacheableError",
    "StackCache",
    "format_exactly",
    "json_text",
    "kind_of",
]
