"""
What waits in spools: of processes that are stopped or dead, or whose disk is full.

Such records are in the log when somebody recovers them, which may be never where no
process logs any more; whoever is to be woken is woken before.  They are read as
``tail`` reads them (see read.follow_spools), and what was taken from a spool is passed
over when it arrives in the log, also after a restart.

R1  No lock is taken and nothing is written; what cannot be read is passed over.  (The
    doctor tells of it.)
R2  So many records are taken before they arrive; what is behind them waits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Final

from tokenpak.telemetry.read.follow_spools import FollowedSpools
from tokenpak.telemetry.read.records import Record
from tokenpak.telemetry.store.names import ERRORS

MOST_WAITING: Final = 10_000


class Waiting:
    """
    The errors that are in spools and not in the log, each given out once.

    One look is look(), then the log is read, each line by arrived(), then records().

    Args:
        log_dir: the directory of the daily files.
        most: records that are remembered.

    """

    def __init__(self, log_dir: str, most: int = MOST_WAITING) -> None:
        self._spools = FollowedSpools(
            log_dir, (ERRORS,), None, lambda _problem: None, key=_key, most=most
        )
        self.arrived = self._spools.arrived

    def look(self) -> None:
        """Find what has been put since the last look."""
        self._spools.look()

    def records(self, *, log_is_read: bool) -> Iterator[Record]:
        """
        Yield what the look has found, and has not arrived; take all of it.

        Args:
            log_is_read: whether all of the log was, since the look.

        """
        for item in self._spools.waiting(None):
            if isinstance(item, tuple):
                yield item[0]
        if log_is_read:
            self._spools.forget_arrived()

    def close(self) -> None:
        """Let go of the spools."""
        self._spools.close()

    def as_data(self) -> dict[str, Any]:
        """Return what restore() takes, of what JSON knows."""
        return self._spools.as_data()

    def restore(self, data: Any) -> None:
        """
        Take over what as_data() gave.

        Raises:
            KeyError, TypeError, ValueError: it did not.

        """
        self._spools.restore(data)


def _key(line: bytes) -> int:
    # Not hash(): that of another process is another one.
    return int.from_bytes(hashlib.blake2b(line, digest_size=6).digest())


__all__ = ["MOST_WAITING", "Waiting"]
