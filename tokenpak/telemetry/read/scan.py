"""
An open file becomes blocks of lines, and a block records and reports of damage.

The one place where a line is judged: export, verify, repair and the look into spools
all go through here, so that none of them calls a line damaged that another one reads.

R1  Never stops at damage, and says where and how much it skipped.  Every byte of a
    block is in exactly one record or report, or is a newline, or in a blank line.
R2  One chunk of one file is held, and the line under way.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from tokenpak.telemetry.read.chunks import plain_chunks
from tokenpak.telemetry.read.lines import KEPT_BYTES, split_stretch, whole_lines
from tokenpak.telemetry.read.records import (
    Entry,
    MalformedLine,
    NotARecordError,
    Record,
    UnreadableFile,
    decode_line,
    is_blank,
)
from tokenpak.telemetry.read.unpack import gzip_chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tokenpak.telemetry.read.lines import Block, Stretch
    from tokenpak.telemetry.read.records import Found
    from tokenpak.telemetry.read.source import OpenFile


_SEARCHED: Final = 4
_LOOKS: Final = 20
_PAUSE: Final = 0.01
"""Seconds between looks at a line that is not finished: an append takes microseconds,
but its process may have to wait for a processor in the middle of it."""


def blocks_of(
    file: OpenFile, on_problem: Callable[[UnreadableFile], None]
) -> Iterator[Block]:
    """
    Yield the lines of *file*, uncompressed, in blocks.

    Args:
        file: at its beginning.
        on_problem: is told what could not be read of the file.

    """
    return map(split_stretch, stretches_of(file, on_problem))


def stretches_of(
    file: OpenFile,
    on_problem: Callable[[UnreadableFile], None],
    *,
    searched: bool = False,
) -> Iterator[Stretch]:
    """
    Yield what blocks_of() does, each block in one piece.

    Args:
        file: at its beginning.
        on_problem: is told what could not be read of the file.
        searched: whether most lines will be passed over: then the pieces are larger,
            since what a piece takes by itself is what most of them take.

    """
    times = _SEARCHED if searched else 1
    path = file.file.path
    problems: list[str] = []
    if file.file.compressed:
        chunks = gzip_chunks(file.fd, problems.append, times=times)
    else:

        def tell_gap(offset: int, length: int, reason: str) -> None:
            on_problem(UnreadableFile(path, offset, f"{reason}, for {length:,} bytes"))

        chunks = plain_chunks(
            file.fd, file.size, problems.append, tell_gap, times=times
        )
    end = 0
    for stretch in whole_lines(chunks):
        yield stretch
        end = stretch.offset + stretch.size
    for problem in problems:
        on_problem(UnreadableFile(path, end, problem))


def finished(file: OpenFile, block: Block) -> Block:
    """
    Return *block*, of *file*, with its last line finished if that can be had.

    A process may be in the middle of an append.  A line without its newline that is no
    record is looked at again for a while, before anybody calls it damaged.
    """
    if block.end != "file" or file.file.compressed:
        return block
    (line,) = block.lines
    for _ in range(_LOOKS):
        try:
            decode_line(line)
        except NotARecordError:
            time.sleep(_PAUSE)
        else:
            break
        try:
            os.lseek(file.fd, block.offset, os.SEEK_SET)
            line, newline, _ = os.read(file.fd, len(line) + KEPT_BYTES).partition(b"\n")
        except OSError:  # it was read before, and is reported as it was then
            break
        if newline:
            return block._replace(lines=[line], end="newline")
    return block


def end_of(block: Block) -> int:
    """Return the offset behind *block* and the newline that ends it, if one does."""
    size = sum(map(len, block.lines)) + len(block.lines)
    return block.offset + size - (block.end != "newline")


def found_in(
    block: Block,
    path: str,
    stream: str,
    accepts: Callable[[Record], bool] | None = None,
) -> Iterator[Found | MalformedLine]:
    """
    Yield the records of *block* that are wanted, and all damage, in order.

    Args:
        block: of the file *path*.
        path: for the reports.
        stream: ``errors`` or ``events``.
        accepts: which records are wanted; None for all.

    """
    offset = block.offset
    decode = _refuse if block.end == "limit" else decode_line
    # The hot loop of all reading.  It is written out: each generator or function more
    # around a line costs a tenth of what decoding it does.
    for line in block.lines:
        try:
            record, copied = decode(line)
        except NotARecordError as e:
            if not is_blank(line):
                # Imported here: most logs have no damage.
                from tokenpak.telemetry.read.salvage import (  # noqa: PLC0415
                    salvage_line,
                )

                for item in salvage_line(
                    line,
                    file=path,
                    offset=offset,
                    stream=stream,
                    reason=_why(block, e),
                ):
                    if isinstance(item, MalformedLine) or (
                        accepts is None or accepts(item[0])
                    ):
                        yield item
        else:
            if accepts is None or accepts(record):
                yield record, copied, line, offset
        offset += len(line) + 1


def _refuse(line: bytes) -> Entry:
    raise NotARecordError(f"part of a line of more than {len(line):,} bytes")


def _why(block: Block, error: NotARecordError) -> str:
    if block.end == "file":
        return f"unfinished: the file ends inside this line ({error})"
    return str(error)


__all__ = ["blocks_of", "end_of", "finished", "found_in", "stretches_of"]
