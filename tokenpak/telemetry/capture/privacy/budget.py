"""
What one text may cost, and how it ends where that is too much.

What is hostile is a text that was made to keep us busy: it has many secrets, or much
that looks like some, or a little of everything.  All that takes more than no time is
charged, in microseconds as they were measured once, *before* it is done: a text that
has spent what it may is cut, and the rest of the work is done on what is left.  Charges
are counted, not timed, so that the same text always ends at the same place.

Where a text ends early, it ends before a word, or the half of a secret would be left.
"""

from __future__ import annotations

import re
from typing import Final

from tokenpak.telemetry.capture.privacy.rule import compiled

SHORT: Final = 2_048
"""Characters that are kept of a long text which costs too much."""
_SHORT: Final = 3 * SHORT // 4
"""From how many characters on one is cut again."""
_LONG: Final = 8_192
"""From how many characters on a text is cut for what it costs."""
MOST: Final = 640.0
MOST_EACH: Final = 0.026
"""Microseconds that a text may cost, and how many more for each of its characters that
is beyond the USUAL ones."""
_OTHERS_EACH: Final = 0.3
"""The same for rules beyond those for credentials: each number and each word of hex
digits may be what they look for, and it takes a check to tell."""
USUAL: Final = 33_000
"""A shorter text may cost as much as one of so many: a record has no more of them."""
_EARLY: Final = 400.0
"""If it may still cost so many, more of it is kept."""
_LAST: Final = 60.0
"""How many it may cost at least after it has been cut."""
_WIDE: Final = 0.8
"""What a text has of that which is not ASCII: each look at it takes longer."""
_NO_END: Final = 1e9
LOOK: Final = 0.0008
"""What it costs to look for one word, for each character."""
SEARCH_EACH: Final = 0.00045
"""The same if it is an expression that looks: for many words that takes less."""
LEFT_OUT: Final = "characters, after too many that look like secrets]"
_LEFT_OUT: Final = rf"\[redacted: ([0-9,]{{1,20}}) {re.escape(LEFT_OUT)}\Z"
_LONGEST: Final = 100
"""Of such a text."""
_ENDS: Final = " \n\t\"'"
"""What no secret has that is not quoted; a password in a URL may have a comma."""
_NUMBER: Final = tuple("0123456789+().-")
_GROUPS: Final = 20
"""How many blanks a number may have, about."""


class Budget:
    """
    What one text may cost, and what it has cost.

    Args:
        text: the one.

    Attributes:
        most: microseconds that it may cost.
        spent: those that it has cost, about.
        finds: how many secrets have been found.
        starts: how many words have been met that secrets begin with.

    """

    __slots__ = ("finds", "most", "spent", "starts")

    def __init__(self, text: str = "") -> None:
        if len(text) < _LONG:
            self.most = _NO_END
        else:
            self.most = MOST + MOST_EACH * max(0, len(text) - USUAL)
            if not text.isascii():
                self.most *= _WIDE
        self.spent = 0.0
        self.finds = 0
        self.starts = 0

    def of_others(self, text: str) -> Budget:
        """
        Return that of other rules than those for credentials, for what *text* is now.

        They have their own, or each text would be cut that has numbers in it.
        """
        budget = Budget(text)
        budget.most += _OTHERS_EACH * max(len(text), USUAL)
        budget.finds, budget.starts = self.finds, self.starts
        return budget

    def over(self, more: float = 0.0) -> bool:
        """Return whether *more* microseconds are more than what is left."""
        return self.spent + more > self.most

    def room(self, each: float) -> int:
        """Return how many things there is room for that cost *each*."""
        return int(max(0.0, self.most - self.spent) / each)

    def bounded(self, text: str, more: float = 0.0) -> str:
        """
        Return *text*; if *more* would cost too much, what others may still see of it.

        What is kept may cost a little more, whatever has been spent on the rest.
        """
        if self.spent + more <= self.most or len(text) < _SHORT:
            return text
        early = self.most - self.spent > _EARLY and text.isascii()
        self.most = max(self.most, self.spent + _LAST)
        return cut(text, SHORT if early and len(text) >= _LONG else SHORT // 2)


def end_of(text: str) -> int:
    """Return where *text* ends, or what says that its rest was left out begins."""
    if text.endswith(LEFT_OUT):
        said = compiled(_LEFT_OUT).search(text, max(0, len(text) - _LONGEST))
        if said is not None:
            return said.start()
    return len(text)


def low_of(text: str, low: str) -> str:
    """Return *text*, which was cut, in lower case: *low* is what more of it was."""
    end = end_of(text)
    return low[:end] + text[end:]


def left_out(rest: str) -> str:
    """Return what stands for *rest*, which was not looked at."""
    count = len(rest)
    if rest.endswith(LEFT_OUT):
        # It was cut before, and is cut now where it has more of something else.
        before = compiled(_LEFT_OUT).search(rest, max(0, count - _LONGEST))
        if before is not None:
            count += int(before[1].replace(",", "")) - len(before[0])
    return f"[redacted: {count:,} {LEFT_OUT}"


def kept(text: str, at: int, least: int = 0) -> int:
    """
    Return how much of *text* may be kept if it is cut at *at*: up to a word's end.

    Args:
        text: any.
        at: up to where it may be kept.
        least: up to where it is known what is in it.

    """
    end = _word_end(text, at, least)
    for _ in range(_GROUPS):
        # A card's number has blanks in it, and so has a telephone's.
        if text[end - 1 : end] != " " or not text.startswith(_NUMBER, end):
            break
        before = _word_end(text, end - 1, least)
        if text[before : end - 1].strip("".join(_NUMBER)):
            break
        end = before
    return end


def _word_end(text: str, at: int, least: int) -> int:
    return max(least, *(text.rfind(end, least, at) + 1 for end in _ENDS))


def cut(text: str, at: int) -> str:
    """Return *text* up to the last end of a word before *at*, and what was left out."""
    end = kept(text, at)
    return text[:end] + left_out(text[end:])


__all__ = [
    "LEFT_OUT",
    "LOOK",
    "SEARCH_EACH",
    "SHORT",
    "Budget",
    "cut",
    "end_of",
    "kept",
    "left_out",
    "low_of",
]
