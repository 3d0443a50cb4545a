"""
Compress a file in pieces, and hold a compressed file against its original.

Between two pieces the caller may do other things, or nothing: the work of a piece is
64 KiB, under a millisecond, most of it without the GIL (zlib gives it up).

Reproducible: no name and no time is in the header, so the archive of the same bytes is
the same bytes, whoever makes it, with the same zlib.  With ``isal`` installed (the
extra ``fast``) it takes a tenth of the time.  The format is the same, the bytes
then differ: a compressor is free in how it says something.
"""

from __future__ import annotations

import errno
import zlib
from collections.abc import Generator, Iterator
from typing import Any, Final, Protocol

from tokenpak.telemetry.store.entries import Entries

PIECE: Final = 64 * 1024
"""Bytes read at a time."""
LEVEL: Final = 6
"""zlib's own default: 9 takes four times as long for a tenth less."""
FAST_LEVEL: Final = 2
"""isal's own default, of 0 to 3."""
_GZIP: Final = 31
"""zlib's window bits: 15, and 16 for "with a gzip header"."""
_LET_GO: Final = 1024 * 1024

SAME: Final = "same"
PART: Final = "part"
OTHER: Final = "other"


class Compressor(Protocol):
    """What zlib.compressobj() and its substitute in isal return."""

    def compress(self, data: bytes, /) -> bytes:
        """Take *data*; return what is ready."""

    def flush(self) -> bytes:
        """Return the rest."""


def _compressor() -> Compressor:
    try:
        # Optional, and only now: who never archives need not load it.
        from isal import isal_zlib  # noqa: PLC0415
    except Exception:  # not there, or not for this machine
        return zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP)
    fast: Any = isal_zlib
    compressor: Compressor = fast.compressobj(FAST_LEVEL, fast.DEFLATED, _GZIP)
    return compressor


def pack(disk: Entries, source: int, size: int, target: int) -> Iterator[int]:
    """
    Write the first *size* bytes of *source* to *target*, compressed.

    Args:
        disk: the operations.
        source: an open file.
        size: how much of it.
        target: an open file, empty.

    Yields:
        After each piece, how many bytes of *source* it was.

    Raises:
        OSError: *target* is unfinished.

    """
    compressor = _compressor()
    done = written = 0
    let_go = [0, 0]
    while done < size:
        data = disk.read(source, min(PIECE, size - done), done)
        if not data:
            raise OSError(errno.EIO, "became shorter while it was compressed")
        written += _write(disk, target, compressor.compress(data))
        done += len(data)
        for number, (fd, end) in enumerate(((source, done), (target, written))):
            if end - let_go[number] >= _LET_GO:
                disk.let_go(fd, let_go[number], end - let_go[number])
                let_go[number] = end
        yield len(data)
    _write(disk, target, compressor.flush())


def _write(disk: Entries, fd: int, data: bytes) -> int:
    rest = memoryview(data)
    while rest:
        taken = disk.write(fd, [rest])
        if taken <= 0:
            raise OSError(errno.EIO, "the file takes no more bytes")
        rest = rest[taken:]
    return len(data)


def compare(
    disk: Entries, plain: int, size: int, packed: int
) -> Generator[int, None, str]:
    """
    Find out whether *packed* is the archive of *plain*.

    Args:
        disk: the operations.
        plain: an open file.
        size: of it.
        packed: an open file.

    Yields:
        After each piece, how many bytes of *plain* it was.

    Returns:
        SAME: it holds exactly the same bytes.
        PART: all that can be read of it is the beginning of *plain*.
        OTHER: it holds something else.

    Raises:
        OSError: one of them cannot be read.

    """
    decompressor = zlib.decompressobj(_GZIP)
    done = offset = 0
    data = out = b""
    while not decompressor.eof:
        if not data and len(out) < PIECE:  # else there may be more of what it has
            data = disk.read(packed, PIECE, offset)
            offset += len(data)
            if not data:
                return PART
        before = decompressor.copy()
        try:
            out, damaged = decompressor.decompress(data, PIECE), False
        except zlib.error:
            out, damaged = _up_to_damage(before, data), True
        data = decompressor.unconsumed_tail
        there = 0
        while there < len(out):
            part = disk.read(plain, len(out) - there, done + there)
            if not part or out[there : there + len(part)] != part:
                return OTHER
            there += len(part)
        done += there
        if damaged:
            return PART
        yield there
    if decompressor.unused_data or disk.read(packed, 1, offset):
        return OTHER  # another member: not made by us
    return SAME if done == size else PART


def _up_to_damage(decompressor: Any, data: bytes) -> bytes:
    found = bytearray()
    try:
        for index in range(len(data)):
            found += decompressor.decompress(data[index : index + 1])
    except zlib.error:
        pass
    return bytes(found)


__all__ = ["FAST_LEVEL", "LEVEL", "OTHER", "PART", "PIECE", "SAME", "compare", "pack"]
