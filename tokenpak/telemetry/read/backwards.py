"""
The last records of a file, read from its end.

R2  Of a plain file, one chunk and the line under way are held, and no more is read than
    is wanted; an archive is read forwards, since it cannot be otherwise, and of it the
    last records are held.
R1  Lines are judged by the reader's own scan, so what is shown is what an export gives.
    Where reading backwards is no good (a line of megabytes, a bad place on the disk),
    the file is read forwards.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Final

from tokenpak.telemetry.read.chunks import CHUNK_BYTES as _CHUNK_BYTES
from tokenpak.telemetry.read.lines import KEPT_BYTES, Block
from tokenpak.telemetry.read.records import UnreadableFile
from tokenpak.telemetry.read.scan import blocks_of, found_in
from tokenpak.telemetry.read.source import OpenFile
from tokenpak.telemetry.store.files import read_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tokenpak.telemetry.read.records import Damage, Found, Record

CHUNK: Final = _CHUNK_BYTES
LONG_LINE: Final = 4 * KEPT_BYTES
"""Bytes; no record of the logger's is as long."""
_MOST_DAMAGE: Final = 100
"""How many reports are kept of a file that is read forwards: the last ones."""


class _ForwardsInsteadError(Exception):
    """Reading backwards is no good here.  Never leaves this module."""


def blocks_backwards(fd: int, end: int) -> Iterator[Block]:
    """
    Yield the lines of the first *end* bytes of *fd* in blocks, the last block first.

    Within a block, lines are in their order.

    Raises:
        OSError: it cannot be read.

    """
    start = end
    held: list[bytes] = []  # the end of a line whose beginning is before *start*
    size = 0
    while start > 0:
        length = min(CHUNK, start)
        start -= length
        data = _read(fd, length, start)
        cut = 0 if start == 0 else data.find(b"\n") + 1
        if start > 0 and cut == 0:
            held.append(data)
            size += length
            if size > LONG_LINE:
                raise _ForwardsInsteadError
            continue
        whole = b"".join((data[cut:], *reversed(held)))
        held, size = [data[:cut]], cut
        yield from _as_blocks(whole, start + cut)


def _as_blocks(data: bytes, offset: int) -> Iterator[Block]:
    lines = data.split(b"\n")
    rest = lines.pop()
    if rest:  # at the end of the file only
        yield Block(offset + len(data) - len(rest), [rest], "file")
    if lines:
        yield Block(offset, lines, "newline")


def _read(fd: int, length: int, start: int) -> bytes:
    data = read_at(fd, length, start)
    if len(data) != length:  # somebody has cut it
        raise _ForwardsInsteadError
    return data


def last_of(
    file: OpenFile, count: int, accepts: Callable[[Record], bool] | None
) -> list[Found | Damage]:
    """
    Return the last *count* records of *file* that are wanted, and damage among them.

    Args:
        file: of which ``size`` bytes are read.
        count: at least 1.
        accepts: which records are wanted; None for all.

    """
    if not file.file.compressed:
        try:
            return _last_backwards(file, count, accepts)
        except (_ForwardsInsteadError, OSError):
            pass
    return _last_forwards(file, count, accepts)


def _last_backwards(
    file: OpenFile, count: int, accepts: Callable[[Record], bool] | None
) -> list[Found | Damage]:
    found: list[Found | Damage] = []
    for block in blocks_backwards(file.fd, file.size):
        items = list(found_in(block, file.file.path, file.file.stream, accepts))
        for item in reversed(items):
            found.append(item)
            count -= isinstance(item, tuple)
            if count == 0:
                return found[::-1]
    return found[::-1]


def _last_forwards(
    file: OpenFile, count: int, accepts: Callable[[Record], bool] | None
) -> list[Found | Damage]:
    os.lseek(file.fd, 0, os.SEEK_SET)
    found: deque[Found | Damage] = deque(maxlen=count)
    damage: deque[Damage] = deque(maxlen=_MOST_DAMAGE)
    problems: list[UnreadableFile] = []
    for block in blocks_of(file, problems.append):
        for item in found_in(block, file.file.path, file.file.stream, accepts):
            (found if isinstance(item, tuple) else damage).append(item)  # type: ignore[arg-type]
    return [*damage, *problems, *found]


__all__ = ["CHUNK", "LONG_LINE", "blocks_backwards", "last_of"]
