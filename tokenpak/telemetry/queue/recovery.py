"""
Append what dead processes had accepted, exactly once (Q1).

Whoever gets the lock of a spool is its owner: the process that made it is dead.  The
new owner settles the newest note, appends what was accepted and not consumed, with
notes of its own, saves the dead one's counters (M1) and deletes the spool.  It may
itself be killed at any point: the next one goes on from the notes.

After a power failure, the spool may be older than the log, and pages of it missing: of
a spool of another boot, only lines that the log lacks are appended (see store/replay).
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from tokenpak.telemetry.store.files import NO_DESCRIPTOR, OsFiles
from tokenpak.telemetry.store.limits import Limits
from tokenpak.telemetry.store.meters import (
    BEFORE,
    COUNTER_AT,
    DAMAGED_LINES,
    MAGIC,
    MOST,
    RECORDS,
    RECOVERED,
    SPOOLS,
    parse,
)
from tokenpak.telemetry.store.notes import Notes
from tokenpak.telemetry.store.orphan import pieces_of, unconsumed
from tokenpak.telemetry.store.pieces import Piece, count_lines
from tokenpak.telemetry.store.places import spool_directories, used_by_group
from tokenpak.telemetry.store.replay import is_record, missing
from tokenpak.telemetry.store.segment import Segment
from tokenpak.telemetry.store.spool import SpoolFile, remove_unborn, spool_paths
from tokenpak.telemetry.store.totals import Totals

Missing = Callable[[str, Iterable[bytes]], list[bool]]
"""Of a day, and lines of it: for each line whether the log lacks it."""
SAVE_PATIENCE: Final = 0.02
"""Seconds that are waited for whoever saves counters."""
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
    unsaved: int = 0
    """Spools whose counters could not be saved; recover() leaves them to others."""

    def plus(self, other: Recovered) -> Recovered:
        """Return the sum of both."""
        return Recovered(
            self.spools + other.spools,
            self.records + other.records,
            self.damaged + other.damaged,
            self.left + other.left,
            self.untold + other.untold,
            self.unsaved + other.unsaved,
        )


def recover(
    log_dir: str, spool_dir: str | None = None, *, patience: float = PATIENCE
) -> Recovered:
    """
    Append the records of all dead processes of *log_dir*.

    Spools whose process lives are left alone.  Any number of processes may recover at
    the same time.  A spool whose counters cannot be saved here is emptied, and left to
    a process that logs, which counts and tells what it cannot save either.

    Args:
        log_dir: the log directory.
        spool_dir: as the setting; None: ``$TOKENPAK_SPOOL_DIR``, else where it belongs.
        patience: seconds to wait for the lock of a day file; by default 10.  Once that
            was in vain, the other spools are tried, but no longer waited for.

    Raises:
        OSError: the log cannot be written; nothing is lost, it can be repeated.
        TimeoutError: somebody holds the lock of a day file for that long.

    """
    settings = resolve_settings({"log_dir": log_dir, "spool_dir": spool_dir})
    files = OsFiles(
        group_access=settings.group_access or used_by_group(settings.log_dir)
    )
    day_files = DayFiles(files, settings.log_dir)
    encoder = Encoder(settings.max_line_bytes)
    limits = Limits(settings.log_dir, settings.max_day_bytes, settings.max_dir_bytes)
    totals = Totals(files, settings.log_dir)
    total = Recovered()
    held: list[str] = []
    try:
        for path in orphan_candidates(settings.log_dir, settings.spool_dir):
            found = _patiently(
                path,
                lambda path: recover_one(
                    files,
                    day_files,
                    encoder,
                    path,
                    limits=limits,
                    totals=totals,
                    keep_unsaved=True,
                ),
                0.0 if held else patience,
            )
            if found is None:
                held.append(path)
            else:
                total = total.plus(found)
    finally:
        day_files.close()
    if held:
        more = f" (and of {len(held) - 1:,} more)" if len(held) > 1 else ""
        raise TimeoutError(
            f"another process has held the lock of the log file that the records in "
            f"{held[0]}{more} belong to for over {patience:g} s"
        )
    return total


def _patiently(
    path: str, recover_path: Callable[[str], Recovered], patience: float
) -> Recovered | None:
    """Return what was recovered; None: the lock of a day file was held throughout."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return recover_path(path)
        except Contended:
            if time.monotonic() >= deadline:
                return None
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
    totals: Totals | None = None,
    keep_unsaved: bool = False,
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
        totals: where its counters of the pipeline are saved; None: nowhere.
        keep_unsaved: whether it is left, empty, if these cannot be saved.

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
        found = found.plus(Recovered(untold=untold))
        saved = True
        if totals is not None:
            try:
                saved = _save_counters(spool, found, totals)
            except Contended:
                # Nothing is pending in it any more: it is deleted another time.
                return found
        done = saved or not keep_unsaved
        found = found.plus(Recovered(spools=done, unsaved=not saved))
    finally:
        if done:
            spool.remove()
        else:
            spool.release()
    return found


def _save_counters(spool: SpoolFile, found: Recovered, totals: Totals) -> bool:
    """
    Save what the dead process has counted, and what was *found*, as one.

    Return False if it cannot be; raises Contended: somebody saves for long, or there is
    no descriptor for it now.
    """
    notes, words = spool.notes, spool.counters
    if words[0] in {0, MAGIC}:
        # First into the spool, which is ours now: who dies before it is deleted is
        # followed by one who finds no record in it.
        records = BEFORE + COUNTER_AT[RECOVERED, RECORDS]
        words[records] = min(words[records] + found.records, MOST)  # may be damaged
        damaged = BEFORE + COUNTER_AT[RECOVERED, DAMAGED_LINES]
        words[damaged] = max(words[damaged], found.damaged)
        words[BEFORE + COUNTER_AT[RECOVERED, SPOOLS]] = 1
        words[1] = words[1] or spool.ident
        words[0] = MAGIC
    read = parse(words, notes.drops(), notes.stream, spool.ident)
    try:
        totals.fold([read], ended=True, timeout=SAVE_PATIENCE)
    except OSError as error:
        if error.errno in NO_DESCRIPTOR:
            raise Contended from error
        return False
    return True


def empty_orphan(
    notes: Notes,
    segments: Sequence[Segment],
    appender: Appender,
    is_missing: Missing | None = None,
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
    found: list[tuple[str, Piece]] = []
    for segment, start, end in unconsumed(segments, consumed):
        for run in split_days(segment, start, end):
            if run.day:
                view = memoryview(segment)
                piece = Piece(segment.sequence, view, run.start, run.end)
                found.append((run.day, piece))
            else:
                # At the end it is a line that was never accepted.
                damaged += run.lines if run.end < end else 0
    lacks = {} if is_missing is None else _lacking(found, is_missing)
    for day, piece in found:
        if is_missing is None:
            records += count_lines([piece])
            records -= _given_up(appender, day, piece, piece.start, piece.end)
        else:
            part = _append_missing(appender, day, piece, lacks[day])
            records += part.records
            damaged += part.damaged
    return Recovered(records=records, damaged=damaged)


def _lacking(
    found: Sequence[tuple[str, Piece]], is_missing: Missing
) -> dict[str, Iterator[bool]]:
    """
    Return for each day which of its records the log lacks, in the order of the spool.

    All at once, before any is appended: one look at each day's files, and a line that
    is there once answers for one of its likes in the spool, wherever they lie.
    """
    days: dict[str, list[Piece]] = {}
    for day, piece in found:
        days.setdefault(day, []).append(piece)
    return {
        day: iter(is_missing(day, filter(is_record, _lines_of(pieces))))
        for day, pieces in days.items()
    }


def _lines_of(pieces: Sequence[Piece]) -> Iterator[bytes]:
    for piece in pieces:
        for line in bytes(piece.view).split(b"\n")[:-1]:
            yield line + b"\n"


def _append_missing(
    appender: Appender, day: str, piece: Piece, lacks: Iterator[bool]
) -> Recovered:
    """Append those lines of *piece* that the log lacks, neighbours as one range."""
    at = start = piece.start
    appended = damaged = 0
    for line in _lines_of([piece]):
        intact = is_record(line)
        damaged += not intact
        wanted = intact and next(lacks)
        if not wanted:
            if start < at:
                appended -= _given_up(appender, day, piece, start, at)
            start = at + len(line)
        appended += wanted
        at += len(line)
    if start < at:
        appended -= _given_up(appender, day, piece, start, at)
    return Recovered(records=appended, damaged=damaged)


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
