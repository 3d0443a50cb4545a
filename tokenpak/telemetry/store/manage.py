"""
Archive and prune by hand: what ``tokenpak telemetry archive`` and ``prune`` call.

The same as the writer does by itself (see archive and retention), at once and at full
speed.  What dead processes left in their spools is not looked at here: recover() first,
or it may put the archiving of their files off.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta

from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.settings import resolve_settings
from tokenpak.telemetry.store.archive import Archived, Archiver
from tokenpak.telemetry.store.entries import CAN_ARCHIVE, Entries
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.places import used_by_group
from tokenpak.telemetry.store.retention import Pruned, Pruner


def older_than(age: timedelta, now: datetime | None = None) -> date:
    """
    Return the first day that is not older than *age*.

    A day is as old as its youngest record may be: a day's file is older than 7 days
    when the day has been over for 7 days.

    Raises:
        SettingError: *age* is below zero.

    """
    if age < timedelta(0):
        raise SettingError("older_than", age, "an age of 0 or more")
    try:
        return ((now or datetime.now(UTC)) - age).date()
    except OverflowError:  # before the year 1
        return date.min


def archive_days(
    log_dir: str,
    *,
    age: timedelta | None = None,
    spool_dir: str | None = None,
    dry_run: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Archived:
    """
    Archive the day files of *log_dir*, and finish what others left half-way.

    Any number of processes may do so at the same time, while others log and read.

    Args:
        log_dir: the log directory.
        age: how long a day must be over; None: the setting ``archive_after_days``.
        spool_dir: as the setting; None: ``$TOKENPAK_SPOOL_DIR``, else where it belongs.
        dry_run: only say what would be done: the names are those of the plain files.
        on_progress: called now and then with the bytes done and the bytes in all.
        stop: asked now and then; True ends it early, with nothing half-done.

    Raises:
        OSError: *log_dir* cannot be listed, or the system is Windows.
        SettingError: *age* is below zero, or is not given and the setting is "never".

    """
    settings = resolve_settings({"log_dir": log_dir, "spool_dir": spool_dir})
    if age is None:
        if settings.archive_after_days == 0:
            raise SettingError("age", None, "an age: the setting says never to archive")
        age = timedelta(days=settings.archive_after_days)
    if not CAN_ARCHIVE:
        raise OSError(
            errno.ENOTSUP,
            "this system cannot move files that are open",
            settings.log_dir,
        )
    files = OsFiles(
        group_access=settings.group_access or used_by_group(settings.log_dir)
    )
    disk = Entries(files)
    archiver = Archiver(
        disk,
        files,
        settings.log_dir,
        before=older_than(age),
        spool_dir=settings.spool_dir,
    )
    # Only a day file that is gone meanwhile has no status.
    found = [
        (log.path, status.st_size)
        for logs in archiver.pending()
        for log in sorted(logs)
        if (status := disk.look(log.path)) is not None
    ]
    total = sum(size for _, size in found)
    if dry_run:
        return Archived(
            files=tuple(sorted(path for path, size in found if size)),
            empty=tuple(sorted(path for path, size in found if not size)),
            plain_bytes=total,
        )
    done = 0
    with closing(archiver.steps()) as steps:
        for size in steps:
            done += size
            if on_progress is not None:
                on_progress(min(done, total), total)
            if stop is not None and stop():
                break
    return archiver.result


def prune_archives(
    log_dir: str,
    *,
    age: timedelta | None = None,
    max_bytes: int | None = None,
    dry_run: bool = False,
    stop: Callable[[], bool] | None = None,
) -> Pruned:
    """
    Delete archives of *log_dir*, the oldest first.  Nothing else is ever deleted.

    The clock is believed: look at what ``dry_run`` says if it may be wrong.

    Args:
        log_dir: the log directory.
        age: delete those whose day has been over for longer; None: of no age.
        max_bytes: delete until all files in the archive together take no more; None:
            no bound.
        dry_run: only say what would be done.
        stop: asked now and then; True ends it early.

    Raises:
        OSError: the archive cannot be listed.
        SettingError: neither bound is given, or one is below zero.

    """
    if age is None and max_bytes is None:
        raise SettingError("age", None, "an age, a size, or both")
    if max_bytes is not None and max_bytes < 0:
        raise SettingError("max_bytes", max_bytes, "a size of 0 bytes or more")
    settings = resolve_settings({"log_dir": log_dir})
    pruner = Pruner(
        Entries(OsFiles()),
        settings.log_dir,
        before=None if age is None else older_than(age),
        max_bytes=max_bytes,
    )
    with closing(pruner.steps(dry_run=dry_run)) as steps:
        for _ in steps:
            if stop is not None and stop():
                break
    return pruner.result


__all__ = ["archive_days", "older_than", "prune_archives"]
