"""What tests of the counts share: lines, and the sums of what is counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from tokenpak.telemetry.metrics.health import HealthLook
from tokenpak.telemetry.metrics.machine import MachineCounts, View
from tokenpak.telemetry.metrics.pipeline import PipelineTotals

DAY = "2026-03-24"


def line(number: int, day: str = DAY, **changes: Any) -> bytes:
    """Return the line of an error that is told from others by its number."""
    record = {
        "timestamp": f"{day}T17:35:22.{number % 1_000_000:06d}Z",
        "request_id": f"req-{number}",
        "error_type": "ValueError",
        "message": "no",
        "stack_trace": "",
        "context": {"model": "gpt-4", "provider": "openai"},
        **changes,
    }
    return orjson.dumps(record) + b"\n"


def append(log_dir: Path, data: bytes, day: str = DAY, stream: str = "errors") -> Path:
    """Append *data* to a day's file."""
    log_dir.mkdir(parents=True, exist_ok=True)
    path = log_dir / f"{stream}-{day}.jsonl"
    with path.open("ab") as file:
        file.write(data)
    return path


def total(counts: MachineCounts) -> int:
    """Count, and return how many errors there were."""
    return counts.read(errors_of)


def errors_of(view: View) -> int:
    """Return how many errors *view* has."""
    return sum(count.value for count in view.tally.errors.values())


def values(counts: MachineCounts, table: str) -> dict[tuple[str, ...], int]:
    """Count, and return what a table of the tally holds, but for zeros."""

    def taken(view: View) -> dict[tuple[str, ...], int]:
        found: dict[tuple[str, ...], int] = getattr(view.tally, table)
        return {labels: number for labels, number in found.items() if number}

    return counts.read(taken)


def problems(counts: MachineCounts) -> tuple[str, ...]:
    """Count, and return what went wrong."""
    return counts.read(lambda view: view.problems)


def pipeline(log_dir: Path, counts: MachineCounts | None = None) -> PipelineTotals:
    """Return the pipeline's counters, asked by a process that knows nothing yet."""
    counts = counts or MachineCounts(str(log_dir))
    health = HealthLook(counts.log_dir, counts.spool_dir).look()
    return counts.read(lambda view: view.pipeline(health.readings))


def log_size(log_dir: Path) -> int:
    """Return the bytes of all days' files."""
    return sum(path.stat().st_size for path in log_dir.glob("*.jsonl"))


__all__ = [
    "DAY",
    "append",
    "errors_of",
    "line",
    "log_size",
    "pipeline",
    "problems",
    "total",
    "values",
]
