"""
Copy records out, as JSON, JSON Lines, CSV or Parquet, in time order.

What is written is clean, whatever the log holds: other tools read it with no option at
all.  What is held are the rows of one day, up to a bound (R2).  A file that is exported
to is replaced as a whole when the export is complete: a failed one leaves the old file,
or none.

A large export to a file or pipe uses several processes; see ``parallel``.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.read.filter import Query
from tokenpak.telemetry.read.records import MalformedLine, UnreadableFile
from tokenpak.telemetry.read.render import FORMATS, Format, shape_of
from tokenpak.telemetry.read.replacing import replacing
from tokenpak.telemetry.read.select import Selection
from tokenpak.telemetry.store.names import ARCHIVE_DIR, parse_log_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tokenpak.telemetry.read.order import Rows
    from tokenpak.telemetry.read.records import Damage
    from tokenpak.telemetry.read.render import Shape


Told = tuple[int, dict[str, int], list[tuple[str, int, str]]]
"""A Tally as a helper tells it, see ``worker``."""


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
        malformed: how many malformed lines were skipped, by file; with a query, of the
            lines that could have matched.
        unreadable: the files that could not be read, or not to their ends.

    """

    records: int
    malformed: dict[str, int]
    unreadable: tuple[UnreadableFile, ...]


class Tally:
    """What was written, and what was skipped."""

    # Neither this nor Plan is a dataclass: to make one takes as long as to load a
    # module, each time that a command starts.
    __slots__ = ("malformed", "records", "unreadable")

    def __init__(self) -> None:
        self.records = 0
        self.malformed: Counter[str] = Counter()
        self.unreadable: list[UnreadableFile] = []

    def note(self, damage: Damage) -> None:
        """Count *damage*."""
        if isinstance(damage, MalformedLine):
            self.malformed[damage.file] += 1
        else:
            self.unreadable.append(damage)

    def told(self) -> Told:
        """Return all of it as numbers and text, for another process."""
        unreadable = [(each.file, each.offset, each.reason) for each in self.unreadable]
        return self.records, dict(self.malformed), unreadable

    def add_told(self, told: Told) -> None:
        """Add what another process has done and told."""
        records, malformed, unreadable = told
        self.records += records
        self.malformed.update(malformed)
        self.unreadable += [UnreadableFile(*each) for each in unreadable]


class Plan(NamedTuple):
    """
    What an export is to do.

    Attributes:
        log_dir: the directory of the daily files.
        query: which records.
        form: the format.
        fields: of each row; None: all.
        raw: whether formulas are left as they are.
        fork: whether helpers may be forks.

    """

    log_dir: str
    query: Query
    form: Format = "json"
    fields: tuple[str, ...] | None = None
    raw: bool = False
    fork: bool = False

    def shape(self) -> Shape:
        """Return the shape of what is written."""
        return shape_of(self.form, self.query.stream, self.fields, raw=self.raw)


def export_records(
    log_dir: str | os.PathLike[str],
    out: Writable,
    *,
    query: Query | None = None,
    form: Format = "json",
    pending: bool = False,
    fields: Sequence[str] | None = None,
    raw: bool = False,
    processes: int | None = 1,
    fork: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Exported:
    """
    Write the records of *log_dir* that *query* wants to *out*, in time order.

    Args:
        log_dir: the directory of the daily files.
        out: is written to in pieces of some hundred kilobytes, and not closed.
        query: by default all errors.
        form: ``json`` (one array; the default), ``jsonl``, ``csv``, or ``parquet``,
            which needs the extra ``query``.
        pending: whether what is accepted and not in the log yet is written, too, at the
            end; by default not.
        fields: of each row, in their order: fields of the record, or keys of the
            context, dotted for nested (``context.model``, ``model``); None (default):
            all.
        raw: for csv, whether cells that a spreadsheet would run as formulas are left as
            they are; by default they get an apostrophe in front.
        processes: how many to use at most, if *out* is a file or pipe and there is much
            to read; None: as many as there are processors; by default one.
        fork: whether these may be forks of this process, which start sooner than fresh
            interpreters; they are while it has one thread, on Linux.  They hold copies
            of its descriptors until the end.  By default not.
        progress: is told how many bytes of the files were read, again and again.

    Raises:
        OSError: *log_dir* cannot be listed, or *out* not written.
        SettingError: *form* is none of the four, *fields* are none or twice the same,
            or duckdb is missing.

    """
    if form not in FORMATS:
        raise SettingError("format", form, f"one of {', '.join(FORMATS)}")
    plan = Plan(
        log_dir=os.fspath(log_dir),
        query=query or Query(),
        form=form,
        fields=_checked(fields),
        raw=raw,
        fork=fork,
    )
    if form == "parquet":
        # Imported here: duckdb is an extra.
        from tokenpak.telemetry.read.parquet import export_parquet  # noqa: PLC0415

        return export_parquet(plan, out, pending=pending, progress=progress)
    return write_rows(
        plan, out, pending=pending, processes=processes, progress=progress
    )


def write_rows(
    plan: Plan,
    out: Writable,
    *,
    pending: bool,
    processes: int | None = 1,
    progress: Callable[[int], None] | None = None,
) -> Exported:
    """Do what *plan* says, as export_records() does; not for parquet."""
    tally = Tally()
    shape = plan.shape()
    with Selection(
        plan.log_dir,
        plan.query,
        shape.row,
        tally.note,
        copies=shape.copies,
        pending=pending,
        passed=progress,
    ) as selection:
        if processes != 1 and plan.query.limit is None and plan.query.last is None:
            # Imported here: a small export needs none of it.
            from tokenpak.telemetry.read import parallel  # noqa: PLC0415

            parallel.write_days(plan, selection, out, tally, processes, progress)
            rows = selection.pending()
        else:
            rows = selection.rows()
        for piece in pieces(rows, shape, tally):
            out.write(piece)
    out.write(shape.tail if tally.records else shape.empty)
    return Exported(tally.records, dict(tally.malformed), tuple(tally.unreadable))


def export_to_file(
    log_dir: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    query: Query | None = None,
    form: Format = "json",
    pending: bool = False,
    fields: Sequence[str] | None = None,
    raw: bool = False,
    processes: int | None = 1,
    fork: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Exported:
    """
    Write what export_records() does to the file *path*, all of it or nothing.

    It is written under a temporary name beside *path*, readable by its owner alone, and
    renamed.  A symbolic link is followed; a pipe or device is written to as it is.

    Raises:
        OSError: *log_dir* cannot be listed, or *path* not written.
        SettingError: as for export_records(), or *path* is a file of the log itself.

    """
    _refuse_log_file(log_dir, os.path.realpath(path))
    with replacing(path) as out:
        return export_records(
            log_dir,
            out,
            query=query,
            form=form,
            pending=pending,
            fields=fields,
            raw=raw,
            processes=processes,
            fork=fork,
            progress=progress,
        )


def pieces(rows: Iterator[Rows], shape: Shape, tally: Tally) -> Iterator[bytes]:
    """Yield what is written of *rows*, behind the records that *tally* counts."""
    head, between = shape.head, shape.between
    for _, part in rows:
        if part:
            before = between if tally.records else head
            yield before + between.join(part)
            tally.records += len(part)


def _checked(fields: Sequence[str] | None) -> tuple[str, ...] | None:
    if fields is None:
        return None
    if not fields or len(set(fields)) < len(fields) or not all(fields):
        raise SettingError(
            "fields",
            ",".join(fields),
            "names of fields, none twice, like timestamp,error_type,context.model",
        )
    return tuple(fields)


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
    "Plan",
    "Tally",
    "Writable",
    "export_records",
    "export_to_file",
    "pieces",
    "write_rows",
]
