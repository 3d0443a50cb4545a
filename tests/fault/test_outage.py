"""X2, Q3, Q4: the disk, the directory or a lock is not to be had for a while."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fault.ledger import log_lines
from tests.queue.logs import eventually
from tokenpak.telemetry.error_logger import ErrorLogger

pytestmark = pytest.mark.fault

HOLDER = """
import os, sys
from filelock import lock_descriptor
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
assert lock_descriptor(fd, blocking=False)
print("locked", flush=True)
sys.stdin.read()
"""


def records_of(log_dir: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in log_lines(log_dir)]


def day_file(logger: ErrorLogger, log_dir: Path) -> Path:
    logger.log_error("first", ValueError("x"))
    assert logger.flush(60)
    return next(log_dir.glob("errors-*.jsonl"))


def test_q3_a_stuck_lock_holder_neither_blocks_nor_loses(
    make_logger: Callable[..., ErrorLogger], log_dir: Path
) -> None:
    """
    A stopped process holds the lock: calls go on, and all is caught up afterwards.
    """
    logger = make_logger()
    path = day_file(logger, log_dir)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        holder.send_signal(signal.SIGSTOP)
        for number in range(500):
            logger.log_error(f"r{number}", ValueError("x"))
        held = logger.flush(0.3)
        pending = logger.stats().pending_records
    finally:
        holder.kill()
        holder.communicate()

    assert not held
    assert pending == 500
    assert logger.flush(60)
    assert [r["request_id"] for r in records_of(log_dir)] == ["first"] + [
        f"r{number}" for number in range(500)
    ]


def test_q4_the_bound_holds_and_drops_are_told_of(
    make_logger: Callable[..., ErrorLogger], log_dir: Path
) -> None:
    """
    Beyond the bound records are dropped and counted, and one record says how many.
    """
    logger = make_logger(max_pending_bytes=4 * 1024 * 1024)
    path = day_file(logger, log_dir)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        for _ in range(1_000):
            logger.log_error("r", ValueError("x"), {"padding": "y" * 8_000})
        stats = logger.stats()
    finally:
        holder.kill()
        holder.communicate()
    assert logger.flush(60)
    told = _wait_for_notice(log_dir)

    assert stats.pending_bytes <= 4 * 1024 * 1024
    assert stats.dropped["queue_full"] > 0
    assert stats.accepted + stats.dropped["queue_full"] == 1_001
    assert told["context"]["dropped"] == stats.dropped["queue_full"]  # type: ignore[index]
    assert len(records_of(log_dir)) == stats.accepted + 1


def _wait_for_notice(log_dir: Path) -> dict[str, object]:
    for _ in range(12_000):
        for record in records_of(log_dir):
            if record["error_type"] == "RecordsDropped":
                return record
        signal.sigtimedwait([], 0.005)
    raise AssertionError("the log was not told of the drops")


def test_x2_a_directory_that_cannot_be_made_is_warned_of_once_and_caught_up(
    make_logger: Callable[..., ErrorLogger],
    log_dir: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    A file is where the directory should be.  One warning names it and the reason; the
    records are written when it is gone.
    """
    log_dir.write_text("in the way")
    logger = make_logger()
    with caplog.at_level(logging.WARNING, "tokenpak.telemetry"):
        for number in range(200):
            logger.log_error(f"r{number}", ValueError("x"))
        assert eventually(lambda: logger.stats().write_errors > 0)
        assert not logger.flush(0.5)
        during = logger.stats()
        log_dir.unlink()
        assert logger.flush(60)
    warnings = [r.getMessage() for r in caplog.records if "Failed to write" in r.msg]

    assert during.pending_records == 200
    assert during.dropped == {}
    assert during.write_errors >= 1
    assert len(records_of(log_dir)) == 200
    told = [
        r.getMessage() for r in caplog.records if "Failed to write" in r.getMessage()
    ]
    assert len(told) == 1, warnings
    assert str(log_dir) in told[0]


def test_x2_a_directory_without_permission_is_held_and_caught_up(
    tmp_path: Path,
) -> None:
    """
    The same as another user than root, to whom permissions apply.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    home = Path("/var/tmp") / f"tokenpak-test-{os.getpid()}"
    home.mkdir()
    program = home / "program.py"
    program.write_text(
        "import os, sys, time\n"
        "from tokenpak.telemetry.error_logger import ErrorLogger\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "logger = ErrorLogger(sys.argv[1])\n"
        "for n in range(50): logger.log_error(str(n), ValueError('x'))\n"
        "end = time.monotonic() + 60\n"
        "while not logger.stats().write_errors and time.monotonic() < end:\n"
        "    time.sleep(0.005)\n"
        "print(logger.flush(0.5), logger.stats().pending_records, flush=True)\n"
        "sys.stdin.readline()\n"
        "print(logger.flush(60), flush=True)\n"
        "logger.close()\n"  # or its spool stays in memory of the machine
    )
    logs = home / "logs"
    logs.mkdir(mode=0o755)
    try:
        process = subprocess.Popen(
            [sys.executable, str(program), str(logs)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        during = process.stdout.readline()
        os.chown(logs, 65534, 65534)
        out, err = process.communicate("\n", timeout=120)
        written = len(list(log_lines(logs)))
    finally:
        shutil.rmtree(home)

    assert during == "False 50\n"
    assert out == "True\n"
    assert err.count("Failed to write error log") == 1
    assert "Permission denied" in err
    assert written == 50


@pytest.mark.skipif(
    not shutil.which("mount") or os.geteuid() != 0, reason="mounting needs root"
)
def test_x2_a_full_disk_tears_no_line_and_loses_nothing(
    make_logger: Callable[..., ErrorLogger], tmp_path: Path
) -> None:
    """
    A small tmpfs fills up; what was accepted is written when there is room again.
    """
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)], check=False
    )
    if mounted.returncode != 0:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        logs = place / "logs"
        logger = make_logger(logs)
        logger.log_error("first", ValueError("x"))
        assert logger.flush(60)
        with (place / "filler").open("wb", buffering=0) as filler:
            try:
                while filler.write(bytes(4_096)):
                    pass
            except OSError:
                pass
        for number in range(1_000):
            logger.log_error(f"r{number}", ValueError("x"), {"padding": "y" * 900})
        full = logger.flush(0.5)
        during = logger.stats()
        (place / "filler").unlink()
        caught_up = logger.flush(60)
        after = logger.stats()
        closed = logger.close(60)
        records = records_of(logs)
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)

    assert not full
    assert caught_up
    assert closed
    assert during.accepted + sum(during.dropped.values()) == 1_001
    assert after.accepted == during.accepted
    ids = [r["request_id"] for r in records if r["error_type"] == "ValueError"]
    assert len(ids) == len(set(ids)) == during.accepted


def test_x2_a_deleted_directory_is_made_anew(
    make_logger: Callable[..., ErrorLogger], log_dir: Path
) -> None:
    """
    Files that are deleted or renamed under the logger get no more than one batch.
    """
    logger = make_logger()
    path = day_file(logger, log_dir)
    path.rename(log_dir / "moved")
    logger.log_error("second", ValueError("x"))
    assert logger.flush(60)
    shutil.rmtree(log_dir)
    logger.log_error("third", ValueError("x"))
    assert logger.flush(60)

    assert [r["request_id"] for r in records_of(log_dir)] == ["third"]
