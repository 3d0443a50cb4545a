"""
The log is told of dropped records: how many, why, from when to when (Q3, X2).

What was dropped because the queue was full is told through the queue, as soon as there
is room and no more is dropped.  What was dropped for a bound is told past the queue,
since the bound would hold the notice back, too: at once, so that who reads the file
sees why it ends; then once an hour, and when there is room again.  Notices may go
64 KiB beyond a bound, all together.  What cannot be told even so is warned of.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from tokenpak.telemetry.capture.encode import Encoder
from tokenpak.telemetry.queue.drain import Drain
from tokenpak.telemetry.queue.notice import append_notice, notice_line
from tokenpak.telemetry.queue.trouble import Trouble
from tokenpak.telemetry.store.dayfiles import Contended, DayFiles
from tokenpak.telemetry.store.limits import Limits
from tokenpak.telemetry.store.notes import CLOSED, LIMITS, Drops

QUIET: Final = 0.5
"""Seconds without a drop after which the log is told of the drops before."""
LIMIT_EVERY: Final = 3600.0
"""Seconds between two notices of what a bound has no room for."""


class Teller:
    """
    Tells of the drops of some queues.  Writer thread only.

    Args:
        drains: the queues.
        day_files: their log files.
        encoder: makes the records.
        trouble: warns of what the log cannot be told.
        limits: the bounds of the directory.

    """

    def __init__(
        self,
        drains: Sequence[Drain],
        day_files: DayFiles,
        encoder: Encoder,
        trouble: Trouble,
        limits: Limits,
    ) -> None:
        self._drains = drains
        self._day_files = day_files
        self._encoder = encoder
        self._trouble = trouble
        self._limits = limits
        self.reset()

    def reset(self) -> None:
        """Begin anew: in a forked child."""
        self.notices = 0
        """Lines that were written past the queue."""
        self._told_at: dict[tuple[str, str], float] = {}

    def tell(self) -> float:
        """Tell what is due; return in how many seconds something is due again."""
        wait = float("inf")
        for drain in self._drains:
            for drops in drain.chain.drops.untold():
                if drops.reason in LIMITS:
                    wait = min(wait, self._tell_limit(drain, drops))
                elif drops.reason != CLOSED:  # stats() tells: nothing can be put
                    wait = min(wait, self._tell_through_queue(drain, drops))
        return wait

    def _tell_through_queue(self, drain: Drain, drops: Drops) -> float:
        quiet = QUIET - (time.time_ns() - drops.last) / 1e9
        if 0 < quiet <= QUIET:
            return quiet
        chain = drain.chain
        line = notice_line(self._encoder, chain.stream, drops, chain.pid)
        if not chain.put_notice(line):
            return QUIET  # still no room
        chain.drops.told(drops)
        return 0.0

    def _tell_limit(self, drain: Drain, drops: Drops) -> float:
        now = time.monotonic()
        key = (drain.chain.stream, drops.reason)
        told_at = self._told_at.get(key)
        if told_at is not None and drain.bounded and now < told_at + LIMIT_EVERY:
            return told_at + LIMIT_EVERY - now
        self._told_at[key] = now
        self._trouble.warn(
            drops.reason,
            f"Records are dropped: {drops.total - drops.told:,} {drain.chain.stream} "
            f"so far. {self._limits.explain(drops.reason)}",
        )
        try:
            self._write(drain, drops)
        except Contended:
            del self._told_at[key]
            return 0.005
        except OSError:  # the next append meets it, too, and warns
            pass
        return LIMIT_EVERY

    def _write(self, drain: Drain, drops: Drops) -> None:
        chain = drain.chain
        line = notice_line(self._encoder, chain.stream, drops, chain.pid)
        if append_notice(self._day_files, chain.stream, line, self._limits):
            chain.drops.told(drops)
            self.notices += 1

    def tell_last(self) -> None:
        """Tell of the last drops: the chains are sealed, so not through them."""
        for drain in self._drains:
            for drops in drain.chain.drops.untold():
                if drops.reason == CLOSED:
                    continue
                problem = "it has no room"
                try:
                    self._write(drain, drops)
                except (Contended, OSError) as error:
                    problem = str(error)
                left = drain.chain.drops.untold()
                if any(other.reason == drops.reason for other in left):
                    self._trouble.warn(
                        "drops",
                        f"{drops.total - drops.told:,} records of "
                        f"{drain.chain.stream} were dropped ({drops.reason}), and the "
                        f"log could not be told of it: {problem}",
                    )


__all__ = ["LIMIT_EVERY", "QUIET", "Teller"]
