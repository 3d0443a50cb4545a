"""From when on there is something to tell: numbers, with defaults and bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tokenpak.telemetry.errors import SettingError

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 24 * HOUR

CRITICAL_TYPES: Final = ("PermissionDeniedError", "MemoryError")


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """
    What the rules compare with.  Times are whole seconds.

    Attributes:
        window: over which failures are counted.
        usual: the time before that is the measure for spikes, and without which there
            is no alert of a spike or a new type.
        spike_factor: how many times the usual a spike is at least.
        spike_count: failures in a window that a spike has at least.
        new_for: how long a new type is told of.
        critical: error types that are told at once; ``*`` and ``?`` match any.
        auth_count: refused keys or tokens in a window.
        budget: dollars a day that failed calls may cost.
        burn: how many times too fast it may be spent.
        pending_bytes: that may wait to be written.
        stuck: seconds that something may wait without anything being written.
        no_writer: seconds that nobody need log.
        hold: for how long a condition must hold before it is told; 0: at once.
        interval: between two evaluations.
        job: of Prometheus, if only one is meant; empty for all.

    Raises:
        SettingError: one of them makes no sense.

    """

    window: int = 5 * MINUTE
    usual: int = DAY
    spike_factor: float = 3.0
    spike_count: int = 10
    new_for: int = 15 * MINUTE
    critical: tuple[str, ...] = CRITICAL_TYPES
    auth_count: int = 3
    budget: float = 10.0
    burn: float = 6.0
    pending_bytes: int = 16 * 1024 * 1024
    stuck: int = 2 * MINUTE
    no_writer: int = 10 * MINUTE
    hold: int = 0
    interval: int = 30
    job: str = ""

    def __post_init__(self) -> None:
        for name, least in (
            ("window", 1),
            ("usual", self.window),
            ("spike_factor", 1),
            ("spike_count", 1),
            ("new_for", 1),
            ("auth_count", 1),
            ("budget", 0),
            ("burn", 0),
            ("pending_bytes", 1),
            ("stuck", 1),
            ("no_writer", 0),
            ("hold", 0),
            ("interval", 1),
        ):
            value = getattr(self, name)
            if not least <= value < 1e15:
                raise SettingError(name, value, f"a number of at least {least}")
        if not self.critical:
            raise SettingError("critical", (), "at least one error type")


__all__ = ["CRITICAL_TYPES", "DAY", "HOUR", "MINUTE", "Thresholds"]
