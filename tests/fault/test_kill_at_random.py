"""Q1 and S1 under load: workers killed at random moments."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fault.ledger import Ledger, audit
from tokenpak.telemetry.queue.recovery import recover
from tokenpak.telemetry.store.spool import remove_unborn

PROCESSES = 24
BIRTH = 60.0
"""Seconds that a worker may take until its first record."""


@pytest.mark.fault
@pytest.mark.timeout(900)
def test_q1_nothing_accepted_is_lost_or_doubled_when_workers_are_killed(
    tmp_path: Path,
) -> None:
    """
    Two threads of each worker log at full speed, three workers at a time; later workers
    recover what earlier ones left.  (bench/ does the same with 200 processes.)
    """
    chance = random.Random(7)
    log_dir = tmp_path / "logs"
    ledgers: dict[str, list[int]] = {}
    killed = 0
    running: list[tuple[str, subprocess.Popen[bytes]]] = []

    def await_first_record(name: str, worker: subprocess.Popen[bytes]) -> None:
        path, end = tmp_path / name, time.monotonic() + BIRTH
        while worker.poll() is None and time.monotonic() < end:
            # The worker makes it, and may not have filled it yet.
            if path.exists() and path.stat().st_size and any(acknowledged(name)):
                break
            time.sleep(0.01)

    def acknowledged(name: str) -> list[int]:
        return Ledger(tmp_path / name, 2).acknowledged()

    def kill_the_oldest() -> None:
        nonlocal killed
        name, worker = running.pop(0)
        # On a busy machine an interpreter takes longer to start than it is to live.
        # Some are killed all the same before they have begun.
        if chance.random() < 0.8:
            await_first_record(name, worker)
        try:
            worker.wait(0.1 + chance.random() * 0.5)
        except subprocess.TimeoutExpired:
            worker.kill()
        killed += worker.wait() != 0
        ledgers[name] = acknowledged(name)

    for number in range(PROCESSES):
        name = f"w{number}"
        command = [sys.executable, "-m", "tests.fault.worker", str(log_dir)]
        command += [str(tmp_path / name), name, "2", "8000"]
        running.append((name, subprocess.Popen(command)))
        if len(running) >= 3:
            kill_the_oldest()
    while running:
        kill_the_oldest()
    recover(str(log_dir))

    verdict = audit(log_dir, ledgers)
    assert verdict.clean, verdict
    assert verdict.malformed <= killed
    assert verdict.accepted > 0
    # A spool that its process died over creating stays for a minute: nobody can tell
    # it from one that is being born.  No record is in it.
    remove_unborn(str(log_dir / "spool"), older_than=0.0)
    assert list((log_dir / "spool").iterdir()) == []
