"""
Which logger an exception goes to.

The facade imports this package, so this package cannot import the facade: it is told by
it how to find the logger of the process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol


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


def target(logger: Logger | None) -> Logger:
    """Return *logger*, or that of the process if there is none."""
    return _find[0]() if logger is None else logger


__all__ = ["Logger", "share", "target"]
