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
from functools import cache
from typing import Final

# C0 and C1 controls and DEL; marks that change the direction of writing or cannot be
# seen; line and paragraph separators; tags; halves of surrogates.
_UNSAFE: Final = (
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)
_ACTING: Final = rf"(?![\n\t]|\r\n){_UNSAFE}"
_NAMED: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def visible(text: str) -> str:
    r"""Return *text* with ``\x1b`` and the like in place of what is not to be sent."""
    return text if text.isprintable() else _compiled(_UNSAFE).sub(_escaped, text)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    # Made when it is needed: most commands have nothing to escape.
    return re.compile(pattern)


def _escaped(match: re.Match[str]) -> str:
    char = match[0]
    code = ord(char)
    if char in _NAMED:
        return _NAMED[char]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shown(text: str, *, json: bool) -> str:
    r"""
    Return *text*, of any lines, with escapes in place of what acts on a terminal.

    Args:
        text: whose newlines, tabs and ``\r\n`` stay.
        json: whether it is JSON: then the escapes are, too, and it means the same.

    """
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return _compiled(_ACTING).sub(_as_json if json else _escaped, text)


def _as_json(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


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


__all__ = ["shorten", "shown", "visible", "width"]
