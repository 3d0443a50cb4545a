"""The demo's result in words: what was accepted, what is there, what to try next."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenpak.demo.run import DemoResult


def format_result(result: DemoResult) -> str:
    """Return the table of *result*, lines of plain ASCII, with a newline at the end."""
    audit = result.audit
    rows = [
        ("accepted", _count(result.accepted), "records whose call had returned"),
        ("", "", f"real failures: {_count(result.failures)}"),
        ("", "", f"real answers: {_count(result.successes)}"),
        ("", "", f"failures replayed at full speed: {_count(result.replayed)}"),
        ("in the log", _count(audit.in_log), _in_flight(audit.in_flight)),
        ("lost", _count(result.lost), ""),
        ("doubled", _count(audit.doubled), ""),
    ]
    optional = [
        ("dropped", result.dropped, "given up by the logger: its queue was full"),
        ("unknown", audit.unknown, "in the log, but no worker can have logged them"),
        (
            "malformed",
            audit.malformed,
            "places that do not decode; a kill may tear a line",
        ),
    ]
    rows += [(name, _count(n), note) for name, n, note in optional if n]
    rows += [
        ("recovered", _count(result.recovered), "appended after their worker's death"),
        ("calls a second", _count(result.calls_per_second), "one worker, full speed"),
        (
            "microseconds a call",
            _count(result.median_call_us, 1),
            "median, in the caller's thread",
        ),
    ]
    lines = [
        f"{_workers(result.workers)} called a server that fails as LLM providers do.",
        f"{_killed(result)} The whole took {result.seconds:.1f} s.",
        "",
    ]
    lines += [
        f"  {name:<20}{value:>10}{'   ' + note if note else ''}".rstrip()
        for name, value, note in rows
    ]
    lines += ["", _verdict(result), "", *_files(result), ""]
    return "\n".join(lines)


def _files(result: DemoResult) -> list[str]:
    log_dir = shlex.quote(result.log_dir)
    command = f"  {_called()} telemetry"
    lines = [
        f"The files, {result.audit.log_bytes / 1e6:,.1f} MB, are in {result.log_dir}",
        "",
        "What to try next:",
        f"{command} tail --log-dir {log_dir}",
        f"{command} report --log-dir {log_dir}",
        f"{command} export --log-dir {log_dir} --format csv --output demo.csv",
    ]
    # Only what the demo made for itself is anybody's to throw away.
    if result.temporary:
        lines.append(f"  rm -r {log_dir}")
    return lines


def _called() -> str:
    """Return how this program is called: in a virtual environment it has a path."""
    name = sys.argv[0]
    if os.path.basename(name) == "tokenpak" and shutil.which("tokenpak") is None:
        return shlex.quote(name)
    return "tokenpak"


def _count(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _workers(count: int) -> str:
    return f"{count} worker process{'' if count == 1 else 'es'}"


def _in_flight(count: int) -> str:
    return f"{count} of them logged, not yet acknowledged, at the kill" if count else ""


def _killed(result: DemoResult) -> str:
    if not result.killed:
        return "None was killed."
    return f"{result.killed} of them were killed under way (SIGKILL)."


def _verdict(result: DemoResult) -> str:
    if result.ok:
        return "Each accepted record is in the log exactly once."
    verdict = "NOT each accepted record is in the log exactly once.\n"
    if result.in_memory:
        return verdict + (
            "No spool could be had there, so what was pending was in memory, and died "
            "with its worker.\nTry a --log-dir on a local file system with free space."
        )
    return verdict + (
        "If nobody else writes to these files, it is a defect of tokenpak telemetry:\n"
        "please report it, with the table above."
    )


__all__ = ["format_result"]
