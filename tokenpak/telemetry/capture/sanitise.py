"""
A copy of anything at all that JSON can hold.

orjson refuses lone surrogates, integers over 64 bits, cycles, keys that are no strings
and objects that it does not know.  A logger must not: whatever a caller passes is
recorded as well as can be (C1).  This is the slow road, taken only when orjson refused.

Promises: never raises, ends (cycles, depth, breadth and length are bounded), and the
copy is plain: dict with unique str keys, list, str, int, float, bool, None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

MAX_DEPTH: Final = 32
MAX_VALUES: Final = 10_000
INT_64: Final = range(-(2**63), 2**64)

Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]


def clean_text(text: str, limit: int) -> str:
    """
    Return *text* without lone surrogates and no longer than *limit* characters.

    A lone surrogate is shown as its escape, ``\\udc80``.  That is what Python prints
    for it, and what ``os.fsdecode`` made of a byte that was not UTF-8.
    """
    cut = str(text[:limit])
    try:
        cut.encode()
    except UnicodeEncodeError:
        cut = cut.encode(errors="backslashreplace").decode()
    if len(text) > limit:
        cut += f"...[{len(text) - limit:,} more characters]"
    return cut


def safe_str(value: object, limit: int, to_str: Callable[[object], str] = str) -> str:
    """Return ``to_str(value)`` cleaned, or a text that says why there is none."""
    try:
        return clean_text(to_str(value), limit)
    except BaseException as reason:  # user code, as in traceback._safe_string
        return f"<{type(value).__name__} whose str() raised {type(reason).__name__}>"


@dataclass(slots=True)
class _Copier:
    limit: int
    """Characters a string may have."""
    left: int = MAX_VALUES
    above: set[int] = field(default_factory=set)
    """Identities of the containers that hold the value being copied."""

    def copy(self, value: object) -> Plain:
        self.left -= 1
        # bool before int, and exact classes first: they run no user code.
        if value is None or value is True or value is False:
            return value
        if isinstance(value, str):
            return clean_text(value, self.limit)
        if isinstance(value, int):
            number = int(value)
            if number in INT_64:
                return number
            return safe_str(number, self.limit, _big_int)
        if isinstance(value, float):
            number_f = float(value)
            return number_f if math.isfinite(number_f) else None  # as orjson does
        if isinstance(value, bytes | bytearray | memoryview):
            head = bytes(value[: self.limit])
            return clean_text(head.decode(errors="backslashreplace"), self.limit)
        if isinstance(value, Mapping):
            return self._inside(value, lambda: self._mapping(value))
        if isinstance(value, list | tuple | set | frozenset):
            return self._inside(value, lambda: self._sequence(value))
        return safe_str(value, self.limit)

    def _inside(self, value: object, copy: Callable[[], Plain]) -> Plain:
        if id(value) in self.above:
            return "<cycle: this value holds itself>"
        if len(self.above) >= MAX_DEPTH:
            return f"<{type(value).__name__} nested over {MAX_DEPTH} levels deep>"
        self.above.add(id(value))
        try:
            return copy()
        except BaseException as reason:  # a Mapping's own methods are user code
            return f"<{type(value).__name__} that raised {type(reason).__name__}>"
        finally:
            self.above.discard(id(value))

    def _mapping(self, value: Mapping[object, object]) -> Plain:
        result: dict[str, Plain] = {}
        for key, item in list(value.items()):
            if self.left <= 0:
                result[_unique("<more values left out>", result)] = None
                break
            name = safe_str(key, 1_000)
            result[_unique(name, result)] = self._one(item)
        return result

    def _sequence(self, value: Iterable[object]) -> Plain:
        result: list[Plain] = []
        for item in list(value):
            if self.left <= 0:
                result.append("<more values left out>")
                break
            result.append(self._one(item))
        return result

    def _one(self, item: object) -> Plain:
        try:
            return self.copy(item)
        except BaseException as reason:  # a str, int or bytes subclass with surprises
            return f"<{type(item).__name__} that raised {type(reason).__name__}>"


def _big_int(number: object) -> str:
    try:
        return str(number)
    except ValueError:  # over sys.get_int_max_str_digits()
        return hex(number)  # type: ignore[call-overload,no-any-return]


def _unique(name: str, taken: Mapping[str, object]) -> str:
    # {1: "a", "1": "b"} has two keys; JSON readers keep only one of two that are alike.
    if name not in taken:
        return name
    number = 2
    while f"{name} ({number})" in taken:
        number += 1
    return f"{name} ({number})"


def sanitise_context(context: object, limit: int) -> dict[str, Plain]:
    """
    Return *context* as a plain dict; what is no mapping is put under ``"value"``.

    Args:
        context: anything.
        limit: how many characters a string may have.

    """
    if context is None:
        return {}
    copied = _Copier(limit)._one(context)  # noqa: SLF001  (this module's own class)
    return copied if isinstance(copied, dict) else {"value": copied}


__all__ = ["Plain", "clean_text", "safe_str", "sanitise_context"]
