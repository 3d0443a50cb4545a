"""The account that workers keep of what was accepted."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tokenpak.demo.acks import (
    BUCKET_NS,
    BUCKETS,
    FAILURES,
    REPLAYS,
    SUCCESSES,
    Account,
    AckTable,
    median_ns,
    note_burst,
    note_duration,
    note_state,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_a_row_says_what_its_worker_wrote(tmp_path: Path) -> None:
    """Each kind is counted by itself; accepted is their sum."""
    path = str(tmp_path / "acks")
    with AckTable(path, 2) as theirs, AckTable(path, 2) as ours:
        with theirs.row(1) as row:
            row[FAILURES] += 1
            row[SUCCESSES] += 2
            row[REPLAYS] += 3
            note_burst(row, 3, 5_000)
            note_state(row, dropped=4, in_memory=True)
        account = ours.read(1)
        untouched = ours.read(0)

    assert (account.failures, account.successes, account.replays) == (1, 2, 3)
    assert account.accepted == 6
    assert (account.timed, account.timed_ns, account.dropped) == (3, 5_000, 4)
    assert account.in_memory
    assert untouched.accepted == 0
    assert not untouched.in_memory


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL to send")
def test_what_was_acknowledged_outlives_a_kill(tmp_path: Path) -> None:
    """The last store before SIGKILL is there, though nothing was closed."""
    path = str(tmp_path / "acks")
    program = (
        "import os, signal, sys\n"
        "from tokenpak.demo.acks import REPLAYS, AckTable\n"
        "row = AckTable(sys.argv[1], 1).row(0)\n"
        "for _ in range(1000): row[REPLAYS] += 1\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    boot = f"import sys; sys.path[:] = {sys.path!r}\n{program}"
    status = subprocess.run([sys.executable, "-c", boot, path], check=False)
    with AckTable(path, 1) as table:
        account = table.read(0)

    assert status.returncode == -signal.SIGKILL
    assert account.accepted == 1000


def account_of(tmp_path: Path, durations: list[int]) -> Account:
    with AckTable(str(tmp_path / "acks"), 1) as table:
        with table.row(0) as row:
            for duration in durations:
                note_duration(row, duration)
        return table.read(0)


@pytest.mark.parametrize(
    ("durations", "bucket"),
    [
        ([0], 0),
        ([BUCKET_NS], 1),
        ([10, 20, 5_000], 0),
        ([10, 5_000, 5_001], 50),
        ([10**12], BUCKETS - 1),
    ],
)
def test_the_median_is_the_middle_of_its_bucket(
    tmp_path: Path, durations: list[int], bucket: int
) -> None:
    """Half of the calls were faster, to the width of a bucket."""
    account = account_of(tmp_path, durations)

    assert median_ns([account]) == (bucket + 0.5) * BUCKET_NS


def test_the_median_is_taken_of_all_workers_together(tmp_path: Path) -> None:
    """A worker counts by how many calls it made."""
    (tmp_path / "slow").mkdir()
    fast = account_of(tmp_path, [150, 150, 150])
    slow = account_of(tmp_path / "slow", [9_000])

    assert median_ns([slow, fast]) == 1.5 * BUCKET_NS


def test_without_calls_there_is_no_median(tmp_path: Path) -> None:
    """None, and no division by nothing."""
    assert median_ns([account_of(tmp_path, [])]) is None
    assert median_ns([]) is None
