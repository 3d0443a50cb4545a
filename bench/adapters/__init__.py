"""
The loggers under test, each behind the same five methods.

An adapter does what a careful user of that logger would: the same six fields, as JSON
Lines, with the whole stack trace, in the fastest configuration that does so.  To add a
logger, write a module with a class that fits Logger, and name it in ADAPTERS; if it has
to be installed, name it in ``requirements.txt`` too.
"""

from __future__ import annotations

import importlib
import os
from typing import Final, Protocol

from bench.model import PeerMissingError

FILE: Final = "log.jsonl"
"""The name of the one file that every peer writes."""


class Logger(Protocol):
    """What the scenarios need of a logger; *directory* is where its file goes."""

    def __init__(self, directory: str) -> None: ...

    def log_error(
        self, request_id: str, error: BaseException, context: dict[str, object]
    ) -> object:
        """Log one failure, as an application would."""

    def flush(self) -> None:
        """Return when every line is in the file (in the kernel: no ``fsync``)."""

    def close(self) -> None:
        """Give back files and threads."""

    def dropped(self) -> int:
        """Return how many records the logger says it has dropped."""


OURS: Final = "tokenpak"

PEERS: Final = {
    "stdlib": "bench.adapters.stdlib_file:StdlibFile",
    "stdlib-queue": "bench.adapters.stdlib_queue:StdlibQueue",
    "loguru": "bench.adapters.loguru_sink:LoguruBuffered",
    "loguru-lines": "bench.adapters.loguru_sink:LoguruLines",
    "loguru-enqueue": "bench.adapters.loguru_sink:LoguruEnqueue",
    "structlog": "bench.adapters.structlog_bytes:StructlogBytes",
    "concurrent": "bench.adapters.concurrent_handler:ConcurrentHandler",
    "picologging": "bench.adapters.picologging_file:PicologgingFile",
    "logbook": "bench.adapters.logbook_file:LogbookFile",
    "opentelemetry": "bench.adapters.opentelemetry_batch:OpenTelemetryBatch",
}
"""Other loggers, which do the same work."""

FLOORS: Final = {
    "deque": "bench.adapters.floor:DequeAppend",
    "os.write": "bench.adapters.floor:OsWrite",
}
"""What cannot be beaten: the line is ready, and nothing is promised."""

ADAPTERS: Final = {
    OURS: "bench.adapters.tokenpak_logger:TokenpakLogger",
    **PEERS,
    **FLOORS,
}
"""Name in the tables, and where the class is."""

WRITERS: Final = tuple(name for name in ADAPTERS if name != "deque")
"""Those that write a file."""


def open_logger(name: str, directory: str) -> Logger:
    """
    Return the logger *name*, writing to *directory*.

    Raises:
        PeerMissingError: it is not installed.

    """
    module, _, cls = ADAPTERS[name].partition(":")
    try:
        adapter: type[Logger] = getattr(importlib.import_module(module), cls)
    except ModuleNotFoundError as error:
        hint = "pip install -r bench/requirements.txt"
        if error.name == "picologging":
            hint += ", with Python 3.11: it has no wheels for later versions"
        raise PeerMissingError(f"{error.name} is not installed: {hint}") from error
    return adapter(directory)


def recover(name: str, directory: str) -> None:
    """Do what the logger *name* offers for what dead processes have accepted."""
    # Imported here: a peer's process must not hold our modules.
    if name == OURS and os.path.isdir(directory):
        from tokenpak.telemetry.queue.recovery import recover as recover_orphans

        recover_orphans(directory)


__all__ = [
    "ADAPTERS",
    "FILE",
    "FLOORS",
    "OURS",
    "PEERS",
    "WRITERS",
    "Logger",
    "open_logger",
    "recover",
]
