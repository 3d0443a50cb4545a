"""
How a line begins: with the moment of its record, in UTC, to the microsecond.

Formatting a date takes longer than encoding a record.  So what is the same for all
records of a millisecond is kept ready, and the hot path only asks the clock, sees that
it is the same millisecond still, and takes the last three digits from a table.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from tokenpak.telemetry.counter import Counter

MILLISECOND: Final = 1_000_000
"""In nanoseconds, like all times here."""
MICROS: Final = tuple(b'%03dZ","request_id":' % number for number in range(1000))
"""What follows the prefix of a millisecond, by the microseconds into it."""
_MILLIS: Final = tuple(b"%03d" % number for number in range(1000))


class Moments:
    """
    The current millisecond.  Any thread; takes no lock.

    Args:
        clock: nanoseconds since the epoch.

    Attributes:
        current: one pair: the start of the millisecond that was formatted last, and how
            its lines begin.  In a list, for who wants to hold it; the pair is replaced
            as a whole, so that no thread sees one half of it.

    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self.clock = clock
        self.current: list[tuple[int, bytes]] = [(1 << 63, b"")]  # none yet
        self._second = (-1, b"")  # likewise: (seconds, how a line begins)
        self._day: dict[str, int] = {}
        self._changes = Counter()

    @property
    def day_changes(self) -> int:
        """How often a record was stamped with another UTC day than the one before."""
        return self._changes.value

    def move_on(self, now: int) -> tuple[int, bytes]:
        """Return (ns into the millisecond of *now*, how a line begins in it)."""
        start = now - now % MILLISECOND
        seconds, millis = divmod(start // MILLISECOND, 1000)
        day = seconds // 86_400
        if self._day.setdefault("current", day) != day:
            # Counted before the record is put: see DayWatch.
            self._changes.add()
            self._day["current"] = day
        second, text = self._second
        if second != seconds:
            text = (
                b'{"timestamp":"%04d-%02d-%02dT%02d:%02d:%02d.'
                % (time.gmtime(seconds)[:6])
            )
            self._second = (seconds, text)
        prefix = text + _MILLIS[millis]
        self.current[0] = (start, prefix)
        return now - start, prefix


def stamp(prefix: bytes, past: int) -> str:
    """Return the timestamp of a line that begins with *prefix*, *past* ns into it."""
    return f"{prefix.decode()[-23:]}{past // 1000:03}Z"


def iso(nanoseconds: int) -> str:
    """Return the moment *nanoseconds* after the epoch as a line has it."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{second}.{rest // 1000:06}Z"


__all__ = ["MICROS", "MILLISECOND", "Moments", "iso", "stamp"]
