r"""
Secrets on a command line: the argument of an option that is called like one.

    mysql --password hunter2        ['app', '--api-key', 'x1y2']

With a sign, ``--password=hunter2``, the name alone tells: see names.  With a blank, it
may also be prose: ``--password is required``.  So the word after it must be none of
those that follow there in a sentence, nor a placeholder or another option.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final

from tokenpak.telemetry.capture.privacy.budget import (
    LOOK,
    SEARCH_EACH,
    Budget,
    cut,
    end_of,
    low_of,
)
from tokenpak.telemetry.capture.privacy.finds import REST, replace
from tokenpak.telemetry.capture.privacy.names import lowered
from tokenpak.telemetry.capture.privacy.rule import Rule, compiled, skeleton

MAX_OPTIONS: Final = 64
"""How many such options a text may have, with an argument or without."""
_OPTION_EACH: Final = 32
"""In a long text, how many characters there are for each option of any name."""
_LONG: Final = 4_096
_WORDS: Final = ("pass", "pwd", "key", "token", "secret")
"""What holds_name() looks for."""
_FEW: Final = 64
"""Up to how many times two dashes are looked at without more ado."""
_LEAST: Final = 8
"""How many such options are looked at, whatever the text has cost."""
_DASHES: Final = 0.03
_LISTED: Final = 0.15
_OPTION_COST: Final = 0.1
_ARGUMENT_COST: Final = 4.0
_ARGUMENT_EACH: Final = 0.004
"""Microseconds that two dashes cost, an option that is only counted, one that is looked
at, and the argument of such a one, as such and for each character of it, and of what is
before it."""
_RESERVE: Final = 60.0
"""What they leave for the names."""
_OPTION: Final = "--[a-z0-9]"
_PAGES: Final = "".join(
    f"(?<!--{word}{between}token)"
    for word in ("continuation", "next", "page", "starting")
    for between in ("", "[-_]")
)
_LAST: Final = (
    "(?<=ss|en|et|rd|wd|de|se|ey)"
    "(?<=[-_]pass|token|ecret|[ist][-_]key|[pes][its]key|sword|asswd|scode|hrase"
    "|[a-z0-9_-][-_]pwd)"
)
"""Two quick looks at the end of a name, which spare it most of those at all of it."""
_ENDS: Final = (
    "(?<=[-_]pass)|(?<=[-_]pwd)",
    f"(?<=token)(?:(?<=[-_]token){_PAGES}|(?<=[-_]accesstoken)|(?<=[-_]authtoken))",
    "(?<=secret)(?:(?<=[-_]secret)|(?<=[-_]clientsecret))",
    "(?<=[-_]password|[-_]passcode)",
    "(?<=[it]key)(?:(?<=[-_]apikey)|(?<=[-_]secretkey))",
    "(?<=[it][-_]key)(?:(?<=[-_]api[-_]key)|(?<=[-_]secret[-_]key))",
    "(?<=sskey)(?:(?<=[-_]accesskey)|(?<=[-_]secretaccesskey))",
    "(?<=ss[-_]key)(?:(?<=[-_]access[-_]key)|(?<=[-_]secretaccess[-_]key))",
    "(?<=[-_]passwd)|(?<=[-_]passphrase)",
)
"""How such names end, with what must be before that."""
_START: Final = (
    r"--[a-z0-9](?>(?<![\w-]--.)|(?<=[\\20][abfnrtv0]--.)"
    r"(?:(?<=\\[abfnrtv]--.)|(?<=%20--.)|(?<=%0a--.)))"
)
"""The dashes first: they are sought faster than what must not be before them."""
_BODY: Final = "[a-z0-9_-]{2,79}+"
"""Bounded, and never tried anew: a line of dashes and words takes linear time."""
_AFTER: Final = r"""(?=[ \t\\"'])"""
"""What the gap begins with: most often something else comes, as in ``--api-key=``."""
_GAP: Final = r"""(?:(?:[ \t]++|\\++t)++|\\*["'],(?:[ \t]++|\\++t)*+(?=b?\\*["']))"""
_EXACT: Final = f"(?:{'|'.join(_ENDS)})"
"""Tried where the first part matches, which is no more than MAX_OPTIONS times."""
_ALONE: Final = _START + _BODY + _LAST + _EXACT
_ARGUMENT: Final = (
    r"""b?(?P<quote>\\*["'])?(?P<secret>"""
    r"""(?(quote)[^"'\\\r\n]+|[^ \t\n\r\f\v"'\\-][^ \t\n\r\f\v"'\\,;)\]]*))"""
)
_PLACEHOLDER: Final = r"(?i:[\s*.]*|[$%<{\[].*|x{3,}|none|null|true|false)"
_WORD: Final = r"\S*+"
_PROSE: Final = frozenset(
    re.split(
        r"\s+",
        "a after also an and any are argument arguments as at be because "
        "before but by can cannot command does environment explicitly "
        "failed file flag flags for from given had has have if in instead "
        "into is it its line may missing must needed needs no not of on "
        "only option options or parameter prompt provided required requires "
        "set should so specified supplied that the then this to together "
        "too twice unless used using value variable via was were when which "
        "while will with without would you your",
    )
)
"""Words that follow an option's name in a sentence."""


def is_option(value: object) -> bool:
    """Return whether *value* is an option that is followed by a secret."""
    return type(value) is str and compiled(_ALONE).fullmatch(lowered(value)) is not None


def holds_option(value: list[Any]) -> bool:
    """Return whether there is one in the list *value*."""
    return any(
        type(item) is str and item.startswith("--") and is_option(item)
        for item in value
    )


def is_argument(value: object) -> bool:
    """Return whether *value*, behind such an option, may be a secret."""
    if type(value) is not str or not value or value[0] == "-":
        return False
    if compiled(_PLACEHOLDER).fullmatch(value) is not None:
        return False
    # Not in one expression: it would go back from the end of each long value.
    if value.endswith("...") and compiled(_WORD).fullmatch(value) is not None:
        return False
    if value.isdecimal():
        return len(value) >= 6  # --token 5
    return value.rstrip(".,:;!?").lower() not in _PROSE


def holds_name(low: str) -> bool:
    """Return whether *low*, in lower case, has a part of such a name: a quick look."""
    # The letter first: that takes a tenth of the time, where there is none.
    return "--" in low and (
        ("p" in low and ("pass" in low or "pwd" in low))
        or ("k" in low and ("key" in low or "token" in low))
        or ("s" in low and "secret" in low)
    )


def without_options(
    text: str, low: str, mark: Callable[[str], str], budget: Budget
) -> str:
    """Return *text*, in lower case *low*, with marks for such options' arguments."""
    if len(text) <= _LONG:
        if not holds_name(low):
            return text
    else:
        # A long text has more often no such name than few dashes.
        budget.spent += SEARCH_EACH * len(text)
        dashes = low.count("-") // 2
        if dashes > _FEW:
            # By expressions: these are the first to find out that there is none.
            for word in _WORDS:
                budget.spent += SEARCH_EACH * len(text)
                if compiled(word).search(low) is not None:
                    break
            else:
                return text
            if _OPTION_COST * dashes > 2 * LOOK * len(text):
                # To count two takes three times as long as to count one.
                budget.spent += 2 * LOOK * len(text)
                dashes = low.count("--")
            short = budget.bounded(text, 2 * _DASHES * dashes)
            if short is not text:
                text, low = short, low_of(short, low)
                dashes = low.count("--")
            budget.spent += _DASHES * dashes
            most = len(text) // _OPTION_EACH
            if dashes > most or budget.over(_OPTION_COST * dashes):
                # Not all of them begin one.
                budget.spent += SEARCH_EACH * len(text) + _DASHES * dashes
                most = min(most, budget.room(_LISTED + _OPTION_COST))
                found = compiled(_OPTION).finditer(low)
                options = [match.start() for match in islice(found, most + 1)]
                dashes = len(options)
                budget.spent += _LISTED * dashes
                if dashes > most:
                    text = cut(text, options[-1])
                    low = low_of(text, low)
            budget.spent += _OPTION_COST * dashes
        budget.spent += SEARCH_EACH * len(text)
    most = int(budget.room(1.0) - _RESERVE) // int(_ARGUMENT_COST)
    most = min(MAX_OPTIONS, max(_LEAST, most))
    spans = _spans(text[: end_of(text)], low, most, budget)
    return replace(text, spans, mark)


def _spans(text: str, low: str, most: int, budget: Budget) -> Iterator[tuple[int, int]]:
    end = 0
    argument, exact = compiled(_ARGUMENT).match, compiled(_EXACT).match
    options = compiled(OPTION.pattern).finditer(low)
    for number, match in enumerate(options):
        if number >= most or (number >= _LEAST and budget.over(_RESERVE)):
            yield max(end, match.start()), REST
            return
        found = argument(text, match.end())
        length = (match.end() if found is None else found.end()) - match.start()
        budget.spent += _ARGUMENT_COST + _ARGUMENT_EACH * length
        if (
            found is not None
            and match.start() >= end
            and exact(low, match.start("name")) is not None
            and is_argument(found["secret"])
        ):
            yield found.span("secret")
            end = found.end()


def _trace() -> str:
    ends = ("password", "passwd", "pass", "pwd", "passcode", "passphrase")
    names = (skeleton(end) for end in (*ends, "key", "token", "secret"))
    words = "|".join(f"(?<={name})" for name in dict.fromkeys(names))
    return rf"""--[g-z_-]{{0,80}}+(?:{words})(?:[ \t\\]|["'],)"""


OPTION: Final = Rule(
    "option_secret",
    "`--password …`, `--token …`, `--api-key …`, also as words of a list",
    ("--",),
    f"{_START}{_BODY}{_AFTER}{_LAST}(?P<name>){_GAP}",
    "",
    trace=_trace(),
    fold=True,
)
"""For the screen and for the reader; its pattern is for a text in lower case, and finds
what is before the secret."""


__all__ = [
    "MAX_OPTIONS",
    "OPTION",
    "holds_name",
    "holds_option",
    "is_argument",
    "is_option",
    "without_options",
]
