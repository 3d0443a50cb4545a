"""
Put marks in the place of what a rule finds, and stop where a text is made of it.

A rule is looked for by the words that it begins with, and its expression is tried only
there.  What that costs is in proportion to the text's length, but for each find, and
for each word that begins none, which cost more.  So a text has a Budget of all that,
for all rules together: beyond it the rest is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import chain, islice
from typing import Final

from tokenpak.telemetry.capture.privacy.budget import (
    LEFT_OUT,
    LOOK,
    Budget,
    cut,
    end_of,
    kept,
    left_out,
)
from tokenpak.telemetry.capture.privacy.names import is_secret_name
from tokenpak.telemetry.capture.privacy.rule import Rule, compiled
from tokenpak.telemetry.capture.privacy.starts import one_of

MAX_FINDS: Final = 100
"""How many secrets a text may have, but for those that are known by their names."""
MAX_STARTS: Final = 500
"""How many words that secrets begin with, which need not be secrets."""
_LEAST: Final = 25
"""How many of both each rule is granted, whatever those before it have found."""
RULE_LOOK: Final = 0.0005
SEARCH: Final = 4.0
_FIND: Final = 3.2
_FIND_EACH: Final = 0.006
_CHECK: Final = 1.2
_NAME: Final = 8.0
_START: Final = 0.75
"""Microseconds that a rule costs for each character, and as such; a find, as such and
for each character; the check of what may be one; a look whether it is a name; and each
such word."""
_DASH: Final = 0.05
"""What a dash costs in a text with a PEM."""
_SINGLY: Final = 64
"""From how many such words of one rule on they are no longer looked at one by one, but
counted, and left to the expression: the first is quicker where there are few."""
_SIGN: Final = r"""["'\\ \t]*(?:=|:(?!//)|%3[aAdD])"""
_LONGEST_NAME: Final = 64
_LINE_END: Final = ("\n", "\r", "\\n", "\\r")
_NAME_FORM: Final = "(?:[A-Za-z]+[0-9]?[._-])*+[A-Za-z]+[0-9]?(?:[_-]?[0-9]{1,2})?"
"""That of a name on a line of its own, whose beginning is no secret: x-api-key."""
_LETTERS: Final = "(?:[a-z]++[A-Z]?|[A-Z]++)"
_PART: Final = f"(?:[0-9]{{1,2}}[_-]?)?+{_LETTERS}"
_NAME_ENDS: Final = (_PART, f"{_PART}[._-]?{_LETTERS}")
"""Which last parts of a word may be a name by themselves, the shorter one first; from
the word's end on, since a search for them would begin at each of its letters."""
REST: Final = -1
"""The end of a span that goes on to the text's end, and was not looked at."""


def replace(
    text: str, spans: Iterator[tuple[int, int]], mark: Callable[[str], str]
) -> str:
    """Return *text* with marks in place of *spans*, which are in order, and few."""
    parts: list[str] = []
    end = 0
    for start, stop in spans:
        if stop == REST:
            # Not a mark: that would look as if one secret was there, and all told.
            return "".join(parts) + text[end:start] + left_out(text[start:])
        parts += (text[end:start], mark(text[start:stop]))
        end = stop
    if not parts:
        return text
    return "".join(parts) + text[end:]


def search(
    rule: Rule, text: str, mark: Callable[[str, str], str], budget: Budget, low: str
) -> str:
    """
    Return *text* with marks in place of what *rule* finds.

    Args:
        rule: one.
        text: any.
        mark: returns the mark for the name of a rule and a secret.
        budget: of this text.
        low: the text in lower case, if the rule asks for it.

    """
    expression = compiled(rule.pattern)
    group = "secret" if "secret" in expression.groupindex else 0
    most = max(_LEAST, MAX_FINDS - budget.finds)
    parts: list[str] = []
    end = 0
    matches: Iterable[re.Match[str]]
    budget.spent += SEARCH + RULE_LOOK * len(text)
    if rule.inside or not rule.starts:
        budget.spent += LOOK * len(text)
        text = _bounded(rule, text)
        if rule.inside:
            # What is between BEGIN and END is gone over from dash to dash.
            dashes = _DASH * text.count("-")
            text = budget.bounded(text, dashes)
            budget.spent += min(dashes, _DASH * len(text))
        matches = expression.finditer(text, 0, end_of(text))
    else:
        text, matches = _matches(expression, rule, text, budget, low)
    for match in matches:
        start, stop = match.span(group)
        if rule.check is not None:
            budget.spent += _CHECK
            known = rule.check(text[start:stop])
            if known and rule.no_name:
                # What stands before the name may be one, all the same.
                stop = _before_name(text, start, stop, budget)
            if not known or stop == start:
                if not budget.over():
                    continue
                most = 0
        if rule.before:
            first = text[max(end, start - rule.reach) : start]
            start -= len(first) - len(first.rstrip(rule.before))
        if most <= 0 or budget.over(_FIND):
            # Before it, or what is in front of its second half would be shown.
            end, last = kept(text, start, end), end
            parts += (text[last:end], left_out(text[end:]))
            return budget.bounded("".join(parts))
        most -= 1
        budget.finds += 1
        budget.spent += _FIND + _FIND_EACH * (stop - start)
        parts += (text[end:start], mark(rule.name, text[start:stop]))
        end = stop
    if not parts:
        return budget.bounded(text)
    parts.append(text[end:])
    return budget.bounded("".join(parts))


def _before_name(text: str, start: int, stop: int, budget: Budget) -> int:
    """Return where in what is there a secret's name begins, with a sign behind it."""
    word = text[start:stop].rstrip("=")
    end = start + len(word)
    if len(word) > _LONGEST_NAME or compiled(_SIGN).match(text, end) is None:
        return stop
    budget.spent += _NAME
    if is_secret_name(word) is None:
        return stop
    if text.endswith(_LINE_END, 0, start) and compiled(_NAME_FORM).fullmatch(word):
        return start
    for form in _NAME_ENDS:
        tail = compiled(form).match(word[::-1])
        if tail is not None and is_secret_name(word[-tail.end() :]) is not None:
            return end - tail.end()
    return stop


def _matches(
    expression: re.Pattern[str], rule: Rule, text: str, budget: Budget, low: str
) -> tuple[str, Iterable[re.Match[str]]]:
    """Return what *expression* matches where *text* has a start, and the text."""
    most = max(_LEAST, MAX_STARTS - budget.starts)
    first = min(most, _SINGLY)
    found: list[re.Match[str]] = []
    end = met = 0
    look = _look_for(rule.starts).search
    within = low if rule.fold else text
    start = look(within)
    while start is not None:
        at = start.start()
        if met == first:
            most = min(most - met, budget.room(_START))
            reach, count = _reach(within, at, rule.starts, most)
            budget.starts += met + count
            budget.spent += _START * count + RULE_LOOK * (reach - at)
            if reach < len(text):
                last = kept(text, reach, end)
                within = within[:last]
                text = text[:last] + left_out(text[last:])
            return text, chain(found, expression.finditer(within, at))
        met += 1
        budget.spent += _START
        match = expression.match(within, at)
        if match is None:
            start = look(within, at + 1)
        else:
            found.append(match)
            end = match.end()
            start = look(within, end)
    budget.starts += met
    return text, found


@cache
def _look_for(starts: tuple[str, ...]) -> re.Pattern[str]:
    """Return what finds the first of *starts*.  There are as many as rules."""
    return compiled(one_of(starts))


def _reach(
    text: str, first: int, starts: tuple[str, ...], most: int
) -> tuple[int, int]:
    """Return up to where *text*, from *first* on, has few of *starts*, and how many."""
    if most <= 0:
        return first, 0
    met = 0
    for start in islice(_look_for(starts).finditer(text, first), most + 1):
        if met == most:
            return start.start(), met
        met += 1
    return len(text), met


def _bounded(rule: Rule, text: str) -> str:
    start = rule.starts[0] if rule.starts else ""
    if not start or text.count(start) <= MAX_STARTS:
        return text
    parts = text.split(start, MAX_STARTS)
    return cut(text, len(text) - len(parts[-1]) - len(start))


__all__ = [
    "LEFT_OUT",
    "MAX_FINDS",
    "MAX_STARTS",
    "REST",
    "RULE_LOOK",
    "SEARCH",
    "cut",
    "kept",
    "left_out",
    "replace",
    "search",
]
