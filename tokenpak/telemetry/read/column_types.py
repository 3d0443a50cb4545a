"""
Which type of DuckDB a column has, by its values alone, never by the looks of a text.

    numbers      BIGINT, or DOUBLE if one has a fraction or is larger
    true, false  BOOLEAN
    texts        VARCHAR, and so is a column without a value
    objects      STRUCT of all their keys
    lists        of what their items have
    others       JSON: values of several types, objects whose keys are no columns, or
                 integers that no DOUBLE can hold

DuckDB's own look at a file takes each text that could be a date for one, and does not
listen to a signal meanwhile.

R2  What is kept is bounded: an object of too many keys, or too deep, is JSON.  So is
    what DuckDB would have no memory for: it takes some for each key and row.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MOST_KEYS: Final = 200
"""How many keys the objects in one place may have together."""
MOST_IN_ALL: Final = 400
"""How many there may be in all places of all columns: with a thousand, 25,000 records
are too much for DuckDB."""
MOST_DEEP: Final = 16
_BIGGEST: Final = 2**63
_KINDS: Final = {
    bool: "BOOLEAN",
    int: "BIGINT",
    float: "DOUBLE",
    str: "VARCHAR",
    dict: "STRUCT",
    list: "LIST",
}
_NUMBERS: Final = {"BIGINT", "DOUBLE"}


class Column:
    """
    The values of one column so far, or of one key in them.

    Args:
        room: for how many more keys there is some, a list of one number that columns
            share.
        deep: in how many others it is.

    """

    __slots__ = ("_deep", "_full", "_item", "_keys", "_kinds", "_room")

    def __init__(self, room: list[int] | None = None, deep: int = 0) -> None:
        self._room = [MOST_IN_ALL] if room is None else room
        self._deep = deep
        self._full = False
        self._kinds: set[str] = set()
        self._keys: dict[str, Column] = {}
        self._item: Column | None = None

    def add(self, value: Any) -> None:
        """Note *value*, which is of JSON."""
        if value is None:
            return
        kind = _KINDS[type(value)]
        if kind == "BIGINT" and not -_BIGGEST <= value < _BIGGEST:
            kind = "DOUBLE" if _fits(value) else "JSON"
        self._kinds.add(kind)
        if self._deep >= MOST_DEEP:
            return
        if kind == "LIST":
            if self._item is None:
                self._item = Column(self._room, self._deep + 1)
            for item in value:
                self._item.add(item)
        elif kind == "STRUCT" and not self._full:
            for key, item in value.items():
                known = self._keys.get(key)
                if known is None:
                    if len(self._keys) >= MOST_KEYS or not self._room[0]:
                        self._full = True
                        self._room[0] += self.forget_keys()
                        return
                    self._room[0] -= 1
                    known = self._keys[key] = Column(self._room, self._deep + 1)
                known.add(item)

    def forget_keys(self) -> int:
        """Forget all keys at any depth; return how many there were."""
        number = len(self._keys)
        for column in (*self._keys.values(), self._item):
            if column is not None:
                number += column.forget_keys()
        self._keys.clear()
        self._item = None
        return number

    @property
    def type(self) -> str:
        """The type, as DuckDB writes it."""
        if self._kinds == _NUMBERS:
            return "DOUBLE"
        if len(self._kinds) != 1:
            return "JSON" if self._kinds else "VARCHAR"
        (kind,) = self._kinds
        if kind not in {"LIST", "STRUCT"}:
            return kind
        if self._deep >= MOST_DEEP or self._full:
            return "JSON"
        if kind == "LIST":
            return f"{self._item.type}[]" if self._item is not None else "JSON"
        names = {key.lower() for key in self._keys}
        if not 0 < len(names) == len(self._keys) or "" in names:
            return "JSON"
        if any("\0" in name for name in names):
            return "JSON"
        parts = (f"{_quoted(key)} {item.type}" for key, item in self._keys.items())
        return f"STRUCT({', '.join(parts)})"


def types_of(lines: Iterable[bytes], names: Sequence[str]) -> dict[str, str]:
    """
    Return the types of the columns *names*.

    Args:
        lines: of JSON, an object each, that has them all.
        names: those that are wanted.

    """
    room = [MOST_IN_ALL]
    columns = [(name, Column(room)) for name in names]
    for line in lines:
        try:
            row = orjson.loads(line)
        except ValueError:  # an integer beyond all floats
            row = json.loads(line)
        for name, column in columns:
            column.add(row[name])
    return {name: column.type for name, column in columns}


def _fits(number: int) -> bool:
    try:
        return bool(float(number))
    except OverflowError:
        return False


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


__all__ = ["MOST_DEEP", "MOST_KEYS", "Column", "types_of"]
