"""What is watched for: thresholds, with their defaults and bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tokenpak.telemetry.errors import SettingError

CRITICAL_TYPES: Final = (
    "AuthenticationError",
    "PermissionDeniedError",
    "MemoryError",
    "RecordsDropped",
)
"""Error types that are told at once; ``RecordsDropped`` is the logger's own record."""
CRITICAL_KINDS: Final = ("auth", "quota")
"""The same, of what the context says as ``kind``."""

HOUR: Final = 3600.0
DAY: Final = 24 * HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """
    When there is something to tell.

    Attributes:
        window: seconds over which failures are counted; 30 to 3,600, by default 300.
        spike_factor: how many times the usual a spike is at least; by default 2.
        spike_count: failures in a window that a spike has at least; by default 10.
        critical: patterns (``*``, ``?``) of error types that are told at once, and of
            kinds, as ``kind:auth``.
        learning: seconds of the log's history without which neither spikes nor new
            types are told; by default a day.
        quiet: seconds after which a critical or new type that has not come again is
            over; by default 900.

    Raises:
        SettingError: a number is out of its bounds.

    """

    window: float = 300.0
    spike_factor: float = 2.0
    spike_count: int = 10
    critical: tuple[str, ...] = (
        *CRITICAL_TYPES,
        *(f"kind:{kind}" for kind in CRITICAL_KINDS),
    )
    learning: float = DAY
    quiet: float = 900.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("window", 30, HOUR),
            ("spike_factor", 1, 1000),
            ("spike_count", 1, 1_000_000),
            ("learning", 0, 90 * DAY),
            ("quiet", 1, 7 * DAY),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingError(name, value, f"{low:g} to {high:g}")


__all__ = ["CRITICAL_KINDS", "CRITICAL_TYPES", "DAY", "HOUR", "Rules"]
