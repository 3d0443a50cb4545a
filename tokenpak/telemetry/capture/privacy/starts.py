"""
Which rules might find something in a text, by the words that their secrets begin with.

To look for each word by itself would take sixty passes.  Most words end in one of a few
signs, and then in few pairs of characters, or they have a capital letter: if the text
has not the sign, or not the pair, it has none of the words either.

Nearly all tokens have a *run*: 16 letters, digits, ``_`` and ``-`` in a row.  A text
without one needs no such look at all, and to see that takes one pass.

In a short text, such as an id, one expression for all of the words is quicker.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

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

_Words = list[tuple[str, Rule]]


class Starts:
    """
    The words that secrets begin with.

    Args:
        rules: whose words.

    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        groups: dict[str, dict[str, _Words]] = {}
        for rule in rules:
            for start in rule.starts:
                pairs = groups.setdefault(_sign(start), {})
                last = start[-2:] if start[-1] in _SIGNS else start
                pairs.setdefault(last, []).append((start, rule))
        self._groups = [
            (sign, [(pair[0], pair, words) for pair, words in pairs.items()])
            for sign, pairs in groups.items()
        ]
        self._any: re.Pattern[str] | None = None

    def in_short(self, text: str) -> bool:
        """Return whether *text* has one of the words, or is long."""
        if len(text) > 200:
            return True
        if self._any is None:
            self._any = compiled(one_of(s for rule in self._rules for s in rule.starts))
        return self._any.search(text) is not None

    def within(self, text: str) -> list[Rule]:
        """Return the rules of which *text* has a word, in their order."""
        found: list[Rule] = []
        for sign, pairs in self._groups:
            if sign in text:
                for first, pair, words in pairs:
                    # To look for one character takes a tenth of the time.
                    if first in text and pair in text:
                        found += [rule for start, rule in words if start in text]
        return found if len(found) < 2 else [r for r in self._rules if r in found]


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


def has_run(text: str) -> bool:
    """Return whether *text* has what nearly all tokens have."""
    if len(text) < len(RUN):
        return False
    return text.encode(errors="replace").translate(CLASSES).find(RUN) >= 0


__all__ = ["CLASSES", "RUN", "RUNLESS", "Starts", "has_run", "one_of"]
