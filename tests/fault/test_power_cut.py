"""
Q1, S2 with ``fsync="batch"``: what was synced is there after a power failure.

A file system on a loop device is shut down under writers: of what was not synced,
nothing comes to the disk any more.  After the journal's replay the spools on it are
older than the log, or have pages missing.  (The machine does not start anew in a test,
so the spools are told that they are of another boot.)
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.fault.disks import LoopDisk, run
from tests.fault.ledger import Ledger
from tokenpak.telemetry.queue.recovery import recover
from tokenpak.telemetry.store.boot import current_boot
from tokenpak.telemetry.store.notes import WORD
from tokenpak.telemetry.store.spool import spool_paths

pytestmark = pytest.mark.fault

WORKERS = 3
CUTS = 4
BOOT_WORD = 7

WRITER = """
import sys
from pathlib import Path
from tests.fault.ledger import Ledger
from tokenpak.telemetry.error_logger import ErrorLogger

log_dir, ledger, name, spool_dir = sys.argv[1:]
words = Ledger(Path(ledger), 1).words
logger = ErrorLogger(log_dir, fsync="batch", linger=0.002, spool_dir=spool_dir or None)
print("ready", flush=True)
for number in range(20_000):
    logger.log_error(f"{name}/{number}", ValueError("x"), {"padding": "y" * 700})
    if number % 7 == 6 and logger.flush(5):
        words[0] = number + 1
"""


def start(
    log_dir: Path, ledger: Path, name: str, spool_dir: str
) -> subprocess.Popen[bytes]:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(log_dir), str(ledger), name, spool_dir],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    return writer


def malformed(content: bytes) -> list[int]:
    """Return the numbers of the lines, the last one unfinished, that don't decode."""
    found = []
    for number, line in enumerate(content.removesuffix(b"\n").split(b"\n")):
        try:
            json.loads(line)
        except ValueError:
            found.append(number)
    return found


@pytest.mark.parametrize("place", ["same disk", "elsewhere"])
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_q1_what_was_synced_survives_a_power_cut_once(
    kind: str, place: str, tmp_path: Path
) -> None:
    """
    Four cuts, with writers that die by them or after them; the spool on the same disk,
    or on one that survives.  Malformed is at most the tail.
    """
    disk = LoopDisk(tmp_path, kind)
    log_dir = disk.at / "logs"
    spool_dir = "" if place == "same disk" else str(tmp_path / "spools")
    synced: dict[str, int] = {}
    for cut in range(CUTS):
        disk.mount()
        names = [f"w{cut}-{number}" for number in range(WORKERS)]
        ledgers = [tmp_path / f"{name}.ledger" for name in names]
        writers = [
            start(log_dir, ledger, name, spool_dir)
            for name, ledger in zip(names, ledgers, strict=True)
        ]
        try:
            wait_for_progress(ledgers)
            # Spools are written back now and then, with notes that are soon old.
            # Of this disk alone: others may take long, and the writers come to an end.
            run("sync", "--file-system", str(disk.at))
            wait_for_progress(ledgers, more=50)
            # Before the cut: an fsync that is under way when a disk is shut down may
            # say that all is well; under way when the power fails, it says nothing.
            for name, ledger in zip(names, ledgers, strict=True):
                synced[name] = Ledger(ledger, 1).acknowledged()[0]
            disk.cut()
        finally:
            for writer in writers:
                writer.kill()
                writer.communicate(timeout=60)
        disk.unmount()
        disk.mount()
        try:
            check(log_dir, spool_dir, synced)
        finally:
            disk.unmount()


def wait_for_progress(ledgers: list[Path], more: int = 0) -> None:
    """Return when each writer has synced something, and one of them *more* records."""
    before = [Ledger(ledger, 1).acknowledged()[0] for ledger in ledgers]
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        now = [Ledger(ledger, 1).acknowledged()[0] for ledger in ledgers]
        if all(now) and sum(now) >= sum(before) + more:
            return
        time.sleep(0.005)
    raise AssertionError("the writers came to no flush")


def check(log_dir: Path, spool_dir: str, synced: dict[str, int]) -> None:
    """Look at the log before its recovery, and after it."""
    for path in log_dir.glob("*.jsonl"):
        content = path.read_bytes()
        lines = content.removesuffix(b"\n").count(b"\n") + 1
        # Of earlier cuts there may be one more, closed by a newline since.
        torn = malformed(content)
        assert len(torn) <= len(synced) // WORKERS
        assert not torn or torn[-1] == lines - 1 or len(torn) < len(synced) // WORKERS
    for directory in filter(None, (str(log_dir / "spool"), spool_dir)):
        for place, _, _ in os.walk(directory):
            for spool in spool_paths(place):
                belong_to_another_boot(spool)
    found = recover(str(log_dir), spool_dir or None)
    seen: Counter[str] = Counter()
    for path in log_dir.glob("*.jsonl"):
        for line in path.read_bytes().split(b"\n"):
            if line and (record := decode(line)):
                seen[record] += 1

    assert found.left == () or spool_dir == ""
    assert [name for name, count in seen.items() if count > 1] == []
    for name, count in synced.items():
        assert [n for n in range(count) if f"{name}/{n}" not in seen] == []


def decode(line: bytes) -> str | None:
    try:
        return str(json.loads(line)["request_id"])
    except ValueError:
        return None


def belong_to_another_boot(spool: str) -> None:
    """Change the word of *spool* that names its boot."""
    with open(spool, "r+b") as file:
        file.seek(BOOT_WORD * WORD)
        file.write(struct.pack("=Q", current_boot() ^ 1))
