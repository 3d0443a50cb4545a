"""Q5: fork, spawn, forkserver and pools, while other threads log."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fault.ledger import Ledger, audit, log_lines, sort_lines
from tokenpak.telemetry.error_logger import ErrorLogger, get_error_logger
from tokenpak.telemetry.queue.recovery import recover

pytestmark = [
    pytest.mark.fault,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
]


def ids_of(log_dir: Path, deaths: int = 0) -> Counter[str]:
    """The records of a log in which each of some *deaths* may have torn a line."""
    lines = sort_lines(log_lines(log_dir))
    assert lines.stray == []
    assert len(lines.torn) <= deaths
    return Counter(json.loads(line)["request_id"] for line in lines.whole)


def test_q5_children_forked_while_threads_log_lose_nothing(tmp_path: Path) -> None:
    """
    300 children, four threads: none hangs, no RuntimeError, each record exactly once.
    """
    log_dir, ledgers = tmp_path / "logs", tmp_path / "ledgers"
    ledgers.mkdir()

    command = [sys.executable, "-W", "ignore", "-m", "tests.fault.forker"]
    done = subprocess.run(
        [*command, str(log_dir), str(ledgers), "300", "4"],
        capture_output=True,
        check=True,
        timeout=850,
    )
    recover(str(log_dir))
    verdict = audit(
        log_dir,
        {
            path.name: Ledger(path, path.stat().st_size // 8).acknowledged()
            for path in ledgers.iterdir()
        },
    )

    assert json.loads(done.stdout) == {
        "hung": 0,
        "failed": 0,
        "errors": [],
        "dropped": {},
    }
    assert verdict.clean, verdict
    assert verdict.malformed <= 200, "those that end by os._exit, and tear a line"
    assert verdict.accepted > 1500


def log_some(number: int) -> int:
    logger = get_error_logger()
    for record in range(10):
        logger.log_error(f"task-{number}-{record}", ValueError("x"), {"task": number})
    return os.getpid()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_q5_every_start_method_of_multiprocessing_keeps_all_records(
    method: str, log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Processes that end in the ordinary way have their records in the log, with no
    recovery: the exit hook has run.
    """
    monkeypatch.setenv("TOKENPAK_LOG_DIR", str(log_dir))
    context = multiprocessing.get_context(method)
    start: Any = context  # typeshed gives the base class no Process
    processes = [start.Process(target=log_some, args=(n,)) for n in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)

    assert [process.exitcode for process in processes] == [0] * 4
    assert ids_of(log_dir) == Counter(
        f"task-{n}-{record}" for n in range(4) for record in range(10)
    )


def test_q5_a_terminated_pool_loses_nothing(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Pool.terminate() ends the workers by SIGTERM, which no hook sees: recovery does.
    """
    monkeypatch.setenv("TOKENPAK_LOG_DIR", str(log_dir))
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        pool.map(log_some, range(30))
    recover(str(log_dir))

    assert ids_of(log_dir, deaths=3) == Counter(
        f"task-{n}-{record}" for n in range(30) for record in range(10)
    )


def test_q5_the_child_starts_empty_and_the_parent_keeps_its_own(
    make_logger: Callable[..., ErrorLogger], log_dir: Path
) -> None:
    """
    What was pending at the fork is written by the parent alone; counts start anew.
    """
    logger = make_logger(linger=5.0)
    logger.log_error("parent", ValueError("before the fork"))
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            empty = logger.get_metrics() == {} and logger.stats().accepted == 0
            logger.log_error("child", ValueError("after the fork"))
            status = 0 if empty and logger.flush(60) else 2
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    logger.flush(60)

    assert os.waitstatus_to_exitcode(status) == 0
    assert ids_of(log_dir) == Counter(["parent", "child"])
    assert logger.stats().accepted == 1


def test_q5_a_child_does_not_keep_its_dead_parents_spool_locked(
    log_dir: Path, tmp_path: Path
) -> None:
    """
    A grandchild that lives on, and never logs, does not keep the orphan from recovery.
    """
    program = tmp_path / "parent.py"
    program.write_text(
        "import os, sys, time\n"
        "from tokenpak.telemetry.error_logger import ErrorLogger\n"
        f"logger = ErrorLogger({str(log_dir)!r}, linger=10)\n"
        "logger.log_error('r', ValueError('x'))\n"
        "if os.fork() == 0:\n"
        "    os.close(1)\n"
        "    sys.stdin.read()\n"
        "    os._exit(0)\n"
        "print('forked', flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-W", "ignore", str(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    parent.stdout.read()
    parent.wait()
    found = recover(str(log_dir))
    parent.communicate(b"")

    assert found.spools == 1  # whether or not the writer had come to its record
    assert ids_of(log_dir) == Counter(["r"])
