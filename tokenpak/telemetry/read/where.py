"""
Conditions on a key of the context, and where a key is found in a record.

A key is looked for in the context, then among the record's own fields, so that
``duration_ms``, ``event`` and ``context.model`` all name what one expects.  Dots go
into nested objects; a key that itself has dots in it, as those of OpenTelemetry do, is
found before what is nested.
"""

from __future__ import annotations

import math
import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from tokenpak.telemetry.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenpak.telemetry.read.records import Record

Operator = Literal["=", "!=", ">", ">=", "<", "<="]

EXAMPLE: Final = (
    "a condition like provider=openai, kind!=quota, duration_ms>1000 or retry.n>=2"
)
MISSING: Final = object()
"""What a key that is not there has for a value."""

_MOST_PARTS: Final = 16
"""Of a dotted key: each dot may be in a key or between two."""
_CONDITION: Final = re.compile(r"([^=!<>]+)(!=|>=|<=|=|>|<)(.*)", re.DOTALL).fullmatch
_NUMBER: Final = re.compile(
    r"[+-]?(\d{1,300}(\.\d{0,300})?|\.\d{1,300})([eE][+-]?\d{1,4})?", re.ASCII
).fullmatch
_ORDERS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_WORDS: Final[dict[str, bool | None]] = {"true": True, "false": False, "null": None}


@dataclass(frozen=True, slots=True)
class Condition:
    """
    What the value of a key must be.

    ``=`` holds if the value is that text, or that number, ``true``, ``false`` or
    ``null``; ``!=`` holds wherever ``=`` does not, also where there is no such key.
    The others hold for numbers only.

    Attributes:
        key: of the context, else of the record; dotted for nested.
        operator: ``=``, ``!=``, ``>``, ``>=``, ``<`` or ``<=``.
        value: as text.

    Raises:
        SettingError: the key is empty, the operator unknown, or one that compares
            numbers has none.

    """

    key: str
    operator: Operator
    value: str

    def __post_init__(self) -> None:
        known = self.operator in {"=", "!="} or self.operator in _ORDERS
        if not self.key.strip() or not known or self.key.count(".") >= _MOST_PARTS:
            raise SettingError("where", str(self), EXAMPLE)
        if self.operator in _ORDERS and self.number is None:
            raise SettingError(
                "where", str(self), f"a number behind {self.operator}, not {self.value}"
            )

    def __str__(self) -> str:
        return f"{self.key}{self.operator}{self.value}"

    @property
    def number(self) -> float | None:
        """The value as a number, exact if it is an integer; None: it is none."""
        text = self.value.strip()
        if _NUMBER(text) is None:
            return None
        try:
            return int(text)
        except ValueError:
            number = float(text)
            return number if math.isfinite(number) else None

    @property
    def only_text(self) -> bool:
        """Whether nothing but a string can be equal to the value."""
        return self.number is None and self.value not in _WORDS

    def test(self) -> Callable[[Record], bool]:
        """Return the test of a record."""
        key, number = self.key, self.number
        parts = tuple(key.split("."))
        order = _ORDERS.get(self.operator)
        if order is not None:

            def ordered(record: Record) -> bool:
                found = _look(record, key, parts)
                return _is_number(found) and order(found, number)

            return ordered

        text, word = self.value, _WORDS.get(self.value, MISSING)
        wanted = self.operator == "="

        def equal(record: Record) -> bool:
            found = _look(record, key, parts)
            if isinstance(found, str):
                same = found == text
            elif found is None or isinstance(found, bool):
                same = found is word
            else:
                same = number is not None and _is_number(found) and found == number
            return same is wanted

        return equal


def parse_where(text: str) -> Condition:
    """
    Return the condition that *text* is: ``KEY=VALUE``, ``KEY>NUMBER`` and so on.

    The first operator in it counts; spaces around the key are taken off.

    Raises:
        SettingError: it is none; the message shows examples.

    """
    match = _CONDITION(text)
    if match is None:
        raise SettingError("where", text, EXAMPLE)
    return Condition(match[1].strip(), cast("Operator", match[2]), match[3])


def value_at(record: Record, key: str) -> Any:
    """Return what *key*, dotted for nested, has for a value in *record*, or MISSING."""
    return _look(record, key, tuple(key.split(".")[:_MOST_PARTS]))


def _look(record: Record, key: str, parts: tuple[str, ...]) -> Any:
    context = record.get("context")
    if isinstance(context, dict):
        # The usual case first: a key of the context as it stands.
        found = context.get(key, MISSING)
        if found is MISSING and len(parts) > 1:
            found = _descend(context, parts)
        if found is not MISSING:
            return found
    return _descend(record, parts)


def _descend(place: dict[str, Any], parts: tuple[str, ...]) -> Any:
    """Try the longest key that is there; what is nested after it."""
    for length in range(len(parts), 0, -1):
        found = place.get(".".join(parts[:length]), MISSING)
        if length == len(parts):
            if found is not MISSING:
                return found
        elif isinstance(found, dict):
            found = _descend(found, parts[length:])
            if found is not MISSING:
                return found
    return MISSING


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


__all__ = ["EXAMPLE", "MISSING", "Condition", "Operator", "parse_where", "value_at"]
