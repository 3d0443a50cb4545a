"""
Which logger an exception goes to.

The facade imports this package, so this package cannot import the facade: it is told by
it how to find the logger of the process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import time_ns
from typing import Any, Protocol

from tokenpak.telemetry.capture.mark import mark


class Logger(Protocol):
    """What is needed of an ErrorLogger."""

    def log_error(
        self,
        request_id: str | None,
        error: BaseException,
        context: Mapping[str, Any] | None = None,
    ) -> None:
        """Record *error*.  Never raises."""


_find: list[Callable[[], Logger]] = []


def share(find: Callable[[], Logger]) -> None:
    """Let *find* be asked for the logger of the process, with each exception."""
    _find[:] = [find]


def record(
    logger: Logger | None,
    request_id: str | None,
    error: BaseException,
    context: Mapping[str, Any] | None,
) -> None:
    """Record *error* with *logger*, or that of the process if there is none."""
    found = _find[0]() if logger is None else logger
    found.log_error(request_id, error, context)
    # As an ErrorLogger has done; but a subclass may have a way of its own.
    mark(error, time_ns())


__all__ = ["Logger", "record", "share"]
