"""
S2: followers see every line once, while files appear, grow, are archived and come back.

``tail -F`` and rsyslog's imfile follow a directory through four days of its life.  The
configuration of rsyslog is the one that its page shows.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, blocks_of
from tests.fault.ledger import Lines, sort_lines
from tests.queue.rig import make_line
from tests.queue.test_recovery import make_orphan
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.queue.recovery import recover
from tokenpak.telemetry.store.archive import Archiver
from tokenpak.telemetry.store.entries import Entries
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.names import ERRORS, EVENTS, STREAMS

pytestmark = pytest.mark.fault

DAYS = [f"2026-03-{day}" for day in range(20, 24)]
DEADLINE = 90.0
SMALLEST = 600
"""Bytes of a line that is alone in its file.  rsyslog knows files of less than 512
bytes by their inode alone, for some seconds after they were moved, too: its page says
what follows from that."""


def _gnu_tail() -> bool:
    tail = shutil.which("tail")
    if tail is None:
        return False
    done = subprocess.run([tail, "--version"], capture_output=True, check=False)
    return b"GNU" in done.stdout


def _is_confined(program: str) -> bool:
    profiles = Path("/sys/kernel/security/apparmor/profiles")
    try:
        return f"{program} (enforce)" in profiles.read_text()
    except OSError:
        return False


RSYSLOGD = shutil.which("rsyslogd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
needs_tail = pytest.mark.skipif(not _gnu_tail(), reason="GNU tail is not installed")
needs_rsyslog = pytest.mark.skipif(
    RSYSLOGD is None or _is_confined("rsyslogd"),
    reason="rsyslog is not installed, or kept out of other places by AppArmor",
)


def lines_of(log_dir: Path) -> Counter[bytes]:
    """All lines of the log, archived or not."""
    found: Counter[bytes] = Counter()
    for path in log_dir.glob("*.jsonl"):
        found.update(path.read_bytes().splitlines())
    for path in log_dir.glob("archive/*.jsonl.gz"):
        found.update(gzip.decompress(path.read_bytes()).splitlines())
    return found


def sorted_lines_of(log_dir: Path) -> Lines:
    """The same, by what they are: see log_today() for the one that may be torn."""
    lines = sort_lines(lines_of(log_dir).elements())
    assert lines.stray == []
    assert len(lines.torn) <= 1
    return lines


def archive(log_dir: Path, last: str) -> None:
    """Archive the days up to *last*, as a process that logs does."""
    files = OsFiles()
    archiver = Archiver(
        Entries(files),
        files,
        str(log_dir),
        before=date.fromisoformat(last) + timedelta(days=1),
    )
    for _ in archiver.steps():
        pass
    assert archiver.result.failed == archiver.result.put_off == ()


class Follower:
    """Something that copies what it sees to *outputs*, a line each."""

    def __init__(self, *outputs: Path) -> None:
        self.outputs = outputs

    def seen(self) -> Counter[bytes]:
        found: Counter[bytes] = Counter()
        for output in self.outputs:
            content = output.read_bytes() if output.exists() else b""
            # What is behind the last newline is being written.
            found.update(content[: content.rfind(b"\n") + 1].splitlines())
        return found

    def wait_for(self, expected: Counter[bytes]) -> None:
        """Return when all of *expected* was seen; the caller looks for more."""
        deadline = time.monotonic() + DEADLINE
        while expected - self.seen():
            missing = sum((expected - self.seen()).values())
            assert time.monotonic() < deadline, f"{missing} lines were not seen"
            time.sleep(0.02)


def log_records(log_dir: Path, stream: str, lines: list[bytes]) -> None:
    """Have *lines* in the log, as the records of a process that died."""
    spool, _ = make_orphan(log_dir, lines, stream)
    spool.release()
    assert recover(str(log_dir)).records == len(lines)


def tear_and_complete(log_dir: Path, day: str, pause: Callable[[], None]) -> None:
    """Let a process die in the middle of a line; later it is completed in place."""
    lines = [make_line(f"torn-{number}", 300, day) for number in range(3)]
    batch = b"".join(lines)
    path = log_dir / f"{ERRORS}-{day}.jsonl"
    spool, _ = make_orphan(log_dir, lines)
    status = path.stat()
    spool.notes.begin(
        day,
        (status.st_dev, status.st_ino),
        status.st_size,
        (1, 0),
        (1, len(batch)),
    )
    with path.open("ab") as file:
        file.write(batch[:450])
    spool.release()
    pause()
    assert recover(str(log_dir)).records == 2


def live_four_days(log_dir: Path, follower: Follower) -> None:
    """Log, late too, and archive what is older than a day, while *follower* looks."""
    for number, day in enumerate(DAYS):
        for stream in STREAMS:
            for batch in range(4):
                names = [f"{stream}-{day}-{batch}-{n}" for n in range(25)]
                log_records(
                    log_dir,
                    stream,
                    [make_line(name, 120 * batch, day) for name in names],
                )
        if number:
            # A late record of yesterday, and one of a day that is archived already.
            for late in DAYS[max(0, number - 3) : number]:
                line = make_line(f"late-{late}-on-{day}", SMALLEST, late)
                log_records(log_dir, ERRORS, [line])
        tear_and_complete(log_dir, day, lambda: time.sleep(0.1))
        # What a follower has not seen when it is archived, it does not see; that is a
        # week in the life of a log.
        follower.wait_for(lines_of(log_dir))
        if number > 1:
            archive(log_dir, DAYS[number - 2])


def log_today(log_dir: Path, tmp_path: Path) -> None:
    """
    Two processes log real errors, and one logs odd things.

    One of them is killed, maybe inside of a write; then the other may close the line.
    """
    command = [sys.executable, "-m", "tests.fault.worker", str(log_dir)]
    workers = [
        subprocess.Popen(
            [*command, str(tmp_path / name), name, "2", "150", "--pause", "0.001"]
        )
        for name in ("one", "two")
    ]
    logger = ErrorLogger(log_dir, linger=0.0)
    try:
        for number, text in enumerate(
            ("x" * 60_000, "\x7f\x00\x1b\t\r\n", "é\u2028\U0001f600", "#012 %msg% \\n")
        ):
            logger.log_error(f"odd-{number}", ValueError(text), {"text": text})
            assert logger.flush(60)
    finally:
        logger.close(60)
    workers[0].kill()
    for worker in workers:
        assert worker.wait(60) in {0, -signal.SIGKILL}
    recover(str(log_dir))


def today_and_tomorrow() -> list[str]:
    now = datetime.now(UTC)
    return [(now + timedelta(days)).strftime("%Y-%m-%d") for days in (0, 1)]


@contextlib.contextmanager
def running(
    command: list[str], out: Path, err: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run *command*, and end it by its id, gently first."""
    with out.open("ab") as output, err.open("ab") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@needs_tail
def test_s2_tail_follows_files_through_archiving_and_late_records(
    tmp_path: Path,
) -> None:
    """
    ``tail -F`` prints every line once: of files that come to be, are archived, and
    come back for a late record; and a line that was torn and completed is one line.
    """
    log_dir = tmp_path / "logs"
    log_dir.mkdir(mode=0o700)
    names = [
        f"{stream}-{day}.jsonl"
        for day in [*DAYS, *today_and_tomorrow()]
        for stream in STREAMS
    ]
    # One for each file: what one tail prints of two files is mixed inside of lines, if
    # a line is not complete yet.
    follower = Follower(*(tmp_path / f"seen-{name}" for name in names))
    with contextlib.ExitStack() as stack:
        tails = [
            stack.enter_context(
                running(
                    ["tail", "-n", "+1", "-s", "0.2", "-F", str(log_dir / name)],
                    output,
                    tmp_path / "complaints",
                )
            )
            for name, output in zip(names, follower.outputs, strict=True)
        ]
        live_four_days(log_dir, follower)
        log_today(log_dir, tmp_path)
        follower.wait_for(lines_of(log_dir))
        alive = [tail.poll() for tail in tails]

    assert set(alive) == {None}
    assert follower.seen() == lines_of(log_dir)
    assert sorted_lines_of(log_dir).whole
    assert set(lines_of(log_dir).values()) == {1}


def test_s4_our_own_tail_shows_every_record_once(tmp_path: Path) -> None:
    """
    Of both streams, through archiving, late records, torn lines and deaths, whether a
    record is seen in a spool or in a file first.
    """
    log_dir = tmp_path / "logs"
    log_dir.mkdir(mode=0o700)
    follower = Follower(tmp_path / "seen")
    command = [sys.executable, "-m", "tokenpak", "telemetry", "tail", "-f"]
    command += ["-n", "10000", "--stream", "all", "--format", "jsonl"]
    complaints = tmp_path / "complaints"
    # It begins with a recovery, which may take what is left for another one here.
    log_records(log_dir, ERRORS, [make_line("first", SMALLEST, DAYS[0])])
    with running(
        [*command, "--log-dir", str(log_dir)], follower.outputs[0], complaints
    ) as process:
        follower.wait_for(lines_of(log_dir))
        live_four_days(log_dir, follower)
        log_today(log_dir, tmp_path)
        lines = sorted_lines_of(log_dir)
        follower.wait_for(Counter(lines.whole))
        alive = process.poll() is None
    told = complaints.read_text().splitlines()

    assert alive, told
    assert len(told) == len(lines.torn), told
    assert all(text.startswith("Skipped: ") for text in told)
    assert follower.seen() == Counter(lines.whole)
    assert set(lines_of(log_dir).values()) == {1}


def rsyslog_configuration(place: Path, log_dir: Path, block: str = "rsyslog") -> str:
    """The configuration of the page, with the directories of this test."""
    (text,) = (
        block_.text
        for block_ in blocks_of(DOCS / "how-to" / "ship-with-rsyslog.md")
        if block_.marks.get("example") == block
    )
    for shown, real in (
        ("/var/spool/rsyslog", place / "state"),
        ("/var/log/shipped", place),
        ("/var/log/app", log_dir),
    ):
        assert shown in text or block != "rsyslog"
        text = text.replace(shown, str(real))
    return text


@pytest.fixture
def rsyslog(tmp_path: Path) -> list[str]:
    """A command that runs rsyslog with the page's configuration."""
    assert RSYSLOGD is not None
    (tmp_path / "state").mkdir()
    (tmp_path / "logs").mkdir(mode=0o700)
    configuration = tmp_path / "rsyslog.conf"
    configuration.write_text(rsyslog_configuration(tmp_path, tmp_path / "logs"))
    return [
        RSYSLOGD,
        *("-n", "-f", str(configuration), "-i", str(tmp_path / "rsyslog.pid")),
    ]


@needs_rsyslog
def test_s2_rsyslog_follows_files_through_archiving_late_records_and_restarts(
    tmp_path: Path, rsyslog: list[str]
) -> None:
    """
    rsyslog's imfile, with the configuration of the documentation, hands on every line
    once, as it is in the file; also what was logged while it was not running.
    """
    log_dir = tmp_path / "logs"
    follower = Follower(tmp_path / "tokenpak.jsonl")
    out, err = tmp_path / "out", tmp_path / "complaints"
    with running(rsyslog, out, err):
        live_four_days(log_dir, follower)
    log_records(log_dir, EVENTS, [make_line("while it was away", 0, DAYS[-1])])
    log_records(log_dir, ERRORS, [make_line("a new file", SMALLEST, "2026-03-25")])
    with running(rsyslog, out, err) as process:
        log_today(log_dir, tmp_path)
        follower.wait_for(lines_of(log_dir))
        alive = process.poll() is None

    assert alive, err.read_text()
    assert follower.seen() == lines_of(log_dir)
    assert sorted_lines_of(log_dir).whole
    assert set(lines_of(log_dir).values()) == {1}


@needs_rsyslog
@pytest.mark.parametrize("block", ["rsyslog", "rsyslog json"])
def test_the_configurations_of_the_page_are_accepted(
    tmp_path: Path, block: str
) -> None:
    """Each block, by rsyslog's own check."""
    (tmp_path / "state").mkdir()
    configuration = tmp_path / "rsyslog.conf"
    text = rsyslog_configuration(tmp_path, tmp_path / "logs", block)
    if block != "rsyslog":
        text = f'global(workDirectory="{tmp_path / "state"}")\n{text}'
    configuration.write_text(text)
    done = subprocess.run(
        [str(RSYSLOGD), "-N1", "-f", str(configuration)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    if "mmjsonparse.so" in done.stderr:
        pytest.skip("this rsyslog is without mmjsonparse")
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr.lower()
