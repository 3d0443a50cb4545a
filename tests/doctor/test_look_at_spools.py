"""Spools as they are: whose, what waits in them, and that nobody notices the look."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

from tests.doctor.places import found, on_file_system, only
from tests.queue.rig import DAY, NEXT_DAY, make_line
from tests.queue.test_recovery import make_orphan
from tokenpak.telemetry.doctor import examine
from tokenpak.telemetry.doctor.finding import Level
from tokenpak.telemetry.doctor.spools import look
from tokenpak.telemetry.queue.recovery import recover
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.names import ERRORS
from tokenpak.telemetry.store.notes import QUEUE_FULL
from tokenpak.telemetry.store.spool import HEAD_BYTES, SpoolFile, spool_paths

pytestmark = pytest.mark.skipif(
    not hasattr(os, "posix_fallocate"), reason="this system has no spools"
)
LINES = [make_line(str(number), 200 + 37 * number) for number in range(6)]


@pytest.fixture(autouse=True)
def reliable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the directory be on ext4."""
    on_file_system(monkeypatch, "ext4")


def spool_of(log_dir: Path) -> str:
    (path,) = spool_paths(str(log_dir / "spool"))
    return path


def test_records_of_a_dead_process_are_counted(tmp_path: Path) -> None:
    """Those of both days, and the lines that are records no more."""
    damaged = LINES[0].replace(b'"timestamp"', b'"t\0mestamp"')
    spool, _ = make_orphan(
        tmp_path, [LINES[0], damaged, make_line("n", day=NEXT_DAY), LINES[1]]
    )
    spool.notes.set_drops(QUEUE_FULL, 30, 1, 2)
    spool.release()
    seen = look(spool_of(tmp_path), str(tmp_path))

    assert (seen.state, seen.stream, seen.process) == ("orphan", ERRORS, os.getpid())
    assert (seen.records, seen.damaged) == (3, 1)
    assert seen.oldest == f"{DAY}T12:00:00.000000Z"
    assert seen.dropped == {QUEUE_FULL: 30}
    assert abs(seen.started - time.time()) < 3_600


def test_q1_looking_adopts_and_changes_nothing(tmp_path: Path) -> None:
    """Afterwards the orphan is what it was, and is recovered as ever."""
    spool, _ = make_orphan(tmp_path, LINES)
    spool.release()
    path = Path(spool_of(tmp_path))
    before, status = path.read_bytes(), path.stat()
    seen = look(str(path), str(tmp_path))
    after = path.stat()

    assert path.read_bytes() == before
    assert (after.st_mtime_ns, after.st_ino) == (status.st_mtime_ns, status.st_ino)
    assert recover(str(tmp_path)).records == seen.records == len(LINES)


def test_q1_a_living_owner_does_not_notice(tmp_path: Path) -> None:
    """It keeps its lock, and its records are counted as they are."""
    spool, segment = make_orphan(tmp_path, LINES[:2])
    first = look(spool_of(tmp_path), str(tmp_path))
    segment.write(LINES[2])
    second = look(spool_of(tmp_path), str(tmp_path))
    adopted = SpoolFile.adopt(OsFiles(), spool_of(tmp_path))
    spool.remove()

    assert (first.state, first.records) == ("living", 2)
    assert (second.state, second.records) == ("living", 3)
    assert adopted is None


@pytest.mark.parametrize("others", [False, True])
@pytest.mark.parametrize("cut", range(0, sum(map(len, LINES[:3])) + 1, 29))
def test_q1_what_a_torn_append_left_is_counted_as_recovery_appends_it(
    tmp_path: Path, cut: int, others: bool
) -> None:
    """
    Its process died *cut* bytes into the append of three lines, with three behind; and
    somebody may have appended since.
    """
    spool, _ = make_orphan(tmp_path, LINES)
    batch = b"".join(LINES[:3])
    log = tmp_path / f"errors-{DAY}.jsonl"
    log.write_bytes(LINES[5])
    status = log.stat()
    spool.notes.begin(
        DAY, (status.st_dev, status.st_ino), len(LINES[5]), (1, 0), (1, len(batch))
    )
    with log.open("ab") as file:
        file.write(batch[:cut])
        if others:
            closed = b"" if batch[:cut].endswith(b"\n") or not cut else b"\n"
            file.write(closed + LINES[4])
    spool.release()
    seen = look(spool_of(tmp_path), str(tmp_path))

    assert seen.records == recover(str(tmp_path)).records
    assert 3 <= seen.records <= 6


def test_q1_a_note_of_a_file_that_is_gone_counts_all_of_it(tmp_path: Path) -> None:
    """Nothing of the range is in the log then."""
    spool, _ = make_orphan(tmp_path, LINES)
    spool.notes.begin(DAY, (1, 2), 0, (1, 0), (1, len(LINES[0])))
    spool.release()

    assert look(spool_of(tmp_path), str(tmp_path)).records == len(LINES)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "shorter than the head"),
        (bytes(HEAD_BYTES), "is not a spool"),
        (b"TPSPOOL\0" + b"\xff" * HEAD_BYTES, "spool of version"),
    ],
)
def test_what_is_no_spool_is_a_problem(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    """With its reason; the file stays."""
    (tmp_path / "spool").mkdir(mode=0o700)
    path = tmp_path / "spool" / "errors-1.spool"
    path.write_bytes(content)
    diagnosis = examine(tmp_path, environ={})

    assert only(diagnosis, "spool").level == Level.PROBLEM
    assert reason in only(diagnosis, "spool").what
    assert path.read_bytes() == content


@pytest.mark.parametrize("word", [8, 16, 17, 18, 19, 20, 21, 22, 23, 24, 27, 28, 64])
@pytest.mark.parametrize("value", [2**64 - 1, 2**31, 3])
def test_r1_a_damaged_head_never_raises(tmp_path: Path, word: int, value: int) -> None:
    """Whatever is in the words of notes and slots."""
    spool, _ = make_orphan(tmp_path, LINES)
    spool.notes.begin(DAY, (1, 2), 0, (1, 0), (1, len(LINES[0])))
    spool.release()
    path = Path(spool_of(tmp_path))
    content = bytearray(path.read_bytes())
    content[8 * word : 8 * word + 8] = value.to_bytes(8, "little")
    path.write_bytes(content)

    assert look(str(path), str(tmp_path)).state in {"orphan", "damaged"}


@pytest.mark.parametrize("size", [HEAD_BYTES, HEAD_BYTES + 100, HEAD_BYTES + 2**20])
def test_r1_a_spool_that_was_cut_off_ends_nobody(tmp_path: Path, size: int) -> None:
    """A mapping past its end would be SIGBUS."""
    spool, _ = make_orphan(tmp_path, LINES)
    spool.release()
    os.truncate(spool_of(tmp_path), size)

    assert look(spool_of(tmp_path), str(tmp_path)).state == "orphan"


@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
def test_s5_what_is_no_regular_file_is_not_opened_for_long(
    tmp_path: Path, kind: str
) -> None:
    """A link is not followed, a pipe does not hang."""
    (tmp_path / "spool").mkdir(mode=0o700)
    path = tmp_path / "spool" / "errors-1.spool"
    if kind == "link":
        path.symlink_to("/etc/hostname")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()

    assert look(str(path), str(tmp_path)).state in {"damaged", "unreadable"}


def test_orphans_are_a_warning_only_while_nobody_is_there_to_append_them(
    tmp_path: Path,
) -> None:
    """A process that logs there looks every half minute."""
    spool, _ = make_orphan(tmp_path, LINES)
    spool.release()
    alone = examine(tmp_path, environ={})
    owner, _ = make_orphan(tmp_path, LINES[:1])
    together = examine(tmp_path, environ={})
    owner.remove()

    (orphaned,) = found(alone, "spools")
    assert orphaned.level == Level.WARNING
    assert "records that wait: 6" in orphaned.what
    assert str(tmp_path) in orphaned.advice
    living, waiting = found(together, "spools")
    assert waiting.level == Level.NOTE
    assert str(os.getpid()) in living.what


def test_x2_records_that_wait_for_long_in_a_living_process_are_a_warning(
    tmp_path: Path,
) -> None:
    """The log is not being written; for a moment it is nothing."""
    spool, _ = make_orphan(tmp_path, [make_line("first"), make_line("second")])
    noon = datetime.fromisoformat(f"{DAY}T12:00:00Z").timestamp()
    soon = examine(tmp_path, environ={}, now=noon + 1)
    late = examine(tmp_path, environ={}, now=noon + 60)
    spool.remove()

    assert only(soon, "spools").level == Level.OK
    assert only(late, "spools").level == Level.WARNING
    assert f"the first since {DAY}T12:00:00.000000Z" in only(late, "spools").what
    assert only(late, "spools").advice


def test_a_record_that_has_lost_its_timestamp_is_counted(tmp_path: Path) -> None:
    """A damaged line may still be an object; it is of no age."""
    damaged = LINES[0].replace(b'"timestamp"', b'"tamestimp"')
    spool, _ = make_orphan(tmp_path, [damaged, LINES[1]])
    spool.release()
    seen = look(spool_of(tmp_path), str(tmp_path))

    assert (seen.state, seen.records, seen.damaged) == ("orphan", 2, 0)
    assert seen.oldest == f"{DAY}T12:00:00.000000Z"


def test_an_empty_orphan_is_a_note(tmp_path: Path) -> None:
    """Nothing waits in it."""
    spool, _ = make_orphan(tmp_path, [])
    spool.release()

    assert only(examine(tmp_path, environ={}), "spools").level == Level.NOTE


def test_q3_drops_are_told_of_by_reason(tmp_path: Path) -> None:
    """Of living processes, and of dead ones, added up."""
    for count in (2, 40):
        spool, _ = make_orphan(tmp_path, LINES)
        spool.notes.set_drops(QUEUE_FULL, count, 1, 2)
        spool.release()

    assert only(examine(tmp_path, environ={}), "drops").what == "42 queue_full"


def test_a_spool_that_vanishes_meanwhile_is_no_trouble(tmp_path: Path) -> None:
    """Recovery may be at work."""
    spool, _ = make_orphan(tmp_path, LINES)
    spool.release()
    path = spool_of(tmp_path)
    shutil.rmtree(tmp_path / "spool")

    assert look(path, str(tmp_path)).state == "unreadable"


KILLED = """
import os, sys
from tokenpak.telemetry.error_logger import ErrorLogger
logger = ErrorLogger(sys.argv[1], linger=10)
for number in range(7):
    logger.log_error(str(number), ValueError("x"))
    logger.log_event("done", str(number))
print(os.getpid(), flush=True)
sys.stdin.readline()
os.kill(os.getpid(), 9)
"""


@pytest.mark.fault
def test_q1_what_a_killed_process_had_accepted_is_counted(tmp_path: Path) -> None:
    """As its own while it lives, as an orphan's afterwards; then it is recovered."""
    log_dir = tmp_path / "logs"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(log_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        living = examine(log_dir, environ={}).spools
        process.communicate("go\n", timeout=240)
    dead = examine(log_dir, environ={}).spools

    assert process.returncode == -signal.SIGKILL
    assert {(spool.state, spool.process) for spool in living} == {("living", pid)}
    assert {(spool.state, spool.process) for spool in dead} == {("orphan", pid)}
    assert sorted(spool.stream for spool in dead) == ["errors", "events"]
    # The writer may have appended some of them before it began to linger.
    appended = sum(
        len(path.read_bytes().splitlines()) for path in log_dir.glob("*.jsonl")
    )
    waiting = sum(spool.records for spool in dead)
    assert waiting == 14 - appended
    assert waiting <= sum(spool.records for spool in living) <= 14
    assert recover(str(log_dir)).records == waiting
    assert len(list(log_dir.glob("spool/*"))) == 0
