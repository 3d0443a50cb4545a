r"""
Text from a log, made safe to be shown: on a terminal, or on a page.

What a message says is up to whoever made the application fail.  Control characters and
escape sequences could move the cursor or change its colours, marks of direction could
turn the text around; they are shown as Python writes them (``\x1b``).
"""

from __future__ import annotations


def visible(text: str) -> str:
    """Return *text* in one line, with what cannot be seen shown as an escape."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in text
    )


def short(text: str, most: int) -> str:
    """Return visible(*text*), cut to *most* characters."""
    text = visible(text)
    return text if len(text) <= most else text[: most - 1] + "\u2026"


__all__ = ["short", "visible"]
