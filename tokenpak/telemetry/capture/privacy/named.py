"""
Find the values of secret names in a text.

What is between name and value is the business of names; here is what a value is, and
where it ends.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

from tokenpak.telemetry.capture.privacy.budget import kept
from tokenpak.telemetry.capture.privacy.finds import REST
from tokenpak.telemetry.capture.privacy.heads import (
    LEAST,
    MAX_NAMES,
    NAME_EACH,
    PLACE,
    STEPS,
    Head,
)
from tokenpak.telemetry.capture.privacy.mark import MARK
from tokenpak.telemetry.capture.privacy.names import Name
from tokenpak.telemetry.capture.privacy.rule import compiled

_IN_MARK: Final = 0.25
"""How much of a step a name in a mark costs."""
_IN_PAIR_COST: Final = 1.5
"""What a look costs at what is before a name that may be the first of a pair."""
_BARE_COST: Final = 1.0
"""What a value costs that is not quoted: it is also asked for names behind it."""
_STEP_EACH: Final = 100
"""How many characters of a value cost another one."""
_VALUE_EACH: Final = 200
"""For how many of them, and no more, there is room for each step that is left: to find
its end takes 4 ns for each, and a value may go on to the end of a line."""

_QUOTED: Final = (
    r"[bBfFrRuU]{0,2}+"
    r"""(?P<quote>(?P<deep>\\+)?(?:"{3}|'{3}|["']))"""
    # A quote inside of the value has another number of backslashes.
    # All that is behind a backslash at once: each turn of the loop takes its time.
    r"""(?P<quoted>(?(deep)(?:[^\\\r\n]++|(?!(?P=quote))\\++["']?+[^\\\r\n]*+"""
    r"""(?:\\[^\\\r\n"']++)*+)*+"""
    # Two may be the end of a value, or of the repr of what has one: by what follows.
    r"""|(?:[^\\\r\n"']++|(?!(?P=quote))["']"""
    r"""|(?:\\\\)++(?=(?P=quote)(?:[\s,;:&>)\]}]|\Z))"""
    r"""|\\++["']?+[^\\\r\n"']*+(?:\\[^\\\r\n"']++)*+)*+))"""
    r"(?:(?P=quote)|(?=[\r\n])|\Z)"
)
_FLAT: Final = r"[^\[\](){}]*+"
_NESTED: Final = (
    rf"(?:[\[{{(]{_FLAT}(?:[\[{{(]{_FLAT}[\])}}]?+{_FLAT})*+[\])}}]?+{_FLAT})*+"
)
_BRACES: Final = rf"[\[{{(](?!redacted:){_FLAT}{_NESTED}"
"""A container, or a call's arguments, with two levels of others inside of it."""
_BARE: Final = (
    rf"""(?P<secret>{_BRACES}|[^ \t\n\r\f\v"'&,;<>\\]++"""
    rf"""(?:(?<=\()(?=\\*["']){_FLAT})?)"""
)
_LINE: Final = (
    rf"""(?P<secret>{_BRACES}|(?:[^\r\n"'\\]++|(?<==)\\*"[^"\r\n]*+"?+"""
    r"""|(?<=\()\\*["'][^\r\n()]*+)++)"""
)
_BLANKS: Final = r"[ \t]*+"
"""Never given back: of a text full of them each length would be tried."""
VALUE: Final = f"{_BLANKS}(?:{_QUOTED}|{_BARE})"
HEADER: Final = f"{_BLANKS}(?:{_QUOTED}|{_LINE})"
LITERAL: Final = _BLANKS + _QUOTED
_LITERAL_BEFORE: Final = (
    r""""[^"\\\n]*(?:\\.[^"\\\n]*)*"|'[^'\\\n]*(?:\\.[^'\\\n]*)*'"""
)
_FIELD: Final = r"\{[^{}]*"
_IN_PAIR: Final = r"""[\[,][ \t]*\(b?\\*["'][A-Za-z0-9_.-]*\Z"""
_OF_NAME: Final = r"""[ \t]*+\\*["']value\\*["'][ \t]*+:"""
_SPECIAL: Final = r"</?\|?[A-Za-z_]{1,24}(?:_[0-9]{1,3})?\|?>|\[[A-Z]{1,9}\]"
"""A token of a model's vocabulary: ``eos_token="</s>"``."""
_LONGEST_LINE: Final = 500
_EMPTY: Final = (
    # The first letters by themselves: by these most others are told from them quickly.
    r"(?:(?=[\s*\[\](){}.:%]|\Z)(?:[\s*\[\](){}.:]|%[sdrSDR])*"
    r"|[xX]{3,}|[nN](?i:ull|one)|[tT](?i:rue)|[fF](?i:alse)|[uU](?i:ndefined)"
    r"|(?:(?:[bB](?i:earer|asic)|[tT](?i:oken)|[dD](?i:igest))\s+)?"
    rf"(?i:{MARK})[\])}}.:]*)"
)
"""Values that are none, placeholders, or what another rule has replaced."""
_NO_LETTER: Final = " \t\r\n\v\f*[](){}.:%"
_EMPTY_WORDS: Final = frozenset({"xxx", "nul", "non", "tru", "fal", "und"})
"""How the other values begin that are none; and those that a mark is in:"""
_BEFORE_MARK: Final = frozenset({"bea", "bas", "tok", "dig"})
_QUOTES: Final = frozenset("\"'\\")
_SIGNS: Final = frozenset("=:> \t")
_LAST: Final = 64
_GAP: Final = 8
"""How many characters behind a value are looked at for the sign of a name in it."""
_TOO_LONG: Final = (-1, -1)
"""Instead of where a value is: it is longer than there is room for."""
_PREFIX: Final = "bBfFrRuU"
"""What may be before the quote of a literal."""
_BEGUN: Final = frozenset(_PREFIX + '"')
_BEFORE_QUOTE: Final = frozenset({"", '""'})
_AT_END: Final = " \t\\\"'"
_CLOSING: Final = ")]}.:"
_CLOSING_NAME: Final = " \t)]}.\"'\\"
_BEHIND_PAIR: Final = frozenset({")", ""})
"""Nothing is behind it where the text was cut: it may be the half of a pair."""
_BEHIND_NAME: Final = frozenset(":=")


def looks_random(token: str) -> bool:
    """Return whether *token* is no word: ``Bearer authentication failed``."""
    return (
        len(token) >= 24
        or token[1:].lower() != token[1:]
        or not (token.isalpha() or not any(map(str.isdigit, token)))
    )


def name_spans(
    text: str,
    low: str,
    heads: list[Head],
    until: int,
    most: int,
    *,
    source: bool = False,
) -> Iterator[tuple[int, int]]:
    """
    Yield where the values of secret names are in *text*.

    Args:
        text: any.
        low: the same in lower case.
        heads: what heads_in() has returned,
        until: up to where.
        most: how many steps it may take; some, whatever this says.
        source: whether it is of Python source lines.  In these, what is no literal is
            an expression: ``password=self.password``.

    """
    most = max(LEAST, most)
    marks = "[redacted:" in text
    size = len(text)
    # There is room for all of it, as in each text that is not long.
    free = most > size
    end = after = 0
    spent = extra = 0.0
    for at, last, name in heads:
        if at < after:  # inside of what was replaced
            continue
        if at >= until:
            break
        room = min(most - extra, STEPS * (MAX_NAMES + at // NAME_EACH))
        if spent >= room:
            # A mark that has a name in it is left whole, or out.
            yield kept(text, at, end), REST
            return
        spent += _IN_MARK
        after = behind = last
        pair = text[after - 1] == ","
        if pair:
            extra += _IN_PAIR_COST
        if pair and not in_pair(text, at):
            # {"name": "cookie", "value": "…"}, as in a list of headers or variables.
            of_name = compiled(_OF_NAME).match(text, after)
            if of_name is None:
                spent += 1 - _IN_MARK
                continue
            pair, behind = False, of_name.end()
        if marks and in_mark(text, at, after):
            continue
        spent += 2 - _IN_MARK
        exact = behind > after or pair or (source and not in_literal(text, at))
        bound = size if free else behind + int(_VALUE_EACH * (most - spent - extra))
        span = _value(text, behind, name, exact, pair, bound)
        if span is _TOO_LONG:
            yield kept(text, at, end), REST
            return
        if span is None or (source and is_field(text, *span)):
            continue
        spent += 1
        extra += (span[1] - at) // _STEP_EACH
        if not free and text[span[1] : span[1] + 1] not in _QUOTES:
            extra += _BARE_COST
        yield span
        start, after = behind, span[1]
        end = after
        # A cookie may go on to the quote of another name's value; what is not quoted,
        # to the sign behind a name; and what is, may be one.
        while _ends_in_name(text, after):
            bound = size if free else after + int(_VALUE_EACH * (most - spent - extra))
            more = _value_behind(text, low, start, after, heads, source, bound)
            if more is None:
                break
            spent += STEPS
            if spent > room or more is _TOO_LONG:
                yield after, REST
                return
            yield more
            start, after = more
            end = after
    if until < len(text):
        yield kept(text, until, end), REST


def _ends_in_name(text: str, end: int) -> bool:
    """Return whether the value before *end* may end in a name: a quick look."""
    if text[end : end + 1] in _QUOTES and (
        text[end - 1] in _SIGNS or text[end - 1] in _BEGUN
    ):
        return True
    return text[end : end + _GAP].lstrip(_CLOSING_NAME)[:1] in _BEHIND_NAME


def _value_behind(
    text: str,
    low: str,
    start: int,
    end: int,
    heads: list[Head],
    source: bool,
    most: int,
) -> tuple[int, int] | None:
    """Return the value behind a name in which that from *start* to *end* ends."""
    first, last = max(start, end - _LAST), end + _GAP
    # Not by islice(), which goes over all that are before it, each time.
    for place in range(bisect_left(heads, first, key=PLACE), len(heads)):
        at, behind, name = heads[place]
        if at >= end:
            break
        if low[behind - 1] == "," or behind > last:
            continue
        if behind > end:
            return _value(text, behind, name, source, False, most)
        # Of a literal it may have taken what is before the quote, or two of three.
        if low[behind:end].strip(" \tbfru") in _BEFORE_QUOTE:
            return _value(text, behind, name, True, False, most)
    return None


def _value(
    text: str,
    at: int,
    name: Name,
    exact: bool,
    pair: bool,
    most: int,
) -> tuple[int, int] | None:
    """
    Return where the value of *name* is, behind *at*, if it may be a secret.

    One that does not end before *most* is _TOO_LONG.
    """
    pattern = LITERAL if exact else HEADER if name.whole else VALUE
    if most == len(text):
        found = compiled(pattern).match(text, at)
    else:
        most = max(most, at + _VALUE_EACH)
        found = compiled(pattern).match(text, at, most)
        end = at if found is None else found.end()
        if most < len(text) and _goes_on(text, end, most, none=found is None):
            return _TOO_LONG
    if found is None:
        return None
    if pair and text[found.end() : found.end() + 1] not in _BEHIND_PAIR:
        return None
    start, stop = found.span("quoted")
    quoted = start >= 0
    if not quoted:
        start, stop = found.span("secret")
    value = text[start:stop]
    if is_empty(value):
        return None
    if not quoted and value[-1] in _CLOSING:
        value = value.rstrip(_CLOSING)
        if is_empty(value):
            return None
        stop = start + len(value)
    if name.weak and not _is_strong(value, quoted=quoted):
        return None
    return start, stop


def _goes_on(text: str, end: int, most: int, *, none: bool) -> bool:
    """Return whether what ends at *end* may only do so because *most* is the end."""
    # Of blanks, or of what is before a quote, it may not be known what it is.
    at_end = _AT_END + _PREFIX if none else _AT_END
    return end == most or (
        text[most - 1] in at_end and not text[end:most].lstrip(at_end)
    )


def in_literal(text: str, at: int) -> bool:
    """Return whether *at* is inside of a literal, in a line of Python source."""
    start = text.rfind("\n", 0, at) + 1
    if at - start > _LONGEST_LINE:
        return True
    before = compiled(_LITERAL_BEFORE).sub("", text[start:at])
    return '"' in before or "'" in before


def is_field(text: str, start: int, stop: int) -> bool:
    """Return whether what is there is an expression in an f-string."""
    return compiled(_FIELD).fullmatch(text, start, stop) is not None


def in_mark(text: str, at: int, end: int) -> bool:
    """Return whether what is there is part of a mark: ``[redacted:github_token:…]``."""
    start = text.rfind("[redacted:", max(0, at - 40), at)
    if start < 0:
        return False
    mark = compiled(MARK).match(text, start)
    return mark is not None and mark.end() > end


def in_pair(text: str, at: int) -> bool:
    """Return whether *at* is in the first of two texts, in a list of such tuples."""
    return compiled(_IN_PAIR).search(text, max(0, at - 64), at) is not None


def is_empty(value: str) -> bool:
    """Return whether *value* is none, a placeholder, or what is replaced already."""
    if not value:
        return True
    if value[0] not in _NO_LETTER:
        # Most are told by their beginning, in a third of the time.
        first = value[:3].lower()
        if first not in _EMPTY_WORDS and not (
            first in _BEFORE_MARK and "[redacted:" in value
        ):
            return False
    return compiled(_EMPTY).fullmatch(value) is not None


def is_special(value: str) -> bool:
    """Return whether *value* is a token of a vocabulary, and none that opens doors."""
    return compiled(_SPECIAL).fullmatch(value) is not None


def _is_strong(value: str, *, quoted: bool) -> bool:
    """Return whether *value*, of a name that is a word of everyday life, is no word."""
    if not quoted and len(value) < 6:
        return False
    if value[0] in "<[" and is_special(value):
        return False
    if value.isdecimal():
        return len(value) >= 8  # a number of tokens
    return quoted or looks_random(value)


__all__ = [
    "MAX_NAMES",
    "is_empty",
    "is_special",
    "looks_random",
    "name_spans",
]
