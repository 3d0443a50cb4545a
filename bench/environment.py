"""
What the figures depend on besides the code: interpreter, cores, kernel, file system.

Nothing that names a machine, a user or a path: results are meant to be published.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Final

PEERS: Final = (
    "concurrent-log-handler",
    "Logbook",
    "loguru",
    "opentelemetry-sdk",
    "picologging",
    "structlog",
)
"""Their distributions, as in ``requirements.txt``."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Where a run took place, in words that may be published."""

    python: str
    cores: int
    kernel: str
    file_system: str
    peers: Mapping[str, str] = field(default_factory=dict)
    """Their versions, by distribution; those that are installed."""

    def line(self, machine: str | None = None) -> str:
        """Return one line for a table; *machine* replaces the count of cores."""
        cores = machine or f"{self.cores} core{'s' if self.cores != 1 else ''}"
        return f"{self.python}, {cores}, {self.kernel}, {self.file_system}"


def describe(directory: str) -> Environment:
    """Return the environment of a run that writes below *directory*."""
    # Distributions and clouds append their own names to the release.
    release = re.match(r"\d+(\.\d+)?", platform.release())
    return Environment(
        python=f"{platform.python_implementation()} {platform.python_version()}",
        cores=_usable_cores(),
        kernel=f"{platform.system()} {release[0] if release else ''}".strip(),
        file_system=_file_system(directory),
        peers=dict(_versions()),
    )


def _versions() -> Iterator[tuple[str, str]]:
    for name in PEERS:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue


def _usable_cores() -> int:
    # A container is often given fewer than the machine has.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _file_system(directory: str) -> str:
    try:
        with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
            lines = [line.split() for line in mounts]
    except OSError:
        return "file system unknown"
    path = os.path.realpath(directory)
    # A later mount hides an earlier one on the same point; max() keeps the first.
    holding = [
        fields for fields in reversed(lines) if _is_within(path, _unescape(fields[4]))
    ]
    best = max(holding, key=lambda fields: len(fields[4]), default=None)
    # The type is the first field after the separator, before it are optional ones.
    return best[best.index("-") + 1] if best else "file system unknown"


def _is_within(path: str, mount_point: str) -> bool:
    return os.path.commonpath([path, mount_point]) == mount_point


def _unescape(field: str) -> str:
    return re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), field)


__all__ = ["Environment", "describe"]
