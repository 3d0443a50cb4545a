"""
OpenTelemetry's logs SDK: the batch processor, and its exporter to a stream.

All settings of the processor are the defaults: a queue of 2,048 records, of which the
oldest is dropped when it is full.  The SDK makes the stack trace in the call; the
exporter's formatter makes the six fields in the thread of the processor.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import Any

import orjson
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    ConsoleLogRecordExporter,
)

from bench.adapters import FILE


def _format(readable: Any) -> str:
    record = readable.log_record
    attributes = record.attributes
    return orjson.dumps(
        {
            "timestamp": datetime.fromtimestamp(record.timestamp / 1e9, UTC),
            "request_id": attributes["request_id"],
            "error_type": attributes["exception.type"].rpartition(".")[2],
            "message": record.body,
            "stack_trace": attributes["exception.stacktrace"],
            "context": dict(attributes["context"]),
        },
        option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z,
    ).decode()


class OpenTelemetryBatch:
    """``logger.emit(exception=error, …)`` through a BatchLogRecordProcessor."""

    def __init__(self, directory: str) -> None:
        path = os.path.join(directory, FILE)
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115
        self._provider = LoggerProvider()
        exporter = ConsoleLogRecordExporter(out=self._file, formatter=_format)
        self._provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
        self._logger = self._provider.get_logger("bench")

    def log_error(
        self, request_id: str, error: BaseException, context: dict[str, object]
    ) -> None:
        self._logger.emit(
            timestamp=time.time_ns(),
            severity_number=SeverityNumber.ERROR,
            body=str(error),
            attributes={"request_id": request_id, "context": context},
            exception=error,
        )

    def flush(self) -> None:
        self._provider.force_flush(60_000)

    def close(self) -> None:
        self._provider.shutdown()
        self._file.close()

    def dropped(self) -> int:
        # It says so in a warning only: what it drops is missing from the file.
        return 0


__all__ = ["OpenTelemetryBatch"]
