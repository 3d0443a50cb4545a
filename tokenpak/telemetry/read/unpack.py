"""
An open archive becomes chunks of bytes, however damaged it is.

Nothing raises: what stops the reading is told to *on_problem*, after all bytes before
it have been given out (R1).  One chunk is held at a time, also when a megabyte of
archive holds a gigabyte of NULs (R2).

There are two ways through an archive.  The *fast* one takes ``isal`` where that is
installed (the extra ``fast``; a third of zlib's time), else zlib, and knows only
members that are whole.  Whatever it does not know, a damaged member, a cut one, what
is no gzip, is begun anew from that member's start, the *careful* way, by zlib: what
was given out already is passed over.  So what is told of damage, and what is saved of
it, is the same with isal and without.
"""

from __future__ import annotations

import os
import zlib
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Protocol

from tokenpak.telemetry.read.chunks import CHUNK_BYTES, read_some

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PACKED_BYTES: Final = 64 * 1024
_GZIP_ONLY: Final = 31  # zlib's window bits: 15, and 16 for "expect a gzip header"
_MAGIC: Final = b"\x1f\x8b\x08"
_ODD: Final = 0b1110_0010
"""Flags of a header that isal looks not at: its own checksum, and what must be 0."""


class _Member(Protocol):
    """What zlib.decompressobj() and its substitute in isal return."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def unconsumed_tail(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


@cache
def _fast() -> tuple[Callable[[int], _Member], type[Exception]]:
    """Return what makes a decompressor, and what that raises."""
    try:
        # Optional, and only now: who reads no archive need not load it.
        from isal import isal_zlib  # noqa: PLC0415
    except Exception:  # not there, or not for this machine
        return zlib.decompressobj, zlib.error
    module: Any = isal_zlib
    return module.decompressobj, module.error


def gzip_chunks(
    fd: int, on_problem: Callable[[str], None], *, times: int = 1
) -> Iterator[bytes]:
    """
    Yield what *fd*, a gzip file of one or more members, holds uncompressed.

    Args:
        fd: of a regular file, at its beginning.
        on_problem: is given the reason if the archive is cut or damaged.
        times: how many CHUNK_BYTES come at once, where the archive is whole.

    """
    make, error = _fast()
    packed, most = _PACKED_BYTES * times, CHUNK_BYTES * times
    data = b""
    start = 0
    """Of the member, in the file."""
    while True:
        given = 0
        whole = False
        try:
            data = data or os.read(fd, packed)
            if not data and start:
                return
            start = os.lseek(fd, 0, os.SEEK_CUR) - len(data)
            if data.startswith(_MAGIC) and len(data) > 3 and not data[3] & _ODD:
                member = make(_GZIP_ONLY)
                while not member.eof:
                    data = data or os.read(fd, packed)
                    chunk = member.decompress(data, most)
                    left = member.unconsumed_tail
                    if not chunk and len(left) >= len(data):
                        break  # it is cut off
                    data = left
                    if chunk:
                        yield chunk
                        given += len(chunk)
                whole = member.eof
                data = member.unused_data
        except (OSError, error):
            whole = False
        if not whole:
            yield from _carefully(fd, start, given, on_problem)
            return


def _carefully(
    fd: int, start: int, given: int, on_problem: Callable[[str], None]
) -> Iterator[bytes]:
    """Yield what *fd* holds from *start* on, but for the first *given* bytes."""
    try:
        os.lseek(fd, start, os.SEEK_SET)
    except OSError:
        on_problem("a pipe or a device stands where an archive should")
        return
    for chunk in _pieces(fd, on_problem, first=start == 0):
        if given < len(chunk):
            yield chunk[given:]
        given = max(0, given - len(chunk))


def _pieces(
    fd: int, on_problem: Callable[[str], None], *, first: bool
) -> Iterator[bytes]:
    # gzip.GzipFile would throw away what it had decompressed before the damage.
    member: zlib._Decompress | None = None
    data = read_some(fd, _PACKED_BYTES, on_problem)
    if data == b"" and first:
        on_problem("the archive is empty: not even a gzip header is there")
    at_end = not data
    while True:
        if not data and not at_end:
            data = read_some(fd, _PACKED_BYTES, on_problem)
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


__all__ = ["gzip_chunks"]
