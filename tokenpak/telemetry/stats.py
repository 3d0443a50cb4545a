"""
What became of the records of a process: the numbers that ``ErrorLogger.stats()`` gives.

A snapshot: it does not change, and belongs together as far as its docstring says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tokenpak.telemetry.queue.pipeline import Counts


class Stats(Mapping[str, Any]):
    """
    What became of the records of this process.  A snapshot; also a mapping.

    ``accepted == written + pending_records - notices`` and what was passed in is
    ``accepted - summaries + sum(dropped.values())``, unless the spool was damaged.
    """

    accepted: int
    """Records that were accepted: they are in the log or will be."""
    written: int
    """Lines of this process that are in the log."""
    written_bytes: int
    """Their bytes."""
    pending_records: int
    """Lines that are accepted and not yet in the log."""
    pending_bytes: int
    """Their bytes."""
    dropped: Mapping[str, int]
    """Records given up, by reason: ``queue_full``, ``closed``, ``not_encoded``,
    ``damaged``, ``day_full``, ``directory_full``; and on purpose ``sampled`` and
    ``storm``."""
    batches: int
    """Appends."""
    notices: int
    """Lines that the logger wrote itself, to tell of dropped records."""
    summaries: int
    """Records that say how many failures a storm held back; they are accepted, too."""
    recovered: int
    """Records of dead processes that this one has appended."""
    write_errors: int
    """Attempts to append that failed; they were made again."""
    durable: bool
    """Whether pending records survive the process (no spool could be had if not)."""

    __slots__ = (
        "accepted",
        "batches",
        "dropped",
        "durable",
        "notices",
        "pending_bytes",
        "pending_records",
        "recovered",
        "summaries",
        "write_errors",
        "written",
        "written_bytes",
    )

    def __init__(self, counts: Counts, summaries: int = 0) -> None:
        for name in Counts._fields:
            object.__setattr__(self, name, getattr(counts, name))
        object.__setattr__(self, "summaries", summaries)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name}: a snapshot does not change; call stats() anew")

    def __getitem__(self, name: str) -> Any:
        if name in self.__slots__:
            return getattr(self, name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.__slots__)

    def __len__(self) -> int:
        return len(self.__slots__)

    def __repr__(self) -> str:
        return f"Stats({', '.join(f'{name}={self[name]!r}' for name in self)})"


__all__ = ["Stats"]
