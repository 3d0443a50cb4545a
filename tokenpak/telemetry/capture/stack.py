"""
The stack trace of an exception, as JSON text, without formatting it anew each time.

C3  What comes out is what ``traceback.format_exception`` prints, byte for byte, but for
    secrets, which have a mark in their place: those of source lines when a stack is
    learnt, those of messages each time.
C2  No frame, local variable or exception object is kept alive.

The text of the frames depends only on which instruction of which code object each
frame stands at, so it is formatted once and kept under those.  Only the last line
depends on the message.  The cache is filled from :func:`traceback.format_tb`, if the
first stack shows that :class:`traceback.TracebackException` prints the same, else from
that; whatever traceback treats specially (groups, syntax errors, suggestions, notes)
is left to traceback, every time.

The one exception to C3: a source file that changes under a running process keeps the
text that was first seen.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, NamedTuple

import orjson

from tokenpak.telemetry.capture.facts import knows
from tokenpak.telemetry.capture.index import Frame, Node, add, find
from tokenpak.telemetry.capture.interrupt import is_interrupt
from tokenpak.telemetry.capture.mark import plain_attributes
from tokenpak.telemetry.capture.privacy.redactor import Redactor
from tokenpak.telemetry.capture.sanitise import class_name

MAX_STACKS: Final = 2_048
MAX_FRAMES: Final = 50_000
"""Bounds of the cache.  Beyond either it is emptied: what is in use comes back."""

_LONGEST: Final = 32_000
"""Characters of the message of a cause.  Of a longer one no more could be in a line."""

_ALL: Final = sys.maxsize
"""Frames to format.  Said, or traceback asks ``sys.tracebacklimit``, which another
thread may set meanwhile: it would cut the stack short for ever."""
_HEADING: Final = "Traceback (most recent call last):\n"
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
        plain_attributes: whether the mark may be set as any attribute is.
        knows: whether such an exception, or what one was raised from, may have facts.
        stacks: those that are known, in which exceptions of this class were raised.

    """

    __slots__ = (
        "fields_json",
        "knows",
        "name",
        "plain",
        "plain_attributes",
        "stacks",
        "title",
    )

    def __init__(
        self,
        name: str,
        title: str,
        fields_json: bytes,
        plain: bool,
        plain_attributes: bool,
        knows: bool,
    ) -> None:
        self.name = name
        self.title = title
        self.fields_json = fields_json
        self.plain = plain
        self.plain_attributes = plain_attributes
        self.knows = knows
        self.stacks: Node[Entry] | None = None


def kind_of(cls: type, facts: bool = False) -> ExceptionKind:
    """
    Return the ExceptionKind of *cls*, which may be any class at all.

    Args:
        cls: the class.
        facts: whether to ask for what such exceptions know.

    """
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
    return ExceptionKind(
        name, title, fields, plain, plain_attributes(cls), facts and knows(cls)
    )


def format_exactly(error: BaseException) -> str:
    """Return what ``traceback.format_exception`` prints, or why it cannot; C1."""
    try:
        return "".join(traceback.format_exception(error))
    except BaseException as reason:  # __str__, __notes__, __cause__ are user code
        if is_interrupt(reason):
            raise
        return (
            f"<the traceback of this {class_name(type(error))} could not be "
            f"formatted: traceback raised {class_name(type(reason))}>\n"
        )


class Entry(NamedTuple):
    """What is kept of a stack."""

    head: bytes
    """The frames and the class's title: all of the text but for the message."""
    frames: tuple[Frame, ...]
    """They keep the addresses in the index from being reused."""


class StackCache:
    """
    Stack traces as JSON text.  Any thread; takes no lock.

    Args:
        redactor: what is kept out of them.
        facts: whether to notice exceptions that know something; see facts.

    Attributes:
        kinds: by class, those that are known: for who wants to save the call of kind().
        redactor: what is kept out of them.
        sys_names: of the module sys, in which ``tracebacklimit`` may be at any time.

    """

    def __init__(self, redactor: Redactor, facts: bool = False) -> None:
        self.redactor = redactor
        self.facts = facts
        self.kinds: dict[type, ExceptionKind] = {}
        self._known_stacks = self._known_frames = 0
        self.sys_names = vars(sys)
        self._format: Callable[[TracebackType | None], str] = self._format_first

    def kind(self, cls: type) -> ExceptionKind:
        """Return the ExceptionKind of *cls*, from the cache if it is there."""
        kind = self.kinds.get(cls)
        if kind is None:
            if len(self.kinds) >= MAX_STACKS:  # classes made at run time
                self.kinds.clear()
            kind = kind_of(cls, self.facts)
            # A metaclass may call two classes equal, and then one would be found in
            # place of the other.
            if type(cls).__eq__ is type.__eq__:
                self.kinds[cls] = kind
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
            or "tracebacklimit" in self.sys_names
            or getattr(error, "__notes__", None) is not None
        ):
            raise NotCacheableError
        if error.__cause__ is not None or (
            error.__context__ is not None and not error.__suppress_context__
        ):
            return self._chain(error, kind)
        tb = error.__traceback__
        entry = find(kind.stacks, tb) or self.learn(tb, kind)
        if message:
            return entry.head, b": ", message, b"\\n"
        return entry.head, b"\\n"

    def _chain(self, error: BaseException, first: ExceptionKind) -> Sequence[bytes]:
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
            if kind.knows and not first.knows:
                # Learned once for each class that is raised from such: the careful
                # encoder makes this record, and from the next on it is looked into.
                first.knows = True
                raise NotCacheableError
            try:
                text = str(link)
            except BaseException as reason:  # user code
                if is_interrupt(reason):
                    raise
                raise NotCacheableError from reason
            # Its own __str__ or __format__ may differ; or all of it would be searched.
            if type(text) is not str or len(text) > _LONGEST:
                raise NotCacheableError
            message = json_text(text)
            if not self.redactor.clears_message(message):
                message = json_text(self.redactor.text(text))
            tb = link.__traceback__
            entry = find(kind.stacks, tb) or self.learn(tb, kind)
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

    def learn(self, tb: TracebackType | None, kind: ExceptionKind) -> Entry:
        """
        Format the frames of *tb*, and keep them.

        Raises:
            NotCacheableError: only traceback itself can print this.

        """
        frames = tuple(_frames(tb))
        above = self.redactor.frames(self._format(tb))
        entry = Entry(json_text(above + kind.title), frames)
        self._known_stacks += 1
        self._known_frames += len(frames)
        if self._known_frames > MAX_FRAMES or self._known_stacks > MAX_STACKS:
            self.kinds.clear()  # and with them their stacks
            self._known_stacks, self._known_frames = 1, len(frames)
        kind.stacks = add(kind.stacks, frames, entry)
        return entry

    def _format_first(self, tb: TracebackType | None) -> str:
        """Format *tb* in both ways, and find out whether they are still the same."""
        above = _format_as_exception(tb)
        if tb is not None:
            same = _format_frames(tb) == above
            self._format = _format_frames if same else _format_as_exception
        return above


def _format_as_exception(tb: TracebackType | None) -> str:
    """Return what ``format_exception`` prints above the last line."""
    # The exception itself stays out of it, and with it its chain: traceback would
    # format all of that, once for each link.
    stand_in = BaseException()
    text = "".join(
        traceback.TracebackException(
            type(stand_in), stand_in, tb, limit=_ALL, compact=True
        ).format(chain=False)
    )
    above = text.removesuffix("BaseException\n")
    if above == text:
        raise NotCacheableError
    return above


def _format_frames(tb: TracebackType | None) -> str:
    """Return the same, without the work for an exception: a tenth less."""
    return "" if tb is None else _HEADING + "".join(traceback.format_tb(tb, _ALL))


def _frames(tb: TracebackType | None) -> list[Frame]:
    frames = []
    while tb is not None:
        frame, instruction = tb.tb_frame, tb.tb_lasti
        # A traceback that was put together by hand (a template engine's, say) may have
        # no instruction, or a line that the instruction doesn't tell.  A traceback
        # without a line of its own (-1) asks the instruction.
        if (
            instruction < 0
            or TracebackType(None, frame, instruction, -1).tb_lineno is None
        ):
            raise NotCacheableError
        frames.append((frame.f_code, instruction))
        tb = tb.tb_next
    return frames


__all__ = [
    "Entry",
    "ExceptionKind",
    "NotCacheableError",
    "StackCache",
    "format_exactly",
    "json_text",
    "kind_of",
]
