r"""
Bytes become lines: a pure scanner, with bounded memory.

A line ends at the byte ``\n`` and nowhere else: U+2028 and ``\r`` may stand unescaped
in what other programs wrote, and ``splitlines()`` would cut a record there.

Lines come in blocks, not one by one, so that the cost of the generator is paid once a
chunk.  Every byte is in exactly one line of exactly one block, or is a newline; a
block says where in the file it begins, and so where each of its lines does.

R2  What is held is one chunk and one line under way, and that line is cut when it
    grows over the limit: a file of NULs (which a power failure leaves behind) must
    not be read into memory whole.
R1  It is never cut inside a record of up to ``KEPT_BYTES``: the first intact record
    after such a stretch is found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LINE_LIMIT: Final = 64 * 1024 * 1024
"""Bytes; a longer line is given out in pieces.  It is what other loggers may write that
don't shorten; an eighth of it for a line that does not even begin as a record."""

KEPT_BYTES: Final = 2 * 1024 * 1024
"""Twice the longest line that the logger can be set to write."""

RECORD_START: Final = b'{"timestamp"'
"""
How each record begins.

Inside a JSON string the quote would be escaped, so that text which is logged cannot
look like it, whatever it says.
"""


class Block(NamedTuple):
    """Successive lines of a file, without their newlines."""

    offset: int
    """Of the first line's first byte.  Each next line is one byte further."""
    lines: list[bytes]
    end: Literal["newline", "file", "limit"]
    """What ended the last line: for the other two values, the block's only one."""


class Stretch(NamedTuple):
    """What a Block is made of: the same lines where they lie, with newlines between."""

    offset: int
    data: bytes
    start: int
    """Where in *data* they begin."""
    stop: int
    """Where in *data* they end; behind it is the newline, if one ends them."""
    end: Literal["newline", "file", "limit"]

    @property
    def size(self) -> int:
        """Bytes, with the newline at the end."""
        return self.stop - self.start + (self.end == "newline")


def split_lines(chunks: Iterable[bytes], *, limit: int = LINE_LIMIT) -> Iterator[Block]:
    """
    Split *chunks*, the successive bytes of one file, into lines.

    Args:
        chunks: in any sizes; where they are cut makes no difference.
        limit: bytes; see LINE_LIMIT.

    """
    return map(split_stretch, whole_lines(chunks, limit=limit))


def split_stretch(stretch: Stretch) -> Block:
    """Return the lines of *stretch*."""
    offset, data, start, stop, end = stretch
    data = data[start:stop]
    return Block(offset, data.split(b"\n") if end == "newline" else [data], end)


def whole_lines(
    chunks: Iterable[bytes], *, limit: int = LINE_LIMIT
) -> Iterator[Stretch]:
    """
    Find the whole lines of *chunks*, as split_lines() does.

    Only a line that is cut by the end of a chunk is put together; all others are left
    where they are, uncopied.
    """
    kept_bytes = min(KEPT_BYTES, limit // 16)
    # The line under way, in pieces: joining it anew for each chunk would take
    # quadratic time.
    held: list[bytes] = []
    size = 0
    offset = 0
    for chunk in chunks:
        stop = chunk.rfind(b"\n")
        if stop >= 0:
            start = 0
            if held:
                start = chunk.find(b"\n") + 1
                held.append(chunk[: start - 1])
                data = b"".join(held)
                # While somebody works on it, it is held once.
                held.clear()
                yield Stretch(offset, data, 0, len(data), "newline")
                offset += len(data) + 1
                del data
            if start <= stop:
                yield Stretch(offset, chunk, start, stop, "newline")
                offset += stop - start + 1
            rest = chunk[stop + 1 :]
        else:
            held.append(chunk)
            size += len(chunk)
            if size <= (limit if held[0].startswith(b"{") else limit // 8):
                continue
            data = b"".join(held)
            held.clear()
            cut = data.find(RECORD_START, len(data) - kept_bytes)
            if cut < 0:
                cut = len(data) - len(RECORD_START) + 1
            data, rest = data[:cut], data[cut:]
            yield Stretch(offset, data, 0, cut, "limit")
            offset += cut
            del data
        held = [rest] if rest else []
        size = len(rest)
    if size:
        yield Stretch(offset, b"".join(held), 0, size, "file")


__all__ = [
    "KEPT_BYTES",
    "LINE_LIMIT",
    "RECORD_START",
    "Block",
    "Stretch",
    "split_lines",
    "split_stretch",
    "whole_lines",
]
