"""
Find the secrets in a text, and put marks in their place.

Each rule is looked for by the words that it begins with, and only where there are any
is its expression tried.  All of that takes time in proportion to the text's length, and
of a long text it takes no more than its Budget: one that has a little of everything is
cut before it is searched, one that is full of something where that is too much.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from tokenpak.telemetry.capture.privacy.budget import (
    LOOK,
    SEARCH_EACH,
    Budget,
    end_of,
    left_out,
)
from tokenpak.telemetry.capture.privacy.finds import (
    MAX_FINDS,
    MAX_STARTS,
    RULE_LOOK,
    SEARCH,
    replace,
    search,
)
from tokenpak.telemetry.capture.privacy.heads import STEP, heads_in
from tokenpak.telemetry.capture.privacy.named import (
    MAX_NAMES,
    is_empty,
    is_special,
    looks_random,
    name_spans,
)
from tokenpak.telemetry.capture.privacy.names import lowered
from tokenpak.telemetry.capture.privacy.options import OPTION, without_options
from tokenpak.telemetry.capture.privacy.rule import Rule, compiled
from tokenpak.telemetry.capture.privacy.starts import (
    LONG,
    RUNLESS,
    Starts,
    has_run,
    near_runs,
)
from tokenpak.telemetry.capture.privacy.tokens import TOKENS

_SPACE: Final = r"(?:[ \t\r\n]++|%20|\+|\\++[nrt])++"
"""Never given back.  What it may have of a secret is plus signs: then less will do."""
# These are for a text in lower case.
_BEARER: Final = (
    rf"bearer{_SPACE}"
    r"(?P<secret>[A-Za-z0-9._~+/-]{8,}=*|(?<=\+)[A-Za-z0-9._~+/-]{7}=*)"
)
_BASIC: Final = (
    rf"basic{_SPACE}"
    r"(?P<secret>[A-Za-z0-9+/_-]{6,}=*|(?<=\+)[A-Za-z0-9+/_-]{5}=*)"
)
_URL: Final = r""" \t\n\r\f\v/"'<>\\"""
"""One set of characters: ``\\s`` in it would be asked for by itself each time."""
URL: Final = rf"://[^{_URL}:@]*+:(?P<secret>[^{_URL}]+)@"


def holds_colon(token: str) -> bool:
    """Return whether *token* is the Base64 of user:password."""
    try:
        plain = token.rstrip("=").replace("-", "+").replace("_", "/")
        return b":" in binascii.a2b_base64(plain + "=" * (-len(plain) % 4))
    except ValueError:
        return False


SCHEMES: Final = (
    Rule(
        "bearer_token",
        "`Bearer …`",
        ("bearer",),
        _BEARER,
        "https://www.rfc-editor.org/rfc/rfc6750",
        trace=r"rr[ \t\r\n%+\\]",
        check=looks_random,
        no_name=True,
        fold=True,
    ),
    Rule(
        "basic_auth",
        "`Basic …`",
        ("basic",),
        _BASIC,
        "https://www.rfc-editor.org/rfc/rfc7617",
        trace=r"si[ \t\r\n%+\\]",
        check=holds_colon,
        fold=True,
    ),
    Rule(
        "url_password",
        "`scheme://user:…@host`, with and without a user",
        ("://",),
        URL,
        "https://www.rfc-editor.org/rfc/rfc3986#section-3.2.1",
        trace=r"""://[^\s/"]*@""",
    ),
)


_URLS: Final = SCHEMES[-1]
TOKEN_STARTS: Final = Starts(TOKENS)
_WITHIN: Final = 0.025
"""Microseconds that it costs to look for all of them, for each character."""
_URL_COST: Final = 3.0
"""What a URL costs beyond that: it is gone over to its end, and back."""
_SCHEME: Final = "b(?:earer|asic)"
"""One pass for both."""


def redact_text(
    text: str,
    mark: Callable[[str, str], str],
    *,
    more: Callable[[str], Sequence[Rule]] = lambda _: (),
    source: bool = False,
) -> str:
    """
    Return *text* with marks in place of secrets.

    Args:
        text: any.
        mark: returns the mark for the name of a rule and a secret.
        more: returns rules beyond those for credentials, for a text.
        source: as for name_spans().

    """
    budget = Budget(text)
    text, rules = _tokens_in(text, budget)
    for rule in rules:
        text = search(rule, text, mark, budget, "")
    low = lowered(text)
    short = len(text) <= LONG
    for rule in SCHEMES if short else _schemes_in(text, low, budget):
        # One character first: that takes a tenth of the time, where there is none.
        if short and ((rule is _URLS and "@" not in text) or rule.starts[0] not in low):
            continue
        before, starts = text, budget.starts
        text = search(rule, text, mark, budget, low)
        if rule is _URLS:
            # No more than is left: most are short.
            met = min(budget.starts - starts, budget.room(_URL_COST))
            budget.spent += _URL_COST * met
        if text is not before:
            low = lowered(text)
    before = text
    others = more(text)
    if others:
        text = _with_marks(text, others, mark, budget.of_others(text))
    # In a long text an expression finds sooner that there are none: see options.
    if "-" in text and (
        "--" in text if short else compiled("--").search(text) is not None
    ):
        low = low if text is before else lowered(text)
        before = text
        text = without_options(text, low, partial(mark, OPTION.name), budget)
    if text is not before:
        text = budget.bounded(text, SEARCH_EACH * len(text))
        low = lowered(text)
    text, low, heads, until = heads_in(text, low, budget)
    if heads:
        most = budget.room(STEP)
        # A value that was cut must not take what says so for the rest of it.
        known = text[: end_of(text)]
        spans = name_spans(known, low, heads, until, most, source=source)
        text = replace(text, spans, partial(mark, "named_secret"))
    return text


def _with_marks(
    text: str, rules: Sequence[Rule], mark: Callable[[str, str], str], budget: Budget
) -> str:
    for rule in rules:
        text = search(rule, text, mark, budget, "")
    return text


def _tokens_in(text: str, budget: Budget) -> tuple[str, list[Rule]]:
    """Return the rules of which *text* may hold a token, and what is kept of it."""
    if len(text) > LONG:
        budget.spent += 2 * LOOK * len(text)
        rules = TOKEN_STARTS.in_long(_near(text, budget), budget)
        if rules is not None:
            cost = (RULE_LOOK * len(text) + SEARCH) * len(rules)
            short = budget.bounded(text, cost)
            if short is text:
                return text, rules
            text = short
        else:
            text = budget.bounded(text, budget.most)
        budget.spent += _WITHIN * len(text)
    # In a short text it is quicker to see whether there is any run, first.
    if not (has_run(text) or any(s in text for s in RUNLESS)):
        return text, []
    return text, TOKEN_STARTS.within(text)


def _near(text: str, budget: Budget) -> bytes:
    """Return the parts of *text*, a long one, in which tokens may begin."""
    # One byte for each character: what else there is, is in no token.
    near = near_runs(text.encode("ascii", errors="replace"), budget)
    # The letters first: that takes a tenth of the time, where there is none.
    # Then by expressions, which take half of the time, and never much more.
    runless = [start for start in RUNLESS if start[-1] in text]
    budget.spent += SEARCH_EACH * len(text) * len(runless)
    runless = [start for start in runless if compiled(start).search(text) is not None]
    return b" ".join((near, *(start.encode() for start in runless)))


def _schemes_in(text: str, low: str, budget: Budget) -> Sequence[Rule]:
    """Return the rules of SCHEMES of which *text*, a long one, may hold something."""
    # By expressions: see Word.sought().
    budget.spent += SEARCH_EACH * len(text)
    first = compiled(_SCHEME).search(low)
    rules: list[Rule] = []
    if first is not None:
        budget.spent += SEARCH_EACH * len(text)
        rules += [
            rule
            for rule in SCHEMES
            if rule.starts[0] == first[0]
            or (rule.fold and compiled(rule.starts[0]).search(low, first.end()))
        ]
    if "@" in text:
        budget.spent += SEARCH_EACH * len(text)
        if compiled(_URLS.starts[0]).search(low) is not None:
            rules.append(_URLS)
    return rules


__all__ = [
    "MAX_FINDS",
    "MAX_NAMES",
    "MAX_STARTS",
    "SCHEMES",
    "TOKEN_STARTS",
    "is_empty",
    "is_special",
    "left_out",
    "redact_text",
]
