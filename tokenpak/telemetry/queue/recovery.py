"""
Append what dead processes had accepted, exactly once (Q1).

Whoever gets the lock of a spool is its owner: the process that made it is dead.  The
new owner settles the newest note, appends what was accepted and not consumed, with
notes of its own, and deletes the spool.  It may itself be killed at any point: the
next one goes on from the notes.

After a power failure, the spool may be older than the log, and pages of it missing: of
a spool of another boot, only lines that the log lacks are appended (see store/replay).
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from tokenpak.telemetry.capture.encode import Encoder
from tokenpak.telemetry.errors import SpoolError
from tokenpak.telemetry.queue.jitter import jittered
from tokenpak.telemetry.queue.notice import append_notice, notice_line
from tokenpak.telemetry.settings import resolve_settings
from tokenpak.telemetry.store.append import Appender
from tokenpak.telemetry.store.boot import current_boot
from tokenpak.telemetry.store.dayfiles import Contended, DayFiles
from tokenpak.telemetry.store.days import split_days
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.limits import Limits
from tokenpak.telemetry.store.notes import Notes
from tokenpak.telemetry.store.orphan import pieces_of, unconsumed
from tokenpak.telemetry.store.pieces import Piece
from tokenpak.telemetry.store.places import spool_directories, used_by_group
from tokenpak.telemetry.store.replay import is_record, missing
from tokenpak.telemetry.store.segment import Segment
from tokenpak.telemetry.store.spool import SpoolFile, remove_unborn, spool_paths

PATIENCE: Final = 10.0
"""Seconds that recover() waits for a day file's lock."""


class Recovered(NamedTuple):
    """What a recovery found and did."""

    spools: int = 0
    """Spools of dead processes that were emptied and deleted."""
    records: int = 0
    """Records of theirs that were not in the log, and are now."""
    damaged: int = 0
    """Lines in them that no longer were records."""
    left: tuple[str, ...] = ()
    """Spools that could not be read, with the reason."""
    untold: int = 0
    """Records that were dropped, and the log has no room to be told of it."""

    def plus(self, other: Recovered) -> Recovered:
        """Return the sum of both."""
        return Recovered(
            self.spools + other.spools,
            self.records + other.records,
            self.damaged + other.damaged,
            self.left + other.left,
            self.untold + other.untold,
        )


def recover(log_dir: str, spool_dir: str | None = None) -> Recovered:
    """
    Append the records of all dead processes of *log_dir*.

    Spools whose process lives are left alone.  Any number of processes may recover at
    the same time.

    Args:
        log_dir: the log directory.
        spool_dir: as the setting; None: ``$TOKENPAK_SPOOL_DIR``, else where it belongs.

    Raises:
        OSError: the log cannot be written; nothing is lost, it can be repeated.
        TimeoutError: somebody holds the lock of a day file for 10 s.

    """
    settings = resolve_settings({"log_dir": log_dir, "spool_dir": spool_dir})
    files = OsFiles(
        group_access=settings.group_access or used_by_group(settings.log_dir)
    )
    day_files = DayFiles(files, settings.log_dir)
    encoder = Encoder(settings.max_line_bytes)
    limits = Limits(settings.log_dir, settings.max_day_bytes, settings.max_dir_bytes)
    total = Recovered()
    try:
        for path in orphan_candidates(settings.log_dir, settings.spool_dir):
            found = _patiently(
                path,
                lambda path: recover_one(
                    files, day_files, encoder, path, limits=limits
                ),
            )
            total = total.plus(found)
    finally:
        day_files.close()
    return total


def _patiently(path: str, recover_path: Callable[[str], Recovered]) -> Recovered:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return recover_path(path)
        except Contended:
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"another process has held the lock of the log file that the "
                    f"records in {path} belong to for over {PATIENCE:.0f} s"
                ) from None
            time.sleep(jittered(0.001, 0.01))


def orphan_candidates(log_dir: str, spool_dir: str | None) -> Iterator[str]:
    """Yield the paths of all spools of *log_dir*, living and dead."""
    for directory in spool_directories(log_dir, spool_dir):
        remove_unborn(directory)
        yield from spool_paths(directory)


def recover_one(
    files: OsFiles,
    day_files: DayFiles,
    encoder: Encoder,
    path: str,
    *,
    sync: bool = False,
    limits: Limits | None = None,
) -> Recovered:
    """
    Recover the spool at *path*, if its owner is dead.

    Args:
        files: the operations of who recovers.
        day_files: the log.
        encoder: for the records that tell of drops.
        path: of the spool.
        sync: whether each append is forced to the disk.
        limits: beyond which records are dropped.

    Raises:
        Contended, OSError: try again; nothing is lost.

    """
    try:
        spool = SpoolFile.adopt(files, path)
    except SpoolError as error:
        return Recovered(left=(str(error),))
    if spool is None:
        return Recovered()
    done = False
    untold = 0
    notes = spool.notes
    try:
        appender = Appender(day_files, notes, sync=sync, limits=limits)
        is_missing = None
        if notes.boot not in {0, current_boot()}:
            is_missing = functools.partial(missing, day_files.log_dir, notes.stream)
        found = empty_orphan(notes, spool.live_segments(), appender, is_missing)
        for drops in notes.drops():
            if drops.total > drops.told:
                line = notice_line(encoder, notes.stream, drops, notes.owner)
                if not append_notice(day_files, notes.stream, line, limits):
                    untold += drops.total - drops.told
                notes.set_told(drops.reason, drops.total)
        done = True
    finally:
        if done:
            spool.remove()
        else:
            spool.release()
    return found.plus(Recovered(spools=1, untold=untold))


def empty_orphan(
    notes: Notes,
    segments: Sequence[Segment],
    appender: Appender,
    is_missing: Callable[[str, list[bytes]], list[bool]] | None = None,
) -> Recovered:
    """
    Append all of *segments* that the notes don't say is consumed.

    Args:
        notes: the head of the spool.
        segments: those in use, in order.
        appender: for that spool.
        is_missing: for a spool of another boot: which of a day's lines the log lacks.

    """
    before = notes.current()
    records = damaged = 0
    if (
        before is not None
        and not before.done
        and (is_missing is None or before.given_up is not None)
    ):
        records = appender.settle(lambda note: pieces_of(segments, note)).lines
        before = notes.current()
    consumed = (0, 0) if before is None else before.consumed
    for segment, start, end in unconsumed(segments, consumed):
        for run in split_days(segment, start, end):
            piece = Piece(segment.sequence, memoryview(segment), run.start, run.end)
            if not run.day:
                # At the end it is a line that was never accepted.
                damaged += run.lines if run.end < end else 0
            elif is_missing is None:
                given_up = appender.append(run.day, [piece])
                records += run.lines - (given_up.lines if given_up else 0)
            else:
                found = _append_missing(appender, run.day, piece, is_missing)
                records += found.records
                damaged += found.damaged
    return Recovered(records=records, damaged=damaged)


def _append_missing(
    appender: Appender,
    day: str,
    piece: Piece,
    is_missing: Callable[[str, list[bytes]], list[bool]],
) -> Recovered:
    """Append those lines of *piece* that the log lacks, neighbours as one range."""
    lines = [line + b"\n" for line in bytes(piece.view).split(b"\n")[:-1]]
    records = [line for line in lines if is_record(line)]
    lacks = iter(is_missing(day, records))
    at = start = piece.start
    appended = 0
    for line in lines:
        wanted = is_record(line) and next(lacks)
        if not wanted:
            if start < at:
                appended -= _given_up(appender, day, piece, start, at)
            start = at + len(line)
        appended += wanted
        at += len(line)
    if start < at:
        appended -= _given_up(appender, day, piece, start, at)
    return Recovered(records=appended, damaged=len(lines) - len(records))


def _given_up(appender: Appender, day: str, piece: Piece, start: int, end: int) -> int:
    """Append this part of *piece*; return how many lines had no room."""
    given_up = appender.append(day, [piece._replace(start=start, end=end)])
    return given_up.lines if given_up else 0


__all__ = [
    "Recovered",
    "empty_orphan",
    "orphan_candidates",
    "recover",
    "recover_one",
]
