"""What the tests of integrations share: loggers that they look into."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.read import Query, iter_records

Make = Callable[..., ErrorLogger]


def records(logger: ErrorLogger, stream: str = "errors") -> list[dict[str, Any]]:
    """Return what *logger* has recorded so far."""
    assert logger.flush(30)
    return [
        record
        for record in iter_records(logger.settings.log_dir, Query(stream=stream))
        if isinstance(record, dict)
    ]


__all__ = ["Make", "records"]
