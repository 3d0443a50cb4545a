"""A logger with calls that fail and calls that do not, and its metrics on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.metrics.exposition import Exposition
from tokenpak.telemetry.metrics.machine import machine_counts
from tokenpak.telemetry.metrics.server import serving

CALL = {
    "provider": "openai",
    "model": "gpt-4",
    "kind": "timeout",
    "duration_ms": 1200,
    "cost_estimate": 0.01,
    "input_tokens": 900,
    "output_tokens": 80,
}


def calls(logger: ErrorLogger, failed: int, **context: Any) -> None:
    """Log *failed* calls, and as many that succeeded."""
    for number in range(failed):
        logger.log_error(f"r{number}", TimeoutError("no answer"), {**CALL, **context})
        logger.log_event("completion", f"r{number}", {**CALL, **context})
    assert logger.flush(60)


@contextmanager
def exposed(log_dir: Path) -> Iterator[str]:
    """Serve the metrics of *log_dir*; return HOST:PORT."""
    exposition = Exposition(machine_counts(str(log_dir)))
    with serving(exposition, ("127.0.0.1", 0)) as url:
        yield url.removeprefix("http://").partition("/")[0]


__all__ = ["calls", "exposed"]
