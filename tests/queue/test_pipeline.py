"""The whole queue of a logger: threads, outages, memory, no thread, the end."""

from __future__ import annotations

import _thread
import gc
import logging
import os
import stat
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.queue.logs import Make, events, eventually, held_locks
from tokenpak.telemetry.queue import housekeeping, pipeline, teller
from tokenpak.telemetry.queue import writer as writer_module
from tokenpak.telemetry.queue.drain import pending
from tokenpak.telemetry.settings import MIB, SEGMENT_BYTES
from tokenpak.telemetry.store.names import EVENTS
from tokenpak.telemetry.store.notes import NOT_ENCODED, QUEUE_FULL
from tokenpak.telemetry.store.spool import SpoolFile, spool_paths


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let no thread be started; return how often it was tried."""
    tries: list[int] = []

    def refuse(*_: object) -> int:
        tries.append(1)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    return tries


# -- threads ------------------------------------------------------------------------


def test_q2_eight_threads_lose_nothing_and_keep_their_order(
    make_logger: Make, log_dir: Path
) -> None:
    """
    At a switch interval of 10 µs: no two steps of the queue go undisturbed.
    """
    logger = make_logger()
    together = threading.Barrier(8)

    def log(thread: int) -> None:
        together.wait(120)
        for number in range(20_000):
            logger.log_event("e", f"{thread} {number}")

    threads = [threading.Thread(target=log, args=(n,)) for n in range(8)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    flushed = logger.flush(60)
    stats = logger.stats()
    by_thread: dict[str, list[str]] = {}
    for record in events(log_dir):
        name, _, number = record["request_id"].partition(" ")
        by_thread.setdefault(name, []).append(number)

    assert flushed
    assert stats.dropped == {}
    assert stats.accepted == stats.written == 160_000
    assert by_thread == {f"{n}": [f"{i}" for i in range(20_000)] for n in range(8)}


# -- outages ------------------------------------------------------------------------


def test_q4_the_bound_holds_while_the_log_is_blocked(
    make_logger: Make, log_dir: Path
) -> None:
    """
    Calls are accepted or dropped; then all that was accepted is in the file, and one
    record says how many are not.
    """
    logger = make_logger(max_pending_bytes=2 * SEGMENT_BYTES)
    calls = 600
    with held_locks(log_dir):
        for number in range(calls):
            logger.log_event("e", f"{number}", {"pad": "x" * 20_000})
        during = logger.stats()
        spool_bytes = sum(
            os.stat(path).st_blocks * 512 for path in spool_paths(f"{log_dir}/spool")
        )
    flushed = logger.flush(60)
    told = eventually(lambda: logger.stats().notices == 1) and logger.flush(60)
    after = logger.stats()
    records = events(log_dir)
    notices = [r["context"] for r in records if r["event"] == "RecordsDropped"]
    written = [r["request_id"] for r in records if r["event"] == "e"]

    assert flushed
    assert told
    assert set(during.dropped) == {QUEUE_FULL}
    assert during.accepted + during.dropped[QUEUE_FULL] == calls
    assert during.pending_bytes <= 2 * SEGMENT_BYTES
    assert spool_bytes <= 2 * SEGMENT_BYTES + MIB
    assert during.written == 0
    assert written == [f"{number}" for number in range(during.accepted)]
    assert [n["dropped"] for n in notices] == [during.dropped[QUEUE_FULL]]
    assert notices[0]["reason"] == QUEUE_FULL
    assert after.written == after.accepted + 1
    assert after.pending_records == 0


def test_q3_written_is_never_more_than_is_in_the_log(
    make_logger: Make, log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Also when records are put while they are counted.
    """
    logger = make_logger()
    count = pending

    def and_put(*arguments: Any) -> tuple[int, int]:
        found = count(*arguments)
        logger.log_event("meanwhile")
        return found

    with held_locks(log_dir):
        logger.log_event("first")
        with monkeypatch.context() as patch:
            patch.setattr(pipeline, "pending", and_put)
            during = logger.stats()

    assert during.written == 0
    assert logger.flush(60)
    assert logger.stats().written == logger.stats().accepted


def test_x2_a_lock_that_is_held_long_is_warned_of(
    make_logger: Make,
    log_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Nothing is written, and nothing fails: a person has to be told all the same.
    """
    caplog.set_level(logging.WARNING, "tokenpak.telemetry")
    monkeypatch.setattr(housekeeping, "LOCK_WARNING", 0.0)
    logger = make_logger()
    with held_locks(log_dir):
        logger.log_event("e")
        warned = eventually(lambda: "held the lock" in caplog.text)

    assert warned
    assert str(log_dir) in caplog.text


def test_x2_a_lock_that_is_held_long_is_warned_of_though_the_other_stream_goes_on(
    make_logger: Make,
    log_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    no_threads: list[int],
) -> None:
    """
    Errors are written all the time, and no event for a minute.
    """
    caplog.set_level(logging.WARNING, "tokenpak.telemetry")
    now = [1_000.0]
    monkeypatch.setattr(
        housekeeping,
        "time",
        SimpleNamespace(monotonic=lambda: now[0], time_ns=time.time_ns),
    )
    logger = make_logger()
    with held_locks(log_dir):
        logger.log_event("e")
        for _ in range(10):
            logger.log_error("r", ValueError("x"))
            logger._pipeline._writer._pass()
            now[0] += 6.0
        written = logger.stats().written

    assert written == 10
    assert no_threads
    assert "held the lock" in caplog.text


# -- without a spool ----------------------------------------------------------------


def test_x2_without_a_spool_records_are_kept_in_memory_and_that_is_told(
    make_logger: Make,
    log_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    And when one can be had again, the queue goes on in it: nothing lost, in order.
    """
    caplog.set_level(logging.WARNING, "tokenpak.telemetry")
    monkeypatch.setattr(housekeeping, "SPOOL_CHECK", 0.0)
    place = log_dir / "spool"
    log_dir.mkdir()
    place.write_text("in the way")
    monkeypatch.setattr(
        pipeline, "spool_directories", lambda log_dir, spool_dir: [str(place)]
    )
    logger = make_logger()
    logger.log_event("e", "0")
    logger.flush(60)
    before = logger.stats().durable
    warned = eventually(lambda: "may be lost" in caplog.text)
    place.unlink()
    number = 1
    while not logger.stats().durable and number < 100_000:
        logger.log_event("e", f"{number}")
        number += 1
        logger.flush(60)
    logger.log_event("e", f"{number}")
    flushed = logger.flush(60)

    assert not before
    assert warned
    assert str(place) in caplog.text
    assert logger.stats().durable
    assert len(spool_paths(str(place))) == 1
    assert flushed
    assert [r["request_id"] for r in events(log_dir)] == [
        f"{n}" for n in range(number + 1)
    ]


def test_q1_a_spool_that_was_deleted_is_replaced(
    make_logger: Make, log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Somebody cleans up: what comes next is safe again, and nothing is lost meanwhile.
    """
    monkeypatch.setattr(housekeeping, "SPOOL_CHECK", 0.0)
    logger = make_logger()
    logger.log_event("e", "0")
    logger.flush(60)
    (path,) = spool_paths(f"{log_dir}/spool")
    os.unlink(path)
    number = 0
    while not spool_paths(f"{log_dir}/spool") and number < 100_000:
        number += 1
        logger.log_event("e", f"{number}")
        logger.flush(60)
    closed = logger.close(60)

    assert closed
    assert [r["request_id"] for r in events(log_dir)] == [
        f"{n}" for n in range(number + 1)
    ]
    assert spool_paths(f"{log_dir}/spool") == []


def test_q3_no_descriptor_for_the_first_mapping_costs_no_record(
    make_logger: Make, log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The spool was made with the last ones: memory takes its place, and it is deleted.
    """
    map_segment = SpoolFile.map

    def refuse(spool: SpoolFile, index: int, sequence: int) -> Any:
        if spool.durable:
            raise OSError(24, "Too many open files")
        return map_segment(spool, index, sequence)

    with monkeypatch.context() as patch:
        patch.setattr(SpoolFile, "map", refuse)
        logger = make_logger()
        logger.log_event("e", "0")
        stats = logger.stats()

    assert (stats.accepted, stats.dropped) == (1, {})
    assert logger.flush(60)
    assert len(events(log_dir)) == 1


def test_x2_a_spool_that_cannot_be_switched_to_is_not_left_behind(
    make_logger: Make, log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It took the last descriptors: they are given back, and the queue goes on.
    """
    monkeypatch.setattr(housekeeping, "SPOOL_CHECK", 0.0)
    refused = []
    map_segment = SpoolFile.map

    def refuse(spool: SpoolFile, index: int, sequence: int) -> Any:
        if spool.durable:
            refused.append(1)
            raise OSError(24, "Too many open files")
        return map_segment(spool, index, sequence)

    with monkeypatch.context() as patch:
        patch.setattr(SpoolFile, "map", refuse)
        logger = make_logger()
        written = 0
        while len(refused) < 10:
            logger.log_event("e")
            written += 1
            assert logger.flush(60)
        open_files = len(logger._pipeline._files.descriptors)
        spools = len(spool_paths(f"{log_dir}/spool"))

    assert open_files <= 6
    assert spools <= 1
    assert len(events(log_dir)) == written


# -- without a thread ---------------------------------------------------------------


def test_q3_records_are_accepted_where_no_thread_can_be_started(
    make_logger: Make, log_dir: Path, no_threads: list[int]
) -> None:
    """
    flush() is the writer then, in its caller's thread; and so is close().
    """
    logger = make_logger()
    for number in range(1_000):
        logger.log_event("e", f"{number}")
    stats = logger.stats()
    flushed = logger.flush(60)
    after_flush = len(events(log_dir))
    logger.log_event("e", "1000")
    closed = logger.close(60)

    assert len(no_threads) >= 1
    assert (stats.accepted, stats.pending_records) == (1_000, 1_000)
    assert flushed
    assert after_flush == 1_000
    assert closed
    assert [r["request_id"] for r in events(log_dir)] == [f"{n}" for n in range(1_001)]


def test_q3_a_thread_is_started_as_soon_as_one_can_be(
    make_logger: Make, log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    By a later record, though others came while the attempt was failing.
    """
    logger = make_logger()
    start = _thread.start_new_thread

    def refuse(*_: object) -> int:
        with monkeypatch.context() as patch:
            patch.setattr(_thread, "start_new_thread", start)
            logger.log_event("e", "meanwhile")  # as another thread would
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(writer_module, "START_RETRY", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(_thread, "start_new_thread", refuse)
        logger.log_event("e", "first")
    logger.log_event("e", "last")

    assert eventually(lambda: len((log_dir.exists() and events(log_dir)) or []) == 3)


# -- memory and time ----------------------------------------------------------------


def test_descriptors_do_not_grow_with_the_log(make_logger: Make, log_dir: Path) -> None:
    """
    A mapping takes one: what is drained is let go.  How many are mapped depends on how
    late the writer was, but each is of another slot of the spool.
    """
    slots = 8
    before = len(os.listdir("/proc/self/fd"))
    logger = make_logger(max_pending_bytes=slots * SEGMENT_BYTES)
    for _ in range(30):
        for _ in range(100):
            logger.log_event("e", None, {"pad": "x" * 30_000})
        assert logger.flush(60)
    gc.collect()
    after = len(os.listdir("/proc/self/fd"))
    stats = logger.stats()

    assert stats.dropped == {}
    assert stats.written_bytes > 5 * slots * SEGMENT_BYTES
    # And the log, the spool with its head, and mappings that are about to be let go.
    assert after <= before + slots + 12


def test_an_idle_writer_sleeps_though_a_drop_cannot_be_told(
    make_logger: Make, log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A drop of a stream that has no queue yet: it is told once there is one, and the
    writer does not spin until then.
    """
    monkeypatch.setattr(teller, "QUIET", 0.0)
    logger = make_logger()
    logger._pipeline.chains[EVENTS].drops.add(NOT_ENCODED)
    logger.log_error("r", ValueError("x"))
    logger.flush(60)
    passes = []
    drain = logger._pipeline._drains[0]
    step = drain.step

    def counted_step() -> bool:
        passes.append(1)
        return step()

    monkeypatch.setattr(drain, "step", counted_step)
    until = time.monotonic() + 0.3
    eventually(lambda: time.monotonic() > until)

    assert len(passes) < 100
    assert eventually(lambda: bool(events(log_dir)))
    assert [r["event"] for r in events(log_dir)] == ["RecordsDropped"]


def test_x2_a_full_queue_does_not_hurry_a_writer_that_waits_for_a_lock(
    make_logger: Make, log_dir: Path
) -> None:
    """
    Each dropped record would be a reason to try again at once: nobody would be helped.
    """
    logger = make_logger(max_pending_bytes=2 * SEGMENT_BYTES)
    tokens = logger._pipeline._writer._tokens
    with held_locks(log_dir):
        for _ in range(20_000):
            logger.log_event("e", None, {"pad": "x" * 2_000})
        waiting = tokens.qsize()

    assert logger.stats().dropped[QUEUE_FULL] > 10_000
    assert waiting < 1_000


def test_s5_nothing_is_readable_by_others(make_logger: Make, log_dir: Path) -> None:
    """
    Neither the log nor what is pending.
    """
    before = os.umask(0)
    try:
        logger = make_logger()
        logger.log_event("e")
        logger.flush(60)
    finally:
        os.umask(before)
    modes = {
        path.relative_to(log_dir.parent).parts[-1].partition("-")[0]: stat.S_IMODE(
            path.stat().st_mode
        )
        for path in [log_dir, *log_dir.rglob("*")]
    }

    assert set(modes.values()) == {0o600, 0o700}
    assert modes["logs"] == modes["spool"] == 0o700
