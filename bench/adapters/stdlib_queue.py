"""
Standard ``logging``: a QueueHandler, and a QueueListener that writes the file.

``QueueHandler.prepare`` formats in the caller's thread (it must: the arguments and the
traceback cannot be sent), so the formatter belongs to it and the file's handler writes
what comes.  The queue is unbounded, as in the documentation's example.
"""

from __future__ import annotations

import logging
import os
import queue
from logging.handlers import QueueHandler, QueueListener

from bench.adapters import FILE
from bench.adapters.stdlib_file import JsonFormatter


class StdlibQueue:
    """``logging.error(…)`` to a QueueHandler; a thread of its own writes."""

    def __init__(self, directory: str) -> None:
        self._queue: queue.Queue[object] = queue.Queue()
        self._file = logging.FileHandler(os.path.join(directory, FILE), "a", "utf-8")
        self._listener = QueueListener(self._queue, self._file)
        self._listener.start()
        handler = QueueHandler(self._queue)
        handler.setFormatter(JsonFormatter())
        self._logger = logging.Logger("bench")  # noqa: LOG001 - one for each directory
        self._logger.addHandler(handler)

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
        self._queue.join()

    def close(self) -> None:
        self._listener.stop()
        self._file.close()

    def dropped(self) -> int:
        return 0


__all__ = ["StdlibQueue"]
