"""Logs to report of: records at chosen times, and what a report says of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.read.log_making import as_lines, write_log
from tokenpak.telemetry.read import Query, parse_when
from tokenpak.telemetry.report import Report, make_report

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 3, 25, tzinfo=UTC)
"""The end of the window: of the day 2026-03-24."""

STACK = """\
Traceback (most recent call last):
  File "/srv/app/client.py", line {line}, in ask
    return answer(prompt)
           ^^^^^^^^^^^^^^
  File "/srv/app/{file}.py", line 7, in answer
    raise {type}(text)
{type}: {message}
"""


def failure(
    hours: float = 1.0,
    error_type: str = "ValueError",
    message: str = "no answer",
    *,
    line: int = 12,
    file: str = "parse",
    **context: Any,
) -> dict[str, Any]:
    """Return a record, so many hours before NOW."""
    when = NOW - timedelta(hours=hours)
    return {
        "timestamp": when.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "request_id": f"req-{hours}",
        "error_type": error_type,
        "message": message,
        "stack_trace": STACK.format(
            line=line, file=file, type=error_type, message=message
        ),
        "context": {"provider": "openai", "model": "gpt-4o", **context},
    }


def write(log_dir: Path, records: list[dict[str, Any]]) -> Path:
    """Write *records* into the files of their days."""
    days: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        days.setdefault(record["timestamp"][:10], []).append(record)
    log_dir.mkdir(exist_ok=True)
    for day, found in days.items():
        found.sort(key=lambda record: record["timestamp"])
        write_log(log_dir, as_lines(found), day)
    return log_dir


def report_of(
    log_dir: Path, records: list[dict[str, Any]] | None = None, **options: Any
) -> Report:
    """Return the report of 2026-03-24, of *records* if there are."""
    if records is not None:
        write(log_dir, records)
    day = parse_when("2026-03-24")
    query = Query(**{"since": day, "until": day, **options.pop("query", {})})
    return make_report(log_dir, query, now=NOW, **options)


__all__ = ["NOW", "failure", "report_of", "write"]
