"""
From a directory to a tally: the files of the days that count, each read once.

A record like one that was seen before is counted by a few looks into tables.  Every
other line goes the way of all reading (``scan``), which judges it.

R1  Damage is counted, and does not stop the reading.
R2  One block of one file is held, and the tally.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

import orjson

from tokenpak.telemetry.read.filter import Query
from tokenpak.telemetry.read.pending import Pending
from tokenpak.telemetry.read.reader import read_entries
from tokenpak.telemetry.read.records import (
    HUGE_LINE,
    MalformedLine,
    UnreadableFile,
)
from tokenpak.telemetry.read.scan import blocks_of, found_in
from tokenpak.telemetry.read.source import LogDirectory
from tokenpak.telemetry.report.kinds import LONGEST, SAME, shape_of
from tokenpak.telemetry.report.parallel import Crew, workers_for
from tokenpak.telemetry.report.quantiles import MOST
from tokenpak.telemetry.report.tally import KNOWN, NUMBERS, Tally
from tokenpak.telemetry.report.window import BEFORE, CANONICAL, HISTORY
from tokenpak.telemetry.store.names import ERRORS

if TYPE_CHECKING:
    from tokenpak.telemetry.read.lines import Block
    from tokenpak.telemetry.read.records import Damage, Found
    from tokenpak.telemetry.report.window import Window

_FOLD_EVERY: Final = 2_000
_MOST_FILES: Final = 1_000
"""Files that damage is told of by name."""


@dataclass(slots=True)
class Gathered:
    """What was read: the tally, and the damage."""

    tally: Tally
    malformed: Counter[str] = field(default_factory=Counter)
    """Lines, by file."""
    unreadable: list[UnreadableFile] = field(default_factory=list)

    def count(self, item: Found | Damage) -> None:
        """Count a record, or damage."""
        if isinstance(item, tuple):
            self.tally.note(item[0])
        else:
            self.note(item)

    def note(self, damage: Damage) -> None:
        """Count *damage*."""
        if isinstance(damage, MalformedLine):
            self.malformed[damage.file] += 1
        elif len(self.unreadable) < _MOST_FILES:
            self.unreadable.append(damage)

    def add_all(self, other: Gathered) -> None:
        """Count what *other* has."""
        self.tally.add_all(other.tally)
        self.malformed.update(other.malformed)
        self.unreadable += other.unreadable


def gather(
    log_dir: str | os.PathLike[str],
    query: Query,
    window: Window,
    *,
    pending: bool = False,
    workers: int | None = 1,
) -> Gathered:
    """
    Return what there is in *log_dir* of the records that *query* wants.

    Args:
        log_dir: the directory of the daily files.
        query: which records; its times are not looked at, but those of *window*.
        window: which times.
        pending: whether what has been accepted and is not in the log yet counts, too.
        workers: how many processes share the work.  None: as many as there are
            processors, if that is safe and worth it; more than 1 forks.

    Raises:
        OSError: *log_dir* cannot be listed.

    """
    wanted = replace(query, since=window.history, until=window.until)
    gathered = Gathered(Tally(window))
    plain = replace(query, since=None, until=None) == Query(stream=query.stream)
    if plain and query.stream == ERRORS:
        _gather_lines(os.fspath(log_dir), wanted, gathered, workers, pending=pending)
    else:
        left = _FOLD_EVERY
        for item in read_entries(log_dir, wanted, pending=pending):
            gathered.count(item)
            left -= 1
            if not left:
                gathered.tally.fold()
                left = _FOLD_EVERY
    gathered.tally.fold()
    return gathered


def _gather_lines(
    log_dir: str,
    query: Query,
    gathered: Gathered,
    workers: int | None,
    *,
    pending: bool,
) -> None:
    """Count all errors of the days of *query*, as reader.read_entries() reads them."""
    with ExitStack() as stack:
        waiting = None
        if pending:
            # The sizes of the files and the spools come before the log.
            waiting = stack.enter_context(Pending(log_dir, ERRORS, None))
        directory = LogDirectory(log_dir, ERRORS, query.covers, partial=True)
        for damage in directory.unreadable:
            gathered.note(damage)
        crew: Crew | None = None
        number = workers_for(log_dir, query, workers)
        if number > 1:
            window = gathered.tally.window
            crew = Crew(number - 1, lambda: _Helper(Gathered(Tally(window))))
            stack.callback(crew.close)
        for day in directory.days():
            with directory.open_day(day) as opened:
                for damage in opened.unreadable:
                    gathered.note(damage)
                for file in opened.files:
                    path = file.file.path
                    look = None if waiting is None else waiting.watch(file)
                    for block in blocks_of(file, gathered.note):
                        if look is not None:
                            look(block)
                        if crew is None or not crew.take(path, block):
                            count_block(gathered, path, block)
        if waiting is not None:
            for item in waiting.records(None):
                gathered.count(item)
        if crew is not None:
            for part in crew.finish():
                gathered.add_all(part)


class _Helper:
    """What a worker does."""

    def __init__(self, gathered: Gathered) -> None:
        self.result = gathered

    def do(self, path: str, block: Block) -> None:
        """Count a block."""
        count_block(self.result, path, block)


def count_block(gathered: Gathered, path: str, block: Block) -> None:
    """Count the lines of *block*, of the errors in the file *path*."""
    tally = gathered.tally
    # Only the first line of a block can be longer than a chunk.
    if block.end != "newline" or len(block.lines[0]) > HUGE_LINE:
        _count_slowly(gathered, path, block)
        return
    loads, same, most = orjson.loads, SAME, LONGEST
    minutes, stacks, known = tally.slots.minutes, tally.frames.known, tally.known
    now, is_time = BEFORE + tally.window.slots, datetime.fromisoformat
    offset, count = block.offset, 0
    # The hot loop of a report: what Tally.note() does, for a record of a kind that was
    # seen before, of a minute that was seen before.  All else raises.
    for line in block.lines:
        try:
            record = loads(line)
            stamp, message = record["timestamp"], record["message"]
            stack, context = record["stack_trace"], record["context"]
            end = len(stack) - len(message) - 1
            get = context.get
            frames = stacks[stack[:end] if stack.startswith(message, end) else stack]
            text = message[:most].encode().translate(same)
            said = record["error_type"], get("provider"), get("model"), get("kind")
            entry = known.get((frames, text, said))
            if entry is None:
                # Not by its digits alone: ids with letters in them.
                entry = known[frames, shape_of(message), said]
                if len(known) < KNOWN:
                    known[frames, text, said] = entry
            slot = minutes[stamp[:16]]
            if len(stamp) != CANONICAL or stamp[-1] != "Z" or "storm" in context:
                raise KeyError
            is_time(stamp)  # what comes behind the minute may be anything
            duration, cost = get("duration_ms"), get("cost_estimate")
            if duration is not None and not (
                type(duration) in NUMBERS and 0 <= duration <= MOST
            ):
                raise KeyError
            if cost is not None and not (type(cost) in NUMBERS and 0 <= cost <= MOST):
                raise KeyError
            if slot >= now:
                if stamp > entry.last:  # noqa: PLR1730  (a call takes longer)
                    entry.last = stamp
                if stamp < entry.first:
                    entry.see(stamp, record)
                group = entry.now
            else:
                group = entry.before
            if slot > HISTORY:
                if duration is not None:
                    group.duration.kept.append(duration)
                if cost is not None:
                    group.cost.kept.append(cost)
            entry.counts[slot] += 1
            count += 1
        except (KeyError, TypeError, AttributeError, IndexError):
            if type(record) is dict:
                tally.note(record)
            else:
                _count_slowly(
                    gathered, path, block._replace(offset=offset, lines=[line])
                )
        except ValueError:
            _count_slowly(gathered, path, block._replace(offset=offset, lines=[line]))
        offset += len(line) + 1
    tally.read += count
    tally.fold()


def _count_slowly(gathered: Gathered, path: str, block: Block) -> None:
    for item in found_in(block, path, ERRORS):
        gathered.count(item)
    gathered.tally.fold()


__all__ = ["Gathered", "count_block", "gather"]
