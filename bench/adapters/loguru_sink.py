"""
loguru, in the fastest way found that keeps the stack trace.

Its stack trace is that of ``traceback`` without the markers below a line (``~~~^^^``),
which are most of what formatting costs since Python 3.11.

``serialize=True`` writes some twenty fields and takes twice as long.  Here loguru
formats the exception (``backtrace`` and ``diagnose`` off, which would add the values of
variables), a format *function* keeps it from formatting anything else, and orjson makes
the six fields.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

import orjson
from loguru import logger

from bench.adapters import FILE

if TYPE_CHECKING:
    from loguru import Message


class LoguruBuffered:
    """Through a 64 KiB buffer: fastest, and lost when the process dies."""

    buffer_bytes: ClassVar[int] = 64 * 1024
    enqueue: ClassVar[bool] = False

    def __init__(self, directory: str) -> None:
        self._file = open(  # noqa: SIM115 - closed by close()
            os.path.join(directory, FILE), "ab", buffering=self.buffer_bytes
        )
        logger.remove()
        logger.add(
            self._write,
            format=lambda _: "{exception}",
            backtrace=False,
            diagnose=False,
            colorize=False,
            catch=False,
            enqueue=self.enqueue,
        )

    def _write(self, message: Message) -> None:
        record = message.record
        exception, extra = record["exception"], record["extra"]
        assert exception is not None
        assert exception.type is not None
        self._file.write(
            orjson.dumps(
                {
                    "timestamp": record["time"].isoformat(),
                    "request_id": extra["request_id"],
                    "error_type": exception.type.__name__,
                    "message": record["message"],
                    "stack_trace": message,
                    "context": extra["context"],
                },
                option=orjson.OPT_APPEND_NEWLINE,
            )
        )

    def log_error(
        self, request_id: str, error: BaseException, context: dict[str, object]
    ) -> None:
        logger.bind(request_id=request_id, context=context).opt(exception=error).error(
            str(error)
        )

    def flush(self) -> None:
        logger.complete()
        self._file.flush()

    def close(self) -> None:
        logger.remove()
        self._file.close()

    def dropped(self) -> int:
        return 0


class LoguruLines(LoguruBuffered):
    """Each line handed to the kernel in the call, as loguru's own file sink does."""

    buffer_bytes: ClassVar[int] = 0


class LoguruEnqueue(LoguruLines):
    """``enqueue=True``: formatted in the call, written by a thread, through a pipe."""

    enqueue: ClassVar[bool] = True


__all__ = ["LoguruBuffered", "LoguruEnqueue", "LoguruLines"]
