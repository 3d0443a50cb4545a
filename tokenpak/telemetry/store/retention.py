"""
Prune: delete archives that are past their age, or too many for their place.

S2  Only finished archives go: ``.gz`` files in ``archive/`` with a name of the
    logger's, regular files, no links, with no plain file of the same name beside them.
    A day that is not archived is never deleted, whatever its age.
S4  Whoever reads an archive has it open; a deleted one is read to its end.

The oldest day goes first, over all streams; of a day the first part first.

*A clock that leapt* must not empty the archive.  Age is that of the day in the name,
against today's.  So before the writer deletes anything because of its age, there must
be another sign that it is today: log files of two other days among the last fourteen.
A clock that leaps ahead leaves all of them behind, and has to go on wrongly for more
than a day until there are new ones.  Where errors are so rare that there are none, see
queue/upkeep; and ``tokenpak telemetry prune`` asks a person.
The bound in bytes asks no clock.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterable, Iterator
from datetime import date, timedelta
from typing import Final, NamedTuple

from tokenpak.telemetry.store.entries import Entries, same_file
from tokenpak.telemetry.store.names import ARCHIVE_DIR, LogFile, parse_log_name

SIGNS: Final = 2
"""Other days with log files that make today's date credible."""
SIGNS_WITHIN: Final = timedelta(days=14)


class Pruned(NamedTuple):
    """What a pruning did, or would do."""

    files: tuple[str, ...] = ()
    """Paths of the archives that were deleted, the oldest first."""
    failed: tuple[tuple[str, str], ...] = ()
    """Paths of those that could not be, with the reason."""
    bytes: int = 0
    """What they took."""
    left: int = 0
    """How many finished archives are left."""
    left_bytes: int = 0
    """What all files in the archive take that are left."""


class Candidate(NamedTuple):
    """A finished archive."""

    log: LogFile
    status: os.stat_result


class Pruner:
    """
    One pruning of one directory.  One thread.

    Args:
        disk: the operations.
        log_dir: absolute.
        before: archives of earlier days are deleted; None: age does not matter.
        max_bytes: what all files in the archive may take together, the oldest archives
            are deleted until they do; None: no bound.

    """

    def __init__(
        self,
        disk: Entries,
        log_dir: str,
        *,
        before: date | None = None,
        max_bytes: int | None = None,
    ) -> None:
        self._disk = disk
        self._archive = os.path.join(log_dir, ARCHIVE_DIR)
        self._before = before
        self._max_bytes = max_bytes
        self._archives: list[Candidate] = []
        self._total = 0
        self._gone: list[str] = []
        self._failed: list[tuple[str, str]] = []
        self._bytes = 0

    @property
    def result(self) -> Pruned:
        """What was done so far."""
        return Pruned(
            tuple(self._gone),
            tuple(self._failed),
            self._bytes,
            len(self._archives) - len(self._gone),
            self._total - self._bytes,
        )

    def steps(self, *, dry_run: bool = False) -> Generator[int]:
        """
        Delete what is to be deleted; it may be closed at any step.

        Args:
            dry_run: only say in ``result`` what would be.

        Yields:
            1 for each archive that is deleted, else 0.

        Raises:
            OSError: the archive cannot be looked at.  What goes wrong with single
                files is in ``result``.

        """
        yield from self._look()
        total = self._total
        for candidate in self._archives:
            old = self._before is not None and candidate.log.day < self._before
            much = self._max_bytes is not None and total > self._max_bytes
            if not (old or much):
                continue
            if dry_run or self._delete(candidate):
                self._gone.append(candidate.log.path)
                self._bytes += candidate.status.st_size
                total -= candidate.status.st_size
                yield 1

    def _look(self) -> Iterator[int]:
        plain: set[str] = set()
        packed: list[Candidate] = []
        status = self._disk.look(self._archive)
        if status is None or not stat.S_ISDIR(status.st_mode):
            return  # a symbolic link may lead to somebody else's files
        for names in self._disk.names(self._archive):
            for name in names:
                log = parse_log_name(os.path.join(self._archive, name))
                if log is None:
                    continue
                status = self._disk.look(log.path)
                if status is None or not stat.S_ISREG(status.st_mode):
                    continue
                self._total += status.st_size
                if log.compressed:
                    packed.append(Candidate(log, status))
                else:
                    plain.add(log.path)
            yield 0
        self._archives = sorted(
            (c for c in packed if c.log.path.removesuffix(".gz") not in plain),
            key=lambda c: (c.log.day, c.log.stream, c.log.part),
        )

    def _delete(self, candidate: Candidate) -> bool:
        path = candidate.log.path
        try:
            # Still the file that was looked at, and finished?
            if self._disk.look(path.removesuffix(".gz")) is not None or not same_file(
                candidate.status, self._disk.look(path)
            ):
                return False
            self._disk.unlink(path)
        except FileNotFoundError:
            return False  # somebody else was faster
        except OSError as error:
            self._failed.append((path, error.strerror or str(error)))
            return False
        return True


def today_is_credible(days: Iterable[date], today: date) -> bool:
    """
    Return whether log files of other days show that it can be *today*.

    Args:
        days: of the names of all log files.
        today: what the clock says, in UTC.

    """
    recent = {day for day in days if timedelta(0) < today - day <= SIGNS_WITHIN}
    return len(recent) >= SIGNS


__all__ = [
    "SIGNS",
    "SIGNS_WITHIN",
    "Candidate",
    "Pruned",
    "Pruner",
    "today_is_credible",
]
