"""
The loggers under test, each behind the same five methods.

An adapter does what a careful user of that logger would: the same six fields, as JSON
Lines, with the whole stack trace, in the fastest configuration that does so.  To add a
logger, write a module with a class that fits Logger, and name it in ADAPTERS; if it has
to be installed, name it in ``requirements.txt`` too.
"""

from __future__ import annotations

import importlib
from typing import Final, Protocol

from bench.model import PeerMissingError


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


ADAPTERS: Final = {
    "tokenpak": "bench.adapters.tokenpak_logger:TokenpakLogger",
    "stdlib": "bench.adapters.stdlib_file:StdlibFile",
    "loguru": "bench.adapters.loguru_sink:LoguruBuffered",
    "loguru-lines": "bench.adapters.loguru_sink:LoguruLines",
    "os.write": "bench.adapters.floor:OsWrite",
}
"""Name in the tables, and where the class is."""


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
        raise PeerMissingError(
            f"{error.name} is not installed: pip install -r bench/requirements.txt"
        ) from error
    return adapter(directory)


__all__ = ["ADAPTERS", "Logger", "open_logger"]
