"""Counters of the pipeline that cannot be saved when their process ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.metrics.logs import log_size, pipeline
from tests.queue.test_meter import batches, counted
from tokenpak.telemetry.queue.recovery import recover
from tokenpak.telemetry.store import meters
from tokenpak.telemetry.store.notes import QUEUE_FULL

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs spools")


def test_m1_a_process_that_cannot_save_its_counters_leaves_them_to_the_next(
    log_dir: Path, make_logger: Any
) -> None:
    """In its spool, where they are seen until somebody can save them."""
    log_dir.mkdir()
    (log_dir / "metrics").write_text("no directory")
    logger = make_logger()
    logger.log_error("r", ValueError())
    assert logger.close(60)

    seen = batches(pipeline(log_dir))
    (log_dir / "metrics").unlink()
    found = recover(str(log_dir))

    assert (found.spools, found.records, found.unsaved) == (1, 0, 0)
    assert list((log_dir / "spool").iterdir()) == []
    assert seen == batches(pipeline(log_dir)) == (1, log_size(log_dir))
    assert counted(pipeline(log_dir), meters.LEFT_OUT, meters.NOT_SAVED) == 0


@pytest.mark.parametrize("end", ["logger.close()", "pass"])
def test_x2_counters_that_nobody_can_be_left_are_told_of(
    log_dir: Path, end: str
) -> None:
    """Those of a queue in memory, when its process ends, closed or not."""
    log_dir.mkdir()
    (log_dir / "metrics").write_text("no directory")
    program = (
        "import os, sys; vars(os).pop('posix_fallocate', None); "
        "from tokenpak.telemetry.error_logger import ErrorLogger; "
        "logger = ErrorLogger(sys.argv[1], exit_timeout=60); "
        "logger.log_error('r', KeyError()); "
    )

    ended = subprocess.run(
        [sys.executable, "-c", program + end, str(log_dir)],
        check=True,
        stderr=subprocess.PIPE,
        text=True,
    )

    told = f"could not be saved in {log_dir / 'metrics'}"
    assert ended.stderr.count(told) == 1, ended.stderr


def test_x2_counters_in_a_spool_that_somebody_has_deleted_are_told_of(
    log_dir: Path, make_logger: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The next process will not find it."""
    log_dir.mkdir()
    (log_dir / "metrics").write_text("no directory")
    logger = make_logger()
    logger.log_error("r", ValueError())
    assert logger.flush(60)
    (spool,) = (log_dir / "spool").iterdir()
    spool.unlink()

    assert logger.close(60)

    assert f"could not be saved in {log_dir / 'metrics'}" in caplog.text


def test_x2_a_spool_that_cannot_be_looked_at_does_not_keep_the_writer_from_its_end(
    log_dir: Path, make_logger: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """As for a process that has changed its user since, and may look at nothing."""
    log_dir.mkdir()
    (log_dir / "metrics").write_text("no directory")
    logger = make_logger()
    logger.log_error("r", ValueError())
    assert logger.flush(60)
    (log_dir / "spool").rename(log_dir / "was")
    (log_dir / "spool").write_text("no directory")

    assert logger.close(60)

    assert f"could not be saved in {log_dir / 'metrics'}" in caplog.text


def test_x2_counters_that_are_left_to_the_next_are_not_told_of_as_lost(
    log_dir: Path,
) -> None:
    """Of a process that never came to writing, and has dropped something."""
    log_dir.mkdir()
    (log_dir / "metrics").write_text("no directory")
    program = (
        "import sys, _thread\n"
        "from tokenpak.telemetry.queue import writer\n"
        "class NoThread:\n"
        "    get_ident = _thread.get_ident\n"
        "    def start_new_thread(*_): raise RuntimeError\n"
        "writer._thread = NoThread\n"
        "from tokenpak.telemetry.error_logger import ErrorLogger\n"
        "logger = ErrorLogger(sys.argv[1], exit_timeout=0, max_pending_bytes=2**22)\n"
        "for _ in range(2_000):\n"
        "    logger.log_error('r', KeyError('x ' * 2_000))\n"
        "assert logger.stats().dropped\n"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program, str(log_dir)],
        check=True,
        stderr=subprocess.PIPE,
        text=True,
    )

    assert "could not be saved" not in ended.stderr
    (log_dir / "metrics").unlink()
    assert recover(str(log_dir)).unsaved == 0
    assert counted(pipeline(log_dir), meters.DROPPED, QUEUE_FULL) > 0


@pytest.mark.parametrize("when", ["before", "after"])
def test_x2_a_handler_that_ends_the_thread_keeps_no_close_waiting(
    log_dir: Path, make_logger: Any, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with sys.exit(): what is written is written, and the spool is given up."""
    logger = make_logger()
    logger.log_error("r", ValueError())
    assert logger.flush(60)
    housekeeping = logger._pipeline._housekeeping

    def leave() -> None:
        raise SystemExit(3)

    monkeypatch.setattr(housekeeping, f"{when}_end", leave)

    assert logger.close(60)
    assert list((log_dir / "spool").iterdir()) == []


@pytest.mark.parametrize(
    "end", ["logger.close(0.1); wait_for(lambda: logger._pipeline._writer.ended)", ""]
)
def test_x2_records_that_are_lost_at_the_end_are_told_of(
    log_dir: Path, end: str
) -> None:
    """Those of a queue in memory; nor are they said to be in the log."""
    log_dir.mkdir()
    # On a busy machine the writer comes later to its first attempt, before which it has
    # counted nothing, and to its end, than anybody waits for it.
    program = (
        "import os, resource, sys, time\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "from tokenpak.telemetry.error_logger import ErrorLogger\n"
        "def wait_for(what):\n"
        "    end = time.monotonic() + 60\n"
        "    while not what(): assert time.monotonic() < end; time.sleep(0.001)\n"
        "logger = ErrorLogger(sys.argv[1], exit_timeout=0.1)\n"
        "logger.log_error('r', KeyError())\n"
        "wait_for(lambda: logger.stats().write_errors)\n"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program + end, str(log_dir)],
        check=True,
        stderr=subprocess.PIPE,
        text=True,
    )

    assert "1 record could not be written" in ended.stderr
    assert "could not be saved" in ended.stderr
    assert "in the log." not in ended.stderr
