"""
Append what dead processes had accepted, exactly once (Q1).

Whoever gets the lock of a spool is its owner: the process that made it is dead.  The
new owner settles the newest note, appends what was accepted and not consumed, with
notes of its own, and deletes the spool.  It may itself be killed at any point: the
next one goes on from the notes.

Every line is looked at: after a power failure, pages of a spool may be missing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from tokenpak.telemetry.capture.encode import Encoder
from tokenpak.telemetry.errors import SpoolError
from tokenpak.telemetry.queue.jitter import jittered
from tokenpak.telemetry.queue.notice import notice_line
from tokenpak.telemetry.settings import resolve_settings
from tokenpak.telemetry.store.append import Appender
from tokenpak.telemetry.store.dayfiles import Contended, DayFiles
from tokenpak.telemetry.store.days import day_of, split_days
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.notes import Notes
from tokenpak.telemetry.store.orphan import pieces_of, unconsumed
from tokenpak.telemetry.store.pieces import Piece
from tokenpak.telemetry.store.places import spool_directories, used_by_group
from tokenpak.telemetry.store.spool import (
    Segment,
    SpoolFile,
    remove_unborn,
    spool_paths,
)

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

    def plus(self, other: Recovered) -> Recovered:
        """Return the sum of both."""
        return Recovered(
            self.spools + other.spools,
            self.records + other.records,
            self.damaged + other.damaged,
            self.left + other.left,
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
    total = Recovered()
    try:
        for path in orphan_candidates(settings.log_dir, settings.spool_dir):
            total = total.plus(_patiently(files, day_files, encoder, path))
    finally:
        day_files.close()
    return total


def _patiently(
    files: OsFiles, day_files: DayFiles, encoder: Encoder, path: str
) -> Recovered:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return recover_one(files, day_files, encoder, path)
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
) -> Recovered:
    """
    Recover the spool at *path*, if its owner is dead.

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
    try:
        appender = Appender(day_files, spool.notes, sync=sync)
        found = empty_orphan(spool.notes, spool.live_segments(), appender)
        for drops in spool.notes.drops():
            if drops.total > drops.told:
                line = notice_line(
                    encoder, spool.notes.stream, drops, spool.notes.owner
                )
                append_notice(day_files, spool.notes.stream, line)
                spool.notes.set_told(drops.reason, drops.total)
        done = True
    finally:
        if done:
            spool.remove()
        else:
            spool.release()
    return found.plus(Recovered(spools=1))


def append_notice(day_files: DayFiles, stream: str, line: bytes) -> None:
    """
    Append a line that tells of drops, past any queue.

    Not noted, so a death before it is marked as told tells it twice: it is no accepted
    record, and to tell it never would be worse.

    Raises:
        Contended, OSError: it is not in the log.

    """
    with day_files.locked(stream, day_of(line)) as log:
        log.close_torn_tail()
        log.write([line])


def empty_orphan(
    notes: Notes, segments: Sequence[Segment], appender: Appender
) -> Recovered:
    """Append all of *segments* that the notes don't say is consumed."""
    before = notes.current()
    records = damaged = 0
    if before is not None and not before.done:
        settled = appender.settle(lambda note: pieces_of(segments, note))
        records = sum(bytes(piece.view).count(b"\n") for piece in settled)
    for segment, start, end in unconsumed(segments, notes.current()):
        for run in split_days(segment, start, end):
            if run.day:
                piece = Piece(segment.sequence, memoryview(segment), run.start, run.end)
                appender.append(run.day, [piece])
                records += run.lines
            elif run.end < end:  # at the end it is a line that was never accepted
                damaged += run.lines
    return Recovered(records=records, damaged=damaged)


__all__ = [
    "Recovered",
    "append_notice",
    "empty_orphan",
    "orphan_candidates",
    "recover",
    "recover_one",
]
