"""What an examination comes to: findings, fates, and whether a person is needed."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tokenpak.telemetry.settings import Settings


class Level(enum.IntEnum):
    """How much a finding matters."""

    OK = 0
    """As it should be."""
    NOTE = 1
    """Worth knowing; nothing needs to be done."""
    WARNING = 2
    """Something is promised less than it could be, or was lost: look at it."""
    PROBLEM = 3
    """Logging, or a part of it, does not work."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One thing that was looked at."""

    check: str
    """What was looked at, in a word or two, e.g. ``locks``."""
    level: Level
    what: str
    """What was found, in one sentence without a full stop."""
    meaning: str = ""
    """What follows from it; empty if that is plain."""
    advice: str = ""
    """What to do; empty if nothing needs to be done."""


Outcome = Literal["kept", "partly", "lost"]


@dataclass(frozen=True, slots=True)
class Fate:
    """What a kind of death or fault costs on this machine, in this directory."""

    event: str
    outcome: Outcome
    detail: str


SpoolState = Literal["living", "orphan", "damaged", "unreadable"]


@dataclass(frozen=True, slots=True)
class SpoolInfo:
    """A spool, as it was when it was looked at."""

    path: str
    state: SpoolState
    """``living``: its process runs; ``orphan``: it is dead; ``damaged``: it is no spool
    that can be read; ``unreadable``: this user may not look into it."""
    stream: str = ""
    process: int = 0
    """The process id of the owner, as its own pid namespace counts (containers)."""
    started: float = 0.0
    """When it was made, in seconds since the epoch."""
    records: int = 0
    """How many accepted records in it are not in the log yet."""
    oldest: str = ""
    """The timestamp of the first of them; empty if there is none."""
    damaged: int = 0
    """How many lines in it are no records any more."""
    dropped: Mapping[str, int] | None = None
    """How many records its process dropped, by reason."""
    reason: str = ""
    """Why it is damaged or unreadable."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All of it."""

    log_dir: str
    """The directory that was looked at, absolute."""
    findings: tuple[CheckResult, ...]
    fates: tuple[Fate, ...]
    spools: tuple[SpoolInfo, ...]
    settings: Settings
    """What a logger without arguments would use in this environment."""
    spool_place: str | None
    """Where new spools go; None: into memory, which dies with the process."""

    @property
    def worst(self) -> Level:
        """The level of the worst finding."""
        return max((f.level for f in self.findings), default=Level.OK)

    @property
    def fine(self) -> bool:
        """Whether nobody needs to do anything: no warning and no problem."""
        return self.worst < Level.WARNING


__all__ = [
    "CheckResult",
    "Diagnosis",
    "Fate",
    "Level",
    "Outcome",
    "SpoolInfo",
    "SpoolState",
]
