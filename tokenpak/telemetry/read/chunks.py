"""
An open file becomes chunks of bytes, however damaged it is; archives: see ``unpack``.

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
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHUNK_BYTES: Final = 256 * 1024
"""Bytes; fits the second-level cache along with the records made of it."""

_PAGE_BYTES: Final = 4096
"""What a disk cannot give back is lost page by page: the smallest there are."""
_BAD_PLACE: Final = {errno.EIO, getattr(errno, "EUCLEAN", errno.EIO)}
_MOST_GAPS: Final = 256
"""More than that, less one for each good read, and it is the disk that fails, not a
place on it; each try may take it seconds."""


def plain_chunks(
    fd: int,
    size: int,
    on_problem: Callable[[str], None],
    on_gap: Callable[[int, int, str], None] | None = None,
    *,
    times: int = 1,
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
        times: how many CHUNK_BYTES are read at once.

    """
    most = CHUNK_BYTES * times
    chunk: bytes | None = b"\n"
    left = size
    gaps = 0
    while left > 0:
        try:
            chunk = os.read(fd, min(left, most))
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
        chunk = read_some(fd, CHUNK_BYTES, on_problem)
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


def read_some(fd: int, size: int, on_problem: Callable[[str], None]) -> bytes | None:
    """Return up to *size* bytes, none at the end; None after a problem."""
    try:
        return os.read(fd, size)
    except OSError as e:
        on_problem(e.strerror or str(e))
        return None


__all__ = ["CHUNK_BYTES", "plain_chunks", "read_some"]
