"""Upkeep of a directory, whose clock and whose turns are the test's."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.queue.rig import make_line
from tests.read.log_making import write_log
from tests.store.archiving import FastEntries
from tokenpak.telemetry.queue import upkeep
from tokenpak.telemetry.queue.trouble import Trouble
from tokenpak.telemetry.queue.upkeep import Upkeep
from tokenpak.telemetry.settings import resolve_settings
from tokenpak.telemetry.store.dayfiles import DayFiles
from tokenpak.telemetry.store.entries import Entries
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.notes import Notes


def days_ago(number: int) -> str:
    return (datetime.now(UTC).date() - timedelta(number)).isoformat()


def write_days(log_dir: Path, *ages: int, archived: bool = False) -> None:
    for age in ages:
        day = days_ago(age)
        write_log(
            log_dir,
            make_line(f"{age} days", 300, day),
            day,
            archived=archived,
            compressed=archived,
        )


class Rig:
    """Upkeep of one directory, of which the test is the writer."""

    def __init__(
        self,
        log_dir: Path,
        monkeypatch: pytest.MonkeyPatch,
        entries: Callable[[OsFiles], Entries] = FastEntries,
        own: list[Notes] | None = None,
        **settings: Any,
    ) -> None:
        self.now = 1000.0
        self.day = 0.0
        self.took = 0.0
        monkeypatch.setattr(upkeep, "time", self)
        # Threads begin in another time than the test's.
        monkeypatch.setattr(upkeep, "STILLBORN", float("inf"))
        self.files = OsFiles()
        self.disk = entries(self.files)
        self.upkeep = Upkeep(
            resolve_settings({"log_dir": str(log_dir), **settings}),
            self.files,
            DayFiles(self.files, str(log_dir)),
            Trouble(lambda: self.now),
            lambda: own or [],
            self.disk,
        )

    def monotonic(self) -> float:
        """Every look at the clock takes a little."""
        self.now += 0.0001
        return self.now

    def time(self) -> float:
        return 1_800_000_000 + self.now + self.day

    def run(self) -> int:
        """Let the time pass until the look that is due is over; return the turns."""
        self.now += self.upkeep.turn()
        return self.finish()

    def finish(self) -> int:
        for turns in range(1, 10_000_000):
            wait = self.upkeep.turn()
            if wait > 100:
                return turns
            self.now += wait
            time.sleep(0.0001)  # for the thread that forces to the disk
        raise AssertionError("it never ends")


__all__ = ["Rig", "days_ago", "write_days"]
