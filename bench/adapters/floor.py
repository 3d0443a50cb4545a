"""
The floor: what a record costs when everything but writing it has been done before.

No logger can beat it and put each record into the file by itself.
"""

from __future__ import annotations

import os
import traceback

import orjson

from bench.workload import CONTEXT, REQUEST_ID, failure


def ready_line() -> bytes:
    """Return the line of the workload's failure, encoded."""
    error = failure()
    return orjson.dumps(
        {
            "timestamp": "2026-03-24T17:35:22.123456Z",
            "request_id": REQUEST_ID,
            "error_type": type(error).__name__,
            "message": str(error),
            "stack_trace": "".join(traceback.format_exception(error)),
            "context": CONTEXT,
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )


class OsWrite:
    """One ``os.write`` of a ready line for each record."""

    def __init__(self, directory: str) -> None:
        path = os.path.join(directory, "floor.jsonl")
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._line = ready_line()

    def log_error(
        self,
        request_id: str,  # noqa: ARG002 - a floor does not look at what it is given
        error: BaseException,  # noqa: ARG002
        context: dict[str, object],  # noqa: ARG002
    ) -> None:
        os.write(self._fd, self._line)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        os.close(self._fd)

    def dropped(self) -> int:
        return 0


__all__ = ["OsWrite", "ready_line"]
