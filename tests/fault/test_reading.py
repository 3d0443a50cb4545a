"""Reading, checking and repairing where the disk is full, read-only, or the end."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fault.tracing import STRACE, needs_strace
from tests.queue.logs import held_locks
from tests.read.log_making import as_lines, make_record, make_records, write_log

pytestmark = pytest.mark.fault

RECORDS = 400
CHILD = """
import os, signal, sys
from tokenpak.telemetry.error_logger import ErrorLogger

logger = ErrorLogger(sys.argv[1])
for number in range(int(sys.argv[2])):
    logger.log_event("pending", str(number), {"padding": "x" * (number % 50 * 20)})
print("all accepted", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """Mount a tmpfs of *size* at *place*."""
    if not shutil.which("mount") or os.geteuid() != 0:
        pytest.skip("mounting needs root")
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    if subprocess.run(command, check=False).returncode != 0:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def die_with_records_pending(log_dir: Path) -> None:
    """Let a process log, and be killed before it can append anything."""
    with held_locks(log_dir):
        child = subprocess.run(
            [sys.executable, "-c", CHILD, str(log_dir), str(RECORDS)],
            check=False,
            capture_output=True,
            text=True,
            timeout=100,
        )
    assert child.stdout == "all accepted\n"
    assert child.returncode == -signal.SIGKILL


def run(command: str, log_dir: Path, *more: str) -> subprocess.CompletedProcess[str]:
    words = ["telemetry", command, "--log-dir", str(log_dir), *more]
    return subprocess.run(
        [sys.executable, "-m", "tokenpak", *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )


def assert_each_once(exported: subprocess.CompletedProcess[str]) -> None:
    assert exported.returncode == 0, exported.stderr
    ids = [record["request_id"] for record in json.loads(exported.stdout)]
    assert ids == [str(number) for number in range(RECORDS)]


def fill(place: Path, leave: int) -> None:
    """Fill the disk but for *leave* bytes."""
    status = os.statvfs(place)
    size = status.f_bavail * status.f_frsize - leave
    with (place / "filler").open("wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, size)


def test_r1_records_of_the_dead_are_read_from_a_disk_that_is_read_only(
    tmp_path: Path,
) -> None:
    """
    Nobody can recover them there, and each is shown once, with nothing on stderr.
    """
    with small_disk(tmp_path / "disk", "64m") as disk:
        die_with_records_pending(disk / "logs")
        command = ["mount", "-o", "remount,ro", str(disk)]
        subprocess.run(command, check=True)
        exported = run("export", disk / "logs", "--stream", "events")
        again = run("export", disk / "logs", "--stream", "events")
        verified = run("verify", disk / "logs", "--format", "json")

    assert_each_once(exported)
    assert exported.stderr == ""
    assert again.stdout == exported.stdout
    told = json.loads(verified.stdout)
    assert verified.returncode == 0
    assert (told["pending"], told["counts"]["pending"]) == (RECORDS, 1)


def test_r1_records_of_the_dead_are_read_while_the_disk_is_full(
    tmp_path: Path,
) -> None:
    """
    At each export, recovery comes further, tears a line, and each is shown once.
    """
    with small_disk(tmp_path / "disk", "64m") as disk:
        die_with_records_pending(disk / "logs")
        exports, appended = [], []
        for leave in (0, 1, 2, 3, 12):
            fill(disk, leave * 4096)
            exports.append(run("export", disk / "logs", "--stream", "events"))
            logs = (disk / "logs").glob("events-*.jsonl")
            appended.append(b"".join(path.read_bytes() for path in sorted(logs)))
            os.unlink(disk / "filler")
        freed = run("export", disk / "logs", "--stream", "events")
        verified = run("verify", disk / "logs", "--format", "json")

    counts = [content.count(b"\n") for content in appended]
    assert counts == sorted(counts)
    assert 0 < counts[-1] < RECORDS
    assert any(content[-1:] not in {b"", b"\n"} for content in appended)
    for exported in [*exports, freed]:
        assert_each_once(exported)
    assert verified.returncode == 0, verified.stdout
    assert json.loads(verified.stdout)["pending"] == 0
    assert json.loads(verified.stdout)["records"] == RECORDS


def test_x2_a_repair_onto_a_full_disk_says_so_and_leaves_no_half_file(
    tmp_path: Path,
) -> None:
    """
    Files that are there are complete, and no temporary one is left.
    """
    log_dir = tmp_path / "logs"
    for day in range(10, 20):
        records = make_records(200)
        write_log(log_dir, b"junk\n" + as_lines(records), f"2026-03-{day}")
    write_log(log_dir, as_lines(make_records(9)), archived=True, compressed=True)
    whole = tmp_path / "whole"
    assert run("repair", log_dir, "--output", str(whole)).returncode == 0
    with small_disk(tmp_path / "disk", "256k") as disk:
        failed = run("repair", log_dir, "--output", str(disk))
        written = {path.name: path.read_bytes() for path in disk.rglob("*.*")}

    assert failed.returncode == 1
    assert "No space left on device" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert written
    assert not [name for name in written if name.endswith(".tmp")]
    for name, data in written.items():
        assert data == (whole / name).read_bytes()


@needs_strace
@pytest.mark.parametrize("call", ["rename", "write", "fsync"])
def test_r1_a_repair_that_is_killed_leaves_only_whole_files(
    tmp_path: Path, call: str
) -> None:
    """
    At its Nth system call of a kind: what has its name is complete.
    """
    assert STRACE is not None
    log_dir = tmp_path / "logs"
    records = [make_record(n, message="x" * 900) for n in range(100)]
    for day in (23, 24):
        write_log(log_dir, b"junk\n" + as_lines(records), f"2026-03-{day}")
    write_log(log_dir, b"j" + as_lines(records), archived=True, compressed=True)
    before = {path: path.read_bytes() for path in log_dir.rglob("*.*")}
    whole = tmp_path / "whole"
    assert run("repair", log_dir, "--output", str(whole)).returncode == 0
    killed = 0
    for number in range(1, 6):
        target = tmp_path / f"killed-{number}"
        done = subprocess.run(
            [
                *(STRACE, "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}"),
                *("-e", f"inject={call}:signal=KILL:when={number}"),
                *(sys.executable, "-m", "tokenpak", "telemetry", "repair"),
                *("--log-dir", str(log_dir), "--output", str(target)),
            ],
            check=False,
            capture_output=True,
            timeout=100,
        )
        killed += done.returncode != 0
        for path in target.rglob("*.*"):
            if not path.name.endswith(".tmp"):
                same = whole / path.relative_to(target)
                assert path.read_bytes() == same.read_bytes(), number

    assert killed >= 3
    assert {path: path.read_bytes() for path in log_dir.rglob("*.*")} == before
