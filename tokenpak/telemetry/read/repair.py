"""
Copy a log without its damage, and the damage into quarantine.

    DIR/errors-2026-03-24.jsonl      each file under its own name, archive/ too
    DIR/errors-2026-03-24.1.jsonl    records that were in the file of another day
    DIR/quarantine.raw               the malformed lines, byte for byte, one a line
    DIR/quarantine.index.jsonl       for each of its lines: file, offset, length, reason

The originals are read and never changed.  A file without damage is copied as it is.  Of
a damaged one, each byte is in the copy or in the quarantine, but for newlines: one
between two records that have lost theirs is added, one that ended a line of which
nothing is left goes with it.  What the reader yields of the copies is what it yields of
the originals, by the same scan, and a verification finds no damage in them.

S5  Directories are 0700 and files 0600 from the first byte.
R2  One chunk of one file is held.

Each file is written under a temporary name and renamed when it is complete.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.read.copies import Moved, OutputFile, Quarantine, make_output
from tokenpak.telemetry.read.records import MalformedLine, UnreadableFile
from tokenpak.telemetry.read.scan import blocks_of, end_of, finished, found_in
from tokenpak.telemetry.read.source import LogDirectory
from tokenpak.telemetry.read.verify import misplaced
from tokenpak.telemetry.store.names import STREAMS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenpak.telemetry.read.source import OpenFile

_COPY_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Repaired:
    """
    What became of a repair.

    Attributes:
        files: how many files were copied.
        changed: how many of the copies differ from their originals.
        records: how many records the copies hold.
        quarantined: how many malformed lines, or parts of lines, were left out.
        moved: how many records were in the file of another day.
        unreadable: the files that could not be read, or not to their ends.

    """

    files: int
    changed: int
    records: int
    quarantined: int
    moved: int
    unreadable: tuple[UnreadableFile, ...]


def repair_log(
    log_dir: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    on_progress: Callable[[int], object] | None = None,
) -> Repaired:
    """
    Write copies of all files of *log_dir* without their damage into *output*.

    Args:
        log_dir: the log directory; it is only read.
        output: a directory that is empty or not there, and not inside of *log_dir*.
        on_progress: is told how many bytes have been read since it was last told; each
            file is read twice.

    Raises:
        SettingError: *output* is not such a directory.
        OSError: *log_dir* cannot be listed, or *output* not written; files that are
            there are complete.

    """
    source, target = os.path.realpath(log_dir), os.path.realpath(output)
    if target == source or target.startswith(os.path.join(source, "")):
        raise SettingError("output", target, f"a directory outside of {source}")
    repair = _Repair(source, target, on_progress)
    directories = [LogDirectory(source, s, lambda _day: True) for s in STREAMS]
    make_output(target)
    try:
        for directory in directories:
            for day in directory.days():
                with directory.open_day(day) as opened:
                    for problem in opened.unreadable:
                        repair.leave_out(problem)
                    for file in opened.files:
                        repair.copy(file)
        repair.quarantine.keep()
        repair.moved.keep()
    finally:
        repair.quarantine.discard()
        repair.moved.discard()
    return repair.result()


class _Repair:
    """One run: where it reads and writes, and what it has done so far."""

    def __init__(
        self, source: str, target: str, on_progress: Callable[[int], object] | None
    ) -> None:
        self._source = source
        self._target = target
        self._on_progress = on_progress
        self._position = 0
        self._files = self._changed = self._records = 0
        self._unreadable: list[UnreadableFile] = []
        self.quarantine = Quarantine(target)
        self.moved = Moved(source, target)

    def result(self) -> Repaired:
        return Repaired(
            self._files,
            self._changed,
            self._records,
            self.quarantine.lines,
            self.moved.records,
            tuple(self._unreadable),
        )

    def leave_out(self, problem: UnreadableFile) -> None:
        """Tell of what cannot be copied, in the result and in the index."""
        self._unreadable.append(problem)
        name = os.path.relpath(problem.file, self._source)
        self.quarantine.tell(name, problem.offset, problem.reason)

    def copy(self, file: OpenFile) -> None:
        """Copy *file*, without its damage."""
        name = os.path.relpath(file.file.path, self._source)
        end, records = self._look(file)
        self._tell_progress(file, file.size)
        os.lseek(file.fd, 0, os.SEEK_SET)
        self._position = 0
        with OutputFile(
            os.path.join(self._target, name),
            compress=file.file.compressed and end is None,
        ) as out:
            if end is None:
                self._changed += 1
                records = self._write_intact(file, name, out)
            else:
                self._write_all(file, end, out)
            out.keep()
        self._tell_progress(file, file.size)
        self._position = 0
        self._files += 1
        self._records += records

    def _look(self, file: OpenFile) -> tuple[int | None, int]:
        """Return the end of *file* and its records; None: it cannot stay as it is."""
        problems: list[UnreadableFile] = []
        end = records = 0
        for block in blocks_of(file, problems.append):
            for item in found_in(block, file.file.path, file.file.stream):
                if isinstance(item, MalformedLine) or misplaced(item, file):
                    return None, 0
                records += 1
            end = end_of(block)
            if block.end != "newline":
                return None, 0
            self._tell_progress(file)
        return (None, 0) if problems else (end, records)

    def _write_all(self, file: OpenFile, end: int, out: OutputFile) -> None:
        left = file.size if file.file.compressed else end
        while left > 0:
            data = os.read(file.fd, min(left, _COPY_BYTES))
            if not data:  # somebody has cut it off, behind our back
                break
            out.write(data)
            left -= len(data)
            self._tell_progress(file)

    def _write_intact(self, file: OpenFile, name: str, out: OutputFile) -> int:
        """Write what is a record of the day of *file*; return the number of records."""
        problems: list[UnreadableFile] = []
        records = 0
        for part in blocks_of(file, problems.append):
            self._tell_progress(file)
            block = finished(file, part)
            raw = b"\n".join(block.lines) + b"\n" * (block.end == "newline")
            at = 0
            for item in found_in(block, file.file.path, file.file.stream):
                if isinstance(item, MalformedLine):
                    start = item.offset - block.offset
                    stop = start + item.length
                    self.quarantine.add(name, item, raw[start:stop])
                else:
                    records += 1
                    wrong = misplaced(item, file)
                    if wrong is None:
                        continue
                    start = item[3] - block.offset
                    stop = start + len(item[2])
                    self.moved.add(file.file.stream, item)
                out.write(raw[at:start])
                out.end_line()
                at = stop + (raw[stop : stop + 1] == b"\n")
            out.write(raw[at:])
        out.end_line()
        for problem in problems:
            self.leave_out(problem)
        return records

    def _tell_progress(self, file: OpenFile, position: int | None = None) -> None:
        if self._on_progress is not None:
            if position is None:
                position = os.lseek(file.fd, 0, os.SEEK_CUR)
            self._on_progress(max(0, position - self._position))
            self._position = max(position, self._position)


__all__ = ["Repaired", "repair_log"]
