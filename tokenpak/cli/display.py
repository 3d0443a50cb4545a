"""
Records for people: on a terminal, one line each or in full.

Messages are what somebody else has written, a provider or a user, so what would move
the cursor, change a colour or the direction of writing, or pretend to be another line
is shown as an escape, and never sent to the terminal.
"""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any, Final

from tokenpak.telemetry.read.strict import encode
from tokenpak.telemetry.read.visible import shorten, visible, width

if TYPE_CHECKING:
    from tokenpak.telemetry.read import Record

_RESET: Final = "\x1b[0m"
_STYLES: Final = {
    "time": "\x1b[2m",
    "error": "\x1b[1;31m",
    "event": "\x1b[1;32m",
    "id": "\x1b[36m",
    "model": "\x1b[33m",
    "name": "\x1b[2m",
}
_PLACEHOLDER: Final = "-"
_IN_HEAD: Final = {"provider", "model"}


def use_color(choice: str) -> bool:
    """
    Return whether to colour stdout.

    Args:
        choice: ``always``, ``never``, or ``auto``: if it is a terminal that can, and
            ``NO_COLOR`` is not set.

    """
    if choice != "auto":
        return choice == "always"
    return (
        sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") != "dumb"
    )


class Display:
    """
    How records are shown.

    Args:
        color: whether with escape sequences for colours.
        full: with stack trace and context, on several lines.
        columns: how wide a line may be; None for no limit.

    """

    def __init__(self, *, color: bool, full: bool, columns: int | None) -> None:
        self._color = color
        self._full = full
        self.columns = columns

    def text(self, record: Record) -> str:
        """Return *record* as text that ends with a newline."""
        return self._all_of(record) if self._full else self._line(record) + "\n"

    def _line(self, record: Record) -> str:
        parts = self._head(record)
        what = visible(_text(record.get("message", "")))
        if "event" in record and "message" not in record:
            context = record.get("context")
            if isinstance(context, dict):  # but for what the head has
                context = {k: v for k, v in context.items() if k not in _IN_HEAD}
            what = visible(_text(context or ""))
        plain = " ".join(text for _, text in parts)
        if self.columns is not None:
            room = self.columns - width(plain) - 1
            if room < 1:
                return self._style([("", shorten(plain, self.columns))])
            what = shorten(what, room)
        return self._style([*parts, ("", what)]).rstrip(" ")

    def _head(self, record: Record) -> list[tuple[str, str]]:
        context = record.get("context")
        known = context if isinstance(context, dict) else {}
        stamp = visible(_text(record.get("timestamp") or _PLACEHOLDER))
        kind = "event" if "event" in record else "error"
        name = record.get("event" if kind == "event" else "error_type")
        by = [known.get("provider"), known.get("model")]
        model = "/".join(visible(_text(part)) for part in by if part)
        return [
            # Milliseconds are enough to look at; with --full it is as in the log.
            ("time", re.sub(r"(?<=\.\d{3})\d{3}(?=Z$)", "", stamp)),
            (kind, visible(_text(name or _PLACEHOLDER))),
            ("id", visible(_text(record.get("request_id") or _PLACEHOLDER))),
            ("model", model or _PLACEHOLDER),
        ]

    def _all_of(self, record: Record) -> str:
        kind = "event" if "event" in record else "error"
        name = record.get("event" if kind == "event" else "error_type")
        head = [
            ("time", visible(_text(record.get("timestamp") or _PLACEHOLDER))),
            (kind, visible(_text(name or _PLACEHOLDER))),
            ("id", visible(_text(record.get("request_id") or _PLACEHOLDER))),
        ]
        lines = [self._style(head)]
        if "message" in record:
            lines += self._value("message", record["message"])
        context = record.get("context")
        if isinstance(context, dict):
            for key, value in context.items():
                lines += self._value(_text(key), value)
        elif context is not None:
            lines += self._value("context", context)
        shown = {"timestamp", "request_id", "error_type", "event", "message"}
        for key, value in record.items():
            if key not in shown | {"context", "stack_trace"}:
                lines += self._value(_text(key), value)
        if record.get("stack_trace"):
            lines += self._value("stack_trace", record["stack_trace"])
        return "\n".join(lines) + "\n\n"

    def _value(self, name: str, value: Any) -> list[str]:
        label = self._style([("name", visible(name) + ":")])
        text = _text(value)
        # Its own lines are lines here, too: indented, so that none looks like a record.
        lines = [visible(line) for line in text.removesuffix("\n").split("\n")]
        if len(lines) == 1:
            return [f"  {label} {lines[0]}".rstrip(" ")]
        return [f"  {label}", *(f"    {line}".rstrip(" ") for line in lines)]

    def _style(self, parts: list[tuple[str, str]]) -> str:
        if not self._color:
            return " ".join(text for _, text in parts)
        return " ".join(
            f"{_STYLES[style]}{text}{_RESET}" if style else text
            for style, text in parts
        )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else encode(value).decode()


__all__ = ["Display", "shorten", "use_color", "visible", "width"]
