"""
The rows of one day in time order: exactly, and with bounded memory.

Files are nearly sorted.  The batches of several processes interleave, so a row may come
a little too early; what was recovered after a death may come hours late; and a second
file of the day has it all once more.  Therefore

1. the rows of the day are held up to a bound, and sorted when they are all there: that
   is all for a day that fits;
2. of a larger day, each file is read twice.  The first time, rows that come so late
   that a window of some megabytes does not put them right are spilled, as sorted runs.
   The second time, all others go through that window, and the spilled are merged in.
   A block of lines that are copied as they stand is not decoded the second time.

A row is *late* if its key is lower than the highest one of all blocks that lie more
than the window before its own.  What is not late is at most the window away from its
place: rows are let go when the window has passed them, and none that comes after is
lower.  Ties keep the order of the files.

Only the rows of one day are put in order: a file holds its own day's records (S3).

R2  What is held are the bound, or the windows; and 32 kilobytes for each run.
"""

from __future__ import annotations

import heapq
import struct
from bisect import bisect_right
from collections import deque
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from tokenpak.telemetry.read.records import UnreadableFile
from tokenpak.telemetry.read.spill import Spill, by_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tokenpak.telemetry.read.lines import Block
    from tokenpak.telemetry.read.records import Damage
    from tokenpak.telemetry.read.rows import Batch, FileRows
    from tokenpak.telemetry.read.spill import Keyed

HELD_BYTES: Final = 20 * 1024 * 1024
"""Of the rows of a day, before it is read twice."""
WINDOW_BYTES: Final = 2 * 1024 * 1024
_SMALLEST_WINDOW: Final = 256 * 1024
_WINDOWS: Final = 8 * 1024 * 1024
"""Bytes for the windows of all files of a day, if they are many."""
_MERGED: Final = 32
"""So many files are merged; more are read as if they were one."""
_OVERHEAD: Final = 150
_GROUP: Final = 512
_HEAD: Final = struct.Struct("<qqI?")
_MARKS: Final = 1024 * 1024
_ALL_READ: Final = 2**63
"""More than the blocks of any file: what is told behind the last one is told, too."""

Rows = tuple[list[str], list[bytes]]
"""Keys and rows, of the same length."""


class Day:
    """
    The files of a day.

    Args:
        files: open, in their order.
        tell: is given all damage, once.
        looks: for each file, what is to be shown its blocks, once; or None.
        passed: is told how many bytes of the files were read, again and again.
        held: bytes; see HELD_BYTES.
        window: bytes; see WINDOW_BYTES.

    """

    def __init__(
        self,
        files: Sequence[FileRows],
        tell: Callable[[Damage], None],
        *,
        looks: Sequence[Callable[[Block], None] | None] = (),
        passed: Callable[[int], None] | None = None,
        held: int = HELD_BYTES,
        window: int = WINDOW_BYTES,
    ) -> None:
        self._files = files
        self._tell = tell
        self._looks = looks or [None] * len(files)
        self._passed = passed
        self._held = held
        self._window = window
        self._done: list[int] = []
        """How many blocks of each file were read: their damage is told."""

    def rows(self) -> Iterator[Rows]:
        """Yield all rows, in order, some at a time."""
        keys: list[str] = []
        rows: list[bytes] = []
        size = 0
        for number, file in enumerate(self._files):
            self._done.append(0)
            for batch in file.batches(
                self._tell, look=self._looks[number], passed=self._passed
            ):
                self._done[number] += 1
                keys += batch.keys
                rows += batch.rows
                size += sum(map(len, batch.rows)) + _OVERHEAD * len(batch.rows)
                if size > self._held:
                    del keys, rows, batch
                    yield from self._twice()
                    return
            self._done[number] = _ALL_READ
        if any(map(str.__gt__, keys, keys[1:])):
            order = sorted(range(len(keys)), key=keys.__getitem__)
            keys = [keys[i] for i in order]
            rows = [rows[i] for i in order]
        # Let go of as they are given out: they may be all the memory there is.
        keys.reverse()
        rows.reverse()
        while rows:
            part = keys[: -_GROUP - 1 : -1], rows[: -_GROUP - 1 : -1]
            del keys[-_GROUP:], rows[-_GROUP:]
            yield part

    def _twice(self) -> Iterator[Rows]:
        groups = (
            [[number] for number in range(len(self._files))]
            if len(self._files) <= _MERGED
            else [list(range(len(self._files)))]
        )
        window = max(
            _SMALLEST_WINDOW, min(self._window, _WINDOWS // max(1, len(groups)))
        )
        window = min(window, self._window)
        with ExitStack() as stack:
            passes = [_Late(self._first(group), window, stack) for group in groups]
            for late in passes:
                late.find()
            if len(passes) == 1:
                late = passes[0]
                yield from late.rows(self._again(groups[0], late))
                return
            merged = heapq.merge(
                *(
                    _singly(late.rows(self._again(group, late)))
                    for group, late in zip(groups, passes, strict=True)
                ),
                key=by_key,
            )
            yield from _grouped(merged)

    def _first(self, group: list[int]) -> Iterator[tuple[int, Batch]]:
        """Yield the batches; damage is told of blocks that were not read before."""
        for number in group:
            done = self._done[number] if number < len(self._done) else 0
            state = [0]

            def tell(
                damage: Damage, state: list[int] = state, done: int = done
            ) -> None:
                if state[0] >= done:
                    self._tell(damage)

            look = self._looks[number]

            def unseen(
                block: Block,
                state: list[int] = state,
                done: int = done,
                look: Callable[[Block], None] | None = look,
            ) -> None:
                if state[0] >= done and look is not None:
                    look(block)

            for batch in self._files[number].batches(
                tell, look=None if look is None else unseen, passed=self._passed
            ):
                state[0] += 1
                yield number, batch

    def _again(self, group: list[int], late: _Late) -> Iterator[tuple[int, Batch]]:
        for number in group:
            for batch in self._files[number].batches(_ignore, known=late.known()):
                problem = late.mismatch(number, batch)
                if problem:
                    file = self._files[number].file.file.path
                    self._tell(UnreadableFile(file, batch.offset, problem))
                    return
                yield number, batch


class _Late:
    """What comes too late for the window, in one file or several in succession."""

    def __init__(
        self, batches: Iterator[tuple[int, Batch]], window: int, stack: ExitStack
    ) -> None:
        self._batches = batches
        self._window = window
        self._spill = Spill()
        stack.callback(self._spill.close)
        # Imported here: with it comes much that a day which fits does without.
        import tempfile  # noqa: PLC0415

        # For each block: where it is, whether it is copied, which rows are late.
        self._marks = stack.enter_context(
            tempfile.SpooledTemporaryFile(_MARKS)  # noqa: SIM115
        )
        self._mark: tuple[int, int, int, bool] | None = None
        self._late: frozenset[int] = frozenset()

    def find(self) -> None:
        """Read all batches, and spill the rows that are late."""
        frontier = _Frontier(self._window)
        for number, batch in self._batches:
            lowest = frontier.key
            found = (
                [i for i, key in enumerate(batch.keys) if key < lowest]
                if batch.keys and min(batch.keys) < lowest
                else []
            )
            for i in found:
                self._spill.add(batch.keys[i], batch.rows[i])
            copied = batch.copied and not found and batch.dated()
            head = _HEAD.pack(number, batch.offset, len(found), copied)
            indexes = b"".join(i.to_bytes(4, "little") for i in found)
            self._marks.write(head + indexes)
            frontier.add(batch)
        self._marks.seek(0)

    def known(self) -> Iterator[bool]:
        """Yield, before each block, whether it is copied."""
        while head := self._marks.read(_HEAD.size):
            self._mark = _HEAD.unpack(head)
            data = self._marks.read(4 * self._mark[2])
            self._late = frozenset(
                int.from_bytes(data[i : i + 4], "little")
                for i in range(0, len(data), 4)
            )
            yield self._mark[3]

    def mismatch(self, number: int, batch: Batch) -> str:
        """Return what is wrong if *batch* is not the one of the first reading."""
        if self._mark is None or self._mark[:2] != (number, batch.offset):
            return "it was another file when it was read for the second time"
        return ""

    def rows(self, batches: Iterator[tuple[int, Batch]]) -> Iterator[Rows]:
        """Yield the rows of *batches*, and those that are late, in order."""
        if not self._spill:
            yield from self._in_time(batches)
            return
        # Of equals the late one comes last: it stands behind them in the file.
        merged = heapq.merge(
            _singly(self._in_time(batches)), self._spill.rows(), key=by_key
        )
        yield from _grouped(merged)

    def _in_time(self, batches: Iterator[tuple[int, Batch]]) -> Iterator[Rows]:
        frontier = _Frontier(self._window)
        held: list[Keyed] = []
        for _, batch in batches:
            late = self._late
            held += (
                zip(batch.keys, batch.rows, strict=True)
                if not late
                else (
                    (key, row)
                    for i, (key, row) in enumerate(
                        zip(batch.keys, batch.rows, strict=True)
                    )
                    if i not in late
                )
            )
            frontier.add(batch)
            held.sort(key=by_key)
            done = bisect_right(held, frontier.key, key=by_key)
            if done:
                yield [key for key, _ in held[:done]], [row for _, row in held[:done]]
                del held[:done]
        if held:
            yield [key for key, _ in held], [row for _, row in held]


class _Frontier:
    """The highest key of all blocks that lie more than a window behind."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._position = 0
        self._highest: deque[tuple[int, str]] = deque()
        self.key = ""

    def add(self, batch: Batch) -> None:
        self._position += batch.size
        if batch.keys:
            self._highest.append((self._position, max(batch.keys)))
        while self._highest and self._highest[0][0] <= self._position - self._window:
            self.key = max(self.key, self._highest.popleft()[1])


def _singly(groups: Iterator[Rows]) -> Iterator[Keyed]:
    for keys, rows in groups:
        yield from zip(keys, rows, strict=True)


def _grouped(merged: Iterator[Keyed]) -> Iterator[Rows]:
    keys: list[str] = []
    rows: list[bytes] = []
    for key, row in merged:
        keys.append(key)
        rows.append(row)
        if len(rows) == _GROUP:
            yield keys, rows
            keys, rows = [], []
    if rows:
        yield keys, rows


def _ignore(_damage: Damage) -> None:
    """Do nothing: it was told when the file was read for the first time."""


__all__ = ["HELD_BYTES", "WINDOW_BYTES", "Day", "Rows"]
