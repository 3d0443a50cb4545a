"""
The local variables of the frames in which an error was raised, as plain data.

C1  Nothing of the application's is run: what is of a builtin type is shown, all else by
    the name of its type.  Count, depth and bytes are bounded.
C2  What is returned is a copy.  Up to Python 3.12, to ask a frame for its variables
    makes the frame keep a second reference to each; that is taken away again, unless
    somebody else uses it.

Redaction looks at the values and at the names: ``password`` is not shown, whatever it
is.  Modules, functions, classes and names that begin with ``__`` are left out.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from itertools import islice
from types import (
    BuiltinFunctionType,
    FrameType,
    FunctionType,
    ModuleType,
    TracebackType,
)
from typing import Any, Final

from tokenpak.telemetry.capture.privacy.redactor import Redactor
from tokenpak.telemetry.capture.sanitise import (
    INT_64,
    Plain,
    class_name,
    clean_text,
    unique,
)
from tokenpak.telemetry.capture.shorten import shorten_context, size

MOST_VARIABLES: Final = 50
"""Of one frame."""
MOST_ITEMS: Final = 10
"""Of one container."""
MOST_VALUES: Final = 200
"""Of one frame, with those in containers."""
MAX_DEPTH: Final = 3
MAX_TEXT: Final = 200
"""Characters of one text."""
_SMALLEST: Final = 200
"""Bytes in which a frame makes sense."""
_CONTAINERS: Final = (dict, list, tuple, set, frozenset)
_SKIPPED: Final = (ModuleType, FunctionType, BuiltinFunctionType, type)
_OPTIMIZED: Final = 0x1
"""inspect's CO_OPTIMIZED: of a function, whose variables are no dict."""
_COPIES: Final = sys.version_info < (3, 13)
_ALONE: Final = 3
"""References to a frame's copy that nobody else uses: the frame, ours, the count's."""
_module = type.__dict__["__module__"]


def variables_of(
    error: BaseException, frames: int, budget: int, redactor: Redactor
) -> list[Plain]:
    """
    Return the variables of the innermost frames of *error*, the innermost first.

    Args:
        error: with its traceback.
        frames: of how many.
        budget: how many bytes all of it may take in a line.
        redactor: what is kept out.

    """
    innermost: deque[TracebackType] = deque(maxlen=frames)
    tb = error.__traceback__
    while tb is not None:
        innermost.append(tb)
        tb = tb.tb_next
    found: list[Plain] = []
    room = budget - 2
    while innermost and room >= _SMALLEST:
        tb = innermost.pop()
        entry: dict[str, Plain] = {
            "function": tb.tb_frame.f_code.co_qualname[:MAX_TEXT],
            "line": tb.tb_lineno,
        }
        shown = redactor.context(_copy_of(tb.tb_frame, redactor), 100_000)
        left = room - size(entry) - len(b',"variables":,')
        entry["variables"] = shown if size(shown) <= left else _shorter(shown, left)
        room -= size(entry) + 1
        if room >= 0:
            found.append(entry)
    return found


def _shorter(shown: dict[str, Plain], budget: int) -> dict[str, Plain]:
    return shorten_context(shown, max(budget, 100))


def _copy_of(frame: FrameType, redactor: Redactor) -> dict[str, Plain]:
    shown: dict[str, Plain] = {}
    copier = _Copier(redactor)
    for name, value in _items(frame):
        if name[:2] == "__" or name[:1] == "." or issubclass(type(value), _SKIPPED):
            continue
        if len(shown) >= MOST_VARIABLES or copier.left <= 0:
            shown["<more variables left out>"] = None
            break
        shown[name] = copier.copy(value, 0)
    return shown


def _items(frame: FrameType) -> list[tuple[str, Any]]:
    variables = frame.f_locals
    try:
        found = list(islice(variables.items(), 1_000))
        return [pair for pair in found if type(pair[0]) is str]
    finally:
        # What it was made for alone goes: a variable that a running function deletes
        # would live on in it.  What exec() has put there stays, and so does all of it
        # where locals() was called, or where a debugger writes it back.
        if (
            _COPIES
            and frame.f_code.co_flags & _OPTIMIZED
            and frame.f_trace is None
            and sys.getrefcount(variables) <= _ALONE
        ):
            code = frame.f_code
            for name in (*code.co_varnames, *code.co_cellvars, *code.co_freevars):
                variables.pop(name, None)


class _Copier:
    """
    Copies the variables of one frame.

    Attributes:
        left: values that may yet be copied.

    """

    def __init__(self, redactor: Redactor) -> None:
        self.left = MOST_VALUES
        self._cut = redactor.cut

    def copy(self, value: Any, depth: int) -> Plain:
        """Return *value*, or what is said in its place."""
        self.left -= 1
        kind = type(value)
        if value is None or kind is bool:
            return value  # type: ignore[no-any-return]
        if kind is int:
            return value if value in INT_64 else f"<int of {value.bit_length():,} bits>"
        if kind is float:
            return value if math.isfinite(value) else repr(value)
        if kind is str:
            return clean_text(value, MAX_TEXT, self._cut)
        if kind is bytes or kind is bytearray:
            return f"<{kind.__name__} of {len(value):,} bytes>"
        # By identity: a metaclass may refuse to be hashed, or compare as it likes.
        if any(kind is each for each in _CONTAINERS):
            if value and (depth >= MAX_DEPTH or self.left <= 0):
                return f"<{kind.__name__} of {len(value):,}>"
            try:
                return self._container(value, kind, depth)
            except RuntimeError:  # changed by another thread meanwhile
                return f"<{kind.__name__} of {len(value):,}>"
        return _title(kind)

    def _container(self, value: Any, kind: type, depth: int) -> Plain:
        more = len(value) - MOST_ITEMS
        if kind is dict:
            copy: dict[str, Plain] = {}
            for key, item in list(islice(value.items(), MOST_ITEMS)):
                name = key if type(key) is str else self._key(key)
                copy[unique(clean_text(name, MAX_TEXT, self._cut), copy, {})] = (
                    self.copy(item, depth + 1)
                )
            if more > 0:
                copy[unique("<more left out>", copy, {})] = more
            return copy
        items = [self.copy(item, depth + 1) for item in list(islice(value, MOST_ITEMS))]
        return [*items, f"<{more:,} more left out>"] if more > 0 else items

    def _key(self, key: object) -> str:
        kind = type(key)
        if key is None or kind is bool or kind is int or kind is float:
            return str(self.copy(key, 0))
        return _title(kind)


def _title(kind: type) -> str:
    # By the real attributes: a metaclass may have others.
    module = _module.__get__(kind)
    name = class_name(kind)
    if type(module) is str and module != "builtins":
        name = f"{module}.{name}"
    return clean_text(f"<{name}>", MAX_TEXT)


__all__ = [
    "MAX_DEPTH",
    "MAX_TEXT",
    "MOST_ITEMS",
    "MOST_VALUES",
    "MOST_VARIABLES",
    "variables_of",
]
