"""
A processor for structlog: what passes it is recorded, and passes on unchanged.

    structlog.configure(processors=[..., TelemetryProcessor(), ConsoleRenderer()])

An entry with ``exc_info`` becomes an error, any other an event, named after its
``event``.  Everything else in the entry, and the level, is the context.  The request id
is the entry's ``request_id``, else the one that is bound.

It belongs behind what adds to entries (``merge_contextvars``), and before what makes
text of them (``format_exc_info``, renderers).  structlog itself is not imported.
"""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from typing import Any

from tokenpak.telemetry.error_logger import ErrorLogger, get_error_logger
from tokenpak.telemetry.integrations._request import current_request_id


class TelemetryProcessor:
    """
    See above.  Any thread.

    Args:
        logger: default: that of the process.

    """

    def __init__(self, logger: ErrorLogger | None = None) -> None:
        self._logger = logger

    def __call__(
        self, _logger: object, method_name: str, event_dict: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Record *event_dict*, and return it as it is; never raises."""
        try:
            self._record(method_name, event_dict)
        except Exception:  # noqa: S110  (C1) there is nobody left to tell
            pass
        return event_dict

    def _record(self, method_name: str, event_dict: MutableMapping[str, Any]) -> None:
        logger = self._logger or get_error_logger()
        context = dict(event_dict)
        error = _error_of(context.pop("exc_info", None))
        context.setdefault("level", method_name)
        request_id = context.pop("request_id", None)
        if request_id is None:
            request_id = current_request_id()
        if error is not None:
            # The error has a message of its own; what was written stays beside it.
            logger.log_error(request_id, error, context)
        else:
            logger.log_event(context.pop("event", ""), request_id, context)


def _error_of(exc_info: object) -> BaseException | None:
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple) and len(exc_info) == 3:
        return exc_info[1] if isinstance(exc_info[1], BaseException) else None
    return sys.exception() if exc_info else None


__all__ = ["TelemetryProcessor"]
