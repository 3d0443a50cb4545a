"""Q1 and S1 under load: workers killed at random moments."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fault.ledger import Ledger, audit
from tokenpak.telemetry.queue.recovery import recover
from tokenpak.telemetry.store.spool import remove_unborn

PROCESSES = 24


@pytest.mark.fault
@pytest.mark.timeout(300)
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
    running: list[tuple[str, subprocess.Popen[bytes]]] = []

    def kill_the_oldest() -> None:
        name, worker = running.pop(0)
        try:
            worker.wait(0.1 + chance.random() * 0.5)
        except subprocess.TimeoutExpired:
            worker.kill()
        worker.wait()
        ledgers[name] = Ledger(tmp_path / name, 2).acknowledged()

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
    assert verdict.accepted > 0
    # A spool that its process died over creating stays for a minute: nobody can tell
    # it from one that is being born.  No record is in it.
    remove_unborn(str(log_dir / "spool"), older_than=0.0)
    assert list((log_dir / "spool").iterdir()) == []
