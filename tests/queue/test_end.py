"""Q6 and Q3: flush and close, whoever calls them, and what they leave."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from pathlib import Path

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
        thread.join(20)
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
