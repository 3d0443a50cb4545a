"""
The one call: a directory, a query and a window become a report.

R1  Takes no lock, starts nothing, and never stops at damage: the report says how much.
R2  Memory does not grow with the size of the log.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import orjson

from tokenpak.telemetry.read.filter import Query
from tokenpak.telemetry.report.gather import gather
from tokenpak.telemetry.report.summary import summarise
from tokenpak.telemetry.report.window import make_window

if TYPE_CHECKING:
    from tokenpak.telemetry.report.model import Report

HISTORY: Final = timedelta(days=7)
"""How far back failures are looked for that are not new, by default."""


def make_report(
    log_dir: str | os.PathLike[str],
    query: Query | None = None,
    *,
    now: datetime | None = None,
    history: timedelta | None = None,
    pending: bool = False,
    workers: int | None = 1,
) -> Report:
    """
    Return what the log says of a window, against the window before it.

    Args:
        log_dir: the directory of the daily files.
        query: which records, and from when to when: the window.  Without ``until`` it
            ends *now*, without ``since`` it is 24 hours long.  By default all errors.
            ``limit`` and ``last`` are not looked at: a report is of all records.
        now: the present; None: ask the clock.
        history: how far to look back from the beginning of the window, to tell which
            kinds of failures are new; None: 7 days.  The window before is always read.
        pending: whether what has been accepted and is not in the log yet counts, too;
            by default not.
        workers: how many processes share the work; None: as many as are of use.  More
            than one are forked, and only if no other thread runs.

    Raises:
        OSError: *log_dir* cannot be listed.
        SettingError: the window has no length.

    """
    query = query or Query()
    moment = datetime.now(UTC) if now is None else now
    back = HISTORY if history is None else history
    window = make_window(query.since, query.until, moment, back)
    gathered = gather(log_dir, query, window, pending=pending, workers=workers)
    return summarise(gathered, os.fspath(log_dir), query.stream)


def as_json(report: Report) -> bytes:
    """Return *report* as a JSON object in one line, with a newline at its end."""
    return orjson.dumps(report, option=orjson.OPT_APPEND_NEWLINE)


__all__ = ["HISTORY", "as_json", "make_report"]
