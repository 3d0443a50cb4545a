"""
Which rules might find something in a text, by the words that their secrets begin with.

To look for each word by itself would take sixty passes.  Most words end in one of a few
signs, and then in few pairs of characters, or they have a capital letter: if the text
has not the sign, or not the pair, it has none of the words either.

Nearly all tokens have a *run*: 16 letters, digits, ``_`` and ``-`` in a row.  A text
without one needs no such look at all, and to see that takes one pass.

In a short text, such as an id, one expression for all of the words is quicker.  Of a
long one only the surroundings of its runs are looked at, where they are few.  Where
they are many (Base64, a list of ids), the text is asked first which characters it has,
and what stands before each of the signs in which most of the words end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from tokenpak.telemetry.capture.privacy.budget import LOOK, Budget
from tokenpak.telemetry.capture.privacy.rule import Rule, compiled

RUN: Final = b"a" * 16
CLASSES: Final = bytes(
    97 if byte < 128 and (chr(byte).isalnum() or chr(byte) in "_-") else 32
    for byte in range(256)
)
"""For bytes.translate: what runs are made of becomes ``a``, all else a blank."""
RUNLESS: Final = ("PRIVATE KEY", "Q~", "whsec_")
"""What tokens that may have no run begin with."""
_SIGNS: Final = "-_."
_ENDS: Final = _SIGNS.encode()
LONG: Final = 10_000
"""From how many characters on a text is long."""
JOINTS: Final = frozenset(b"./:\\%")
"""What may stand between the beginning of a token and its run (SG.…, …:AA…), or begin
an escape whose last letters the run begins with (%20sk-…): alone the run tells less."""
NEAR: Final = 128
"""How many characters before a run belong to it then."""
_MAX_RUNS: Final = 200
"""How many runs are looked at one by one; with more a text is looked at as a whole."""
_SOME: Final = 16
"""After how many of them it is told whether there will be more."""
_RUN_COST: Final = 0.5
_SIGN: Final = 0.5
_PIECE: Final = 0.05
_OTHER_PIECE: Final = 0.11
"""Microseconds, about, that a run costs; a sign that is looked at; one by which a text
is split; and each of the pieces that are not the same as another."""
_WORDS_COST: Final = 16.0
"""What it costs to tell which of them there may be by their letters."""
_LOOK: Final = 0.00055
"""What it costs to look for one word, for each character: see _Word.sought()."""
_BESIDE: Final = 3
"""How many characters beside a sign are looked at."""
_WORTH: Final = 3
"""Fewer words with one sign are sought by themselves."""
_FEW: Final = 64
"""Up to how many of a sign are looked at one by one."""
_SHARE: Final = 0.66
"""How much of what a text may cost it may cost to tell which words it has."""
_DASHES: Final = b"-" * 8
"""A line of them is a run; one is enough for the words that end in one."""

_Words = list[tuple[str, int]]
"""And the places of their rules."""


class _Word(NamedTuple):
    """A word that secrets begin with, and what stands beside its sign in it."""

    whole: bytes
    letters: frozenset[int]
    beside: bytes | None

    @classmethod
    def of(cls, whole: bytes, sign: bytes) -> _Word:
        """Return the word *whole*, which ends in *sign*, or begins with it."""
        beside: bytes | None
        if sign in _ENDS:
            _, closed, part = whole[:-1].rpartition(sign)
            beside = part[-_BESIDE:]
            least = _BESIDE - 1
        else:
            part, closed, _ = whole[1:].partition(sign)
            beside = part[:_BESIDE]
            least = _BESIDE
        if not closed and len(part) < least:
            beside = None
        return cls(whole, frozenset(whole), beside)

    def stands(self, beside: set[bytes]) -> bool:
        """Return whether it may be where *beside* stands."""
        return self.beside is None or self.beside in beside

    def sought(self, data: bytes) -> bool:
        """
        Return whether it is in *data*.

        Not by ``in``: of a text that has its letters, but not it, that takes up to
        five times as long, and an expression's search twice.
        """
        return _searched(self.whole)(data) is not None


@cache
def _searched(word: bytes) -> Callable[[bytes], object]:
    """Return what finds *word*, when it is first needed."""
    return re.compile(re.escape(word)).search


class Starts:
    """
    The words that secrets begin with.

    Args:
        rules: whose words.

    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        groups: dict[str, dict[str, _Words]] = {}
        for place, rule in enumerate(rules):
            for start in rule.starts:
                pairs = groups.setdefault(_sign(start), {})
                last = start[-2:] if start[-1] in _SIGNS else start
                pairs.setdefault(last, []).append((start, place))
        self._groups = [
            (sign, [(pair[0], pair, words) for pair, words in pairs.items()])
            for sign, pairs in groups.items()
        ]
        self._any: re.Pattern[str] | None = None
        self._of = {start.encode(): rule for rule in rules for start in rule.starts}
        self._letters = sorted({letter for word in self._of for letter in word})
        ends: dict[bytes, list[_Word]] = {}
        for word in self._of:
            sign = word[-1:] if word[-1:] in _ENDS else word[:1]
            ends.setdefault(sign, []).append(_Word.of(word, sign))
        self._long = list(ends.items())

    def in_short(self, text: str) -> bool:
        """Return whether *text* has one of the words, or is long."""
        if len(text) > 200:
            return True
        if self._any is None:
            self._any = compiled(one_of(s for rule in self._rules for s in rule.starts))
        return self._any.search(text) is not None

    def within(self, text: str) -> list[Rule]:
        """Return the rules of which *text* has a word, in their order."""
        if len(text) > LONG:
            return self.in_long(text.encode(errors="replace")) or []
        found: list[int] = []
        for sign, pairs in self._groups:
            if sign in text:
                for first, pair, words in pairs:
                    # To look for one character takes a tenth of the time.
                    if first not in text:
                        continue
                    if len(words) == 1:
                        start, place = words[0]
                        if start in text:
                            found.append(place)
                    elif pair in text:
                        found += [place for start, place in words if start in text]
        if len(found) < 2:
            return [self._rules[found[0]]] if found else []
        return [self._rules[place] for place in sorted(set(found))]

    def in_long(self, data: bytes, budget: Budget | None = None) -> list[Rule] | None:
        """
        Return the same of a long text; None: it would take more than *budget* has.

        Args:
            data: the text, encoded: all words are ASCII, and others take longer.
            budget: what it takes is taken from it.

        """
        budget = budget or Budget()
        most = _SHARE * budget.most
        budget.spent += _WORDS_COST
        letters = {letter for letter in self._letters if letter in data}
        look = _LOOK * len(data)
        left: list[_Word] = []
        cost = 0.0
        dense: list[tuple[bytes, list[_Word], int]] = []
        least = 0.0
        for sign, words in self._long:
            some = [word for word in words if word.letters <= letters]
            if len(some) > _WORTH:
                # What stands beside the sign leaves few of them.
                count, beside = _beside_few(data, sign, budget)
                if beside is not None:
                    some = [word for word in some if word.stands(beside)]
                else:
                    if sign == b"-" and _DASHES in data:
                        budget.spent += LOOK * len(data)
                        data = data.replace(_DASHES, sign)
                        count = data.count(sign)
                    dense.append((sign, some, count))
                    least += min(_PIECE * count, look * len(some))
                    some = []
            left += some
            cost += look * len(some)
            if budget.spent + least + cost > most:
                return None
        for sign, words, count in dense:
            some = _dense(data, sign, words, count, budget)
            left += some
            cost += look * len(some)
            if budget.spent + cost > most:
                return None
        budget.spent += cost
        found: set[str] = set()
        for word in left:
            name = self._of[word.whole].name
            if name not in found and word.sought(data):
                found.add(name)
        return [rule for rule in self._rules if rule.name in found]


def _dense(
    data: bytes, sign: bytes, words: list[_Word], count: int, budget: Budget
) -> list[_Word]:
    """Return which of *words* may be in *data*, which has *count* of their *sign*."""
    without = _LOOK * len(data) * len(words)
    if _PIECE * count > without:
        return words
    budget.spent += _PIECE * count + LOOK / 2 * len(data)
    pieces = set(data.split(sign))
    if _OTHER_PIECE * len(pieces) > without:
        return words
    budget.spent += _OTHER_PIECE * len(pieces)
    beside = _beside(pieces, sign)
    return [word for word in words if word.stands(beside)]


def _beside_few(
    data: bytes, sign: bytes, budget: Budget
) -> tuple[int, set[bytes] | None]:
    """Return how often *sign* is in *data*, and what is beside it, unless too often."""
    before, behind = (_BESIDE, 1) if sign in _ENDS else (0, 1 + _BESIDE)
    parts: list[bytes] = []
    find, at = data.find, data.find(sign)
    for number in range(_FEW):
        if at < 0:
            budget.spent += _SIGN * min(number, _SOME)
            return number, _beside(b"".join(parts).split(sign), sign)
        if number == _SOME:
            # To count them is quicker, if there are too many.
            budget.spent += LOOK / 2 * len(data) + _SIGN * number
            count = number + data.count(sign, at)
            if count > _FEW:
                return count, None
            budget.spent += _SIGN * count
        parts.append(data[max(0, at - before) : at + behind])
        at = find(sign, at + 1)
    return _FEW, _beside(b"".join(parts).split(sign), sign)


def _beside(pieces: Iterable[bytes], sign: bytes) -> set[bytes]:
    """Return the same of the *pieces* that *sign* is between."""
    if sign not in _ENDS:
        return {piece[:_BESIDE] for piece in pieces}
    beside = {piece[-_BESIDE:] for piece in pieces}
    return beside | {piece[1 - _BESIDE :] for piece in beside}


def _sign(start: str) -> str:
    """Return the character of *start* that is the rarest, as a rule."""
    if start[-1] in _SIGNS:
        return start[-1]
    return next((c for c in reversed(start) if not c.islower()), start[0])


def one_of(words: Iterable[str]) -> str:
    """Return an expression for *words* that looks at their common parts once."""
    tree: dict[str, Any] = {}
    for word in words:
        node = tree
        for character in word:
            node = node.setdefault(character, {})
        node[""] = {}
    return _expression(tree)


def _expression(tree: dict[str, Any]) -> str:
    if "" in tree:  # a word ends here, and whatever goes on with it has it, too
        return ""
    parts = [re.escape(first) + _expression(rest) for first, rest in tree.items()]
    return parts[0] if len(parts) == 1 else f"(?:{'|'.join(parts)})"


def near_runs(data: bytes, budget: Budget) -> bytes:
    """Return the parts of *data*, a long text, in which its tokens with a run begin."""
    classes = data.translate(CLASSES)
    find = classes.find
    at, length = find(RUN), len(data)
    parts: list[bytes] = []
    while at >= 0:
        count = len(parts)
        budget.spent += _RUN_COST
        if count == _MAX_RUNS or (count == _SOME and at * _MAX_RUNS < length * _SOME):
            return data
        end = find(b" ", at)
        if end < 0:
            end = length
        first = max(0, at - NEAR) if at and data[at - 1] in JOINTS else at
        parts.append(data[first:end])
        at = find(RUN, end)
    return b" ".join(parts)


def has_run(text: str) -> bool:
    """Return whether *text* has what nearly all tokens have."""
    if len(text) < len(RUN):
        return False
    return text.encode(errors="replace").translate(CLASSES).find(RUN) >= 0


__all__ = [
    "CLASSES",
    "JOINTS",
    "LONG",
    "NEAR",
    "RUN",
    "RUNLESS",
    "Starts",
    "has_run",
    "near_runs",
    "one_of",
]
