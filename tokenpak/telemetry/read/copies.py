"""
What a repair writes: files that are there as a whole or not at all.

S5  Directories are 0700 and files 0600 from the first byte, whatever the umask; what is
    there already is never written to.
"""

from __future__ import annotations

import gzip
import json
import os
from typing import IO, TYPE_CHECKING, Final, Self, cast

from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.read.filter import day_of_record
from tokenpak.telemetry.store.modes import FILE_MODE, make_directories
from tokenpak.telemetry.store.names import ARCHIVE_DIR, parse_log_name

if TYPE_CHECKING:
    from types import TracebackType

    from tokenpak.telemetry.read.records import Found, MalformedLine

QUARANTINE: Final = "quarantine.raw"
INDEX: Final = "quarantine.index.jsonl"
_LEVEL: Final = 6
_BUFFER: Final = 32 * 1024


def make_output(path: str) -> None:
    """
    Create the directory *path*, or see that it is empty.

    Raises:
        SettingError: there is something in it, or it is no directory.
        OSError: it cannot be created.

    """
    try:
        with os.scandir(path) as entries:
            if any(True for _ in entries):
                raise SettingError("output", path, "a directory that is empty")
    except FileNotFoundError:
        make_directories(path)
    except NotADirectoryError:
        raise SettingError("output", path, "a directory, or nothing yet") from None


class OutputFile:
    """
    A new file under a temporary name, until keep().

    A context manager: at its end, what was not kept is deleted.

    Args:
        path: where it will be; its directory is created.
        compress: whether what is written is compressed, the same each time.

    """

    def __init__(self, path: str, *, compress: bool = False) -> None:
        folder, name = os.path.split(path)
        self._path = path
        self._temporary = os.path.join(folder, f".{name}.tmp")
        make_directories(folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        fd = os.open(self._temporary, flags | getattr(os, "O_CLOEXEC", 0), FILE_MODE)
        self._kept = False
        self._open = True
        self._at_line_start = True
        self._file = open(fd, "wb", buffering=_BUFFER)  # noqa: SIM115  (closed below)
        if hasattr(os, "fchmod"):
            os.fchmod(fd, FILE_MODE)
        self._out = cast("IO[bytes]", self._file)
        if compress:
            # Neither the name nor the time: the same content makes the same bytes.
            packed = gzip.GzipFile("", "wb", _LEVEL, self._file, mtime=0)
            self._out = cast("IO[bytes]", packed)
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.discard()

    def write(self, data: bytes) -> None:
        """Write all of *data*."""
        if data:
            self._out.write(data)
            self.size += len(data)
            self._at_line_start = data.endswith(b"\n")

    def end_line(self) -> None:
        """Write a newline, unless a line begins here."""
        if not self._at_line_start:
            self.write(b"\n")

    def keep(self) -> None:
        """Give the file its name, complete."""
        if self._out is not self._file:
            self._out.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._open = False
        # Nothing is replaced: the directory was empty, and no two files share a name.
        os.rename(self._temporary, self._path)
        self._kept = True

    def discard(self) -> None:
        """Delete what was not kept.  Idempotent."""
        if self._kept:
            return
        self._kept = True
        for file in (self._out, self._file) if self._open else ():
            try:
                file.close()
            except (OSError, ValueError):
                # The disk is full: what is buffered is not wanted.
                pass
        try:
            os.unlink(self._temporary)
        except OSError:  # what has gone wrong before is worth more to be told
            pass


class Quarantine:
    """The malformed lines, one a line, and where each comes from, one a line."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._raw: OutputFile | None = None
        self._index: OutputFile | None = None
        self.lines = 0

    def add(self, name: str, report: MalformedLine, data: bytes) -> None:
        """Keep *data*, of which *report* tells, of the file *name*."""
        self._add(name, report.offset, report.reason, data)
        self.lines += 1

    def tell(self, name: str, offset: int, reason: str) -> None:
        """Say that *name* could not be read from *offset* on: an empty line."""
        self._add(name, offset, reason, b"")

    def _add(self, name: str, offset: int, reason: str, data: bytes) -> None:
        if self._raw is None:
            self._raw = OutputFile(os.path.join(self._folder, QUARANTINE))
        if self._index is None:
            self._index = OutputFile(os.path.join(self._folder, INDEX))
        entry = {
            "file": name,
            "offset": offset,
            "length": len(data),
            "reason": reason,
            "at": self._raw.size,
        }
        self._raw.write(data + b"\n")
        self._index.write(json.dumps(entry).encode() + b"\n")

    def keep(self) -> None:
        """Give both files their names, if there is anything in them."""
        for file in (self._raw, self._index):
            if file is not None:
                file.keep()

    def discard(self) -> None:
        """Delete what was not kept."""
        for file in (self._raw, self._index):
            if file is not None:
                file.discard()


class Moved:
    """Records that were in the file of another day, in files of their own."""

    def __init__(self, source: str, target: str) -> None:
        self._source = source
        self._target = target
        self._files: dict[str, OutputFile] = {}
        self.records = 0

    def add(self, stream: str, found: Found) -> None:
        """Write the line of *found* to a file of its day."""
        day = day_of_record(found[0])
        assert day is not None
        key = f"{stream}-{day}"
        file = self._files.get(key)
        if file is None:
            path = os.path.join(self._target, self._free_name(key))
            file = self._files[key] = OutputFile(path)
        file.write(found[2] + b"\n")
        self.records += 1

    def _free_name(self, key: str) -> str:
        """Return the name of the first part that no original has."""
        part = 1
        while any(
            os.path.lexists(os.path.join(self._source, folder, f"{key}.{part}.{end}"))
            for folder in ("", ARCHIVE_DIR)
            for end in ("jsonl", "jsonl.gz")
        ):
            part += 1
        name = f"{key}.{part}.jsonl"
        assert parse_log_name(name) is not None
        return name

    def keep(self) -> None:
        """Give the files their names."""
        for file in self._files.values():
            file.keep()

    def discard(self) -> None:
        """Delete what was not kept."""
        for file in self._files.values():
            file.discard()


__all__ = ["INDEX", "QUARANTINE", "Moved", "OutputFile", "Quarantine", "make_output"]
