"""
Look into spools as they are: whose they are, and what waits in them.

Nothing is adopted, written or mapped.  The files are read, with what their heads say at
that moment; a living process goes on meanwhile, so its figures are a snapshot.

Is the owner dead?  It holds the exclusive lock while it lives.  The shared lock is
tried and given back at once: a living owner does not notice, and a recovery that comes
in that very moment finds the spool taken and looks again at its next turn.
"""

from __future__ import annotations

import mmap
import os
import shlex
import stat
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from tokenpak.telemetry.doctor.finding import Finding, Level, SpoolInfo, SpoolState
from tokenpak.telemetry.doctor.scene import Scene
from tokenpak.telemetry.store.days import LINE_START, split_days
from tokenpak.telemetry.store.names import day_file_name
from tokenpak.telemetry.store.notes import MAX_SLOTS, Note, Notes
from tokenpak.telemetry.store.orphan import pieces_of, unconsumed
from tokenpak.telemetry.store.pieces import Piece, behind, judge, whole_lines
from tokenpak.telemetry.store.spool import HEAD_BYTES, Segment, spool_paths

_FLAGS: Final = (
    os.O_RDONLY
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
)
_NAMED: Final = 5
_STAMP: Final = slice(len(LINE_START), len(LINE_START) + 27)
STALE: Final = 10.0
"""Seconds; a record that has waited for so long in a living process waits for more than
the next batch."""


def look_at_spools(scene: Scene) -> list[SpoolInfo]:
    """Return what is in each spool of the directory, in all places where one may be."""
    if not hasattr(os, "pread"):  # no spools there either
        return []
    return [
        look(path, scene.log_dir)
        for place in scene.spool_places
        for path in spool_paths(place)
    ]


def look(path: str, log_dir: str) -> SpoolInfo:
    """Return what is in the spool at *path*, whose records go to *log_dir*."""
    try:
        fd = os.open(path, _FLAGS)
    except OSError as error:
        return SpoolInfo(path, "unreadable", reason=error.strerror or str(error))
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return SpoolInfo(path, "damaged", reason="is no regular file")
        if status.st_size < HEAD_BYTES:
            reason = "is shorter than the head of a spool"
            return SpoolInfo(path, "damaged", reason=reason)
        return _look_inside(fd, path, status.st_size, log_dir)
    except OSError as error:
        return SpoolInfo(path, "unreadable", reason=error.strerror or str(error))
    except (ValueError, OverflowError, IndexError):
        # A head of random words: a day that is none, an offset that no file has.
        return SpoolInfo(path, "damaged", reason="has a damaged head")
    finally:
        os.close(fd)


def _look_inside(fd: int, path: str, size: int, log_dir: str) -> SpoolInfo:
    state: SpoolState = "orphan" if _is_free(fd) else "living"
    notes = Notes(memoryview(os.pread(fd, HEAD_BYTES, 0)).cast("Q"))
    problem = notes.problem()
    if problem is not None:
        return SpoolInfo(path, "damaged", reason=problem)
    segments = _load(fd, size, notes)
    records, oldest, damaged = _count(segments, notes, log_dir)
    return SpoolInfo(
        path,
        state,
        notes.stream,
        notes.owner,
        notes.started,
        records,
        oldest,
        damaged,
        {drops.reason: drops.total for drops in notes.drops()},
    )


def _is_free(fd: int) -> bool:
    import fcntl  # noqa: PLC0415  (where there are spools, there is fcntl)

    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(fd, fcntl.LOCK_UN)
    return True


def _load(fd: int, size: int, notes: Notes) -> list[Segment]:
    """Return copies of the segments that may hold what is not consumed, in order."""
    # Read and not mapped: a mapped page that the disk does not give, or that somebody
    # cuts off, would end this process (SIGBUS).
    note = notes.current()
    least = 0 if note is None else note.consumed[0]
    there = (size - HEAD_BYTES) // notes.segment_bytes
    order = sorted(
        (notes.slot(index), index)
        for index in range(min(notes.slots, there, MAX_SLOTS))
        if notes.slot(index) >= max(1, least)
    )
    segments = []
    for sequence, index in order:
        offset = HEAD_BYTES + index * notes.segment_bytes
        data = os.pread(fd, notes.segment_bytes, offset)
        # Only what is in use takes memory.
        end = data.rfind(b"\n") + 1
        segment = Segment(-1, notes.segment_bytes)
        mmap.mmap.write(segment, data[:end])
        segment.index, segment.sequence = index, sequence
        segments.append(segment)
    return segments


def _count(segments: list[Segment], notes: Notes, log_dir: str) -> tuple[int, str, int]:
    """Return how many records are not in the log, since when, and damaged lines."""
    note = notes.current()
    waiting: list[bytes] = []  # ranges of lines
    damaged = 0
    if note is not None and not note.done:
        pieces = pieces_of(segments, note)
        there = whole_lines(pieces, _in_log(note, pieces, notes.stream, log_dir))
        waiting += [bytes(piece.view) for piece in behind(pieces, there)]
    for segment, start, end in unconsumed(segments, note):
        for run in split_days(segment, start, end):
            if run.day:
                waiting.append(segment[run.start : run.end])
            elif run.end < end:  # at the end it is a line that was never accepted
                damaged += run.lines
    oldest = waiting[0][_STAMP].decode("ascii", "replace") if waiting else ""
    return sum(lines.count(b"\n") for lines in waiting), oldest, damaged


def _in_log(note: Note, pieces: list[Piece], stream: str, log_dir: str) -> int:
    """Return how many bytes of the noted range the day's file holds already."""
    path = os.path.join(log_dir, day_file_name(stream, note.day))
    try:
        fd = os.open(path, _FLAGS)
    except OSError:
        return 0
    try:
        status = os.fstat(fd)
        return judge(
            note,
            pieces,
            (status.st_dev, status.st_ino),
            lambda size, offset: os.pread(fd, size, offset),
        )
    except (OSError, OverflowError):
        return 0
    finally:
        os.close(fd)


def check_spools(spools: list[SpoolInfo], scene: Scene) -> Iterator[Finding]:
    """Tell what *spools* come to."""
    living = [spool for spool in spools if spool.state == "living"]
    orphans = [spool for spool in spools if spool.state == "orphan"]
    yield from _tell_living(living, scene.now)
    yield from _tell_orphans(orphans, scene.log_dir, somebody=bool(living))
    for state, level, meaning, advice in (
        (
            "damaged",
            Level.PROBLEM,
            "Whatever records were in it cannot be read by this program.",
            "Keep a copy if it matters, then move it away.",
        ),
        ("unreadable", Level.NOTE, "", "Run this as the user that logs."),
    ):
        for spool in [s for s in spools if s.state == state][:_NAMED]:
            yield Finding(
                "spool",
                level,
                f"{os.path.basename(spool.path)} {spool.reason}"
                if state == "damaged"
                else f"{spool.path}: {spool.reason}",
                meaning,
                advice,
            )
    if not spools:
        yield Finding("spools", Level.OK, "none is left behind")
    lost: dict[str, int] = {}
    for spool in spools:
        for reason, count in (spool.dropped or {}).items():
            lost[reason] = lost.get(reason, 0) + count
    if lost:
        yield Finding(
            "drops",
            Level.WARNING,
            ", ".join(f"{count:,} {reason}" for reason, count in lost.items()),
            "So many records were given up, by processes whose spools are here.",
            "See docs/how-to/survive-outages-and-bounds.md for the reasons.",
        )


def _tell_living(living: list[SpoolInfo], now: float) -> Iterator[Finding]:
    if not living:
        return
    waiting = sum(spool.records for spool in living)
    owners = sorted({spool.process for spool in living})
    named = ", ".join(map(str, owners[:_NAMED]))
    more = f" and {len(owners) - _NAMED:,} more" if len(owners) > _NAMED else ""
    noun = "process" if len(owners) == 1 else "processes"
    text = (
        f"{len(living)} of living {noun} {named}{more}; records that wait: {waiting:,}"
    )
    oldest = min((spool.oldest for spool in living if spool.oldest), default="")
    if oldest and _age(oldest, now) > STALE:
        yield Finding(
            "spools",
            Level.WARNING,
            f"{text}, the first since {oldest}",
            "The log is not being written.  They are held in the spool until it is.",
            "See what is said of space and permissions here; see who holds the lock: "
            "fuser -v on the day's file; see the warnings of the application's logger "
            "tokenpak.telemetry.",
        )
    else:
        yield Finding("spools", Level.OK, text)


def _age(stamp: str, now: float) -> float:
    try:
        return now - datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        return 0.0


def _tell_orphans(
    orphans: list[SpoolInfo], log_dir: str, *, somebody: bool
) -> Iterator[Finding]:
    if not orphans:
        return
    waiting = sum(spool.records for spool in orphans)
    damaged = sum(spool.damaged for spool in orphans)
    text = f"{len(orphans)} of dead processes; records that wait: {waiting:,}"
    if damaged:
        text += f"; damaged lines: {damaged:,}"
    nobody = bool(waiting) and not somebody
    yield Finding(
        "spools",
        Level.WARNING if nobody or damaged else Level.NOTE,
        text,
        "Nobody logs here now; the next process that does appends them."
        if nobody
        else "A process that logs here appends them at its next look.",
        "To have them in the log at once: tokenpak telemetry export "
        f"--log-dir {shlex.quote(log_dir)} > /dev/null"
        if nobody
        else "",
    )


__all__ = ["check_spools", "look", "look_at_spools"]
