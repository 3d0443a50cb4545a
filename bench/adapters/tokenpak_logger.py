"""Our own logger, with its default settings."""

from __future__ import annotations

from tokenpak.telemetry.error_logger import ErrorLogger


class TokenpakLogger:
    """``ErrorLogger`` as ``get_error_logger()`` would make it."""

    def __init__(self, directory: str) -> None:
        self._logger = ErrorLogger(log_dir=directory)
        # Bound once: the scenarios time the logger, not the adapter.
        self.log_error = self._logger.log_error

    def flush(self) -> None:
        if not self._logger.flush(timeout=60):
            raise TimeoutError("flush() gave up after 60 s")

    def close(self) -> None:
        self._logger.close(timeout=60)

    def dropped(self) -> int:
        return sum(self._logger.stats().dropped.values())


__all__ = ["TokenpakLogger"]
