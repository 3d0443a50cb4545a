"""
What has been accepted and is not in the log yet, read from the spools.

R1  No lock is taken and nothing is written, so this works where recovery does not: on a
    file system that is read-only or full, and for whoever may only read.

A record moves from its spool to the log while both are being read, and must be seen
once.  Therefore, in this order,

1. the sizes of the log files are taken,
2. each spool is looked at: its notes say what of it is not in the log, and the lines
   that are not are remembered, as hashes,
3. the log is read: what has arrived in it since step 1 stands behind the sizes of step
   1, and if it is one of the remembered lines, that is noted,
4. the lines of step 2 are read again, and those that were not met in step 3 are shown.

After a power failure a spool may be older than the log.  If there is one of another
start of the machine, all of the log is looked through in step 3.

So a dead process's record comes exactly once, whoever recovers it meanwhile.  A living
process's record comes once, or, if it was appended behind what was read of the log, not
at all, like any record that is logged while somebody reads.

R2  Memory does not grow with the log, but by some 100 bytes with each record that is
    pending; what is pending is bounded (Q4).  Descriptors are bounded, too.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Final, Self

from tokenpak.telemetry.errors import SpoolError
from tokenpak.telemetry.read.filter import day_of_record
from tokenpak.telemetry.read.lines import split_lines
from tokenpak.telemetry.read.logs import pass_over
from tokenpak.telemetry.read.records import MalformedLine, UnreadableFile
from tokenpak.telemetry.read.scan import end_of, found_in
from tokenpak.telemetry.settings import resolve_settings
from tokenpak.telemetry.store.names import list_log_files
from tokenpak.telemetry.store.peek import SpoolView
from tokenpak.telemetry.store.places import readable_spool_directories
from tokenpak.telemetry.store.spool import NEW_PREFIX, SUFFIX

if TYPE_CHECKING:
    import tempfile
    from collections.abc import Callable, Iterator
    from datetime import date
    from types import TracebackType

    from tokenpak.telemetry.read.lines import Block
    from tokenpak.telemetry.read.records import Damage, Found, Record
    from tokenpak.telemetry.read.source import OpenFile
    from tokenpak.telemetry.store.names import LogFile

    _Identity = tuple[int, int, str, date, bool]

_OPEN: Final = 64
"""How many spools are held open; after a thousand deaths on a full disk, no descriptor
would be left for the log.  What is in further ones is copied."""
_COPIED_BYTES: Final = 1024 * 1024
"""Copied into memory; what is more, into a temporary file without a name."""
_NEVER: Final = 2**63
"""No offset is behind it: an archive does not grow."""


def open_spools(
    log_dir: str, spool_dir: str | None, on_problem: Callable[[UnreadableFile], None]
) -> Iterator[SpoolView]:
    """
    Yield a view of each spool of *log_dir*; the caller closes it.

    Args:
        log_dir: the log directory.
        spool_dir: as the setting; None: ``$TOKENPAK_SPOOL_DIR``, else where it belongs.
        on_problem: is told of what cannot be read.

    """
    settings = resolve_settings({"log_dir": log_dir, "spool_dir": spool_dir})
    places = readable_spool_directories(settings.log_dir, settings.spool_dir)
    for place in places:
        try:
            names = sorted(os.listdir(place))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as e:
            on_problem(UnreadableFile(place, 0, _reason(e)))
            continue
        for name in names:
            if name.endswith(SUFFIX) and not name.startswith(NEW_PREFIX):
                path = os.path.join(place, name)
                try:
                    yield SpoolView(path, settings.log_dir)
                except FileNotFoundError:
                    continue  # emptied and deleted meanwhile: it is in the log
                except OSError as e:
                    on_problem(UnreadableFile(path, 0, _reason(e)))


def pending_in(
    view: SpoolView, accepts: Callable[[Record], bool] | None = None
) -> Iterator[Found | Damage]:
    """
    Yield the records of *view* that are not in the log, and damage, in order.

    Args:
        view: of a spool.
        accepts: which records are wanted; None for all.

    """
    for lines in view.stretches():
        base = view.offset_of(lines)
        problems: list[UnreadableFile] = []
        report: MalformedLine | None = None
        for block in split_lines(_quietly(view, view.chunks(lines), problems)):
            if block.end != "newline":  # behind the last one, nothing was accepted
                continue
            placed = block._replace(offset=base + block.offset)
            for item in found_in(placed, view.path, view.stream, accepts):
                # At the end of a segment it is no damage, but a line whose process died
                # or is at work in the middle of it: it was not accepted.
                if report is not None:
                    yield report
                report = item if isinstance(item, MalformedLine) else None
                if isinstance(item, tuple):
                    yield item
        yield from problems


def _quietly(
    view: SpoolView, chunks: Iterator[bytes], problems: list[UnreadableFile]
) -> Iterator[bytes]:
    try:
        yield from chunks
    except OSError as e:
        problems.append(UnreadableFile(view.path, 0, _reason(e)))


class Pending:
    """
    The records of one stream that are pending, to be shown behind the log's own.

    A context manager: spools stay open until its end.

    Args:
        log_dir: the log directory.
        stream: ``errors`` or ``events``.
        spool_dir: as for open_spools().

    """

    def __init__(self, log_dir: str, stream: str, spool_dir: str | None) -> None:
        self._problems: list[UnreadableFile] = []
        self._views: list[SpoolView] = []
        self._expected: set[int] = set()
        self._days: set[date | None] = set()
        self._met: Counter[int] = Counter()
        self._damage: list[Damage] = []  # of spools that are copied
        self._copies: tempfile.SpooledTemporaryFile[bytes] | None = None
        self._stream = stream
        self._sizes = _sizes(log_dir)
        try:
            self._look(log_dir, stream, spool_dir)
        except BaseException:
            self.close()
            raise

    def _look(self, log_dir: str, stream: str, spool_dir: str | None) -> None:
        for view in open_spools(log_dir, spool_dir, self._problems.append):
            copied = len(self._views) >= _OPEN
            kept = False
            if view.stream == stream:
                for item in pending_in(view):
                    if isinstance(item, tuple):
                        self._expected.add(hash(item[2]))
                        self._days.add(day_of_record(item[0]))
                        kept = not copied
                        if copied:
                            self._copy(item[2])
                    elif copied:
                        self._damage.append(item)
            if not view.of_this_boot:
                # All of the log is held against it, not only what has arrived since.
                self._sizes = {}
            if kept:
                self._views.append(view)
            else:
                view.close()

    def _copy(self, line: bytes) -> None:
        if self._copies is None:
            # Imported here: there are seldom so many spools.
            import tempfile  # noqa: PLC0415

            self._copies = tempfile.SpooledTemporaryFile(_COPIED_BYTES)  # noqa: SIM115
        self._copies.write(line + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the spools.  Idempotent."""
        for view in self._views:
            view.close()
        if self._copies is not None:
            self._copies.close()

    def __del__(self) -> None:
        # Of whoever asked for records and never looked at one.
        self.close()

    def days(self) -> set[date | None]:
        """Return the days whose files are to be watched; None: any day's."""
        return self._days

    def watch(self, file: OpenFile) -> Callable[[Block], None] | None:
        """Return what is to be told of each block of *file*; None: of none."""
        if not self._expected:
            return None
        status = os.fstat(file.fd)
        known = self._sizes.get(_identity(file.file, status), 0)
        if not file.file.compressed and known > status.st_size:
            known = 0  # no log file grows shorter: another one has its inode now

        def look(block: Block) -> None:
            if end_of(block) <= known:
                return
            offset = block.offset
            for line in block.lines:
                offset += len(line) + 1
                if offset > known and hash(line) in self._expected:
                    self._met[hash(line)] += 1

        return look

    def records(
        self, accepts: Callable[[Record], bool] | None
    ) -> Iterator[Found | Damage]:
        """
        Yield what is pending and was not met in the log, and what could not be read.

        Args:
            accepts: which records are wanted; None for all.

        """
        yield from self._problems
        for item in self._all():
            if not isinstance(item, tuple):
                yield item
                continue
            key = hash(item[2])
            if self._met[key] > 0:
                self._met[key] -= 1
            elif key in self._expected and (accepts is None or accepts(item[0])):
                yield item

    def _all(self) -> Iterator[Found | Damage]:
        for view in self._views:
            yield from pending_in(view)
        yield from self._damage
        copies = self._copies
        if copies is not None:
            copies.seek(0)
            for block in split_lines(iter(lambda: copies.read(_COPIED_BYTES), b"")):
                yield from found_in(block, "", self._stream)


def _identity(file: LogFile, status: os.stat_result) -> _Identity:
    # An inode that is free is soon another file's: that of a late record, while the
    # day before it is archived.
    return status.st_dev, status.st_ino, file.stream, file.day, file.compressed


def _sizes(log_dir: str) -> dict[_Identity, int]:
    sizes = {}
    for file in list_log_files(log_dir, on_problem=pass_over):
        try:
            status = os.lstat(file.path)
        except OSError:  # archived meanwhile: all of it counts as new
            continue
        size = _NEVER if file.compressed else status.st_size
        sizes[_identity(file, status)] = size
    return sizes


def _reason(error: OSError) -> str:
    if isinstance(error, SpoolError):
        return error.reason
    return error.strerror or str(error)


__all__ = ["Pending", "open_spools", "pending_in"]
