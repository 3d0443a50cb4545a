"""
concurrent-log-handler: standard ``logging`` with a lock file around every write.

Its purpose is several processes in one file.  Nothing is rotated here.
"""

from __future__ import annotations

import logging

from concurrent_log_handler import ConcurrentRotatingFileHandler

from bench.adapters.stdlib_file import StdlibFile


class ConcurrentHandler(StdlibFile):
    """``logging.error(…)`` to a ConcurrentRotatingFileHandler."""

    def _open(self, path: str) -> logging.Handler:
        handler: logging.Handler = ConcurrentRotatingFileHandler(
            path, maxBytes=0, encoding="utf-8"
        )
        return handler


__all__ = ["ConcurrentHandler"]
