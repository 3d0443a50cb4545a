"""Standard ``logging``: a FileHandler, and a formatter that makes the six fields."""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime

from bench.adapters import FILE


class JsonFormatter(logging.Formatter):
    """The six fields of a record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        assert record.exc_info is not None
        kind = record.exc_info[0]
        assert kind is not None
        when = datetime.fromtimestamp(record.created, UTC)
        return json.dumps(
            {
                "timestamp": when.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                "request_id": record.__dict__["request_id"],
                "error_type": kind.__name__,
                "message": record.getMessage(),
                "stack_trace": self.formatException(record.exc_info),
                "context": record.__dict__["context"],
            }
        )


class StdlibFile:
    """``logging.error(…, exc_info=error, extra={…})`` to a FileHandler."""

    def __init__(self, directory: str) -> None:
        self._handler = self._open(os.path.join(directory, FILE))
        self._handler.setFormatter(JsonFormatter())
        self._logger = logging.Logger("bench")  # noqa: LOG001 - one for each directory
        self._logger.addHandler(self._handler)

    def _open(self, path: str) -> logging.Handler:
        return logging.FileHandler(path, encoding="utf-8")

    def log_error(
        self, request_id: str, error: BaseException, context: dict[str, object]
    ) -> None:
        self._logger.error(
            "%s",
            error,
            exc_info=error,
            extra={"request_id": request_id, "context": context},
        )

    def flush(self) -> None:
        self._handler.flush()

    def close(self) -> None:
        self._handler.close()

    def dropped(self) -> int:
        return 0


__all__ = ["JsonFormatter", "StdlibFile"]
