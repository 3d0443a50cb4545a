"""M1: one count for all processes, whatever becomes of what is saved."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.metrics.logs import append, errors_of, line, problems, total, values
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.metrics import machine
from tokenpak.telemetry.metrics.machine import MachineCounts, View, machine_counts
from tokenpak.telemetry.metrics.saved import SavedCounts
from tokenpak.telemetry.metrics.tally import Tally

SAVED = "metrics/counts-v1.json"
HOLD = """
import fcntl, os, sys, time
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(fd, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def counts(log_dir: Path) -> MachineCounts:
    return MachineCounts(str(log_dir))


def test_m1_another_process_goes_on_where_one_has_saved(
    log_dir: Path, counts: MachineCounts
) -> None:
    """It does not count again what is counted: also of files that are gone."""
    path = append(log_dir, line(1))
    begun = counts.read(lambda view: view.begun)
    path.unlink()
    append(log_dir, line(2))

    other = MachineCounts(str(log_dir))

    assert total(other) == 2
    assert other.read(lambda view: view.begun) == begun


def test_m1_a_process_takes_over_what_another_has_saved_meanwhile(
    log_dir: Path, counts: MachineCounts
) -> None:
    """The file is gone by the time it is asked."""
    other = MachineCounts(str(log_dir))
    path = append(log_dir, line(1))
    total(other)
    late = append(log_dir, line(2, "2026-03-25"), "2026-03-25")
    total(counts)
    path.unlink()
    late.unlink()

    assert total(other) == total(counts) == 2


def test_m1_workers_agree_on_the_label_sets_that_have_a_name(log_dir: Path) -> None:
    """Or a series would come and go with the worker that is asked."""
    workers = [MachineCounts(str(log_dir), None, 3) for _ in range(3)]
    seen: dict[tuple[str, ...], int] = {}
    for number in range(30):
        append(log_dir, line(number, error_type=f"Error{number % 7}"))
        append(log_dir, line(number, "2026-03-20", error_type="Late"), "2026-03-20")
        worker = workers[number % 3]
        now = worker.read(
            lambda view: {k: count.value for k, count in view.tally.errors.items()}
        )
        assert all(now.get(labels, 0) >= value for labels, value in seen.items())
        seen = now

    assert sum(seen.values()) == 60
    assert len(seen) == 4


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"not json",
        b'{"version":1,"crc":0}\n{}',
        b'{"version":1,"crc":1819106189}\n[]',
        b"\0" * 10_000,
        b'{"version":99}\n',
        b"null\n",
    ],
)
def test_m1_damaged_counts_are_begun_anew_and_that_is_counted(
    log_dir: Path, counts: MachineCounts, damage: bytes
) -> None:
    """By who has counted before, and by who begins."""
    append(log_dir, line(1) + line(2))
    total(counts)
    (log_dir / SAVED).write_bytes(damage)

    after = [total(MachineCounts(str(log_dir))), total(counts)]

    assert after == [2, 2]
    assert values(counts, "trouble") == {("damaged_counts",): 1}


@pytest.mark.parametrize("first", ["who has them", "who begins"])
def test_m1_damaged_counts_are_restored_by_a_process_that_has_them(
    log_dir: Path, counts: MachineCounts, first: str
) -> None:
    """Also those of records that the log no longer has; whoever is asked first."""
    pruned = append(log_dir, line(1) + line(2))
    total(counts)
    pruned.unlink()
    append(log_dir, line(3, "2026-03-25"), "2026-03-25")
    (log_dir / SAVED).write_bytes(b"damage")

    if first == "who begins":
        assert total(MachineCounts(str(log_dir))) == 1
    after = [total(counts), total(MachineCounts(str(log_dir))), total(counts)]

    assert after == [3, 3, 3]
    told = "damaged_counts" if first == "who begins" else "damaged_counts_restored"
    assert values(counts, "trouble") == {(told,): 1}


@given(st.floats(0, 1), st.integers(0, 9), st.binary())
def test_m1_no_damage_to_what_is_saved_ends_a_scrape(
    place: float, length: int, put: bytes
) -> None:
    """Bytes changed, cut off, or added."""
    with tempfile.TemporaryDirectory() as name:
        log_dir = Path(name)
        append(log_dir, line(1) + line(2))
        total(MachineCounts(name))
        saved = bytearray((log_dir / SAVED).read_bytes())
        start = round(place * len(saved))
        saved[start : start + length] = put
        (log_dir / SAVED).write_bytes(saved)

        assert total(MachineCounts(name)) == 2


def test_m1_another_versions_counts_are_left_alone(
    log_dir: Path, counts: MachineCounts
) -> None:
    """It has a file of its own."""
    append(log_dir, line(1))
    other = log_dir / "metrics" / "counts-v2.json"
    other.parent.mkdir()
    other.write_bytes(b"of the future")

    total(counts)

    assert other.read_bytes() == b"of the future"
    assert (log_dir / SAVED).exists()


def test_m1_deleted_counts_are_saved_again(
    log_dir: Path, counts: MachineCounts
) -> None:
    """By who still knows them."""
    path = append(log_dir, line(1))
    total(counts)
    path.unlink()
    (log_dir / SAVED).unlink()

    assert total(counts) == 1
    assert total(MachineCounts(str(log_dir))) == 1


def test_m1_counts_that_cannot_be_read_for_a_moment_are_not_replaced(
    log_dir: Path, counts: MachineCounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Of a process that has no descriptor left, say.

    What it knows is less than what is saved: the log no longer holds all of it.
    """
    path = append(log_dir, line(1) + line(2))
    total(counts)
    path.unlink()
    append(log_dir, line(3))
    other = MachineCounts(str(log_dir))

    def none_left(_saved: SavedCounts) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(SavedCounts, "load", none_left)
        assert problems(other) == ("not_saved", "unreadable_counts")

    assert total(other) == 3
    assert problems(other) == ()
    assert total(counts) == 3
    assert total(MachineCounts(str(log_dir))) == 3


def test_s5_the_saved_counts_are_their_owners(
    log_dir: Path, counts: MachineCounts
) -> None:
    """Request ids are in them."""
    append(log_dir, line(1))
    umask = os.umask(0)
    try:
        total(counts)
    finally:
        os.umask(umask)

    modes = {
        path.name: path.stat().st_mode & 0o777
        for path in [log_dir / "metrics", *(log_dir / "metrics").iterdir()]
    }
    assert modes == {
        "metrics": 0o700,
        "counts-v1.json": 0o600,
        "counts-v1.lock": 0o600,
    }


@pytest.mark.parametrize("obstacle", ["file", "link", "linked", "directory"])
def test_m1_where_nothing_can_be_saved_it_is_counted_and_told(
    log_dir: Path, counts: MachineCounts, obstacle: str, tmp_path: Path
) -> None:
    """Something is in the way; a link is not followed."""
    append(log_dir, line(1))
    elsewhere = tmp_path / "elsewhere"
    if obstacle == "file":
        (log_dir / "metrics").write_text("in the way")
    elif obstacle == "link":
        (log_dir / "metrics").mkdir()
        (log_dir / "metrics" / "counts-v1.lock").symlink_to(elsewhere)
    elif obstacle == "linked":
        (tmp_path / "other").mkdir()
        (log_dir / "metrics").symlink_to(tmp_path / "other")
    else:
        (log_dir / SAVED).mkdir(parents=True)

    first = total(counts)
    append(log_dir, line(2))

    assert (first, total(counts)) == (1, 2)
    assert "not_saved" in problems(counts)
    assert not elsewhere.exists()
    assert not any(tmp_path.glob("other/*"))


@pytest.mark.skipif(sys.platform == "win32", reason="needs flock")
def test_m1_who_is_stopped_while_counting_holds_nobody_up(
    log_dir: Path, counts: MachineCounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while others count for themselves; when it is dead, they save again."""
    monkeypatch.setattr(machine, "PATIENCE", 0.05)
    append(log_dir, line(1))
    total(counts)
    lock = log_dir / "metrics" / "counts-v1.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        holder.send_signal(signal.SIGSTOP)
        append(log_dir, line(2, error_type="NewError"))
        held = total(counts), problems(counts)
        other = total(MachineCounts(str(log_dir)))
        holder.kill()

    assert held == (2, ("not_saved",))
    assert other == 2
    assert total(counts) == 2
    assert problems(counts) == ()
    assert b"NewError" in (log_dir / SAVED).read_bytes()


def test_m1_what_an_interruption_left_half_counted_is_counted_anew(
    log_dir: Path, counts: MachineCounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C comes between any two instructions."""
    append(log_dir, line(1) + line(2))
    total(counts)
    append(log_dir, line(3) + line(4))
    add = Tally.add
    calls = []

    def interrupted(tally: Tally, record: Any, stream: str) -> None:
        add(tally, record, stream)
        calls.append(record)
        if len(calls) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Tally, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        total(counts)

    assert total(counts) == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_m1_a_fork_in_the_middle_of_a_count_holds_up_neither(log_dir: Path) -> None:
    """The child has locks and descriptors of its own."""
    append(log_dir, line(1))
    counts = machine_counts(log_dir)
    inside, go_on = threading.Event(), threading.Event()

    def use(view: View) -> int:
        inside.set()
        assert go_on.wait(120)
        return errors_of(view)

    thread = threading.Thread(target=lambda: counts.read(use))
    thread.start()
    try:
        assert inside.wait(120)
        pid = os.fork()
        if pid == 0:  # pragma: no cover  (another process)
            status = 1
            try:
                append(log_dir, line(2))
                status = 0 if total(counts) == 2 else 2
            finally:
                os._exit(status)
        _, status = os.waitpid(pid, 0)
    finally:
        go_on.set()
        thread.join()

    assert status == 0
    assert total(counts) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_m1_a_child_that_lives_does_not_keep_its_parents_lock(log_dir: Path) -> None:
    """Forked while it was held; the parent dies or not, the lock is free."""
    append(log_dir, line(1))
    counts = machine_counts(log_dir)
    reading, writing = os.pipe()
    with counts._saved.locked(1) as held:
        assert held
        pid = os.fork()
        if pid == 0:  # pragma: no cover  (another process)
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
    os.close(reading)
    try:
        with SavedCounts(str(log_dir)).locked(0) as again:
            assert again
    finally:
        os.close(writing)
        os.waitpid(pid, 0)


def test_m1_get_metrics_counts_the_machine(log_dir: Path, make_logger: Any) -> None:
    """By any labels; this process's own are what they were."""
    logger: ErrorLogger = make_logger()
    other = ErrorLogger(log_dir)
    for number, error in enumerate((ValueError(), ValueError(), KeyError())):
        context = {"provider": "openai", "model": f"m{number}", "kind": "quota"}
        (other if number else logger).log_error("r", error, context)
    assert other.close(60)
    assert logger.flush(60)

    machine_wide = {"ValueError": 2, "KeyError": 1}
    by = ("error_type", "provider")
    assert logger.get_metrics() == {"ValueError": 1}
    assert logger.get_metrics(scope="machine") == machine_wide
    assert logger.get_metrics(scope="machine", by=by) == {
        ("ValueError", "openai"): 2,
        ("KeyError", "openai"): 1,
    }
    assert logger.get_metrics(scope="machine", by=("kind",)) == {"quota": 3}
    assert logger.get_metrics(scope="machine", by="model") == {
        "m0": 1,
        "m1": 1,
        "m2": 1,
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"scope": "galaxy"},
        {"by": ("provider",)},
        {"by": ()},
        {"scope": "machine", "by": ("provider", "colour")},
        {"scope": "machine", "by": ()},
    ],
)
def test_m1_get_metrics_says_what_it_cannot_count(
    make_logger: Any, wrong: dict[str, Any]
) -> None:
    """And what it can."""
    with pytest.raises(SettingError, match=r"machine|some of error_type, provider"):
        make_logger().get_metrics(**wrong)


def test_m1_there_is_one_count_for_a_directory(log_dir: Path, tmp_path: Path) -> None:
    """Under whatever name."""
    log_dir.mkdir()
    (tmp_path / "link").symlink_to(log_dir)

    assert machine_counts(log_dir) is machine_counts(tmp_path / "link")
    with pytest.raises(SettingError, match="max_label_sets"):
        machine_counts(log_dir, 0)


def test_m1_what_is_saved_is_json(log_dir: Path, counts: MachineCounts) -> None:
    """A line with version and check sum, and the counts."""
    append(log_dir, line(1))
    total(counts)

    head, body = (log_dir / SAVED).read_bytes().split(b"\n", 1)

    assert orjson.loads(head)["version"] == 1
    assert set(orjson.loads(body)) == {"begun", "counts", "files"}
