"""
Times as people write them: dates, instants, and how long ago.

What is relative is taken from one *now* that can be given, so that two times of one
command mean the same moment, and tests need no clock.  All of it is UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

from tokenpak.telemetry.errors import SettingError

EXAMPLE: Final = (
    "a date like 2026-03-24, or a time like 2026-03-24T17:35:22Z, or how long ago like "
    "30m, 2h or 7d, or today, yesterday or now"
)

STAMP: Final = (
    r"(?!0000)[0-9]{4}-"
    r"(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])"
    r"|(?:0[13-9]|1[0-2])-(?:29|30)"
    r"|(?:0[13578]|1[02])-31)"
    r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{6}Z"
)
"""
The form of a timestamp that the logger writes: such texts sort as their times do.

Only times that there are: the 31st of June, or a leap second, is none that datetime
reads.  The 29th of February, which not every year has, is left to datetime.
"""

is_canonical = re.compile(STAMP).fullmatch
"""Whether a text is a timestamp as the logger writes it."""

_AGO: Final = re.compile(r"(\d{1,9})([smhdw])", re.ASCII).fullmatch
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}
_YEAR_FIRST: Final = re.compile(r"\d{4}-?(\d\d|W)", re.ASCII).match


def parse_when(text: str, *, now: datetime | None = None) -> date | datetime:
    """
    Return the UTC day, or the instant in UTC, that *text* names.

    Args:
        text: ``2026-03-24`` or ``2026-03-24T17:35:22Z`` (ISO 8601; the time may have
            fractions and any offset, and is UTC without one); ``today`` and
            ``yesterday``, which are days; ``now``; or how long before now: ``90s``,
            ``30m``, ``2h``, ``7d``, ``2w``, which are instants.
        now: what the last ones are relative to; None (default): now.

    Raises:
        SettingError: it is none of them; the message shows examples.

    """
    text = text.strip()
    try:
        now = datetime.now(UTC) if now is None else in_utc(now)
        match text.lower():
            case "now":
                return now
            case "today":
                return now.date()
            case "yesterday":
                return now.date() - timedelta(days=1)
        ago = _AGO(text)
        if ago is not None:
            return now - timedelta(seconds=int(ago[1]) * _SECONDS[ago[2]])
        if not _YEAR_FIRST(text):
            raise ValueError(text)
        try:
            return date.fromisoformat(text)
        except ValueError:
            return in_utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        raise SettingError("time", text, EXAMPLE) from None


def in_utc(when: datetime) -> datetime:
    """Return *when* in UTC, which it is without an offset."""
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


__all__ = ["EXAMPLE", "STAMP", "in_utc", "is_canonical", "parse_when"]
