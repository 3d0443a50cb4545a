"""Q6 and Q3: flush and close, whoever calls them, and what they leave."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from filelock import lock_descriptor

from tests.queue.logs import Make, events, eventually, held_locks
from tokenpak.telemetry.queue.recovery import recover
from tokenpak.telemetry.store.notes import CLOSED
from tokenpak.telemetry.store.spool import spool_paths


def run_all(*targets: Callable[[], object]) -> list[object]:
    """Run each in a thread; return what they returned, "hangs" for who didn't."""
    results: list[object] = ["hangs"] * len(targets)

    def run(number: int) -> None:
        results[number] = targets[number]()

    threads = [
        threading.Thread(target=run, args=(n,), daemon=True)
        for n in range(len(targets))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    return results


def test_q6_several_threads_may_close_at_once(make_logger: Make, log_dir: Path) -> None:
    """
    Without a timeout, too: all of them come back.
    """
    logger = make_logger()
    logger.log_event("e")
    results = run_all(*[logger.close] * 5)

    assert results == [True] * 5
    assert len(events(log_dir)) == 1


def test_q6_several_threads_may_close_while_the_log_is_blocked(
    make_logger: Make, log_dir: Path
) -> None:
    """
    The second one asks while the first one waits.
    """
    logger = make_logger()
    logger.log_event("e")
    logger.flush(60)
    with held_locks(log_dir):
        logger.log_event("e")
        results = run_all(*[lambda: logger.close(0.2) for _ in range(3)])

    assert "hangs" not in results


def test_q6_a_flush_that_waits_is_answered_when_the_logger_is_closed(
    make_logger: Make, log_dir: Path
) -> None:
    """
    With False, since it is not in the log: it is in the spool, to be recovered.
    """
    logger = make_logger()
    with held_locks(log_dir):
        logger.log_event("e")
        flushed, closed = run_all(logger.flush, lambda: logger.close(0.2))
    left = logger.stats()
    recovered = recover(str(log_dir))

    assert closed is False
    assert flushed is False
    assert (left.accepted, left.written, left.pending_records) == (1, 0, 1)
    assert recovered.records == 1
    assert len(events(log_dir)) == 1


def test_q6_flush_and_close_come_back_whoever_else_calls_them(
    make_logger: Make, log_dir: Path
) -> None:
    """
    Any number of each at the same time, many times.
    """
    for number in range(30):
        logger = make_logger(log_dir / f"{number}")
        logger.log_event("e")
        results = run_all(
            lambda logger=logger: logger.flush(),  # type: ignore[misc]
            lambda logger=logger: logger.close(),  # type: ignore[misc]
            lambda logger=logger: logger.flush(),  # type: ignore[misc]
            lambda logger=logger: logger.close(),  # type: ignore[misc]
        )

        assert "hangs" not in results
        assert len(events(log_dir / f"{number}")) == 1


def test_q3_after_close_nothing_is_left_open(make_logger: Make, log_dir: Path) -> None:
    """
    No descriptor, no thread's promise, no spool; and logging still never raises.
    """
    logger = make_logger()
    logger.log_event("e")
    logger.log_error("r", ValueError("x"))
    closed = [logger.close(60), logger.close(60)]
    logger.log_event("late")
    logger.log_error("late", ValueError("x"))

    assert closed == [True, True]
    assert logger.stats().dropped == {CLOSED: 2}
    assert logger.flush(60)
    assert logger._pipeline._files.descriptors == {}
    assert spool_paths(f"{log_dir}/spool") == []
    assert len(events(log_dir)) == 1


DAEMON = """
import os, sys
from tokenpak.telemetry.error_logger import ErrorLogger
logger = ErrorLogger(sys.argv[1])
logger.log_event("e")
logger.flush()
os.closerange(3, 1_000)
logger.close()
print("came back")
"""


def test_q6_close_comes_back_though_somebody_has_closed_our_descriptors(
    log_dir: Path,
) -> None:
    """
    As who turns the process into a daemon does.
    """
    try:
        child = subprocess.run(
            [sys.executable, "-c", DAEMON, str(log_dir)],
            capture_output=True,
            timeout=100,
            check=False,
        )
        said = child.stdout
    except subprocess.TimeoutExpired:
        said = b"hangs"

    assert said == b"came back\n"
    assert len(events(log_dir)) == 1


def test_q6_a_logging_handler_that_logs_and_flushes_does_not_stop_the_writer(
    make_logger: Make, log_dir: Path
) -> None:
    """
    The writer warns, and the application's handler answers in the writer's thread.
    """
    logger = make_logger()
    seen = []

    class Answers(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logger.log_event("warned", None, {"text": record.getMessage()})
            seen.append(logger.flush())

    handler = Answers()
    logging.getLogger("tokenpak.telemetry").addHandler(handler)
    try:
        logger._pipeline._trouble.note("test", "something is wrong")
        logger.log_event("e")
        answered = eventually(lambda: len(seen) == 1)
        flushed = logger.flush(60)
    finally:
        logging.getLogger("tokenpak.telemetry").removeHandler(handler)

    assert answered
    assert flushed
    assert {r["event"] for r in events(log_dir)} == {"e", "warned"}


def test_q6_a_logging_handler_that_exits_costs_no_record(
    make_logger: Make, log_dir: Path
) -> None:
    """
    ``sys.exit()`` in the writer's thread ends it: the next record starts another.
    """
    logger = make_logger()
    exits = []

    class Exits(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            exits.append(1)
            sys.exit("enough")

    handler = Exits()
    logging.getLogger("tokenpak.telemetry").addHandler(handler)
    try:
        logger._pipeline._trouble.note("test", "something is wrong")
        logger.log_event("first")
        exited = eventually(lambda: bool(exits))
    finally:
        logging.getLogger("tokenpak.telemetry").removeHandler(handler)
    logger.log_event("second")

    assert exited
    assert logger.flush(60)
    assert len(events(log_dir)) == 2


def test_q3_drops_are_told_of_before_a_logger_is_closed(
    make_logger: Make, log_dir: Path
) -> None:
    """close() right after an outage does not take the count of its drops along."""
    logger = make_logger(max_pending_bytes=4 * 1024 * 1024)
    logger.log_error("first", ValueError("x"))
    logger.flush(60)
    (day_file,) = log_dir.glob("errors-*.jsonl")
    fd = os.open(day_file, os.O_RDWR)
    assert lock_descriptor(fd, blocking=False)
    try:
        for _ in range(400):
            logger.log_error("r", ValueError("x"), {"padding": "y" * 20_000})
    finally:
        os.close(fd)
    closed = logger.close(60)
    records = [json.loads(line) for line in day_file.read_bytes().splitlines()]
    dropped = logger.stats().dropped["queue_full"]

    assert closed
    assert dropped > 0
    assert [r["context"]["dropped"] for r in records if "dropped" in r["context"]] == [
        dropped
    ]


def test_c1_at_the_end_of_the_stack_a_record_is_made_or_counted(
    make_logger: Make,
) -> None:
    """Wherever the recursion limit is met: no exception, and nothing uncounted."""
    logger = make_logger()
    calls = 0

    def descend(depth: int) -> None:
        nonlocal calls
        if depth == 0:
            logger.log_error("r", ValueError("x"), {"a": 1})
            logger.log_event("e", "r", {"a": 1})
            calls += 2
            return
        descend(depth - 1)

    logger.log_error("r", ValueError("warm"))
    logger.log_event("e", "r")
    limit = sys.getrecursionlimit()
    for depth in range(limit - 200, limit):
        try:
            descend(depth)
        except RecursionError:
            break  # the test itself has no frame left
    stats = logger.stats()

    assert calls > 300
    assert stats.accepted + sum(stats.dropped.values()) == calls + 2
