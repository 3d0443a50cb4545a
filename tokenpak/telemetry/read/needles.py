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
from tokenpak.telemetry.read.lines import Block, split_stretch
from tokenpak.telemetry.read.search import finder
from tokenpak.telemetry.read.when import STAMP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tokenpak.telemetry.read.filter import Query
    from tokenpak.telemetry.read.lines import Stretch

_STAMP: Final = re.compile(f'{{"timestamp":"({STAMP})"'.encode()).match
_STAMPED: Final = b'"timestamp"'
_ESCAPED: Final = b"\\u00"
"""How an ASCII character is escaped, other than by a letter."""
_QUOTE: Final = ord('"')
_MOST_HALVES: Final = 2
"""For so many first digits of codes, a search for each costs less than to pass over
the escapes of control characters, of which colours on a terminal are made."""


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
        self._escapes = _escapes(self._first)
        self._hidden = _hidden(texts)
        self._bounds: tuple[bytes, bytes] | None = None
        """Of the timestamps, as the logger writes them."""
        if query.since is not None or query.until is not None:
            first, last = query.bounds()
            self._bounds = canonical(first).encode(), canonical(last).encode()
        self._simple = len(texts) == 1 and self._bounds is None
        """Whether a line with the needle needs no further look."""

    def __bool__(self) -> bool:
        """Whether it can rule out anything at all."""
        return bool(self._needles) or self._bounds is not None

    def blocks(self, stretch: Stretch) -> list[Block]:
        """Return the lines of *stretch* that may be wanted, in order."""
        if stretch.end == "limit":  # part of a line: where it ends is not known
            return [split_stretch(stretch)]
        if self._needles:
            return self._matching(stretch)
        found = []
        offset, lines, end = split_stretch(stretch)
        for line in lines:
            if self._may_match(line):
                found.append(Block(offset, [line], end))
            offset += len(line) + 1
        return found

    def _matching(self, stretch: Stretch) -> list[Block]:
        """Return what holds the first needle or an escape, if it may match."""
        offset, data, position, last, end = stretch
        shift = offset - position
        find, first, simple = finder(data), self._first, self._simple
        blocks: list[Block] = []
        needle = hidden = -1
        # Where each escape comes next: one that is nowhere is looked for once, not in
        # every line that has another one.
        escapes = dict.fromkeys(self._escapes, -1)
        while position < last:
            # Where the next ones are; at the end if nowhere.
            if needle < position:
                needle = find(first, position)
                if needle < 0:
                    needle = last
            if hidden < position:
                for what, known in escapes.items():
                    if known < position:
                        found = find(what, position)
                        escapes[what] = last if found < 0 else found
                hidden = min(escapes.values(), default=last)
            place = needle if needle < hidden else hidden  # noqa: FURB136  (no call)
            if place >= last:
                break
            start = data.rfind(b"\n", position, place) + 1 or position
            stop = data.find(b"\n", place, last)
            if stop < 0:
                stop = last
            line = data[start:stop]
            if (simple and place == needle) or self._may_match(line):
                blocks.append(Block(shift + start, [line], end))
            position = stop + 1
        return blocks

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


def _escapes(needle: bytes) -> list[bytes]:
    """Return what a line holds one of, if it has *needle* in another form."""
    # A quote that is not escaped is one that JSON puts around a text: it has one form.
    halves = sorted({char >> 4 for char in needle if char != _QUOTE})
    if not needle.isascii():
        escapes = [_ESCAPED[:2]]
    elif b"\\" in needle or len(halves) > _MOST_HALVES:
        escapes = [_ESCAPED]
    else:
        escapes = [_ESCAPED + b"%x" % half for half in halves]
    if b"/" in needle:
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
