"""Logbook: a FileHandler of its own, with a function that makes the six fields."""

from __future__ import annotations

import os
from typing import Any

import logbook
import orjson

from bench.adapters import FILE


def _format(record: Any, _handler: object) -> str:
    return orjson.dumps(
        {
            "timestamp": record.time,
            "request_id": record.extra["request_id"],
            "error_type": record.exc_info[0].__name__,
            "message": record.message,
            "stack_trace": record.formatted_exception,
            "context": record.extra["context"],
        },
        option=orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC,
    ).decode()


class LogbookFile:
    """``log.error(message, exc_info=…, extra={…})`` to a FileHandler."""

    def __init__(self, directory: str) -> None:
        self._handler = logbook.FileHandler(os.path.join(directory, FILE))
        self._handler.formatter = _format
        self._logger = logbook.Logger("bench")
        # The logger's own handlers: pushing one would add a look-up to each call.
        self._logger.handlers.append(self._handler)

    def log_error(
        self, request_id: str, error: BaseException, context: dict[str, object]
    ) -> None:
        self._logger.error(
            str(error),
            exc_info=(type(error), error, error.__traceback__),
            extra={"request_id": request_id, "context": context},
        )

    def flush(self) -> None:
        self._handler.flush()

    def close(self) -> None:
        self._handler.close()

    def dropped(self) -> int:
        return 0


__all__ = ["LogbookFile"]
