"""
What a rule of redaction is, and what its secret leaves in a skeleton.

A *skeleton* is a text without digits and the letters a to f: texts that differ only in
numbers, digests or UUIDs have the same one.  A rule knows its secret in three ways:

    starts   what every such secret holds, or has before it: a quick look
    pattern  finds it in a text, exactly
    trace    finds what is left of it in the skeleton: sometimes too much, never less

That traces never miss is what screen relies on; the tests plant secrets to see to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Final, NamedTuple

HEX: Final = b"0123456789abcdef"
"""What a skeleton is without."""
_HEX_TABLE: Final = dict.fromkeys(HEX)


class Rule(NamedTuple):
    """One form of credential or of personal data."""

    name: str
    """Of lower-case letters, digits and underscores: it is in the mark."""
    what: str
    """For the reader of the docs."""
    starts: tuple[str, ...]
    """At least one of them is in each text that *pattern* is found in."""
    pattern: str
    """A regular expression; the group ``secret``, or all of it, is replaced.  It takes
    linear time, and what may be cut off at the end of a text matches without it."""
    source: str
    """Where the form is published; empty: it is known from use only."""
    trace: str = ""
    """A regular expression for the skeleton; empty: the starts, without hex digits."""
    check: Callable[[str], bool] | None = None
    """Whether what was found is one indeed; for what no pattern can tell."""
    before: str = ""
    """Characters that belong to it, too, where they stand before what was found."""
    reach: int = 64
    """How many of them at most."""
    fold: bool = False
    """Whether starts, pattern and trace are for the text in lower case."""
    no_name: bool = False
    """Whether it is none where it is a secret's name: the secret is behind that."""
    inside: bool = False
    """Whether what *pattern* finds begins before the start, and not with it."""


def skeleton(text: str) -> str:
    """Return *text* without digits and the letters a to f."""
    return text.translate(_HEX_TABLE)


def trace_of(rule: Rule) -> str:
    """Return the trace of *rule*."""
    return rule.trace or "|".join(re.escape(skeleton(start)) for start in rule.starts)


def rich(letters: int) -> str:
    """
    Return a lookahead: *letters* of ``g-zA-Z_-`` come next, hex digits disregarded.

    For tokens of whose beginning a skeleton has little: their trace asks for the same
    letters.  A random text of 20 letters and digits has about 14 of them.
    """
    return rf"(?=(?:[a-f0-9]*+[g-zA-Z_-]){{{letters}}})"


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """Return *pattern* compiled, when it is first needed: there are many."""
    return re.compile(pattern, re.ASCII | re.DOTALL)


__all__ = ["HEX", "Rule", "compiled", "rich", "skeleton", "trace_of"]
