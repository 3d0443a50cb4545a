r"""
Which lines cannot hold a record that is wanted, by their bytes alone.

To parse a line takes ten times as long as to search it.  A line is left out only where
that is certain:

1. What is wanted is some text, which JSON writes between quotes.  Each character of it
   has one form without ``\u`` (the *canonical* one, which orjson writes), and the slash
   a second one, ``\/``.  So a line without that text in canonical form, and without
   ``\u`` (or ``\/``, where there is a slash in the text), does not hold it: whatever
   spaces, order of fields or escapes some other program has chosen.
2. A line that begins with a timestamp in canonical form, holds no second
   ``"timestamp"`` and no ``\u00`` has that timestamp, if it is a record at all.

What is ruled out so is not decoded, so it is not known whether it is malformed: a
reader with a query counts the malformed lines among those that it reads.

The search goes through many lines at once, with no step per line.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import orjson

from tokenpak.telemetry.read.filter import canonical
from tokenpak.telemetry.read.lines import Block
from tokenpak.telemetry.read.when import STAMP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tokenpak.telemetry.read.filter import Query
    from tokenpak.telemetry.read.lines import Stretch

_STAMP: Final = re.compile(f'{{"timestamp":"({STAMP})"'.encode()).match
_STAMPED: Final = b'"timestamp"'
_ESCAPED: Final = b"\\u00"
"""How an ASCII character is escaped, other than by a letter."""


class Screen:
    """
    The tests of a query that need no parse.

    Args:
        query: what is wanted.

    """

    def __init__(self, query: Query) -> None:
        texts = sorted(set(_needles(query)), key=len, reverse=True)
        self._needles = texts
        # The longest is the one that is found fastest, and least often.
        self._first = texts[0] if texts else b""
        self._escapes = _escapes(texts)
        self._hidden = _hidden(texts)
        self._bounds: tuple[bytes, bytes] | None = None
        if query.since is not None or query.until is not None:
            first, last = query.bounds()
            self._bounds = canonical(first).encode(), canonical(last).encode()

    def __bool__(self) -> bool:
        """Whether it can rule out anything at all."""
        return bool(self._needles) or self._bounds is not None

    def blocks(self, stretch: Stretch) -> Iterator[Block]:
        """Yield the lines of *stretch* that may be wanted, in order."""
        if stretch.end == "limit":  # part of a line: where it ends is not known
            yield Block(stretch.offset, [stretch.data], stretch.end)
            return
        lines = (self._matching if self._needles else self._timely)(stretch)
        offset, data, end = stretch
        for start, stop in lines:
            line = data[start:stop]
            if self._may_match(line):
                yield Block(offset + start, [line], end)

    def _matching(self, stretch: Stretch) -> Iterator[tuple[int, int]]:
        """Yield start and end of each line that holds the first needle or an escape."""
        data = stretch.data
        found = [data.find(what) for what in (self._first, *self._escapes)]
        position = 0
        while True:
            places = [place for place in found if place >= 0]
            if not places:
                return
            place = min(places)
            start = data.rfind(b"\n", position, place) + 1 or position
            stop = data.find(b"\n", place)
            if stop < 0:
                stop = len(data)
            yield start, stop
            position = stop + 1
            for number, what in enumerate((self._first, *self._escapes)):
                if 0 <= found[number] < position:
                    found[number] = data.find(what, position)

    @staticmethod
    def _timely(stretch: Stretch) -> Iterator[tuple[int, int]]:
        start = 0
        for line in stretch.data.split(b"\n"):
            yield start, start + len(line)
            start += len(line) + 1

    def _may_match(self, line: bytes) -> bool:
        if self._bounds is not None:
            match = _STAMP(line)
            if match is not None:
                first, last = self._bounds
                if (
                    not first <= match[1] <= last
                    and line.find(_STAMPED, match.end()) < 0
                    and _ESCAPED not in line
                ):
                    return False
        return all(needle in line for needle in self._needles) or (
            self._hidden(line) is not None
        )


def _needles(query: Query) -> Iterator[bytes]:
    """Yield what each line that is wanted holds, in canonical form."""
    for name in ("provider", "model", "error_type", "request_id"):
        value = getattr(query, name)
        if value is not None:
            yield from _encoded(value, quoted=True)
    for condition in query.conditions:
        if condition.operator == "!=":
            continue
        # The end of the key: "a.b" may be one key, or "b" inside of "a".
        yield from (
            key[1:] for key in _encoded(condition.key.split(".")[-1], quoted=True)
        )
        if condition.operator == "=" and condition.only_text:
            yield from _encoded(condition.value, quoted=True)
    if query.grep:
        yield from _encoded(query.grep, quoted=False)


def _encoded(text: str, *, quoted: bool) -> Iterator[bytes]:
    try:
        data = orjson.dumps(text)
    except TypeError:  # a lone surrogate, which can only be there as an escape
        return
    yield data if quoted else data[1:-1]


def _escapes(needles: list[bytes]) -> list[bytes]:
    """Return what a line holds that has one of *needles* in another form."""
    if not needles:
        return []
    plain = all(needle.isascii() for needle in needles)
    escapes = [_ESCAPED if plain else _ESCAPED[:2]]
    if any(b"/" in needle for needle in needles):
        escapes.append(b"\\/")
    return escapes


def _hidden(needles: list[bytes]) -> Callable[[bytes], object]:
    """Return the search for a form other than the canonical one of a needle."""
    if not all(needle.isascii() for needle in needles):
        code = rb"\\u"
    elif any(b"\\" in needle for needle in needles):
        code = rb"\\u00"
    else:
        # The escapes of control characters, which canonical lines have too, are none.
        code = rb"\\u00[2-7]"
    slash = any(b"/" in needle for needle in needles)
    return re.compile(code + (rb"|\\/" if slash else b"")).search


__all__ = ["Screen"]
