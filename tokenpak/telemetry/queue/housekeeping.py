"""
What the writer does besides draining: recovery, notices, sync, space, troubles.

Each chore is bounded in one pass, so none keeps the records waiting for long.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from tokenpak.telemetry.capture.encode import Encoder
from tokenpak.telemetry.queue.drain import Drain
from tokenpak.telemetry.queue.meter import LOOK_PATIENCE, Meters
from tokenpak.telemetry.queue.recovery import orphan_candidates, recover_one
from tokenpak.telemetry.queue.teller import Teller
from tokenpak.telemetry.queue.trouble import Trouble
from tokenpak.telemetry.queue.upkeep import Upkeep
from tokenpak.telemetry.settings import Settings
from tokenpak.telemetry.store.dayfiles import Contended, DayFiles
from tokenpak.telemetry.store.files import NO_DESCRIPTOR, OsFiles
from tokenpak.telemetry.store.limits import Limits
from tokenpak.telemetry.store.meters import (
    LEFT_OUT,
    NOT_SAVED,
    WRITE_ERRORS,
    error_name,
)
from tokenpak.telemetry.store.names import METRICS_DIR
from tokenpak.telemetry.store.notes import Notes
from tokenpak.telemetry.store.spool import SpoolFile
from tokenpak.telemetry.store.totals import Totals

GIVE_BACK_AFTER: Final = 1.0
"""Seconds without a record after which the spool's free space is given back."""
LOCK_WARNING: Final = 10.0
"""Seconds after which a lock that another process holds is warned of."""
SPOOL_CHECK: Final = 5.0
"""Seconds between looks whether the spool is still the file that it was."""


class Housekeeping:
    """
    The chores of one writer.  Its thread only, but for ``recovered``.

    Args:
        settings: the logger's.
        files: its operations.
        day_files: its log files.
        encoder: for the records that tell of drops.
        trouble: its warnings.
        drains: its queues.
        new_spool: makes another spool for a stream: durable, or None.
        limits: the bounds of the directory.
        totals: where the counters of dead processes are saved.
        meters: what is counted here.
        tell: records what is due of the logger's own; returns in how many seconds
            something is due again.

    """

    def __init__(
        self,
        settings: Settings,
        files: OsFiles,
        day_files: DayFiles,
        encoder: Encoder,
        trouble: Trouble,
        drains: list[Drain],
        new_spool: Callable[[str], SpoolFile | None],
        limits: Limits,
        totals: Totals,
        meters: Meters,
        tell: Callable[[], float],
    ) -> None:
        self._tell = tell
        self._settings = settings
        self._files = files
        self._day_files = day_files
        self._encoder = encoder
        self._trouble = trouble
        self._drains = drains
        self._new_spool = new_spool
        self._limits = limits
        self._totals = totals
        self._meters = meters
        self._teller = Teller(drains, day_files, encoder, trouble, limits)
        self.upkeep = Upkeep(
            settings, files, day_files, trouble, self._own_notes, count=meters.add
        )
        self.reset()

    def reset(self) -> None:
        """Begin anew: in a forked child."""
        now = time.monotonic()
        self._teller.reset()
        self.recovered = 0
        """Records of dead processes that were appended."""
        self._candidates: deque[str] = deque()
        self._recovery_due = now
        self._sync_due = now
        self._spool_due = now + SPOOL_CHECK
        self._busy_at = now
        self._spare = False
        self._held_since: float | None = None
        self._meters.reset()
        self.upkeep.reset()

    def _own_notes(self) -> list[Notes]:
        return [d.supply.spool.notes for d in self._drains if d.supply is not None]

    def before_drain(self) -> None:
        """Tell troubles, exchange spools that are gone."""
        self._trouble.tell_noted()
        now = time.monotonic()
        if now >= self._spool_due:
            self._spool_due = now + SPOOL_CHECK
            for drain in self._drains:
                self._check_spool(drain)

    def failed(self, error: OSError) -> None:
        """Tell of an error while draining."""
        self._meters.add(WRITE_ERRORS, error_name(error))
        self._trouble.write_failed(self._settings.log_dir, error, self._kept())

    def _kept(self) -> str:
        durable = all(d.supply is None or d.supply.durable for d in self._drains)
        place = "the spool, on disk" if durable else "memory"
        bound = self._settings.max_pending_bytes // 2**20
        return f"Records are held in {place}, up to {bound} MiB."

    def contended(self) -> None:
        """Tell if another process has held a lock for long."""
        now = time.monotonic()
        if self._held_since is None:
            self._held_since = now
        elif now - self._held_since >= LOCK_WARNING:
            self._trouble.warn(
                "lock",
                f"Another process has held the lock of a log file in "
                f"{self._settings.log_dir} for {now - self._held_since:.0f} s; it may "
                f"be stopped. {self._kept()} To see who it is: fuser -v "
                f"{self._settings.log_dir}/*.jsonl",
            )

    def broken(self, error: Exception) -> None:
        """Tell of an error that must not be."""
        self._trouble.warn(
            "internal",
            f"The writer of the error log met an error of its own, and goes on: "
            f"{type(error).__name__}: {error}. Please report it.",
        )

    def after_drain(self, *, worked: bool, held: bool) -> float:
        """
        Do what is due; return in how many seconds something is due again.

        *worked*: something was appended.  *held*: something could not be.
        """
        now = time.monotonic()
        if worked:
            self._busy_at = now
            self._spare = True
        if worked and not held:
            self._held_since = None
            self._trouble.write_succeeded(self._settings.log_dir)
        waits = [
            self._recover(now),
            self._teller.tell(),
            self._tell(),
            self._sync(now),
            self._give_back(now),
            self.upkeep.turn(),
            self._meters.look(),
        ]
        return min(waits)

    def _recover(self, now: float) -> float:
        if self._candidates:
            path = self._candidates.popleft()
            try:
                found = recover_one(
                    self._files,
                    self._day_files,
                    self._encoder,
                    path,
                    sync=self._settings.fsync == "batch",
                    limits=self._limits,
                    totals=self._totals,
                )
                self.recovered += found.records
                self._meters.add(LEFT_OUT, NOT_SAVED, found.unsaved)
                if found.unsaved:
                    self._tell_uncounted("a dead process")
                if found.untold:
                    self._trouble.warn(
                        "recovered drops",
                        f"{found.untold:,} records of a dead process were dropped, and "
                        f"the log has no room to be told of it",
                    )
                for reason in found.left:
                    self._trouble.warn(
                        "spool", f"Not a spool that can be read: {reason}"
                    )
            except Contended:
                self._candidates.append(path)
                return 0.005
            except OSError as error:
                what = f"The records of a dead process in {path} could not be appended"
                if error.errno in NO_DESCRIPTOR:  # it may well live
                    what = f"Whether {path} is a dead process's could not be seen"
                self._trouble.warn(
                    "recovery", f"{what} yet: {error}. It is tried again."
                )
            return 0.0 if self._candidates else self._recovery_due - now
        if now >= self._recovery_due:
            self._recovery_due = now + self._settings.recovery_interval
            self._candidates.extend(
                orphan_candidates(self._settings.log_dir, self._settings.spool_dir)
            )
            return 0.0
        return self._recovery_due - now

    def before_end(self) -> None:
        """End what goes on in the archive, and tell of the last drops."""
        self.upkeep.close()
        self._teller.tell_last()
        self._meters.look(LOOK_PATIENCE)

    def after_end(self) -> None:
        """Tell what is lost: it is in no spool, and could not be written."""
        self.tell_lost(
            records=sum(drain.lost for drain in self._drains),
            counters=any(drain.uncounted for drain in self._drains),
        )

    def tell_lost(self, *, records: int, counters: bool) -> None:
        """Tell how many records of this process are lost, and whether its counters."""
        if records:
            self._trouble.warn(
                "lost",
                f"{records:,} record{'s'[: records != 1]} could not be written to "
                f"{self._settings.log_dir} before the end, and had no spool to be left "
                f"in: lost.",
            )
        if counters:
            self._tell_uncounted("this process", logged=not records)

    def _tell_uncounted(self, whose: str, *, logged: bool = True) -> None:
        place = os.path.join(self._settings.log_dir, METRICS_DIR)
        records = "Its records are in the log. " if logged else ""
        self._trouble.warn(
            "counters",
            f"What {whose} had counted for the metrics of its pipeline could not be "
            f"saved in {place}, and is missing in them. {records}Check that it is a "
            f"directory that this user may write to.",
        )

    @property
    def notices(self) -> int:
        """Lines that tell of drops, written past the queue."""
        return self._teller.notices

    def _sync(self, now: float) -> float:
        if self._settings.fsync != "interval" or not self._day_files.dirty:
            return float("inf")
        if now >= self._sync_due:
            self._day_files.sync()
            self._sync_due = now + self._settings.fsync_interval
            return float("inf")
        return self._sync_due - now

    def _give_back(self, now: float) -> float:
        if not self._spare:
            return float("inf")
        left = self._busy_at + GIVE_BACK_AFTER - now
        if left > 0:
            return left
        self._spare = False
        for drain in self._drains:
            if drain.supply is not None:
                drain.supply.give_back(drain.progress.segment)
        return float("inf")

    def _check_spool(self, drain: Drain) -> None:
        """Go on in a new spool, if the old one is in memory or was deleted."""
        supply, segment = drain.supply, drain.progress.segment
        if supply is None or segment is None or drain.chain.closed:
            return
        if supply.durable and supply.spool.exists():
            return
        spool = self._new_spool(drain.chain.stream)
        if spool is None:
            return
        try:
            supply.switch(spool, segment)
        except OSError:  # no descriptor for its first mapping: later
            spool.remove()
        else:
            drain.meter.attach(spool)  # first: whose the drops are
            drain.chain.drops.attach(spool.notes)


__all__ = ["Housekeeping"]
