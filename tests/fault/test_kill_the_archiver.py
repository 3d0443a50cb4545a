"""S4: an archiver that is killed at any system call loses and doubles nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fault.nursery import Nursery, nursery
from tests.fault.tracing import needs_strace, run_traced
from tests.queue.rig import make_line
from tests.read.log_making import write_log
from tests.store.archiving import archive_fully, ids, tree

pytestmark = [
    pytest.mark.fault,
    needs_strace,
]

CHANGING = (
    "mkdir",
    "linkat,link",
    "unlink",
    "rename",
    "writev",
    "flock",
    "fsync",
    "fchmod",
)
"""Between two of these calls the disk and the locks stay as they are."""
LOOKING = ("openat", "newfstatat", "pread64", "getdents64", "utimensat", "close")
MOST = 200


@pytest.fixture(scope="module")
def programs() -> Iterator[Nursery]:
    """From which archivers are started."""
    with nursery() as programs:
        yield programs


ARCHIVER = """
import sys
from datetime import timedelta
from tokenpak.telemetry.store import packing
from tokenpak.telemetry.store.manage import archive_days
packing.PIECE = 4096
archive_days(sys.argv[1] + "/warm")  # what is loaded late is loaded
print("ready", flush=True)
sys.stdin.readline()
result = archive_days(sys.argv[1], age=timedelta(0))
assert not result.failed and not result.put_off, result
"""


def prepared(log_dir: Path) -> list[str]:
    """Make two days, one with a late record, and what a dead archiver has left."""
    for day, size in (("2026-03-24", 60), ("2026-03-25", 1)):
        names = [f"{day}/{number}" for number in range(size)]
        write_log(log_dir, b"".join(make_line(n, 200, day) for n in names), day)
    for compressed in (False, True):
        write_log(
            log_dir,
            make_line("archived", 200),
            archived=True,
            compressed=compressed,
        )
    linked = write_log(log_dir, make_line("linked", 200), "2026-03-23")
    os.link(linked, log_dir / "archive" / linked.name)
    write_log(log_dir, make_line("moved", 200), "2026-03-22", archived=True)
    return ids(log_dir)


def kill_at_each(call: str, tmp_path: Path, programs: Nursery) -> None:
    for number in range(1, MOST):
        log_dir = tmp_path / f"{number}"
        expected = prepared(log_dir)
        if call == "mkdir":
            for path in (log_dir / "archive").iterdir():
                path.unlink()
            (log_dir / "archive").rmdir()
            expected = ids(log_dir)
        (log_dir / "warm").mkdir()
        archiver = programs.start(ARCHIVER, log_dir)
        status = run_traced(archiver, f"{call}:signal=KILL:when={number}")

        assert ids(log_dir) == expected, number
        archive_fully(log_dir)
        assert ids(log_dir) == expected, number
        assert all(name.endswith(".jsonl.gz") for name in tree(log_dir)), number
        if status == 0:
            break
        assert status == -signal.SIGKILL
    else:
        pytest.fail(f"{call} never ran out")
    assert number > 1, "the call is not made at all"


@pytest.mark.parametrize("call", CHANGING)
def test_s4_an_archiver_killed_at_each_call_that_changes_something(
    call: str, tmp_path: Path, programs: Nursery
) -> None:
    """Nothing is lost, doubled or hidden, and the next one finishes it."""
    kill_at_each(call, tmp_path, programs)


@pytest.mark.heavy
@pytest.mark.parametrize("call", LOOKING)
def test_s4_an_archiver_killed_at_each_call_that_only_looks(
    call: str, tmp_path: Path, programs: Nursery
) -> None:
    """The same, at the other calls."""
    kill_at_each(call, tmp_path, programs)
