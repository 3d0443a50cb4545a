"""
Exact counts for all processes of the machine (M1): the log is the counter.

Each accepted record is in the log exactly once (Q1, S4).  So whoever asks counts the
lines that were appended since somebody last did, and adds them to what is saved.  It
costs the logging call nothing, survives every death, and fork counts nothing twice.

A count is a transaction: under the lock of the saved file, what others saved meanwhile
is loaded, the log is followed to its end, and saved if there is anything that the next
one could not find out in the same way (a new label set, a file that was archived), or
now and then.  So all who ask stand in one row, and no counter goes down from one to the
next, whichever worker is asked.

Who does not get the lock (its holder is stopped; the directory may only be read) counts
all the same, from what is saved, and keeps it for itself.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.metrics.follow import Follower
from tokenpak.telemetry.metrics.pipeline import MachinePipeline, PipelineTotals
from tokenpak.telemetry.metrics.saved import DamagedError, SavedCounts, Stamp
from tokenpak.telemetry.metrics.tally import MAX_LABEL_SETS, Tally, count
from tokenpak.telemetry.settings import resolve_settings
from tokenpak.telemetry.store.meters import Reading

ERROR_LABELS: Final = ("error_type", "provider", "model", "kind")
MOST_AT_FIRST: Final = 256 * 1024 * 1024
"""Bytes; of a directory that holds more, only what comes from now on is counted."""
PATIENCE: Final = 1.0
"""Seconds that a count waits for another process's."""
_SAVE_EVERY: Final = 5.0
_SAVE_BYTES: Final = 4 * 1024 * 1024

_T = TypeVar("_T")


class View:
    """The counts at one moment."""

    __slots__ = (
        "_machine",
        "_pipeline",
        "begun",
        "edition",
        "last_append",
        "problems",
        "tally",
    )

    def __init__(
        self,
        tally: Tally,
        begun: float,
        last_append: float,
        edition: int,
        problems: tuple[str, ...],
        machine: MachinePipeline,
    ) -> None:
        self.tally = tally
        self.begun = begun
        """When the counters began, in seconds since the epoch."""
        self.last_append = last_append
        """When the log changed last, likewise; 0: not known."""
        self.edition = edition
        """Changes with the counts."""
        self.problems = problems
        """What went wrong at this count, in words with underscores."""
        self._machine = machine
        self._pipeline: PipelineTotals | None = None

    def pipeline(self, readings: Sequence[Reading]) -> PipelineTotals:
        """Return the pipeline's counters; *readings* were made before this view."""
        if self._pipeline is None:
            self._pipeline = self._machine.add_up(readings)
        return self._pipeline


class MachineCounts:
    """
    The counts of one directory.  Any thread.  Use machine_counts().

    Args:
        log_dir: absolute.
        spool_dir: where its spools are, as the setting.
        max_label_sets: of each family, before ``other``.

    """

    def __init__(
        self,
        log_dir: str,
        spool_dir: str | None = None,
        max_label_sets: int = MAX_LABEL_SETS,
    ) -> None:
        self.log_dir = log_dir
        self.spool_dir = spool_dir
        self.max_label_sets = max_label_sets
        self._saved = SavedCounts(log_dir)
        self._pipeline = MachinePipeline(log_dir)
        self._edition = 0
        self._forget()

    def _forget(self) -> None:
        """Know nothing but what is saved."""
        self._lock = threading.Lock()
        self._tally: Tally | None = None
        self._follower = Follower(self.log_dir)
        self._begun = 0.0
        self._stamp: Stamp = None
        self._unread = False
        """Whether there are saved counts that could not be read, this time."""
        self._unsaved = 0
        self._saved_at = 0.0

    def reset_in_child(self) -> None:
        """After fork: another thread of the parent may have been in the middle."""
        self._saved.close_in_child()
        self._pipeline.reset_in_child()
        self._forget()

    def read(self, use: Callable[[View], _T]) -> _T:
        """
        Count what is new, and return what *use* makes of the counts.

        *use* has them to itself, and must not keep them.
        """
        with self._lock:
            try:
                return use(self._count())
            except BaseException:
                # Half a line counted is worse than to count anew from what is saved.
                self._tally = None
                raise

    def _count(self) -> View:
        problems: Counter[str] = Counter()
        with self._saved.locked(PATIENCE) as held:
            tally = self._start(problems)
            tally.most = self.max_label_sets
            before = self._follower.read_bytes
            if self._follower.follow(tally, lambda word: problems.update([word])):
                self._edition += 1
            self._unsaved += self._follower.read_bytes - before
            if not held:
                # Where there is no log yet, there is nothing to save.
                problems["not_saved"] += os.path.isdir(self.log_dir)
            elif self._unread:
                # They may hold what the log no longer does, and be readable again.
                problems["not_saved"] += 1
            elif self._is_due(tally):
                try:
                    self._save(tally)
                except OSError:
                    problems["not_saved"] += 1
        return View(
            tally,
            self._begun,
            self._follower.last_append,
            self._edition,
            tuple(sorted(+problems)),
            self._pipeline,
        )

    def _start(self, problems: Counter[str]) -> Tally:
        """Return the counts that are known so far: the saved ones, if they are new."""
        stamp = self._saved.stamp()
        if self._tally is not None and stamp == self._stamp and not self._unread:
            return self._tally
        self._edition += 1
        self._stamp = stamp
        self._unread = False
        damaged = False
        try:
            saved = self._saved.load()
            if saved is not None:
                tally = Tally.restored(saved["counts"], self.max_label_sets)
                begun = float(saved["begun"])
                if self._tally is not None and begun > self._begun:
                    # Begun anew by somebody who knew nothing else.  The log is the
                    # counter: what was appended since is counted from here, too.
                    for labels, number in tally.trouble.items():
                        known = self._tally.trouble.get(labels, 0)
                        self._tally.trouble[labels] = max(known, number)
                    self._follower.changed = True
                    return self._tally
                self._follower.restore(saved["files"])
                self._tally, self._begun = tally, begun
                self._unsaved, self._saved_at = 0, time.monotonic()
                self._follower.changed = False
                return tally
        except OSError:
            problems["unreadable_counts"] += 1
            self._unread = True
        except (DamagedError, ValueError, TypeError, KeyError, AttributeError):
            damaged = True
        if self._tally is not None:
            # Somebody has deleted or damaged the file; what is known is saved again.
            if damaged:
                count(self._tally.trouble, ("damaged_counts_restored",))
            self._follower.changed = True
            return self._tally
        return self._begin(damaged=damaged)

    def _begin(self, *, damaged: bool) -> Tally:
        self._tally = tally = Tally(self.max_label_sets)
        self._follower = Follower(self.log_dir)
        self._follower.changed = True
        self._begun = time.time()
        if damaged:
            count(tally.trouble, ("damaged_counts",))
        try:
            much = self._follower.bytes_to_read() > MOST_AT_FIRST
        except OSError:
            much = False
        if much:
            count(tally.trouble, ("begun_from_now_on",))
            self._follower.follow(tally, lambda _word: None, skip=True)
        return tally

    def _is_due(self, tally: Tally) -> bool:
        if tally.grown or self._follower.changed:
            return True
        late = time.monotonic() - self._saved_at > _SAVE_EVERY
        return self._unsaved > _SAVE_BYTES or bool(self._unsaved and late)

    def _save(self, tally: Tally) -> None:
        self._saved.save(
            {
                "begun": self._begun,
                "counts": tally.saved(),
                "files": self._follower.saved(),
            }
        )
        self._stamp = self._saved.stamp()
        tally.grown = self._follower.changed = False
        self._unsaved, self._saved_at = 0, time.monotonic()


_all: dict[str, MachineCounts] = {}
_forks: list[bool] = []


def machine_counts(
    log_dir: str | os.PathLike[str] | None = None, max_label_sets: int | None = None
) -> MachineCounts:
    """
    Return the counts of *log_dir*: one object for each directory of a process.

    Args:
        log_dir: default ``$TOKENPAK_LOG_DIR``, else ``~/.tokenpak/logs``.
        max_label_sets: default 1,000; it is the directory's from then on.

    """
    settings = resolve_settings({"log_dir": log_dir})
    if max_label_sets is not None and max_label_sets < 1:
        raise SettingError("max_label_sets", max_label_sets, "a number from 1 on")
    if not _forks and hasattr(os, "register_at_fork"):
        _forks.append(True)
        os.register_at_fork(after_in_child=_reset_all_in_child)
    key = os.path.realpath(settings.log_dir)
    found = _all.get(key)
    if found is None:
        # One step, so that two threads get the same one.
        made = MachineCounts(settings.log_dir, settings.spool_dir)
        found = _all.setdefault(key, made)
    if max_label_sets is not None:
        found.max_label_sets = max_label_sets
    return found


def _reset_all_in_child() -> None:
    for counts in list(_all.values()):
        counts.reset_in_child()


def errors_by(
    log_dir: str, scope: str, by: Sequence[str] = ("error_type",)
) -> dict[Any, int]:
    """
    Return how many errors there were in all processes that share *log_dir*.

    Args:
        log_dir: the directory.
        scope: ``"machine"``.
        by: labels, of ERROR_LABELS.

    Returns:
        Numbers by the label's value; by a tuple of values where there are several.

    Raises:
        SettingError: there is no such scope or label.

    """
    names = (by,) if isinstance(by, str) else tuple(by)
    if scope != "machine":
        expected = (
            '"machine" where by is anything but ("error_type",): a process counts by '
            "type only"
            if scope == "process"
            else '"process" or "machine"'
        )
        raise SettingError("scope", scope, expected)
    if not names or any(name not in ERROR_LABELS for name in names):
        raise SettingError("by", by, f"some of {', '.join(ERROR_LABELS)}")
    places = [ERROR_LABELS.index(name) for name in names]

    def summed(view: View) -> dict[Any, int]:
        sums: dict[Any, int] = {}
        for labels, counted in view.tally.errors.items():
            key = tuple(labels[place] for place in places)
            kept = key if len(key) > 1 else key[0]
            sums[kept] = sums.get(kept, 0) + counted.value
        return sums

    return machine_counts(log_dir).read(summed)


__all__ = [
    "ERROR_LABELS",
    "MOST_AT_FIRST",
    "MachineCounts",
    "View",
    "errors_by",
    "machine_counts",
]
