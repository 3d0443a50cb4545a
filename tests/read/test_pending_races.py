"""R1: each record is shown once, whatever happens to spool and log meanwhile."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from tests.queue.logs import Make, held_locks
from tests.queue.test_recovery import make_orphan
from tests.read.log_making import DAY, as_lines, write_log
from tests.read.waiting import (
    FILLER,
    FOREIGN,
    LINES,
    RANGE,
    RECORDS,
    as_counts,
    noted_orphan,
    read_both,
)
from tokenpak.telemetry.queue.recovery import recover
from tokenpak.telemetry.read import (
    Query,
    Record,
    iter_records,
    pending,
)
from tokenpak.telemetry.store.segment import Segment
from tokenpak.telemetry.store.spool import SpoolFile


class Interruption:
    """
    Does something once, before the Nth call of those by which a reader looks at files.

    Attributes:
        done: whether it was: there were that many calls.

    """

    CALLS = ("open", "listdir", "pread", "lstat", "fstat", "stat", "read")

    def __init__(self, number: int, act: Callable[[], object]) -> None:
        self._left = number
        self._act = act
        self._real = {name: getattr(os, name) for name in self.CALLS}
        self.done = False

    def __enter__(self) -> Self:
        for name in self.CALLS:
            setattr(os, name, self._wrapped(name))
        return self

    def __exit__(self, *_: object) -> None:
        for name, call in self._real.items():
            setattr(os, name, call)

    def _wrapped(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self._left == 0 and not self.done:
                self.done = True
                self._act()
            self._left -= 1
            return self._real[name](*args, **kwargs)

        return call


def interrupted_at_each_call(
    places: Iterator[Path], act: Callable[[Path], object], step: int = 1
) -> Iterator[tuple[str, Path, list[Record]]]:
    """Yield what is read with *act* before the Nth call, for each *step*-th N."""
    for number, place in zip(itertools.count(0, step), places, strict=False):
        with Interruption(number, lambda place=place: act(place)) as interruption:  # type: ignore[misc]
            records, _ = read_both(place)
        if not interruption.done:
            assert number > 30
            return
        yield f"before call {number}", place, records


@pytest.mark.parametrize(("held_open", "step"), [(64, 1), (1, 3)])
def test_r1_a_recovery_at_each_moment_of_reading_shows_each_record_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held_open: int, step: int
) -> None:
    """
    And the reader keeps nobody from adopting: the recovery finds all there is.
    """
    monkeypatch.setattr(pending, "_OPEN", held_open)

    def orphans() -> Iterator[Path]:
        for number in range(1000):
            place = tmp_path / str(number)
            log = as_lines(FILLER) + LINES[0]
            noted_orphan(place, log + RANGE[:100], len(log))
            make_orphan(place, [as_lines([FOREIGN])])[0].release()
            yield place

    def recover_all(place: Path) -> None:
        assert recover(str(place)).spools == 2

    expected = as_counts([*FILLER, *RECORDS, FOREIGN])
    for moment, _, records in interrupted_at_each_call(orphans(), recover_all, step):
        assert as_counts(records) == expected, moment


def test_r1_what_a_living_process_cannot_append_is_shown(
    make_logger: Make, log_dir: Path
) -> None:
    """While its disk is full, or a lock is held; and not twice when it goes on."""
    logger = make_logger()
    logger.log_event("first")
    assert logger.flush(240)
    with held_locks(log_dir):
        logger.log_event("held")
        waiting = iter_records(log_dir, Query(stream="events"), pending=True)
        first = next(waiting)
        again = iter_records(log_dir, Query(stream="events"), pending=True)
    assert logger.flush(240)

    shown = [first, *waiting], [*again]

    for items in shown:
        assert [i["event"] for i in items if isinstance(i, dict)] == ["first", "held"]


def test_r1_an_append_at_each_moment_of_reading_is_seen_once(tmp_path: Path) -> None:
    """By an owner that lives: the spool stays, and its notes go on."""
    spools: dict[Path, tuple[SpoolFile, Segment]] = {}

    def living() -> Iterator[Path]:
        for number in range(1000):
            place = tmp_path / str(number)
            write_log(place, LINES[0])
            spools[place] = make_orphan(place, LINES[1:])
            yield place

    def append(place: Path) -> None:
        spool, segment = spools[place]
        path = place / f"errors-{DAY}.jsonl"
        status = path.stat()
        end = segment.end()
        spool.notes.begin(
            DAY, (status.st_dev, status.st_ino), status.st_size, (1, 0), (1, end)
        )
        with open(path, "ab") as log:
            log.write(segment[:end])
        spool.notes.done()

    for moment, place, records in interrupted_at_each_call(living(), append):
        assert as_counts(records) == as_counts(RECORDS), moment
        spools[place][0].remove()


def test_r1_what_is_accepted_and_appended_meanwhile_is_seen_once(
    tmp_path: Path,
) -> None:
    """It is of the log, not of the snapshot, though it lies in the spool, too."""
    path = write_log(tmp_path, LINES[0])
    spool, segment = make_orphan(tmp_path, LINES[1:3])
    records = iter_records(tmp_path, pending=True)
    segment.write(LINES[3])
    with open(path, "ab") as log:
        log.write(RANGE + LINES[3])

    found = [item for item in records if isinstance(item, dict)]
    spool.remove()

    assert found == RECORDS


def test_r1_lines_that_are_alike_are_counted(tmp_path: Path) -> None:
    """Two that are equal are two records: of one more in the log, one is left."""
    path = write_log(tmp_path, LINES[0])
    spool, _ = make_orphan(tmp_path, [LINES[1], LINES[1], LINES[1]])
    records = iter_records(tmp_path, pending=True)
    with open(path, "ab") as log:
        log.write(LINES[1] * 2)

    found = [item for item in records if isinstance(item, dict)]
    spool.remove()

    assert found == [RECORDS[0], RECORDS[1], RECORDS[1], RECORDS[1]]


def test_r1_a_slot_that_is_used_again_meanwhile_shows_nothing_strange(
    tmp_path: Path,
) -> None:
    """
    Its lines are in the log then; the new ones are not of this snapshot.
    """
    write_log(tmp_path, LINES[0])
    spool, segment = make_orphan(tmp_path, LINES[1:3])
    records = iter_records(tmp_path, pending=True)
    first = next(records)
    with open(tmp_path / f"errors-{DAY}.jsonl", "ab") as log:
        log.write(RANGE)
    spool.notes.set_slot(0, 0)
    segment[: len(RANGE)] = bytes(len(RANGE))
    spool.notes.set_slot(0, 2)
    segment[: len(LINES[3])] = LINES[3]

    rest = list(records)
    spool.remove()

    assert first == RECORDS[0]
    assert rest == []
