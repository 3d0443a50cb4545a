"""
An open file becomes chunks of bytes, plain or decompressed, however damaged it is.

Nothing raises: what stops the reading is told to *on_problem*, after all bytes before
it have been given out (R1).  A bad place on the disk costs its page, and what is behind
it is read.  One chunk is held at a time, also when a megabyte of archive holds a
gigabyte of NULs (R2).

A plain file is read as far as it went when it was opened, and on to the end of the
line, so that reading ends also while the log is being written to.
"""

from __future__ import annotations

import errno
import os
import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHUNK_BYTES: Final = 256 * 1024
"""Bytes; fits the second-level cache along with the records made of it."""

_PACKED_BYTES: Final = 64 * 1024
_PAGE_BYTES: Final = 4096
"""What a disk cannot give back is lost page by page: the smallest there are."""
_BAD_PLACE: Final = {errno.EIO, getattr(errno, "EUCLEAN", errno.EIO)}
_MOST_GAPS: Final = 256
"""More than that, less one for each good read, and it is the disk that fails, not a
place on it; each try may take it seconds."""
_GZIP_ONLY: Final = 31  # zlib's window bits: 15, and 16 for "expect a gzip header"


def plain_chunks(
    fd: int,
    size: int,
    on_problem: Callable[[str], None],
    on_gap: Callable[[int, int, str], None] | None = None,
) -> Iterator[bytes]:
    """
    Yield the first *size* bytes of *fd*, and the rest of the line they end in.

    Args:
        fd: of a regular file, at its beginning.
        size: bytes.
        on_problem: is given the reason if the file cannot be read on.
        on_gap: is given offset, length and reason of a part that the disk does not give
            back; NULs stand for it, so that what is behind it has its place.  None: the
            reading ends there.

    """
    chunk: bytes | None = b"\n"
    left = size
    gaps = 0
    while left > 0:
        try:
            chunk = os.read(fd, min(left, CHUNK_BYTES))
        except OSError as e:
            gaps += 1
            if on_gap is None or e.errno not in _BAD_PLACE or gaps > _MOST_GAPS:
                on_problem(e.strerror or str(e))
                return
            chunk = _over(fd, size - left, left, on_gap, e)
        else:
            gaps -= gaps > 0
        if not chunk:
            return
        left -= len(chunk)
        yield chunk
    while chunk and not chunk.endswith(b"\n"):
        chunk = _read(fd, CHUNK_BYTES, on_problem)
        if chunk:
            line, newline, _ = chunk.partition(b"\n")
            chunk = line + newline
            yield chunk


def _over(
    fd: int,
    offset: int,
    left: int,
    on_gap: Callable[[int, int, str], None],
    error: OSError,
) -> bytes:
    """Return what is at *offset* up to the end of its page, or NULs for it."""
    size = min(_PAGE_BYTES - offset % _PAGE_BYTES, left)
    # A read of many pages may fail for one of them; and some errors pass.
    try:
        data = os.read(fd, size)
    except OSError:
        on_gap(offset, size, error.strerror or str(error))
        os.lseek(fd, offset + size, os.SEEK_SET)
        data = bytes(size)
    return data


def gzip_chunks(fd: int, on_problem: Callable[[str], None]) -> Iterator[bytes]:
    """
    Yield what *fd*, a gzip file of one or more members, holds uncompressed.

    Args:
        fd: at its beginning.
        on_problem: is given the reason if the archive is cut or damaged.

    """
    # gzip.GzipFile would throw away what it had decompressed before the damage.
    member: zlib._Decompress | None = None
    data = _read(fd, _PACKED_BYTES, on_problem)
    if data == b"":
        on_problem("the archive is empty: not even a gzip header is there")
    at_end = not data
    while True:
        if not data and not at_end:
            data = _read(fd, _PACKED_BYTES, on_problem)
            at_end = not data
        if data is None:
            return
        if member is None:
            data = data.lstrip(b"\0")  # padding, which may follow a member
            if not data and at_end:
                return
            member = zlib.decompressobj(_GZIP_ONLY) if data else None
            continue
        before = member.copy()
        try:
            chunk = member.decompress(data, CHUNK_BYTES)
        except zlib.error as e:
            yield from _up_to_damage(before, data)
            on_problem(f"the archive is damaged: {_in_words(e)}")
            return
        if chunk:
            yield chunk
        if member.eof:
            data = member.unused_data
            member = None
        elif at_end and not chunk:
            on_problem("the archive is cut off: its end is missing")
            return
        else:
            data = member.unconsumed_tail


def _up_to_damage(member: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    """Yield what *data* still gives, byte by byte, before it raises."""
    for i in range(len(data)):
        try:
            chunk = member.decompress(data[i : i + 1])
        except zlib.error:
            return
        if chunk:
            yield chunk


def _in_words(error: zlib.error) -> str:
    # The text before it says "Error -3 while decompressing data".
    reason = str(error).rpartition(": ")[2]
    if reason == "incorrect header check":
        return "where gzip data should begin, there is something else"
    return reason


def _read(fd: int, size: int, on_problem: Callable[[str], None]) -> bytes | None:
    """Return up to *size* bytes, none at the end; None after a problem."""
    try:
        return os.read(fd, size)
    except OSError as e:
        on_problem(e.strerror or str(e))
        return None


__all__ = ["CHUNK_BYTES", "gzip_chunks", "plain_chunks"]
