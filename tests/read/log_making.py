"""Log files to read, and what reading them gives, sorted into two heaps."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import orjson

from tokenpak.telemetry.read import Damage, Query, Record, iter_records

if TYPE_CHECKING:
    from pathlib import Path

DAY = "2026-03-24"


def make_record(number: int = 0, day: str = DAY, **changes: Any) -> Record:
    return {
        "timestamp": f"{day}T17:35:22.{number:06d}Z",
        "request_id": f"req-{number}",
        "error_type": "ValueError",
        "message": 'said "no":\n{"timestamp": "of what?"}',
        "stack_trace": "Traceback (most recent call last):\n  ...\u2028\n",
        "context": {"model": "gpt-4", "provider": "openai"},
        **changes,
    }


def summary_of(number: int, last: str = "no answer") -> Record:
    """Return the fields that make a record the summary of a storm."""
    storm = {
        "held_back": number,
        "since": f"{DAY}T17:00:00.000000Z",
        "until": f"{DAY}T17:01:00.000000Z",
        "fingerprint": "0123456789abcdef",
    }
    return {
        "request_id": None,
        "message": f"{number:,} more like this were held back: {last}",
        "context": {"storm": storm},
    }


def make_records(count: int) -> list[Record]:
    return [make_record(number) for number in range(count)]


def as_lines(records: list[Record]) -> bytes:
    return b"".join(orjson.dumps(record) + b"\n" for record in records)


def write_log(
    log_dir: Path,
    data: bytes,
    day: str = DAY,
    *,
    stream: str = "errors",
    part: str = "",
    archived: bool = False,
    compressed: bool = False,
) -> Path:
    folder = log_dir / "archive" if archived else log_dir
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stream}-{day}{part}.jsonl"
    if compressed:
        path = path.with_name(path.name + ".gz")
        data = gzip.compress(data, mtime=0)
    path.write_bytes(data)
    return path


def read_all(
    log_dir: Path, query: Query | None = None
) -> tuple[list[Record], list[Damage]]:
    records: list[Record] = []
    damage: list[Damage] = []
    for item in iter_records(log_dir, query):
        if isinstance(item, dict):
            records.append(item)
        else:
            damage.append(item)
    return records, damage
