"""What the tests of integrations share: loggers that they look into."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.read import MalformedLine, Query, iter_records

Make = Callable[..., ErrorLogger]


def records(logger: ErrorLogger, stream: str = "errors") -> list[dict[str, Any]]:
    """Return what *logger* has recorded so far."""
    assert logger.flush(100)
    return [
        record
        for record in iter_records(logger.settings.log_dir, Query(stream=stream))
        if isinstance(record, dict)
    ]


def records_after(deaths: int, log_dir: Path) -> list[dict[str, Any]]:
    """
    Return the errors in *log_dir*, where *deaths* processes at most were killed.

    Each of them may have left one torn line: who is killed inside its write leaves the
    beginning of what it wrote, which whoever appends next closes with a newline (see
    store/append.py).  The record is then written whole, by recovery, and a process has
    one append under way at a time.  So there are no more torn lines than deaths, and
    no other damage.
    """
    items = list(iter_records(log_dir))
    damage = [item for item in items if not isinstance(item, dict)]
    assert all(isinstance(each, MalformedLine) for each in damage), damage
    assert len(damage) <= deaths, damage
    return [item for item in items if isinstance(item, dict)]


__all__ = ["Make", "records", "records_after"]
