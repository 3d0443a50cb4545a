"""Is there room: on the disk, among its inodes, among the descriptors of a process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from tokenpak.telemetry.doctor.finding import CheckResult, Level
from tokenpak.telemetry.doctor.scene import Scene, existing, size_text
from tokenpak.telemetry.settings import SEGMENT_BYTES
from tokenpak.telemetry.store.dayfiles import MAX_OPEN
from tokenpak.telemetry.store.names import STREAMS

FEW_INODES: Final = 100
SPARE_DESCRIPTORS: Final = 64
"""What the application itself is taken to need at least."""


def check_space(scene: Scene) -> Iterator[CheckResult]:
    """Tell whether there is room for what may be pending, and for new files."""
    if not hasattr(os, "statvfs"):
        return
    seen = set()
    for what, path in (("log", scene.log_dir), ("spool", scene.spool_place)):
        if path is None:
            continue
        base = existing(path)
        try:
            room, device = os.statvfs(base), os.stat(base).st_dev
        except OSError as error:
            yield CheckResult(
                "free space", Level.NOTE, f"{base}: cannot be told: {error.strerror}"
            )
            continue
        if device in seen:
            continue
        seen.add(device)
        yield _judge_space(scene, what, room.f_bavail * room.f_frsize)
        # No number of them at all: they are made as needed.
        if room.f_files and room.f_favail < FEW_INODES:
            yield CheckResult(
                "inodes",
                Level.PROBLEM if room.f_favail < 2 else Level.WARNING,
                f"{room.f_favail:,} left where the {what} is",
                "A new day's file, or a new process's spool, may not be had.",
                "Delete small files there.",
            )


def _judge_space(scene: Scene, what: str, free: int) -> CheckResult:
    bound = scene.settings.max_pending_bytes
    text = f"{size_text(free)} where the {what} is"
    if free < SEGMENT_BYTES:
        return CheckResult(
            "free space",
            Level.PROBLEM,
            text,
            "The disk is full, or nearly.  Records are held in the spools as far as "
            "these have room already, then dropped and counted.",
            "Free some space; see max_dir_bytes and prune_after_days for a bound.",
        )
    if free < bound:
        return CheckResult(
            "free space",
            Level.WARNING,
            text,
            f"A process in an outage may need up to {size_text(bound)} for each "
            "stream (max_pending_bytes).",
            "Free some space, or set a lower max_pending_bytes."
            if what == "log"
            else "Give it more, set a lower max_pending_bytes, or another "
            "TOKENPAK_SPOOL_DIR.",
        )
    return CheckResult("free space", Level.OK, text)


def check_descriptors(scene: Scene) -> Iterator[CheckResult]:
    """Hold a logger's need against the limit that is inherited here."""
    try:
        import resource  # noqa: PLC0415  (not there on Windows)

        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    except (ImportError, OSError, ValueError):
        return
    slots = scene.settings.max_pending_bytes // SEGMENT_BYTES
    # A mapping keeps a descriptor of its own; a spool has two, and its head one.
    most = len(STREAMS) * (slots + 3) + MAX_OPEN
    check = "descriptors"
    if soft == resource.RLIM_INFINITY or soft >= most + SPARE_DESCRIPTORS:
        limit = "no limit" if soft == resource.RLIM_INFINITY else f"limit {soft:,}"
        yield CheckResult(check, Level.OK, f"{limit}; a logger needs up to {most:,}")
        return
    yield CheckResult(
        check,
        Level.WARNING,
        f"limit {soft:,}; a logger alone may need up to {most:,} in an outage",
        "With none left, new files cannot be opened, and the bound of what is pending "
        "is reached sooner.",
        "Raise it (ulimit -n, or LimitNOFILE= of the service), or set a lower "
        "max_pending_bytes.",
    )


__all__ = ["FEW_INODES", "SPARE_DESCRIPTORS", "check_descriptors", "check_space"]
