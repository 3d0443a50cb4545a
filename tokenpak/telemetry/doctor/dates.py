"""
The clock against the dates of the files.

A record goes into the file of its own timestamp (S3), so a clock that is wrong puts
records into days where nobody looks for them, and a leap ahead makes files old enough
to be archived or deleted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from tokenpak.telemetry.doctor.finding import CheckResult, Level
from tokenpak.telemetry.doctor.permissions import NAMED
from tokenpak.telemetry.doctor.scene import Scene
from tokenpak.telemetry.store.names import list_log_files

EARLIEST: Final = 1_735_689_600.0
"""2025: no clock of a machine on which this can run is right before that."""
LATEST: Final = 253_370_764_800.0
"""Year 9999, the last that a date can be in."""
TOLERANCE: Final = 60.0
"""Seconds that a file may be ahead: file servers have clocks of their own."""


def check_clock(scene: Scene) -> Iterator[CheckResult]:
    """Tell whether it is later than everything that is there already."""
    check = "clock"
    if scene.today is None or not EARLIEST <= scene.now < LATEST:
        yield CheckResult(
            check,
            Level.PROBLEM,
            f"says {_moment(scene.now)}",
            "Records get that time, and go into the file of that day.",
            "Set the clock (timedatectl).",
        )
        return
    try:
        files = list_log_files(scene.log_dir)
    except OSError:
        files = []
    ahead = [file for file in files if file.day > scene.today]
    newest, newest_path = 0.0, ""
    for file in files:
        try:
            changed = os.lstat(file.path).st_mtime
        except OSError:
            continue
        if changed > newest:
            newest, newest_path = changed, file.path
    if ahead:
        names = [os.path.basename(file.path) for file in ahead]
        more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
        yield CheckResult(
            check,
            Level.WARNING,
            f"files of days to come: {', '.join(names[:NAMED])}{more}",
            f"It is {_moment(scene.now)} here.  Either the clock was ahead when they "
            "were written, or it is behind now.",
            "Compare the clock (timedatectl).  The files may stay: readers take "
            "records as they are stamped.",
        )
    if newest > scene.now + TOLERANCE:
        yield CheckResult(
            check,
            Level.WARNING,
            f"{os.path.basename(newest_path)} was changed at {_moment(newest)}, "
            "which is yet to come",
            f"It is {_moment(scene.now)} here: the clock is behind, or was ahead.",
            "Compare the clock (timedatectl).",
        )
    elif not ahead:
        yield CheckResult(
            check, Level.OK, f"{_moment(scene.now)}, later than all files"
        )


def _moment(seconds: float) -> str:
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        return f"{seconds:.0f} s after 1970"
    return moment.strftime("%Y-%m-%d %H:%M UTC")


__all__ = ["EARLIEST", "TOLERANCE", "check_clock"]
