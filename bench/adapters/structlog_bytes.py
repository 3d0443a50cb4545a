"""
structlog with orjson, as its page on performance recommends.

A filtering bound logger, few processors, ``orjson.dumps`` and a BytesLogger, which
flushes each line.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from typing import Any

import orjson
import structlog

from bench.adapters import FILE


def _six_fields(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> dict[str, Any]:
    return {
        "timestamp": event["timestamp"],
        "request_id": event["request_id"],
        "error_type": event["error_type"],
        "message": event["event"],
        "stack_trace": event["exception"],
        "context": event["context"],
    }


class StructlogBytes:
    """``log.error(message, exc_info=error, …)`` to a BytesLogger."""

    def __init__(self, directory: str) -> None:
        self._file = open(os.path.join(directory, FILE), "ab")  # noqa: SIM115
        self._logger = structlog.wrap_logger(
            structlog.BytesLogger(self._file),
            processors=[
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
                _six_fields,
                structlog.processors.JSONRenderer(serializer=orjson.dumps),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(20),
            cache_logger_on_first_use=True,
        ).bind()

    def log_error(
        self, request_id: str, error: BaseException, context: dict[str, object]
    ) -> None:
        self._logger.error(
            str(error),
            exc_info=error,
            request_id=request_id,
            error_type=type(error).__name__,
            context=context,
        )

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def dropped(self) -> int:
        return 0


__all__ = ["StructlogBytes"]
