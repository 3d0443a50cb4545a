r"""
Text from a log, made safe to be shown: on a terminal, or on a page.

What a message says is up to whoever made the application fail.  Control characters and
escape sequences could move the cursor or change its colours, marks of direction could
turn the text around; they are shown as Python writes them (``\x1b``).  Letters, spaces
and signs of all languages stay as they are.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# C0 and C1 controls and DEL; marks that change the direction of writing or cannot be
# seen; line and paragraph separators; tags; halves of surrogates.
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)
_NAMED: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def visible(text: str) -> str:
    r"""Return *text* with ``\x1b`` and the like in place of what is not to be sent."""
    return text if text.isprintable() else _UNSAFE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    char = match[0]
    code = ord(char)
    if char in _NAMED:
        return _NAMED[char]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def width(text: str) -> int:
    """Return how many columns *text* takes on a terminal."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def shorten(text: str, columns: int) -> str:
    """Return *text*, cut with an ellipsis if it takes more than *columns*."""
    if width(text) <= columns:
        return text
    kept = used = 0
    for char in text:
        used += _columns(char)
        if used > columns - 1:
            break
        kept += 1
    return text[:kept] + "\u2026"


def _columns(char: str) -> int:
    if unicodedata.category(char) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


__all__ = ["shorten", "visible", "width"]
