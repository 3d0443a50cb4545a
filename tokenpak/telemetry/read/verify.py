"""
Read all of a log, and say what is not as it should be.

R1  No lock is taken and nothing is written; lines are judged by the reader's own scan,
    so what an export skips is found here, and nothing else.
R2  Findings come one by one; none is kept.
S3  A record in the file of another day is found, too: a query for its day misses it.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

from tokenpak.telemetry.read.filter import day_of_record
from tokenpak.telemetry.read.finding import DAMAGE, Finding, as_finding
from tokenpak.telemetry.read.logs import pass_over
from tokenpak.telemetry.read.pending import open_spools, pending_in
from tokenpak.telemetry.read.scan import blocks_of, finished, found_in
from tokenpak.telemetry.read.source import LogDirectory
from tokenpak.telemetry.read.strays import find_strays
from tokenpak.telemetry.settings import resolve_settings
from tokenpak.telemetry.store.held_locks import HeldLocks
from tokenpak.telemetry.store.names import STREAMS, list_log_files
from tokenpak.telemetry.store.places import readable_spool_directories

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tokenpak.telemetry.read.finding import Kind
    from tokenpak.telemetry.read.records import Found, UnreadableFile
    from tokenpak.telemetry.read.source import OpenFile


class Verification:
    """
    The findings about one log directory, one by one.

    Iterate over it once::

        check = Verification("/var/log/app")
        for finding in check:
            print(finding.file, finding.offset, finding.reason)
        print(check.records, "records,", "damaged" if check.damaged else "intact")

    Args:
        log_dir: the log directory.
        spool_dir: as the setting; None: ``$TOKENPAK_SPOOL_DIR``, else where it belongs.
        on_progress: is told how many bytes of the files have been read since it was
            last told; their sum is about ``size``.

    Attributes:
        size: bytes of all log files on the disk.
        files: how many files were read so far.
        records: how many records are intact in them.
        pending: how many records wait in spools.
        counts: how many findings of each kind there were.

    Raises:
        OSError: *log_dir* cannot be listed.
        SettingError: *spool_dir* cannot be used.

    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str],
        *,
        spool_dir: str | None = None,
        on_progress: Callable[[int], object] | None = None,
    ) -> None:
        self._settings = resolve_settings(
            {"log_dir": os.fspath(log_dir), "spool_dir": spool_dir}
        )
        self.on_progress = on_progress
        files = list_log_files(self._log_dir, on_problem=pass_over)
        self.size = sum(_size(file.path) for file in files)
        self.files = 0
        self.records = 0
        self.pending = 0
        self.counts: Counter[Kind] = Counter()

    @property
    def _log_dir(self) -> str:
        return self._settings.log_dir

    @property
    def damaged(self) -> bool:
        """Whether damage was found so far."""
        return any(self.counts[kind] for kind in DAMAGE)

    def __iter__(self) -> Iterator[Finding]:
        for finding in self._findings():
            self.counts[finding.kind] += 1
            yield finding

    def _findings(self) -> Iterator[Finding]:
        for stream in STREAMS:
            directory = LogDirectory(
                self._log_dir, stream, lambda _day: True, partial=True
            )
            if stream == STREAMS[0]:  # of all streams it is the same archive
                yield from map(as_finding, directory.unreadable)
            for day in directory.days():
                with directory.open_day(day) as opened:
                    yield from map(as_finding, opened.unreadable)
                    for file in opened.files:
                        yield from self._in_file(file)
        yield from self._in_spools()
        places = readable_spool_directories(self._log_dir, self._settings.spool_dir)
        yield from find_strays(
            self._log_dir, places, group_access=self._settings.group_access
        )

    def _in_file(self, file: OpenFile) -> Iterator[Finding]:
        self.files += 1
        day, stream = file.file.day.isoformat(), file.file.stream
        problems: list[UnreadableFile] = []
        done = 0
        for block in blocks_of(file, problems.append):
            for item in found_in(finished(file, block), file.file.path, stream):
                if isinstance(item, tuple):
                    self.records += 1
                    stamp = item[0].get("timestamp")
                    # Of nearly all records this is enough to know.
                    if type(stamp) is str and stamp[:10] == day and stamp[-1:] == "Z":
                        continue
                    wrong = misplaced(item, file)
                    if wrong is not None:
                        yield wrong
                else:
                    yield as_finding(item)
            if self.on_progress is not None:
                # Of a compressed file, too: what was read, not what came out of it.
                position = os.lseek(file.fd, 0, os.SEEK_CUR)
                self.on_progress(position - done)
                done = position
        yield from map(as_finding, problems)

    def _in_spools(self) -> Iterator[Finding]:
        problems: list[UnreadableFile] = []
        held = HeldLocks()
        places = self._log_dir, self._settings.spool_dir
        for view in open_spools(*places, problems.append):
            with view:
                records = 0
                for item in pending_in(view):
                    if isinstance(item, tuple):
                        records += 1
                    else:
                        yield as_finding(item)
            self.pending += records
            if records:  # a process that ends in peace leaves an empty one
                lives = held.has(view.identity)
                reason = _waiting(records, view.stream, view.owner, lives=lives)
                yield Finding("pending", view.path, None, None, reason)
        yield from map(as_finding, problems)


def misplaced(found: Found, file: OpenFile) -> Finding | None:
    """Return that *found* is in the file of another day, or None: it is not."""
    day = day_of_record(found[0])
    if day is None or day == file.file.day:
        return None
    return Finding(
        "misplaced",
        file.file.path,
        found[3],
        len(found[2]),
        f"a record of {day}, in the file of {file.file.day}",
    )


def _waiting(records: int, stream: str, owner: int, *, lives: bool | None) -> str:
    some = f"{records:,} record{'s'[: records != 1]} of {stream}"
    if lives:
        return f"{some} of process {owner}, which is alive and will append them"
    if lives is None:
        return f"{some} of process {owner}; whether it lives cannot be told from here"
    return f"{some} of process {owner}, which is dead: the next one appends them"


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0


__all__ = ["Verification", "misplaced"]
