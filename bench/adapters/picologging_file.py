"""
picologging: standard ``logging``'s interface, written in C++.

A formatter that is its subclass in Python, since its own cannot write JSON.  Its 0.9
ignores ``extra``: what belongs to a record goes along as the message's argument.
There are wheels for Python up to 3.11 only.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

import orjson
import picologging

from bench.adapters import FILE


class _Failure:
    __slots__ = ("context", "error", "request_id")

    def __init__(
        self, request_id: str, error: BaseException, context: dict[str, object]
    ) -> None:
        self.request_id = request_id
        self.error = error
        self.context = context

    def __str__(self) -> str:
        return str(self.error)


def _format(formatter: Any, record: Any) -> str:
    (failure,) = record.args
    when = datetime.fromtimestamp(record.created, UTC)
    return orjson.dumps(
        {
            "timestamp": when.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "request_id": failure.request_id,
            "error_type": record.exc_info[0].__name__,
            "message": record.getMessage(),
            "stack_trace": formatter.formatException(record.exc_info),
            "context": failure.context,
        }
    ).decode()


# Not a class statement: its base is Any to mypy, where it is not installed and where
# it is.
_JsonFormatter = type("_JsonFormatter", (picologging.Formatter,), {"format": _format})


class PicologgingFile:
    """``logger.error(…, exc_info=error)`` to a FileHandler."""

    def __init__(self, directory: str) -> None:
        self._handler = picologging.FileHandler(os.path.join(directory, FILE), "a")
        self._handler.setFormatter(_JsonFormatter())
        self._logger = picologging.Logger("bench", picologging.INFO)
        self._logger.addHandler(self._handler)

    def log_error(
        self, request_id: str, error: BaseException, context: dict[str, object]
    ) -> None:
        self._logger.error(
            "%s",
            _Failure(request_id, error, context),
            exc_info=error,
        )

    def flush(self) -> None:
        self._handler.flush()

    def close(self) -> None:
        self._handler.close()

    def dropped(self) -> int:
        return 0


__all__ = ["PicologgingFile"]
