"""Each record is shown once: from the spool of its process, or from the log."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from tests.queue.logs import Make
from tests.queue.test_recovery import make_orphan
from tests.read.log_making import DAY, as_lines, make_record, make_records, write_log
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.queue.recovery import recover
from tokenpak.telemetry.read import Query, follow_files
from tokenpak.telemetry.read.follow import Follower
from tokenpak.telemetry.store.glance import SpoolGlance
from tokenpak.telemetry.store.lock import try_lock
from tokenpak.telemetry.store.names import day_file_name
from tokenpak.telemetry.store.peek import SpoolView
from tokenpak.telemetry.store.spool import spool_paths


def ids(items: Any) -> list[str]:
    return [item[0]["request_id"] for item in items if isinstance(item, tuple)]


@contextlib.contextmanager
def held_errors(log_dir: Path) -> Iterator[None]:
    """Hold the locks of today's and tomorrow's errors: nobody can append."""
    log_dir.mkdir(parents=True, exist_ok=True)
    fds = []
    for days in (0, 1):
        day = (datetime.now(UTC) + timedelta(days)).date().isoformat()
        path = log_dir / day_file_name("errors", day)
        fds.append(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600))
        while not try_lock(fds[-1]):
            os.sched_yield()
    try:
        yield
    finally:
        for fd in fds:
            os.close(fd)


@pytest.fixture(autouse=True)
def _listings_are_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else they wait for each other, where polls follow each other at once."""
    monkeypatch.setattr(follow_files, "_SHARE", 0)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made = []

    def build(**options: Any) -> ErrorLogger:
        made.append(ErrorLogger(log_dir=str(tmp_path / "logs"), **options))
        return made[-1]

    yield build
    for logger in made:
        logger.close(240)


def log(logger: ErrorLogger, *names: str) -> None:
    for name in names:
        logger.log_error(name, ValueError(name), {"provider": name[0]})


def test_s4_a_record_of_a_living_process_is_shown_before_it_is_in_the_log(
    tmp_path: Path, make: Make
) -> None:
    """And not again when it arrives there, as often as one looks."""
    logger = make()
    log(logger, "first")
    assert logger.flush(240)
    with Follower(tmp_path / "logs") as follower:
        assert ids(follower.last()) == ["first"]
        with held_errors(tmp_path / "logs"):
            log(logger, "a1", "a2")
            assert ids(follower.poll()) == ["a1", "a2"]
            log(logger, "a3")
            assert ids(follower.poll()) == ["a3"]
            assert ids(follower.poll()) == []
        assert logger.flush(240)
        log(logger, "a4")
        assert logger.flush(240)
        assert ids(follower.poll()) == ["a4"]
        assert ids(follower.poll()) == []


def test_s4_what_waits_at_the_beginning_counts_among_the_last(
    tmp_path: Path, make: Make
) -> None:
    """Behind what is in the log."""
    logger = make()
    log(logger, "a1", "a2")
    assert logger.flush(240)
    with held_errors(tmp_path / "logs"):
        log(logger, "a3")
        with Follower(tmp_path / "logs") as follower:
            assert ids(follower.last(2)) == ["a2", "a3"]
        with Follower(tmp_path / "logs") as follower:
            assert ids(follower.last(0)) == []
            assert ids(follower.poll()) == []


def test_filters_hold_for_what_waits_too(tmp_path: Path, make: Make) -> None:
    """What is not wanted is not shown, from nowhere."""
    logger = make()
    with held_errors(tmp_path / "logs"):
        log(logger, "x1", "y1")
        with Follower(tmp_path / "logs", Query(provider="x")) as follower:
            assert ids(follower.last()) == ["x1"]
            log(logger, "y2", "x2")
            assert ids(follower.poll()) == ["x2"]
        with Follower(tmp_path / "logs", Query(stream="events")) as follower:
            assert ids(follower.last()) == []


def test_q1_a_record_of_a_dead_process_is_shown_once_whoever_recovers_it(
    tmp_path: Path,
) -> None:
    """From its spool first; then it is appended, and its spool deleted."""
    write_log(tmp_path, as_lines(make_records(1)))
    lines = [as_lines([record]) for record in make_records(4)[1:]]
    with Follower(tmp_path) as follower:
        assert ids(follower.last()) == ["req-0"]
        spool, _ = make_orphan(tmp_path, lines)
        assert ids(follower.poll()) == ["req-1", "req-2", "req-3"]
        spool.release()
        assert recover(str(tmp_path)).records == 3
        assert ids(follower.poll()) == []
        assert ids(follower.poll()) == []


def test_q1_recovered_between_two_looks(tmp_path: Path) -> None:
    """Never seen in its spool, it comes from the log."""
    with_log = write_log(tmp_path, as_lines(make_records(1)))
    assert with_log.exists()
    with Follower(tmp_path) as follower:
        follower.last()
        spool, _ = make_orphan(tmp_path, [as_lines([make_record(7)])])
        spool.release()
        recover(str(tmp_path))
        assert ids(follower.poll()) == ["req-7"]


def test_records_that_are_alike_are_shown_as_often_as_they_were_logged(
    tmp_path: Path,
) -> None:
    """Two lines with the same bytes are two records."""
    write_log(tmp_path, b"")
    line = as_lines([make_record(1)])
    with Follower(tmp_path) as follower:
        follower.last()
        spool, segment = make_orphan(tmp_path, [line, line])
        assert ids(follower.poll()) == ["req-1", "req-1"]
        segment.write(line)
        assert ids(follower.poll()) == ["req-1"]
        spool.release()
        recover(str(tmp_path))
        write_log(tmp_path, line * 4)  # one more, by somebody else
        assert ids(follower.poll()) == ["req-1"]


STEP = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 1)),
    st.tuples(st.just("append"), st.integers(0, 1)),
    st.tuples(st.just("poll"), st.just(0)),
    st.tuples(st.just("look"), st.just(0)),
)


@given(steps=st.lists(STEP, max_size=14))
@settings(max_examples=150, deadline=None)
def test_s4_put_and_appended_at_any_moment_of_a_look(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    """Also between its steps: each record once, and each spool's in order."""
    place = tmp_path_factory.mktemp("log")
    path = write_log(place, b"")
    status = path.stat()
    made = [make_orphan(place, []) for _ in range(2)]
    put: list[list[bytes]] = [[], []]
    appended = [0, 0]
    count = 0
    seen: list[str] = []

    def put_one(which: int) -> None:
        nonlocal count
        record = make_record(count)
        count += 1
        put[which].append(as_lines([record]))
        made[which][1].write(put[which][-1])

    def append(which: int) -> None:
        spool, segment = made[which]
        start = sum(map(len, put[which][: appended[which]]))
        data = b"".join(put[which][appended[which] :])
        if data:
            end = start + len(data)
            spool.notes.begin(
                DAY,
                (status.st_dev, status.st_ino),
                path.stat().st_size,
                (segment.sequence, start),
                (segment.sequence, end),
            )
            with path.open("ab") as file:
                file.write(data)
            spool.notes.done()
            appended[which] = len(put[which])

    follower = Follower(place)
    with follower:
        for name, which in steps:
            if name == "put":
                put_one(which)
            elif name == "append":
                append(which)
            elif name == "poll":
                seen += ids(follower.poll())
            else:  # both write while the look is under way
                poll = follower.poll()
                follower._spools.look()
                append(0)
                put_one(1)
                seen += ids(poll)
        seen += ids(follower.poll())
        for which in (0, 1):
            append(which)
        seen += ids(follower.poll())
        seen += ids(follower.poll())
    for spool, _ in made:
        spool.remove()  # or all examples together take 600 MB

    assert Counter(seen) == Counter(f"req-{n}" for n in range(count))
    for lines in put:
        order = [name for name in seen if any(f'"{name}"'.encode() in x for x in lines)]
        assert order == sorted(order, key=lambda name: int(name[4:]))


def test_r2_what_was_shown_is_forgotten_when_it_is_in_the_log(
    tmp_path: Path, make: Make
) -> None:
    """Nothing is kept of records that have arrived."""
    (tmp_path / "logs").mkdir()
    logger = make()
    with Follower(tmp_path / "logs") as follower:
        for number in range(3):
            with held_errors(tmp_path / "logs"):
                log(logger, f"a{number}")
                assert ids(follower.poll()) == [f"a{number}"]
            assert logger.flush(240)
            assert ids(follower.poll()) == []
        assert ids(follower.poll()) == []
        assert not follower._spools._shown
        assert not follower._spools._passed
        assert all(not spool.shown for spool in follower._spools._spools.values())


def test_r1_a_spool_that_is_none_is_told_of_once(tmp_path: Path) -> None:
    """And the log is followed on."""
    write_log(tmp_path, as_lines(make_records(1)))
    folder = tmp_path / "spool"
    folder.mkdir()
    (folder / "bad.spool").write_bytes(b"x" * 10_000)
    (name,) = spool_paths(str(folder)) or [str(folder / "bad.spool")]
    with Follower(tmp_path) as follower:
        items = follower.last()
        reasons = [item.reason for item in items if not isinstance(item, tuple)]
        assert ids(items) == ["req-0"]
        assert len(reasons) == 1
        assert "is not a spool" in reasons[0]
        assert list(follower.poll()) == []
    assert os.path.exists(name)


def test_s3_the_next_day_and_late_records_of_the_last_one_come(tmp_path: Path) -> None:
    """Across midnight, in files that were not there."""
    write_log(tmp_path, as_lines(make_records(1)), "2026-03-23")
    with Follower(tmp_path) as follower:
        assert ids(follower.last(5)) == ["req-0"]
        write_log(tmp_path, as_lines([make_record(1, DAY)]))
        assert ids(follower.poll()) == ["req-1"]
        with (tmp_path / "errors-2026-03-23.jsonl").open("ab") as file:
            file.write(as_lines([make_record(2, "2026-03-23")]))
        assert ids(follower.poll()) == ["req-2"]


def test_the_last_ones_are_taken_from_as_many_files_as_needed(tmp_path: Path) -> None:
    """Archives and their late parts, too, in their order."""
    for number, (day, how) in enumerate(
        [
            ("2026-03-20", {"archived": True, "compressed": True}),
            ("2026-03-21", {"archived": True, "compressed": True}),
            ("2026-03-21", {"part": ".1", "archived": True, "compressed": True}),
            ("2026-03-21", {}),
            ("2026-03-22", {}),
        ]
    ):
        records = [make_record(10 * number + n, day) for n in range(2)]
        write_log(tmp_path, as_lines(records), day, **how)  # type: ignore[arg-type]
    with Follower(tmp_path) as follower:
        found = ids(follower.last(7))

    assert found == [f"req-{n}" for n in (11, 20, 21, 30, 31, 40, 41)]


def test_r1_damage_among_the_last_is_told_of_at_its_place(tmp_path: Path) -> None:
    """Before the record that stands behind it."""
    lines = as_lines(make_records(1)) + b"garbage\n" + as_lines([make_record(1)])
    write_log(tmp_path, lines)
    with Follower(tmp_path) as follower:
        items = follower.last(2)

    assert [isinstance(item, tuple) for item in items] == [True, False, True]


def test_r1_idle_spools_are_glanced_at_only(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look costs a hundred times as much."""
    logger = make()
    log(logger, "a1")
    assert logger.flush(240)
    with Follower(tmp_path / "logs") as follower:
        follower.last()
        list(follower.poll())

        def fail(*_: object) -> None:
            raise AssertionError("looked")

        monkeypatch.setattr("tokenpak.telemetry.read.follow_spools.SpoolView", fail)
        assert list(follower.poll()) == []


def test_r1_what_is_no_file_is_told_of_and_the_log_followed_on(tmp_path: Path) -> None:
    """Pipes, directories and links of the names of log files."""
    write_log(tmp_path, as_lines(make_records(1)))
    (tmp_path / "archive").mkdir()

    def make_odd(day: int) -> None:
        os.mkfifo(tmp_path / f"errors-2026-03-{day}.jsonl")
        (tmp_path / f"errors-2026-03-{day + 1}.jsonl").mkdir()
        (tmp_path / f"errors-2026-03-{day + 2}.jsonl").symlink_to("/dev/zero")
        os.mkfifo(tmp_path / "archive" / f"errors-2026-03-{day}.jsonl.gz")

    make_odd(10)
    with Follower(tmp_path) as follower:
        assert ids(follower.last(2)) == ["req-0"]
        assert list(follower.poll()) == []
        make_odd(20)
        problems = [item for item in follower.poll() if not isinstance(item, tuple)]
        assert len(problems) >= 2
        with (tmp_path / f"errors-{DAY}.jsonl").open("ab") as file:
            file.write(as_lines([make_record(1)]))
        assert ids(follower.poll()) == ["req-1"]


def test_where_there_is_no_pread_the_log_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, where there are no spools."""
    write_log(tmp_path, as_lines(make_records(3)))
    monkeypatch.delattr(os, "pread")
    with Follower(tmp_path) as follower:
        assert ids(follower.last(2)) == ["req-1", "req-2"]
        with (tmp_path / f"errors-{DAY}.jsonl").open("ab") as file:
            file.write(as_lines([make_record(3)]))
        assert ids(follower.poll()) == ["req-3"]


@pytest.mark.parametrize("keep_open", [True, False])
def test_a_glance_sees_a_line_in_the_segment_and_in_the_next(
    tmp_path: Path, keep_open: bool
) -> None:
    """Whether the one before is sealed or not."""
    spool, segment = make_orphan(tmp_path, [as_lines([make_record(1)])])
    spool.reserve(1, 1)
    following = spool.map(1, 2)
    spool.notes.set_slot(1, 2)
    (path,) = spool_paths(str(tmp_path / "spool"))
    glance = SpoolGlance(path, keep_open=keep_open)
    assert glance.changed()
    with SpoolView(path, str(tmp_path)) as view:
        glance.remember(view.places_behind((1, len(as_lines([make_record(1)])))))
    assert not glance.changed()
    following.write(b"x\n")
    assert glance.changed()
    glance.remember([])
    assert not glance.changed()
    segment.write(b"y\n")
    glance.look_again()
    assert glance.changed()
    glance.close()
    glance.close()
    spool.release()
