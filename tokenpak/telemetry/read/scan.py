"""
An open file becomes blocks of lines, and a block records and reports of damage.

The one place where a line is judged: export, verify, repair and the look into spools
all go through here, so that none of them calls a line damaged that another one reads.

R1  Never stops at damage, and says where and how much it skipped.  Every byte of a
    block is in exactly one record or report, or is a newline, or in a blank line.
R2  One chunk of one file is held, and the line under way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenpak.telemetry.read.chunks import gzip_chunks, plain_chunks
from tokenpak.telemetry.read.lines import split_lines
from tokenpak.telemetry.read.records import (
    Entry,
    MalformedLine,
    NotARecordError,
    Record,
    UnreadableFile,
    decode_line,
    is_blank,
)
from tokenpak.telemetry.read.salvage import salvage_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tokenpak.telemetry.read.lines import Block
    from tokenpak.telemetry.read.records import Found
    from tokenpak.telemetry.read.source import OpenFile


def blocks_of(
    file: OpenFile, on_problem: Callable[[UnreadableFile], None]
) -> Iterator[Block]:
    """
    Yield the lines of *file*, uncompressed, in blocks.

    Args:
        file: at its beginning.
        on_problem: is told, behind the last block, what kept the file from being read
            to its end.

    """
    problems: list[str] = []
    if file.file.compressed:
        chunks = gzip_chunks(file.fd, problems.append)
    else:
        chunks = plain_chunks(file.fd, file.size, problems.append)
    end = 0
    for block in split_lines(chunks):
        yield block
        end = end_of(block)
    for problem in problems:
        on_problem(UnreadableFile(file.file.path, end, problem))


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


__all__ = ["blocks_of", "end_of", "found_in"]
