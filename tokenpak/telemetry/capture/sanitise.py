"""
A copy of anything at all that JSON can hold.

orjson refuses lone surrogates, integers over 64 bits, cycles, keys that are no strings
and objects that it does not know, and some that it does know can crash it (see native).
A logger must not: whatever a caller passes is recorded as well as can be (C1).  This is
the slow road.  What orjson would have encoded looks the same on it.

Promises: never raises (but what a signal handler raises passes), ends (cycles, depth,
breadth and length are bounded), and the copy is plain: dict with unique str keys, list,
str, int, float, bool, None.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from itertools import islice
from typing import Any, Final, TypeVar, cast

import orjson

from tokenpak.telemetry.capture.interrupt import is_interrupt

MAX_DEPTH: Final = 32
MAX_VALUES: Final = 10_000
INT_64: Final = range(-(2**63), 2**64)

T = TypeVar("T")
Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]


def class_name(cls: type) -> str:
    """Return the name of *cls*, also where its metaclass has other ideas."""
    return cast("str", type.__dict__["__name__"].__get__(cls))


Cut = Callable[[str, int], str]
"""Returns the first characters of a text, as many as it says, without secrets."""


def _first(text: str, limit: int) -> str:
    return str(text[:limit])


def clean_text(text: str, limit: int, cut: Cut = _first) -> str:
    r"""
    Return *text* without lone surrogates and no longer than *limit* characters.

    A lone surrogate is shown as its escape, ``\udc80``.  That is what Python prints
    for it, and what ``os.fsdecode`` made of a byte that was not UTF-8.
    """
    first = cut(text, limit)
    try:
        first.encode()
    except UnicodeEncodeError:
        first = first.encode(errors="backslashreplace").decode()
    if len(text) > limit:
        first += f"...[{len(text) - limit:,} more characters]"
    return first


def safe_str(
    value: object,
    limit: int,
    to_str: Callable[[object], str] = str,
    cut: Cut = _first,
) -> str:
    """Return ``to_str(value)`` cleaned, or a text that says why there is none."""
    try:
        return clean_text(to_str(value), limit, cut)
    except BaseException as reason:  # user code, as in traceback._safe_string
        if is_interrupt(reason):
            raise
        return (
            f"<{class_name(type(value))} whose str() raised {class_name(type(reason))}>"
        )


class _Copier:
    """
    One copy.

    Attributes:
        limit: characters a string may have.
        cut: takes so many of it; what holds a secret must not be cut in the middle.
        left: values that may yet be copied.
        above: identities of the containers that hold the value being copied.

    """

    __slots__ = ("above", "cut", "left", "limit")

    def __init__(self, limit: int, cut: Cut) -> None:
        self.limit = limit
        self.cut = cut
        self.left = MAX_VALUES
        self.above: set[int] = set()

    def copy(self, value: object) -> Plain:
        self.left -= 1
        # bool before int: it is one.
        if value is None or value is True or value is False:
            return value
        if isinstance(value, str):
            return clean_text(value, self.limit, self.cut)
        if isinstance(value, int):
            number = int(value)
            if number in INT_64:
                return number
            return safe_str(number, self.limit, _big_int)
        if isinstance(value, float):
            number_f = float(value)
            return number_f if math.isfinite(number_f) else None  # as orjson does
        if isinstance(value, bytes | bytearray | memoryview):
            return self._bytes(value)
        if isinstance(value, Mapping):
            return self._inside(value, lambda: self._mapping(value.items()))
        if isinstance(value, tuple) and _is_named(value):
            # With its names, by which secrets are known, and keys that are denied.
            named = cast("Any", value)
            return self._inside(
                value, lambda: self._mapping(zip(named._fields, named, strict=True))
            )
        if isinstance(value, list | tuple | set | frozenset):
            return self._inside(value, lambda: self._sequence(value))
        if isinstance(value, dt.date | dt.time):  # also datetime
            return clean_text(value.isoformat(), self.limit)
        if isinstance(value, Enum):
            return self._inside(value, lambda: self._one(value.value))
        if is_dataclass(value) and not isinstance(value, type):
            return self._inside(
                value,
                lambda: self._mapping(
                    (each.name, getattr(value, each.name))
                    for each in fields(value)
                    if not each.name.startswith("_")
                ),
            )
        if type(value) is orjson.Fragment:
            return self._fragment(value)
        return safe_str(value, self.limit, cut=self.cut)

    def _fragment(self, value: orjson.Fragment) -> Plain:
        raw = orjson.dumps(value)  # as it is
        if len(raw) > 4 * self.limit:
            return self._bytes(raw)
        try:
            held = orjson.loads(raw)
        except ValueError:
            return self._bytes(raw)
        return self._inside(value, lambda: self._one(held))

    def _bytes(self, value: bytes | bytearray | memoryview) -> str:
        # Some more, since what is longer than the limit is searched before it is cut.
        head = bytes(value[: self.limit + 5_000])
        text = self.cut(head.decode(errors="backslashreplace"), self.limit)
        more = len(value) - self.limit
        return text + f"...[{more:,} more bytes]" if more > 0 else text

    def _inside(self, value: object, copy: Callable[[], Plain]) -> Plain:
        if id(value) in self.above:
            return "<cycle: this value holds itself>"
        if len(self.above) >= MAX_DEPTH:
            return f"<{class_name(type(value))} nested over {MAX_DEPTH} levels deep>"
        self.above.add(id(value))
        try:
            return copy()
        except BaseException as reason:  # a Mapping's own methods are user code
            if is_interrupt(reason):
                raise
            return _raised(value, reason)
        finally:
            self.above.discard(id(value))

    def _mapping(self, items: Iterable[tuple[object, object]]) -> Plain:
        result: dict[str, Plain] = {}
        numbers: dict[str, int] = {}
        for key, item in self._bounded(items):
            if self.left <= 0:
                result[unique("<more values left out>", result, numbers)] = None
                break
            # Of bytes as of values, and not b'…': they are as often names.
            text = self._bytes(key) if isinstance(key, bytes) else key
            name = unique(safe_str(text, 1_000, cut=self.cut), result, numbers)
            result[name] = self._one(item)
        return result

    def _sequence(self, value: Iterable[object]) -> Plain:
        result: list[Plain] = []
        for item in self._bounded(value):
            if self.left <= 0:
                result.append("<more values left out>")
                break
            result.append(self._one(item))
        return result

    def _bounded(self, items: Iterable[T]) -> list[T]:
        # Taken in one step, so that another thread's change does not come in between.
        # One more than can be copied, so that it shows that there were more.
        return list(islice(items, max(0, self.left) + 1))

    def _one(self, item: object) -> Plain:
        try:
            return self.copy(item)
        except BaseException as reason:  # a str, int or bytes subclass with surprises
            if is_interrupt(reason):
                raise
            return _raised(item, reason)


def _is_named(value: tuple[object, ...]) -> bool:
    names = getattr(type(value), "_fields", None)
    return (
        type(names) is tuple
        and len(names) == len(value)
        and all(type(name) is str for name in names)
    )


def _raised(value: object, reason: BaseException) -> str:
    return f"<{class_name(type(value))} that raised {class_name(type(reason))}>"


def _big_int(number: object) -> str:
    try:
        return str(number)
    except ValueError:  # over sys.get_int_max_str_digits()
        return hex(cast("int", number))


def unique(name: str, taken: Mapping[str, object], numbers: dict[str, int]) -> str:
    """Return *name*, or one like it that is not *taken*; *numbers* is of all calls."""
    # {1: "a", "1": "b"} has two keys; JSON readers keep only one of two that are alike.
    if name not in taken:
        return name
    # Where the last one left off: thousands of keys may have one text.
    number = numbers.get(name, 2)
    while f"{name} ({number})" in taken:
        number += 1
    numbers[name] = number + 1
    return f"{name} ({number})"


def sanitise_context(
    context: object, limit: int, cut: Cut = _first
) -> dict[str, Plain]:
    """
    Return *context* as a plain dict; what is no mapping is put under ``"value"``.

    Args:
        context: anything.
        limit: how many characters a string may have.
        cut: what shortens one that has more.

    """
    if context is None:
        return {}
    copied = _Copier(limit, cut)._one(context)  # noqa: SLF001  (this module's own class)
    return copied if isinstance(copied, dict) else {"value": copied}


__all__ = [
    "Cut",
    "Plain",
    "class_name",
    "clean_text",
    "safe_str",
    "sanitise_context",
    "unique",
]
