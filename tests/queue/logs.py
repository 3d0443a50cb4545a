"""What tests of whole loggers share: reading their logs, and holding their locks."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.store.lock import try_lock
from tokenpak.telemetry.store.names import EVENTS, day_file_name

Make = Callable[..., ErrorLogger]


def events(log_dir: Path) -> list[dict[str, Any]]:
    """Return the events in the log, in their order."""
    return [
        json.loads(line)
        for path in sorted(log_dir.glob("events-*.jsonl"))
        for line in path.read_bytes().splitlines()
    ]


@contextlib.contextmanager
def held_locks(log_dir: Path) -> Iterator[None]:
    """Hold the locks of today's events, and of tomorrow's: midnight may come."""
    log_dir.mkdir(parents=True, exist_ok=True)
    fds = []
    for days in (0, 1):
        day = (datetime.now(UTC) + timedelta(days)).date().isoformat()
        path = log_dir / day_file_name(EVENTS, day)
        fds.append(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600))
        while not try_lock(fds[-1]):  # a writer may have it for a moment
            os.sched_yield()
    try:
        yield
    finally:
        for fd in fds:
            os.close(fd)


def eventually(condition: Callable[[], bool]) -> bool:
    """Return whether *condition* comes to hold, within long."""
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        time.sleep(0.0005)  # a thread that only yields keeps the GIL from the writer
    return condition()


__all__ = ["Make", "events", "eventually", "held_locks"]
