"""
What the writer does for the directory, a little at a time: archive, then prune.

The first look comes within 10 s of a process's first record, then one soon after each
midnight UTC, which is when there is something to do; sooner if something was put off.
All these times are drawn at random, so that a hundred workers don't look at once.

Neither calls nor appends are held up: a turn is half a millisecond of work or a single
step more (64 KiB compressed), then four times as long nothing, so it takes a fifth of a
core at most.  Nothing waits for a lock.  Forcing to the disk may take long on a busy
one, so a thread is made for each time, and records are appended meanwhile.

Errors are warned of and tried again later; none gets out (X2).  A process that ends in
the middle deletes its temporary file; one that is killed leaves it to the next.
A forked child forgets what its parent was at, and looks by itself when it logs.
"""

from __future__ import annotations

import _thread
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from queue import Empty, SimpleQueue
from typing import Final

from tokenpak.telemetry.queue.jitter import jittered
from tokenpak.telemetry.queue.trouble import Trouble
from tokenpak.telemetry.settings import Settings
from tokenpak.telemetry.store.archive import WAITING, Archived, Archiver
from tokenpak.telemetry.store.dayfiles import DayFiles
from tokenpak.telemetry.store.entries import CAN_ARCHIVE, Entries
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.manage import older_than
from tokenpak.telemetry.store.meters import (
    ARCHIVE_RUNS,
    DONE,
    FAILED,
    NOTHING,
    PUT_OFF,
)
from tokenpak.telemetry.store.names import ARCHIVE_DIR, parse_log_name
from tokenpak.telemetry.store.notes import Notes
from tokenpak.telemetry.store.retention import Pruner, today_is_credible

FIRST: Final = (2.0, 8.0)
"""Seconds from the first record to the first look."""
AFTER_MIDNIGHT: Final = (10.0, 600.0)
"""Seconds from midnight UTC to the daily look."""
AGAIN: Final = (300.0, 900.0)
"""Seconds until something that was put off, or failed, is tried again."""
TURN: Final = 0.0005
"""Seconds of work in one turn, up to the end of the step in which they are over."""
REST: Final = 4.0
"""How many times as long as the turn was nothing is done then."""
DISK_LOOK: Final = 0.005
"""Seconds between looks whether the disk is done."""
STILLBORN: Final = 1.0
"""Seconds after which a thread that has not begun is not waited for any more."""
PATIENCE: Final = 3
"""Looks that may put the same things off before a person is told."""
EVEN: Final = (23 * 3600.0, 3600.0)
"""Seconds that a clock must have run, and may have leapt in them, to be believed."""
QUIT_TIMEOUT: Final = 1.0
"""Seconds that the end of a process waits for the end of a step, at most."""
_NEVER: Final = float("inf")


def _nowhere(_name: str, _label: str) -> None:
    """Count nothing."""


class Upkeep:
    """
    For one writer.  Its thread only, but for quit().

    Args:
        settings: the logger's.
        files: its operations.
        day_files: its log files.
        trouble: its warnings.
        own: the notes of its spools.
        entries: operations on names.
        count: counts something of meters.COUNTERS.

    """

    def __init__(
        self,
        settings: Settings,
        files: OsFiles,
        day_files: DayFiles,
        trouble: Trouble,
        own: Callable[[], Iterable[Notes]],
        entries: Entries | None = None,
        count: Callable[[str, str], None] = _nowhere,
    ) -> None:
        self._settings = settings
        self._files = files
        self._day_files = day_files
        self._trouble = trouble
        self._own = own
        self._disk = entries or Entries(files)
        self._count = count
        self.reset()

    def reset(self) -> None:
        """Begin anew: in a forked child."""
        # The steps that are thrown away here notice that they are in a child.
        self._steps: Generator[int] | None = None
        self._due: float | None = None  # set with the first record
        self._rested = 0.0
        self._put_off = 0
        self._clocks: tuple[float, float] | None = None
        # Set by quit(), answered by the writer's thread.
        self._quitting: SimpleQueue[bool] | None = None

    def turn(self) -> float:
        """Do a little of what is due; return in how many seconds there is more."""
        now = time.monotonic()
        if self._quitting is not None:
            self.close()
            self._quitting.put(True)
            return _NEVER
        if self._due is None:
            self._due = now + jittered(*FIRST)
        if self._steps is None:
            if now < self._due:
                return self._due - now
            self._steps = self._look()
        elif now < self._rested:
            return self._rested - now
        try:
            # At least one, however busy the machine is.
            step = next(self._steps)
            while step != WAITING and time.monotonic() - now < TURN:
                step = next(self._steps)
        except StopIteration:
            self._steps = None
            return self._due - time.monotonic()
        except Exception as error:
            self._steps = None
            self._due = time.monotonic() + jittered(*AGAIN)
            self._count(ARCHIVE_RUNS, FAILED)
            reason = getattr(error, "strerror", None) or str(error)
            self._warn(getattr(error, "filename", "") or self._settings.log_dir, reason)
            return self._due - time.monotonic()
        end = time.monotonic()
        rest = REST * (end - now)
        self._rested = end + (max(rest, DISK_LOOK) if step == WAITING else rest)
        return self._rested - end

    def close(self) -> None:
        """End what is going on: nothing is left half-done.  No look comes after it."""
        self._due = _NEVER
        steps, self._steps = self._steps, None
        if steps is not None:
            try:
                steps.close()
            except Exception as error:  # a temporary file that can't be deleted
                self._warn(self._settings.log_dir, str(error))

    def quit(self, wake: Callable[[], None], timeout: float) -> None:
        """
        Have the writer's thread close(), and wait until it has.  Any thread.

        Args:
            wake: wakes the writer.
            timeout: seconds, of which at most QUIT_TIMEOUT are taken.

        """
        if self._steps is None:
            return
        reply: SimpleQueue[bool] = SimpleQueue()
        self._quitting = reply
        wake()
        try:
            reply.get(timeout=min(timeout, QUIT_TIMEOUT))
        except Empty:
            pass

    # -- one look -----------------------------------------------------------------

    def _look(self) -> Generator[int]:
        self._due = time.monotonic() + _until_midnight() + jittered(*AFTER_MIDNIGHT)
        self._day_files.let_go_of_gone()
        days = self._settings.archive_after_days
        if days and CAN_ARCHIVE:
            archiver = Archiver(
                self._disk,
                self._files,
                self._settings.log_dir,
                before=older_than(timedelta(days=days)),
                spool_dir=self._settings.spool_dir,
                own=self._own,
                aside=_aside,
            )
            yield from archiver.steps()
            self._tell_archived(archiver.result)
        yield from self._prune()

    def _tell_archived(self, result: Archived) -> None:
        self._count(ARCHIVE_RUNS, _outcome(result))
        if result.files:
            self._trouble.inform(
                f"Archived {len(result.files):,} log file(s) in "
                f"{self._settings.log_dir}: {result.plain_bytes:,} bytes became "
                f"{result.archive_bytes:,}"
            )
        for path, reason in result.failed:
            self._warn(path, reason)
        if result.failed or result.put_off:
            self._due = time.monotonic() + jittered(*AGAIN)
        self._put_off = self._put_off + 1 if result.put_off else 0
        if self._put_off >= PATIENCE:
            path, reason = result.put_off[0]
            self._trouble.warn(
                "archive",
                f"The log file {path} is not archived yet, since {reason}. If that is "
                f"a spool of another user, run as that user: tokenpak telemetry "
                f"archive",
            )

    def _warn(self, path: str, reason: str) -> None:
        self._trouble.warn(
            "archive",
            f"Failed to archive {path}: {reason}. Its records stay readable "
            f"where they are, and it is tried again. Check that "
            f"{os.path.join(self._settings.log_dir, ARCHIVE_DIR)} is a writable "
            f"directory with free space, or see: tokenpak telemetry archive",
        )

    def _prune(self) -> Generator[int]:
        today = datetime.now(UTC).date()
        days, size = self._settings.prune_after_days, self._settings.max_archive_bytes
        before = older_than(timedelta(days=days)) if days else None
        if before is not None and not (yield from self._believes(today)):
            before = None
        if before is None and not size:
            return
        pruner = Pruner(
            self._disk,
            self._settings.log_dir,
            before=before,
            max_bytes=size or None,
        )
        yield from pruner.steps()
        result = pruner.result
        if result.files:
            self._trouble.inform(
                f"Pruned {len(result.files):,} archive(s) in {self._settings.log_dir}, "
                f"{result.bytes:,} bytes, from {os.path.basename(result.files[0])} to "
                f"{os.path.basename(result.files[-1])}; {result.left:,} are left"
            )
        for path, reason in result.failed:
            self._trouble.warn(
                "prune", f"Failed to delete the archive {path}: {reason}."
            )

    def _believes(self, today: date) -> Generator[int, None, bool]:
        """Whether it can be *today*: a clock that leapt must not empty the archive."""
        found: set[date] = set()
        for place in (
            self._settings.log_dir,
            os.path.join(self._settings.log_dir, ARCHIVE_DIR),
        ):
            for names in self._disk.names(place):
                found.update(log.day for name in names if (log := parse_log_name(name)))
                yield 0
        if today_is_credible(found, today):
            return True
        # Errors may be that rare.  Then the clock is believed when it has run evenly
        # for a day under our eyes.
        clocks = (time.monotonic(), time.time())
        if self._clocks is None:
            self._clocks = clocks
        ran, shown = (
            now - then for now, then in zip(clocks, self._clocks, strict=True)
        )
        if abs(shown - ran) > EVEN[1]:
            self._clocks = clocks
            return False
        return ran >= EVEN[0]


def _outcome(result: Archived) -> str:
    """Return what a look came to: the worst of it."""
    if result.failed:
        return FAILED
    if result.put_off:
        return PUT_OFF
    return DONE if result.files else NOTHING


def _aside(work: Callable[[], None]) -> Iterator[int]:
    """Do *work* in a thread of its own; yield until it is done."""
    reply: SimpleQueue[BaseException | None] = SimpleQueue()
    birth = [time.monotonic()]  # who pops it does the work

    def run() -> None:
        try:
            birth.pop()
        except IndexError:
            return  # declared dead
        try:
            work()
        except BaseException as error:
            reply.put(error)
        else:
            reply.put(None)

    try:
        _thread.start_new_thread(run, ())
    except (RuntimeError, MemoryError):  # there is none to be had
        work()
        return
    while True:
        yield WAITING
        try:
            error = reply.get_nowait()
        except Empty:
            # Where memory is short, a thread may end before its first line, and the
            # lock of a day's file must not be held for ever.
            if not _declared_dead(birth):
                continue
            work()
            return
        if error is not None:
            raise error
        return


def _declared_dead(birth: list[float]) -> bool:
    try:
        if time.monotonic() - birth[0] <= STILLBORN:
            return False
        birth.pop()
    except IndexError:
        return False  # it has begun
    return True


def _until_midnight() -> float:
    return 86_400 - time.time() % 86_400


__all__ = ["AFTER_MIDNIGHT", "AGAIN", "FIRST", "QUIT_TIMEOUT", "REST", "TURN", "Upkeep"]
