"""What the tests of the doctor share: a healthy directory, and findings by check."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from tokenpak.telemetry.doctor import CheckResult, Diagnosis, examine
from tokenpak.telemetry.store import places

NOW = 1_774_359_322.0  # 2026-03-24T13:35:22Z
DAY = "2026-03-24"
LINE = f'{{"timestamp":"{DAY}T12:00:00.000000Z","request_id":"r"}}\n'


def make_healthy(log_dir: Path) -> Path:
    """Make what a logger leaves behind that was closed in order."""
    for directory in (log_dir, log_dir / "spool", log_dir / "archive"):
        directory.mkdir(mode=0o700)
    for path in (
        log_dir / f"errors-{DAY}.jsonl",
        log_dir / "archive" / "errors-2026-03-10.jsonl.gz",
    ):
        path.write_text(LINE)
        path.chmod(0o600)
        os.utime(path, (NOW - 3_600, NOW - 3_600))
    return log_dir


def on_file_system(
    monkeypatch: pytest.MonkeyPatch, kind: str, local: str = "tmpfs"
) -> None:
    """
    Let the log directory be on *kind*, and /dev/shm on *local*, with room in both.

    There may be little: in a container, /dev/shm has just the 64 MiB that a process may
    have pending, and less as soon as anybody uses it.
    """

    def file_system_of(path: str) -> str:
        return local if path.startswith("/dev/shm") else kind

    monkeypatch.setattr(places, "file_system_of", file_system_of)
    monkeypatch.setattr(os, "statvfs", lambda path: room(10**12))


def room(free: int, inodes: int = 10**6, total: int = 10**7) -> SimpleNamespace:
    """Return what os.statvfs() says of a file system with *free* bytes."""
    return SimpleNamespace(
        f_bavail=free // 4096, f_frsize=4096, f_files=total, f_favail=inodes, f_flag=0
    )


def diagnose(log_dir: Path, now: float = NOW, **environ: str) -> Diagnosis:
    """Examine *log_dir* with these environment variables and no others."""
    return examine(log_dir, environ={"HOME": str(log_dir.parent), **environ}, now=now)


def found(diagnosis: Diagnosis, check: str) -> list[CheckResult]:
    """Return what was found by *check*."""
    return [finding for finding in diagnosis.findings if finding.check == check]


def only(diagnosis: Diagnosis, check: str) -> CheckResult:
    """Return the one thing that *check* found."""
    (finding,) = found(diagnosis, check)
    return finding


def outcomes(diagnosis: Diagnosis) -> dict[str, str]:
    """Return the outcome of each fate, by the first words of the event."""
    return {
        " ".join(fate.event.split(",")[0].split()[:3]): fate.outcome
        for fate in diagnosis.fates
    }
