"""
An alert as data: what, since when, and when it was over.

Texts of records come from anywhere.  Here they become short lines of printable
characters, once, so that no form of an alert needs to think of newlines, NULs, terminal
escapes, reordering marks or half surrogates again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

SPIKE: Final = "ErrorSpike"
NEW_TYPE: Final = "NewErrorType"
CRITICAL: Final = "CriticalError"
NAMES: Final = (SPIKE, NEW_TYPE, CRITICAL)

LONGEST_NAME: Final = 200
LONGEST_TEXT: Final = 300
"""Characters."""

Status = Literal["firing", "resolved"]


@dataclass(slots=True)
class Alert:
    """
    One condition that holds, or held.

    Attributes:
        name: one of NAMES.
        error_type: whose; empty for all errors together.
        severity: ``critical`` or ``warning``.
        summary: one line for a person.
        example: a message of a record, a line; empty if there is none.
        starts_at: seconds since the epoch.
        ends_at: since when it is over; None: it is not.
        count: failures that belong to it so far.
        last_seen: when the condition was met last, in seconds since the epoch.

    """

    name: str
    error_type: str
    severity: str
    summary: str
    example: str
    starts_at: float
    ends_at: float | None = None
    count: int = 0
    last_seen: float = 0.0

    @property
    def key(self) -> str:
        """What tells it from others that are firing."""
        return f"{self.name}/{self.error_type}"

    @property
    def identity(self) -> str:
        """What tells it from all others, before and after."""
        return f"{self.key}/{self.starts_at:.3f}"

    @property
    def status(self) -> Status:
        """Whether it is over."""
        return "firing" if self.ends_at is None else "resolved"

    def as_data(self) -> dict[str, Any]:
        """Return what from_data() takes, of what JSON knows."""
        return asdict(self)

    @classmethod
    def from_data(cls, data: Any) -> Alert:
        """
        Return the alert that as_data() gave *data* of.

        Raises:
            TypeError, ValueError: it did not.

        """
        alert = cls(**data)
        texts = (alert.name, alert.error_type, alert.severity, alert.summary)
        numbers = (alert.starts_at, alert.count, alert.last_seen, alert.ends_at or 0)
        if (
            not all(isinstance(text, str) for text in (*texts, alert.example))
            or not all(isinstance(number, int | float) for number in numbers)
            or alert.name not in NAMES
        ):
            raise ValueError("no alert")
        return alert


def one_line(text: object, longest: int = LONGEST_TEXT) -> str:
    """
    Return *text* as a line of at most *longest* printable characters.

    Args:
        text: of a record; anything, for other writers write anything.
        longest: characters; what is cut off is told by an ellipsis.

    """
    line = text if isinstance(text, str) else repr(text)
    cut = len(line) > longest
    if not cut and line.isprintable():
        return line
    line = "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in line[:longest]
    )
    return line[: longest - 1] + "…" if cut or len(line) > longest else line


__all__ = [
    "CRITICAL",
    "LONGEST_NAME",
    "LONGEST_TEXT",
    "NAMES",
    "NEW_TYPE",
    "SPIKE",
    "Alert",
    "Status",
    "one_line",
]
