"""
Sorted runs of rows in a temporary file, for what does not fit into memory.

R2  A run is sorted in memory and written out; later each run is read in small pieces.
    The file has no name, so that nothing is left of it, however the process ends.
"""

from __future__ import annotations

import heapq
import operator
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

Keyed = tuple[str, bytes]
"""A key and a row."""

RUN_BYTES: Final = 4 * 1024 * 1024
_OVERHEAD: Final = 150
"""Bytes of memory that a row takes beside its own."""
_PIECE: Final = 32 * 1024
_HEAD: Final = struct.Struct("<HI")

by_key = operator.itemgetter(0)


class Spill:
    """Rows that are given in any order, and come back sorted; ties as they came."""

    def __init__(self) -> None:
        self._held: list[Keyed] = []
        self._size = 0
        self._file: IO[bytes] | None = None
        self._runs: list[tuple[int, int]] = []

    def __bool__(self) -> bool:
        """Whether there is anything in it."""
        return bool(self._held or self._runs)

    def add(self, key: str, row: bytes) -> None:
        """Keep *row*."""
        self._held.append((key, row))
        self._size += len(row) + _OVERHEAD
        if self._size > RUN_BYTES:
            self._write()

    def _write(self) -> None:
        if self._file is None:
            # Imported here: most of what is sorted fits into memory.
            import tempfile  # noqa: PLC0415

            self._file = tempfile.TemporaryFile()  # noqa: SIM115  (close() below)
        self._held.sort(key=by_key)
        start = self._file.seek(0, 2)
        for key, row in self._held:
            name = key.encode()
            self._file.write(_HEAD.pack(len(name), len(row)) + name + row)
        self._runs.append((start, self._file.tell()))
        self._held = []
        self._size = 0

    def rows(self) -> Iterator[Keyed]:
        """Yield all that was added, sorted."""
        self._held.sort(key=by_key)
        runs = [self._read(start, end) for start, end in self._runs]
        return heapq.merge(*runs, self._held, key=by_key)

    def _read(self, position: int, end: int) -> Iterator[Keyed]:
        assert self._file is not None
        data = b""
        while position < end or data:
            self._file.seek(position)
            more = self._file.read(min(_PIECE, end - position))
            position += len(more)
            data += more
            at = 0
            while len(data) - at >= _HEAD.size:
                name_size, row_size = _HEAD.unpack_from(data, at)
                name = at + _HEAD.size
                row = name + name_size
                if len(data) < row + row_size:
                    break
                yield str(data[name:row], "ascii"), data[row : row + row_size]
                at = row + row_size
            data = data[at:]

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()


__all__ = ["RUN_BYTES", "Keyed", "Spill", "by_key"]
