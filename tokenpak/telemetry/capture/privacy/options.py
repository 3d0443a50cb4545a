r"""
Secrets on a command line: the argument of an option that is called like one.

    mysql --password hunter2        ['app', '--api-key', 'x1y2']

With a sign, ``--password=hunter2``, the name alone tells: see names.  With a blank, it
may also be prose: ``--password is required``.  So the word after it must be none of
those that follow there in a sentence, nor a placeholder or another option.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from tokenpak.telemetry.capture.privacy.names import lowered
from tokenpak.telemetry.capture.privacy.rule import Rule, compiled, skeleton

MAX_OPTIONS: Final = 120
"""How many such options a text may have, with an argument or without."""
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
_NAME: Final = rf"[a-z0-9_-]{{2,79}}+{_LAST}"
"""Bounded, and never tried anew: a line of dashes and words takes linear time."""
_GAP: Final = r"""(?:(?:[ \t]|\\++t)++|\\*["'],[ \t]*(?=b?\\*["']))"""
_EXACT: Final = f"(?:{'|'.join(_ENDS)})"
"""Tried where the first part matches, which is no more than MAX_OPTIONS times."""
_ALONE: Final = _START + _NAME + _EXACT
_ARGUMENT: Final = (
    r"""b?(?P<quote>\\*["'])?(?P<secret>"""
    r"""(?(quote)[^"'\\\r\n]+|[^\s"'\\-][^\s"'\\,;)\]]*))"""
)
_PLACEHOLDER: Final = r"(?i:[\s*.]*|[$%<{\[].*|x{3,}|none|null|true|false|\S*\.\.\.)"
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
    if value.isdecimal():
        return len(value) >= 6  # --token 5
    return value.rstrip(".,:;!?").lower() not in _PROSE


def holds_name(low: str) -> bool:
    """Return whether *low*, in lower case, has a part of such a name: a quick look."""
    return "--" in low and (
        "pass" in low
        or "token" in low
        or "secret" in low
        or "key" in low
        or "pwd" in low
    )


def option_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield where the arguments of such options are in *text*."""
    low = lowered(text)
    if not holds_name(low):
        return
    end = 0
    options = compiled(OPTION.pattern).finditer(low)
    for number, match in enumerate(options):
        if number >= MAX_OPTIONS:
            yield max(end, match.start()), len(text)
            return
        found = compiled(_ARGUMENT).match(text, match.end())
        if (
            match.start() >= end
            and found is not None
            and compiled(_EXACT).match(low, match.end("name")) is not None
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
    f"{_START}{_NAME}(?P<name>){_GAP}",
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
    "option_spans",
]
