"""
Find the names in a text that may have a value, and no more of them than it may cost.

A name is found by its word and by the sign behind it.  Of a long text with few signs
only what is before them is looked at: prose has few, and Base64 next to none.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import islice
from operator import itemgetter
from typing import Final

from tokenpak.telemetry.capture.privacy.budget import (
    LOOK,
    SEARCH_EACH,
    Budget,
    cut,
    end_of,
    low_of,
)
from tokenpak.telemetry.capture.privacy.names import NAMES, Name
from tokenpak.telemetry.capture.privacy.rule import compiled
from tokenpak.telemetry.capture.privacy.starts import one_of

MAX_NAMES: Final = 64
"""How many names with a value a text may have."""
NAME_EACH: Final = 256
"""One more for as many characters that are before it: what a long answer, or a dump of
a configuration, has here and there is no text that was made of names."""
STEPS: Final = 3
"""What such a name costs; one whose value is none costs two, one in a mark less."""
STEP: Final = 1.2
"""Microseconds that a step costs."""
_SET: Final = 3.0
_NAME: Final = 8.0
_HEAD: Final = 0.4
_WORD: Final = 0.1
_ONE_WORD: Final = 1.0
"""Microseconds that those cost which are sought at once; a group of names; a name; a
word that is in one; and such a one if it is looked at by itself."""
_FEW_WORDS: Final = 24
"""Up to how many are, which takes one pass for all of them."""
_LAST: Final = 100.0
"""How many microseconds names may cost after a text has been cut for them."""
_BETWEEN: Final = 2
"""How many there are at least where nobody has looked, for each that was met."""
_EDGE: Final = 8
"""The part of a text, at both ends, that tells how many there are at least."""
_IN_COMMON: Final = (("k", 3), ("w", 2))
"""What two words have, and how long it is until they differ: token and cookie, pwd and
jwt.  Both are rare, so one look for two is as quick as one for one."""
LEAST: Final = 30
"""How many steps and words there are, whatever the text has cost."""
_WORD_EACH: Final = 24
"""In a long text, how many characters there are for each word that is in a name; one
that is alone in it, or a quarter of them for each, whatever the others have taken."""
_LONG: Final = 4_096
_SIGNS: Final = "=:%\"'"
"""What signs begin with, or the quote before one;"""
_BEHIND: Final = {"%": "3", '"': ",", "'": ","}
"""and what is behind it then."""
_FEW_SIGNS: Final = 96
"""How many of them are looked at one by one;"""
_SOME_SIGNS: Final = 16
"""After how many of one of them all others are counted;"""
_MAX_SIGNS: Final = 192
"""and of these and quotes that are none."""
_SIGN_COST: Final = 0.55
_BEFORE: Final = 80
"""How many characters before one are looked at: a name, and what is behind it."""
_GAP: Final = " \t\r\n\"'])\\abfnrtv%027"
"""What may be between a name and its sign, or more."""
_LONGEST: Final = 32
"""No name is longer."""
_ITS_LETTERS: Final = [(name, frozenset(name.word + name.sign)) for name in NAMES]
_LETTERS: Final = sorted(frozenset[str]().union(*(its for _, its in _ITS_LETTERS)))
"""Most names are told by these: to look for one takes a tenth of the time."""
PLACE: Final = itemgetter(0)

Head = tuple[int, int, Name]
"""Where a name with its sign begins, and where it ends."""
_Set = tuple[re.Pattern[str], dict[str, tuple[int, Name]]]
"""What finds a part of some words; and for each how long before it the word begins, and
whose it is."""


def heads_in(text: str, low: str, budget: Budget) -> tuple[str, str, list[Head], int]:
    """
    Return as much of *text* as has few names, the same in lower case, and the names.

    *low* is all of it in lower case.  The names are those up to a place, the last
    of what is returned.

    A long text that is made of such words and little else ends where there are too
    many of them: ``password`` without a value is no find, and costs a look all the
    same.
    """
    if not _has_sign(text):
        return text, low, [], len(text)
    if len(text) > _LONG:
        # There is room for one look at least, or it is cut before the first.
        short = budget.bounded(text, SEARCH_EACH * len(text))
        if short is text:
            return _in_long(text, low, budget)
        text, low = short, low_of(short, low)
    until = len(text)
    heads: list[Head] = []
    # The letter first: that takes a tenth of the time, where there is none.
    names = [n for n in NAMES if n.word[0] in low and n.word in low]
    # No more than there may be steps: what is behind them is left out.
    most = STEPS * (MAX_NAMES + until // NAME_EACH)
    for name in names:
        until = _add(heads, name, low, most, until)
    if len(names) > 1:
        heads.sort(key=PLACE)
    return text, low, heads, until


def _add(heads: list[Head], name: Name, low: str, most: int, until: int) -> int:
    """Add those of *name* before *until*; return that, or where one is too many."""
    search = compiled(name.head).search
    head = search(low)
    count = 0
    while head is not None:
        at, after = head.span()
        if at >= until:
            break
        if count == most:
            return at
        count += 1
        heads.append((at, after, name))
        head = search(low, after)
    return until


def _in_long(text: str, low: str, budget: Budget) -> tuple[str, str, list[Head], int]:
    """Return what heads_in() returns of a long text."""
    whole = text
    text, low, groups = _counted(text, low, budget)
    if text is not whole:
        # It is full of names, and its first ones are as good as more of them.
        budget.most = min(budget.most, budget.spent + _LAST)
    until = len(text)
    # What was cut off had some of them.
    last = end_of(text)
    heads: list[Head] = []
    for group in groups:
        most = STEPS * (MAX_NAMES + until // NAME_EACH)
        most = max(LEAST, min(most, budget.room(_HEAD + STEP)))
        own = [head for head in group.heads if head[1] <= last]
        if len(own) > most:
            until = min(until, own[most][0])
            own = own[:most]
        elif group.more:
            budget.spent += _NAME
            until = _add(own, group.name, low, most, until)
        budget.spent += _HEAD * len(own)
        heads += own
    heads.sort(key=PLACE)
    return text, low, heads, until


class _Met:
    """
    What is known of a name in a text.

    Attributes:
        name: whose.
        count: how often its word is in it.
        heads: those that it begins.
        more: whether these are still to be found: they may be many.

    """

    __slots__ = ("count", "heads", "match", "more", "name")

    def __init__(self, name: Name) -> None:
        self.name = name
        self.count = 0
        self.heads: list[Head] = []
        self.more = False
        self.match = compiled(name.head).match


@lru_cache(maxsize=256)
def _sets(names: tuple[Name, ...]) -> list[_Set]:
    """Return how *names* are sought: at once, if their words have a part in common."""
    sets: list[_Set] = []
    left = dict.fromkeys(names)
    for part, length in _IN_COMMON:
        its = [name for name in left if part in name.word[1:]]
        if len(its) > 1:
            found = {}
            for name in its:
                del left[name]
                before = name.word.index(part)
                found[name.word[before : before + length]] = (before, name)
            sets.append((compiled(one_of(found)), found))
    for name in left:
        word = name.word
        # No text has many of what is behind an "a", and most have many of these.
        before = int(word[0] == "a")
        if word[0] == word[-1]:
            # The next one may begin with the last letter of it: sessessionid.
            part, expression = word[:-1], f"{word[:-1]}(?={word[-1]})"
            sets.append((compiled(expression), {part: (0, name)}))
        else:
            part = word[before:]
            sets.append((compiled(part), {part: (before, name)}))
    return sets


def _meet(
    expression: re.Pattern[str],
    its: dict[str, tuple[int, Name]],
    low: str,
    budget: Budget,
) -> list[_Met]:
    """Return what is known of names in *low*, after one pass."""
    most = min(_FEW_WORDS, budget.room(_ONE_WORD))
    met = {name.word: _Met(name) for _, name in its.values()}
    count = 0
    for part in islice(expression.finditer(low), most + 1):
        if count == most:
            for each in met.values():
                each.more = True
            break
        count += 1
        before, name = its[part[0]]
        at = part.start() - before
        if before and not low.startswith(name.word, max(0, at)):
            continue
        each = met[name.word]
        each.count += 1
        head = each.match(low, at)
        if head is not None:
            each.heads.append((at, head.end(), name))
    budget.spent += _ONE_WORD * count
    return [each for each in met.values() if each.count or each.more]


def _counted(text: str, low: str, budget: Budget) -> tuple[str, str, list[_Met]]:
    """Return the names whose word is in *text*, a long one, and what is kept of it."""
    letters = {letter for letter in _LETTERS if letter in low}
    names = [
        name
        for name, its in _ITS_LETTERS
        if its <= letters and (not name.sign or compiled(name.sign).search(low))
    ]
    budget.spent += SEARCH_EACH * len(low)
    near = _before_signs(low, budget)
    if near is not None:
        budget.spent += LOOK * len(near) * len(names)
        names = [name for name in names if compiled(name.word).search(near)]
    sets = _sets(tuple(names))
    short = budget.bounded(text, (_SET + SEARCH_EACH * len(text)) * len(sets))
    if short is not text:
        text, low = short, low_of(short, low)
    budget.spent += (_SET + SEARCH_EACH * len(text)) * len(sets)
    groups = [met for one in sets for met in _meet(*one, low, budget)]
    many = [group for group in groups if group.more]
    for group in many:
        group.heads.clear()
    # The second pass is that for the names themselves.
    look = 2 * SEARCH_EACH * len(text) + _WORD * _FEW_WORDS
    edge = len(low) // _EDGE
    least = look * len(many)
    short = budget.bounded(text, least)
    if short is text and many:
        # Most are told to be too many by the text's ends.
        ends = low[:edge] + "\n" + low[-edge:]
        budget.spent += SEARCH_EACH * len(ends) * len(many)
        met = sum(_count(group, ends, budget) for group in many)
        # They are a quarter of it: what is between them is hardly without.
        short = budget.bounded(text, least + _BETWEEN * _WORD * met)
    if short is not text:
        text, low = short, low_of(short, low)
        look = 2 * SEARCH_EACH * len(text)
    budget.spent += look * len(many)
    for group in many:
        group.count = _count(group, low, budget)
    short = budget.bounded(text)
    if short is not text or budget.over():
        # Not all have been counted: they are found when they are looked for.
        return short, low_of(short, low), groups
    groups = [group for group in groups if group.count]
    left = most = len(text) // _WORD_EACH
    if sum(group.count for group in groups) <= most:
        return text, low, groups
    least = most // 4
    for group in groups:
        most = max(least, left)
        parts = low.split(group.name.word, most)
        left -= len(parts) - 1
        if len(parts) > most:
            low = low[: -len(parts[-1]) or len(low)]
    if len(low) < end_of(text):
        text = cut(text, len(low))
    return text, low_of(text, low), groups


def _count(group: _Met, low: str, budget: Budget) -> int:
    """Return how often the word of *group* is in *low*, as far as there is room."""
    find = compiled(group.name.word).findall
    count = 0
    part = len(low) // _EDGE + 1
    for at in range(0, len(low), part):
        # Not by str.count(): where there are its letters, but not the word, that takes
        # five times as long.
        met = len(find(low, at, at + part + len(group.name.word) - 1))
        count += met
        budget.spent += _WORD * met
        if budget.over():
            break
    return count


def _before_signs(low: str, budget: Budget) -> str | None:
    """Return what is before the signs in *low*; None: they are many, or blanks are."""
    parts: list[str] = []
    seen = 0
    for sign in _SIGNS:
        at = low.find(sign)
        some = seen + _SOME_SIGNS
        while at >= 0:
            seen += 1
            if seen == some and sign not in _BEHIND:
                # To count them is quicker, if there are too many.
                budget.spent += LOOK / 2 * len(low)
                if len(parts) + low.count(sign, at) > _FEW_SIGNS:
                    budget.spent += _SIGN_COST * seen
                    return None
            if len(parts) == _FEW_SIGNS or seen > _MAX_SIGNS:
                budget.spent += _SIGN_COST * seen
                return None
            behind = low[at + 1 : at + 2]
            if behind == _BEHIND.get(sign, behind):
                part = low[max(0, at - _BEFORE) : at + 1]
                if at > _BEFORE and len(part[:-1].rstrip(_GAP)) < _LONGEST:
                    budget.spent += _SIGN_COST * seen
                    return None
                parts.append(part)
            at = low.find(sign, at + 1)
    budget.spent += _SIGN_COST * seen
    return "\n".join(parts)


def _has_sign(text: str) -> bool:
    """Return whether *text* has a sign that may be behind a name."""
    if "=" in text or ":" in text:
        return True
    if len(text) > _LONG:
        # Where there are none, two characters are sought in a third of the time.
        return compiled("%3|[\"'],").search(text) is not None
    return (
        ("%" in text and "%3" in text)
        or ('"' in text and '",' in text)
        or ("'" in text and "'," in text)
    )


__all__ = [
    "LEAST",
    "MAX_NAMES",
    "NAME_EACH",
    "PLACE",
    "STEP",
    "STEPS",
    "Head",
    "heads_in",
]
