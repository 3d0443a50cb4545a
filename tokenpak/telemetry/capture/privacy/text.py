"""
Find the secrets in a text, and put marks in their place.

Each rule is looked for by the words that it begins with, and only where there are any
is its expression tried.  All of that takes time in proportion to the text's length.
What each find costs is more, so after MAX_FINDS of them the rest of the text is left
out: that is what a text is full of that somebody made to keep us busy.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

from tokenpak.telemetry.capture.privacy.mark import MARK
from tokenpak.telemetry.capture.privacy.names import NAMES, Name, lowered
from tokenpak.telemetry.capture.privacy.options import OPTION, option_spans
from tokenpak.telemetry.capture.privacy.rule import Rule, compiled
from tokenpak.telemetry.capture.privacy.starts import RUNLESS, Starts, has_run
from tokenpak.telemetry.capture.privacy.tokens import TOKENS

MAX_FINDS: Final = 100
MAX_NAMES: Final = 120
"""How many names a text may have, with a value or without."""
MAX_STARTS: Final = 500
"""How often the beginning of one form may be in it, which need not be more."""

_QUOTED: Final = (
    r"[ \t]*[bBfFrRuU]{0,2}"
    r"""(?P<quote>(?P<deep>\\+)?(?:"{3}|'{3}|["']))"""
    # A quote inside of the value has another number of backslashes.
    r"""(?P<quoted>(?(deep)(?:[^\\\r\n]++|(?!(?P=quote))\\++["']?+)*+"""
    # Two may be the end of a value, or of the repr of what has one: by what follows.
    r"""|(?:[^\\\r\n"']++|(?!(?P=quote))["']"""
    r"""|(?:\\\\)++(?=(?P=quote)(?:[\s,;:&>)\]}]|\Z))|\\++["']?+)*+))"""
    r"(?:(?P=quote)|(?=[\r\n])|\Z)"
)
_FLAT: Final = r"[^\[\](){}]*+"
_NESTED: Final = (
    rf"(?:[\[{{(]{_FLAT}(?:[\[{{(]{_FLAT}[\])}}]?+{_FLAT})*+[\])}}]?+{_FLAT})*+"
)
_BRACES: Final = rf"[\[{{(](?!redacted:){_FLAT}{_NESTED}"
"""A container, or a call's arguments, with two levels of others inside of it."""
_BARE: Final = (
    rf"""[ \t]*(?P<secret>{_BRACES}|[^\s"'&,;<>\\]++(?:(?<=\()(?=\\*["']){_FLAT})?)"""
)
_LINE: Final = (
    rf"""[ \t]*(?P<secret>{_BRACES}|(?:[^\r\n"'\\]++|(?<==)\\*"[^"\r\n]*+"?+)++)"""
)
VALUE: Final = f"(?:{_QUOTED}|{_BARE})"
HEADER: Final = f"(?:{_QUOTED}|{_LINE})"
_LITERAL_BEFORE: Final = (
    r""""[^"\\\n]*(?:\\.[^"\\\n]*)*"|'[^'\\\n]*(?:\\.[^'\\\n]*)*'"""
)
_FIELD: Final = r"\{[^{}]*"
_IN_PAIR: Final = r"""[\[,][ \t]*\(b?\\*["'][A-Za-z0-9_.-]*\Z"""
_SPECIAL: Final = r"</?\|?[A-Za-z_]{1,24}(?:_[0-9]{1,3})?\|?>|\[[A-Z]{1,9}\]"
"""A token of a model's vocabulary: ``eos_token="</s>"``."""
_LONGEST_LINE: Final = 500
_EMPTY: Final = (
    r"(?i:(?:[\s*\[\](){}.:]|%[sdr])*|x{3,}|null|none|true|false|undefined"
    rf"|(?:(?:bearer|basic|token|digest)\s+)?{MARK}[\])}}.:]*)"
)
"""Values that are none, placeholders, or what another rule has replaced."""
_SPACE: Final = r"(?:[ \t\r\n]|%20|\+|\\++[nrt])+"
_BEARER: Final = rf"(?i:bearer){_SPACE}(?P<secret>[A-Za-z0-9._~+/-]{{8,}}=*)"
_BASIC: Final = rf"(?i:basic){_SPACE}(?P<secret>[A-Za-z0-9+/_-]{{6,}}=*)"
URL: Final = r"""://[^\s/:@"'<>\\]*:(?P<secret>[^\s/"'<>\\]+)@"""


def looks_random(token: str) -> bool:
    """Return whether *token* is no word: ``Bearer authentication failed``."""
    return (
        len(token) >= 24
        or any(c.isdigit() for c in token)
        or token[1:].lower() != token[1:]
    )


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


def replace(
    text: str, spans: Iterator[tuple[int, int]], mark: Callable[[str], str]
) -> str:
    """Return *text* with marks in place of *spans*, which are in order."""
    parts: list[str] = []
    end = 0
    for number, (start, stop) in enumerate(spans):
        if number >= MAX_FINDS:
            return "".join(parts) + left_out(len(text) - end)
        parts += (text[end:start], mark(text[start:stop]))
        end = stop
    if not parts:
        return text
    return "".join(parts) + text[end:]


def left_out(count: int) -> str:
    """Return what stands for *count* characters that were not looked at."""
    return f"[redacted: {count:,} characters, after too many that look like secrets]"


def first_parts(text: str, start: str) -> str:
    """Return *text* up to where it has *start* too often."""
    kept = start.join(text.split(start, MAX_STARTS)[:-1])
    return kept + left_out(len(text) - len(kept))


def rule_spans(rule: Rule, text: str) -> Iterator[tuple[int, int]]:
    """Yield where *text* holds a secret of *rule*."""
    expression = compiled(rule.pattern)
    group = "secret" if "secret" in expression.groupindex else 0
    end = 0
    for match in expression.finditer(text):
        if rule.check is None or rule.check(match[group]):
            start, stop = match.span(group)
            if rule.before:
                first = text[max(end, start - rule.reach) : start]
                start -= len(first) - len(first.rstrip(rule.before))
            yield start, stop
            end = stop


def name_spans(text: str, *, source: bool = False) -> Iterator[tuple[int, int]]:
    """
    Yield where the values of secret names are in *text*.

    Args:
        text: any.
        source: whether it is of Python source lines.  In these, what is no literal is
            an expression: ``password=self.password``.

    """
    low = lowered(text)
    upcoming: list[tuple[re.Match[str], Name]] = []
    for name in NAMES:
        # The letter first: that takes a tenth of the time, where there is none.
        if name.word[0] in low and name.word in low:
            first = compiled(name.head).search(low)
            if first is not None:
                upcoming.append((first, name))
    for _ in range(MAX_NAMES):
        if not upcoming:
            return
        nearest = min(range(len(upcoming)), key=lambda n: upcoming[n][0].start())
        match, name = upcoming.pop(nearest)
        after = match.end()
        expression = HEADER if name.whole else VALUE
        code = source and not in_literal(text, match.start())
        if code:
            expression = _QUOTED
        pair = text[after - 1] == ","
        if pair:
            expression = _QUOTED
        skipped = in_mark(text, match) or (pair and not in_pair(text, match.start()))
        found = None if skipped else compiled(expression).match(text, after)
        if pair and found is not None and not text.startswith(")", found.end()):
            found = None
        if found is not None:
            group = "quoted" if found["quote"] is not None else "secret"
            start, stop = found.span(group)
            if group == "secret" and not compiled(_EMPTY).fullmatch(text, start, stop):
                while stop > start and text[stop - 1] in ")]}.:":
                    stop -= 1
            kept = source and compiled(_FIELD).fullmatch(text, start, stop)
            if not kept and is_value(text[start:stop], name, quoted=group == "quoted"):
                yield start, stop
                after = stop
        # Names inside of what was replaced are gone.
        again = [name]
        for other in [entry for entry in upcoming if entry[0].start() < after]:
            upcoming.remove(other)
            again.append(other[1])
        for each in again:
            following = compiled(each.head).search(low, after)
            if following is not None:
                upcoming.append((following, each))
    if upcoming:
        start = min(match.start() for match, _ in upcoming)
        yield start, len(text)


def in_literal(text: str, at: int) -> bool:
    """Return whether *at* is inside of a literal, in a line of Python source."""
    start = text.rfind("\n", 0, at) + 1
    if at - start > _LONGEST_LINE:
        return True
    before = compiled(_LITERAL_BEFORE).sub("", text[start:at])
    return '"' in before or "'" in before


def in_mark(text: str, match: re.Match[str]) -> bool:
    """Return whether the name is part of a mark: ``[redacted:github_token:…]``."""
    start = text.rfind("[redacted:", max(0, match.start() - 40), match.start())
    if start < 0:
        return False
    mark = compiled(MARK).match(text, start)
    return mark is not None and mark.end() > match.end()


def in_pair(text: str, at: int) -> bool:
    """Return whether *at* is in the first of two texts, in a list of such tuples."""
    return compiled(_IN_PAIR).search(text, max(0, at - 64), at) is not None


def is_empty(value: str) -> bool:
    """Return whether *value* is none, a placeholder, or what is replaced already."""
    return compiled(_EMPTY).fullmatch(value) is not None


def is_special(value: str) -> bool:
    """Return whether *value* is a token of a vocabulary, and none that opens doors."""
    return compiled(_SPECIAL).fullmatch(value) is not None


def is_value(value: str, name: Name, *, quoted: bool) -> bool:
    """Return whether *value*, of *name*, may be a secret."""
    if is_empty(value):
        return False
    if name.weak:
        if is_special(value):
            return False
        if value.isdecimal():
            return len(value) >= 8  # a number of tokens
        if not quoted:
            return len(value) >= 6 and looks_random(value)
    return True


TOKEN_STARTS: Final = Starts(TOKENS)


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
    rules: list[Rule] = []
    if has_run(text) or any(start in text for start in RUNLESS):
        rules += TOKEN_STARTS.within(text)
    low = lowered(text)
    rules += [rule for rule in SCHEMES if rule.starts[0] in low]
    rules += more(text)
    for rule in rules:
        if rule.starts and text.count(rule.starts[0]) > MAX_STARTS:
            text = first_parts(text, rule.starts[0])
        text = replace(text, rule_spans(rule, text), partial(mark, rule.name))
    if "--" in text:
        text = replace(text, option_spans(text), partial(mark, OPTION.name))
    names = name_spans(text, source=source)
    return replace(text, names, partial(mark, "named_secret"))


__all__ = [
    "MAX_FINDS",
    "MAX_NAMES",
    "SCHEMES",
    "TOKEN_STARTS",
    "is_empty",
    "is_special",
    "left_out",
    "name_spans",
    "redact_text",
    "replace",
    "rule_spans",
]
