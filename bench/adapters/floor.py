"""
The floors: what a record costs when everything else has been done before.

``os.write`` of a ready line cannot be beaten by who puts each record into the file by
itself; ``deque.append`` not by who keeps it, and it keeps it for no longer than the
process lives.
"""

from __future__ import annotations

import os
import traceback
from collections import deque

import orjson

from bench.adapters import FILE
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
        path = os.path.join(directory, FILE)
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


class DequeAppend:
    """One ``deque.append`` of a ready line for each record; nothing is written."""

    def __init__(self, directory: str) -> None:
        del directory
        # Bounded: what appends for ever would measure the allocator.
        self._lines: deque[bytes] = deque(maxlen=10_000)
        self._line = ready_line()

    def log_error(
        self,
        request_id: str,  # noqa: ARG002
        error: BaseException,  # noqa: ARG002
        context: dict[str, object],  # noqa: ARG002
    ) -> None:
        self._lines.append(self._line)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self._lines.clear()

    def dropped(self) -> int:
        return 0


__all__ = ["DequeAppend", "OsWrite", "ready_line"]
