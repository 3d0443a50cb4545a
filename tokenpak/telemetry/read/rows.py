"""
The rows of one file: decoded, filtered, each with the time by which it is sorted.

A row is what is written out of a record, as bytes.  Its *key* is its timestamp in the
form of the logger, which sorts as text.  A record whose timestamp cannot be read has
the key of the one before it, so that it stays where it stands.

R2  One block of rows is held.
"""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from tokenpak.telemetry.read.filter import canonical
from tokenpak.telemetry.read.lines import Block, split_stretch
from tokenpak.telemetry.read.records import HUGE_LINE
from tokenpak.telemetry.read.scan import found_in, stretches_of
from tokenpak.telemetry.read.when import in_utc, is_canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tokenpak.telemetry.read.lines import Stretch
    from tokenpak.telemetry.read.needles import Screen
    from tokenpak.telemetry.read.records import Damage, Record
    from tokenpak.telemetry.read.source import OpenFile

_START: Final = b'{"timestamp":"'
_KEY: Final = slice(len(_START), len(_START) + 27)


class Batch(NamedTuple):
    """The rows of a block, in the order of the file."""

    offset: int
    """Of the block."""
    size: int
    """Bytes of the block."""
    keys: list[str]
    rows: list[bytes]
    copied: bool
    """Whether the rows are the lines of the block, all of them as they stand."""

    def dated(self) -> bool:
        """Whether each row begins with its key, as the logger writes it."""
        return all(row.startswith(_START) for row in self.rows)


class FileRows:
    """
    What is wanted of one file; it can be read more than once.

    Args:
        file: open.
        accepts: which records are wanted; None for all.
        screen: which lines need no parse; None: all need one.
        render: what makes a row of a record, its line if that can be copied as it
            stands, and its line as it is.
        copies: whether a line that can be copied is its row.
        large: whether it may be read in large pieces where it is searched: if not many
            files are read side by side (R2).

    """

    def __init__(
        self,
        file: OpenFile,
        accepts: Callable[[Record], bool] | None,
        screen: Screen | None,
        render: Callable[[Record, bytes | None, bytes], bytes],
        *,
        copies: bool,
        large: bool = False,
    ) -> None:
        self.file = file
        self._searched = large and screen is not None
        self._accepts = accepts
        self._screen = screen
        self._render = render
        self._copies = copies and accepts is None and screen is None

    def batches(
        self,
        tell: Callable[[Damage], None],
        *,
        look: Callable[[Block], None] | None = None,
        passed: Callable[[int], None] | None = None,
        known: Iterator[bool] | None = None,
    ) -> Iterator[Batch]:
        """
        Read the file from its beginning, block by block.

        Args:
            tell: is given what is damaged.
            look: is shown each block; then nothing is screened.
            passed: is told how many bytes of the file each block took.
            known: for each block, whether it was found to be *copied* before.

        """
        file = self.file
        os.lseek(file.fd, 0, os.SEEK_SET)
        key = ""
        position = 0
        for stretch in stretches_of(file, tell, searched=self._searched):
            if passed is not None:
                now = os.lseek(file.fd, 0, os.SEEK_CUR)
                passed(now - position)
                position = now
            if known is not None and next(known, False):
                batch = _copied(stretch)
                key = batch.keys[-1]
                yield batch
                continue
            blocks: Iterable[Block]
            if look is not None:
                block = split_stretch(stretch)
                look(block)
                blocks = [block]
            elif self._screen is not None:
                blocks = self._screen.blocks(stretch)
            else:
                blocks = [split_stretch(stretch)]
            batch = Batch(stretch.offset, stretch.size, [], [], False)
            key, whole = self._add(blocks, batch, tell, key)
            if whole and self._copies and look is None:
                batch = batch._replace(copied=True)
            yield batch

    def _add(
        self,
        blocks: Iterable[Block],
        batch: Batch,
        tell: Callable[[Damage], None],
        key: str,
    ) -> tuple[str, bool]:
        """Add the rows of *blocks*; return the last key, and whether all are lines."""
        _, _, keys, rows, _ = batch
        file, accepts, render = self.file.file, self._accepts, self._render
        loads, dumps, canonical_time = orjson.loads, orjson.dumps, is_canonical
        add_key, add_row = keys.append, rows.append
        whole = True
        # The hot loop of an export.  What is canonical, nearly all, is judged here, as
        # decode_line() does; whatever is not goes the way of all other readers.
        for offset, lines, end in blocks:
            complete = end != "limit"
            whole = whole and complete
            for line in lines:
                record = None
                if complete and len(line) <= HUGE_LINE:
                    try:
                        record = loads(line)
                        if dumps(record) != line or type(record) is not dict:
                            record = None
                    except (ValueError, TypeError):
                        record = None
                if record is None:
                    whole = False
                    single = Block(offset, [line], end)
                    for item in found_in(single, file.path, file.stream, accepts):
                        if not isinstance(item, tuple):
                            tell(item)
                            continue
                        key = key_of(item[0]) or key
                        add_key(key)
                        add_row(render(*item[:3]))
                elif accepts is None or accepts(record):
                    stamp = record.get("timestamp")
                    if type(stamp) is str and canonical_time(stamp):
                        key = stamp
                    else:
                        whole = False
                        key = key_of(record) or key
                    add_key(key)
                    add_row(render(record, line, line))
                offset += len(line) + 1  # noqa: PLW2901  (of the next line)
        return key, whole


def _copied(stretch: Stretch) -> Batch:
    rows = split_stretch(stretch).lines
    keys = [str(row[_KEY], "ascii") for row in rows]
    return Batch(stretch.offset, stretch.size, keys, rows, True)


def key_of(record: Record) -> str | None:
    """Return the key of *record*, or None if its timestamp cannot be read."""
    stamp = record.get("timestamp")
    if not isinstance(stamp, str):
        return None
    if is_canonical(stamp):
        return stamp
    try:
        return canonical(in_utc(datetime.fromisoformat(stamp)))
    except (ValueError, OverflowError):
        return None


__all__ = ["Batch", "FileRows", "key_of"]
