"""
Look into spools as they are: whose they are, and what waits in them.

Nothing is adopted, written or mapped.  The files are read, with what their heads say at
that moment; a living process goes on meanwhile, so its figures are a snapshot.

Is the owner dead?  It holds the exclusive lock while it lives, and the kernel lists
that.  Where it does not list all locks (in a container), the shared lock is tried and
given back at once: a living owner does not notice, and a recovery that comes in that
very moment finds the spool taken and looks again at its next turn.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from tokenpak.telemetry.doctor.finding import CheckResult, Level, SpoolInfo
from tokenpak.telemetry.doctor.scene import Scene
from tokenpak.telemetry.errors import SpoolError
from tokenpak.telemetry.read.pending import pending_in
from tokenpak.telemetry.store.held_locks import HeldLocks
from tokenpak.telemetry.store.peek import SpoolView
from tokenpak.telemetry.store.spool import spool_paths

_NAMED: Final = 5
STALE: Final = 10.0
"""Seconds; a record that has waited for so long in a living process waits for more than
the next batch."""


def look_at_spools(scene: Scene) -> list[SpoolInfo]:
    """Return what is in each spool of the directory, in all places where one may be."""
    if not hasattr(os, "pread"):  # no spools there either
        return []
    held = HeldLocks()
    return [
        look(path, scene.log_dir, held)
        for place in scene.spool_places
        for path in spool_paths(place)
    ]


def look(path: str, log_dir: str, held: HeldLocks | None = None) -> SpoolInfo:
    """
    Return what is in the spool at *path*.

    Args:
        path: of the spool.
        log_dir: where its records go.
        held: tells who lives; for several spools, one.

    """
    try:
        with SpoolView(path, log_dir) as view:
            return _look_inside(view, held or HeldLocks())
    except SpoolError as error:
        return SpoolInfo(path, "damaged", reason=error.reason)
    except OSError as error:
        return SpoolInfo(path, "unreadable", reason=error.strerror or str(error))


def _look_inside(view: SpoolView, held: HeldLocks) -> SpoolInfo:
    records = damaged = 0
    oldest = ""
    for item in pending_in(view):
        if isinstance(item, tuple):
            records += 1
            # A damaged line may have lost its field, and still decode.
            oldest = oldest or str(item[0].get("timestamp", ""))
        else:
            damaged += 1
    return SpoolInfo(
        view.path,
        "living" if _lives(view, held) else "orphan",
        view.stream,
        view.owner,
        view.started,
        records,
        oldest,
        damaged,
        {drops.reason: drops.total for drops in view.drops},
    )


def _lives(view: SpoolView, held: HeldLocks) -> bool:
    lives = held.has(view.identity)
    return view.is_locked() if lives is None else lives


def check_spools(spools: list[SpoolInfo], scene: Scene) -> Iterator[CheckResult]:
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
            yield CheckResult(
                "spool",
                level,
                f"{os.path.basename(spool.path)} {spool.reason}"
                if state == "damaged"
                else f"{spool.path}: {spool.reason}",
                meaning,
                advice,
            )
    if not spools:
        yield CheckResult("spools", Level.OK, "none is left behind")
    lost: dict[str, int] = {}
    for spool in spools:
        for reason, count in (spool.dropped or {}).items():
            lost[reason] = lost.get(reason, 0) + count
    if lost:
        yield CheckResult(
            "drops",
            Level.WARNING,
            ", ".join(f"{count:,} {reason}" for reason, count in lost.items()),
            "So many records were given up, by processes whose spools are here.",
            "See docs/how-to/survive-outages-and-bounds.md for the reasons.",
        )


def _tell_living(living: list[SpoolInfo], now: float) -> Iterator[CheckResult]:
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
        yield CheckResult(
            "spools",
            Level.WARNING,
            f"{text}, the first since {oldest}",
            "The log is not being written.  They are held in the spool until it is.",
            "See what is said of space and permissions here; see who holds the lock: "
            "fuser -v on the day's file; see the warnings of the application's logger "
            "tokenpak.telemetry.",
        )
    else:
        yield CheckResult("spools", Level.OK, text)


def _age(stamp: str, now: float) -> float:
    try:
        return now - datetime.fromisoformat(stamp).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _tell_orphans(
    orphans: list[SpoolInfo], log_dir: str, *, somebody: bool
) -> Iterator[CheckResult]:
    if not orphans:
        return
    waiting = sum(spool.records for spool in orphans)
    damaged = sum(spool.damaged for spool in orphans)
    text = f"{len(orphans)} of dead processes; records that wait: {waiting:,}"
    if damaged:
        text += f"; damaged lines: {damaged:,}"
    nobody = bool(waiting) and not somebody
    yield CheckResult(
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
