"""
Copy records out, as JSON, JSON Lines or CSV.

What is written is clean, whatever the log holds: other tools read it with no option at
all.  Nothing is held but a few rows (R2).  A file that is exported to is replaced as a
whole when the export is complete: a failed one leaves the old file, or none.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.read.filter import Query
from tokenpak.telemetry.read.reader import read_entries
from tokenpak.telemetry.read.records import MalformedLine, UnreadableFile
from tokenpak.telemetry.read.render import FORMATS, Format, shape_of
from tokenpak.telemetry.store.names import ARCHIVE_DIR, parse_log_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenpak.telemetry.read.records import Damage, Found

_PIECE_BYTES: Final = 256 * 1024


class Writable(Protocol):
    """What an export is written to: a binary file, a pipe."""

    def write(self, data: bytes, /) -> object:
        """Write all of *data*."""


@dataclass(frozen=True, slots=True)
class Exported:
    """
    What became of an export.

    Attributes:
        records: how many were written.
        malformed: how many malformed lines were skipped, by file.
        unreadable: the files that could not be read, or not to their ends.

    """

    records: int
    malformed: dict[str, int]
    unreadable: tuple[UnreadableFile, ...]


@dataclass(slots=True)
class _Tally:
    records: int = 0
    malformed: Counter[str] = field(default_factory=Counter)
    unreadable: list[UnreadableFile] = field(default_factory=list)

    def note(self, damage: Damage) -> None:
        if isinstance(damage, MalformedLine):
            self.malformed[damage.file] += 1
        else:
            self.unreadable.append(damage)


def export_records(
    log_dir: str | os.PathLike[str],
    out: Writable,
    *,
    query: Query | None = None,
    form: Format = "json",
    pending: bool = False,
) -> Exported:
    """
    Write the records of *log_dir* that *query* wants to *out*.

    Args:
        log_dir: the directory of the daily files.
        out: is written to in pieces of some hundred kilobytes, and not closed.
        query: by default all errors.
        form: ``json`` (one array; the default), ``jsonl`` or ``csv``.
        pending: whether what is accepted and not in the log yet is written, too, at the
            end; by default not.

    Raises:
        OSError: *log_dir* cannot be listed, or *out* not written.
        SettingError: *form* is none of the three.

    """
    if form not in FORMATS:
        raise SettingError("format", form, f"one of {', '.join(FORMATS)}")
    query = query or Query()
    entries = read_entries(log_dir, query, pending=pending)
    tally = _Tally()
    for piece in _pieces(entries, form, query.stream, tally):
        out.write(piece)
    return Exported(tally.records, dict(tally.malformed), tuple(tally.unreadable))


def export_to_file(
    log_dir: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    query: Query | None = None,
    form: Format = "json",
    pending: bool = False,
) -> Exported:
    """
    Write what export_records() does to the file *path*, all of it or nothing.

    It is written under a temporary name beside *path*, readable by its owner alone, and
    renamed.  A symbolic link is followed; a pipe or device is written to as it is.

    Raises:
        OSError: *log_dir* cannot be listed, or *path* not written.
        SettingError: *form* is unknown, or *path* is a file of the log itself.

    """
    target = os.path.realpath(path)
    _refuse_log_file(log_dir, target)
    if not _is_replaceable(target):
        with open(target, "wb") as out:
            return export_records(log_dir, out, query=query, form=form, pending=pending)
    folder, name = os.path.split(target)
    fd, temporary = tempfile.mkstemp(prefix=f".{name}-", suffix=".tmp", dir=folder)
    try:
        with open(fd, "wb") as out:
            exported = export_records(
                log_dir, out, query=query, form=form, pending=pending
            )
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
    return exported


def _pieces(
    entries: Iterator[Found | Damage], form: Format, stream: str, tally: _Tally
) -> Iterator[bytes]:
    head, between, tail, empty, row = shape_of(form, stream)
    rows: list[bytes] = []
    size = 0
    before = head
    for item in entries:
        if not isinstance(item, tuple):
            tally.note(item)
            continue
        text = row(item[0], item[1])
        rows.append(text)
        size += len(text)
        if size >= _PIECE_BYTES:
            yield before + between.join(rows)
            tally.records += len(rows)
            before = between
            rows = []
            size = 0
    if rows:
        yield before + between.join(rows)
        tally.records += len(rows)
    yield tail if tally.records else empty


def _is_replaceable(target: str) -> bool:
    """Return whether *target* is a file, or nothing yet."""
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return True
    return stat.S_ISREG(mode)


def _refuse_log_file(log_dir: str | os.PathLike[str], target: str) -> None:
    home = os.path.realpath(log_dir)
    if os.path.dirname(target) in {home, os.path.join(home, ARCHIVE_DIR)} and (
        parse_log_name(target) is not None
    ):
        raise SettingError(
            "output", target, "a file that is not one of the log's own, which it reads"
        )


__all__ = [
    "Exported",
    "Writable",
    "export_records",
    "export_to_file",
]
