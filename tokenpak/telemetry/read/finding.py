"""What a verification can find: one kind of thing, with its place and the reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from tokenpak.telemetry.read.records import MalformedLine

if TYPE_CHECKING:
    from tokenpak.telemetry.read.records import Damage

Kind = Literal["malformed", "unreadable", "misplaced", "pending", "stray", "exposed"]

KINDS: Final[dict[Kind, tuple[str, str]]] = {
    "malformed": ("malformed line", "malformed lines"),
    "unreadable": (
        "file not read, or not to its end",
        "files not read, or not to their ends",
    ),
    "misplaced": (
        "record in the file of another day",
        "records in the files of other days",
    ),
    "pending": (
        "spool whose records are not in the log yet",
        "spools whose records are not in the log yet",
    ),
    "stray": ("file that does not belong here", "files that do not belong here"),
    "exposed": ("file that others can read", "files that others can read"),
}
"""Each kind of finding, in the order of a summary; what one and several are called."""

DAMAGE: Final[frozenset[Kind]] = frozenset({"malformed", "unreadable", "misplaced"})
"""The kinds by which a log is damaged; the others are for information."""


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One thing that a verification has found.

    Attributes:
        kind: ``malformed``, ``unreadable``, ``misplaced``: damage; ``pending``,
            ``stray``, ``exposed``: something to know.
        file: the path.
        offset: of the first byte that is meant, from 0; in an archive, of the
            uncompressed data; None: the file as a whole.
        length: bytes, without a newline; None: not known, or the file as a whole.
        reason: what is wrong, in words.

    """

    kind: Kind
    file: str
    offset: int | None
    length: int | None
    reason: str

    @property
    def damage(self) -> bool:
        """Whether the log is damaged by it."""
        return self.kind in DAMAGE


def as_finding(report: Damage) -> Finding:
    """Return *report*, which a reader has made, as a finding."""
    if isinstance(report, MalformedLine):
        return Finding(
            "malformed", report.file, report.offset, report.length, report.reason
        )
    return Finding("unreadable", report.file, report.offset, None, report.reason)


__all__ = ["DAMAGE", "KINDS", "Finding", "Kind", "as_finding"]
