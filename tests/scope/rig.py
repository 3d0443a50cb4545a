"""What the tests of scopes share: reading logs, and running programs that log."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.queue.recovery import recover


def records_of(logger: ErrorLogger, stream: str = "errors") -> list[dict[str, Any]]:
    """Return what *logger* has in its log by now."""
    assert logger.flush(timeout=100)
    return in_log(Path(logger.settings.log_dir), stream)


def in_log(log_dir: Path, stream: str = "errors") -> list[dict[str, Any]]:
    """Return the records in *log_dir*."""
    return [
        json.loads(line)
        for path in sorted(log_dir.glob(f"{stream}-*.jsonl"))
        for line in path.read_text().splitlines()
    ]


def run_program(
    text: str, tmp_path: Path, *, recovered: bool = False
) -> tuple[int, str, list[dict[str, Any]]]:
    """
    Run *text* as a program, to its end.

    Args:
        text: its source.
        tmp_path: where it runs.
        recovered: whether what it had accepted is brought into the log first.

    Returns:
        its exit status, what it has printed to stderr, and the errors in its log.

    """
    program = tmp_path / "program.py"
    program.write_text(text)
    logs = tmp_path / "logs"
    done = subprocess.run(
        [sys.executable, str(program)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
        cwd=tmp_path,
        env={
            "HOME": str(tmp_path),
            "PATH": os.environ.get("PATH", ""),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "TOKENPAK_LOG_DIR": str(logs),
            "TOKENPAK_EXIT_TIMEOUT": "100",  # the machine may be busy
        },
    )
    if recovered:
        recover(str(logs))
    return done.returncode, done.stderr, in_log(logs)


__all__ = ["in_log", "records_of", "run_program"]
