"""
S3: whatever the clock does, a record is in the file of its own timestamp's day, once.

The clock is that of the process, faked by libfaketime.  It leaves the monotonic clock
alone, as a clock that is set leaves it alone.
"""

from __future__ import annotations

import glob
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.fault.ledger import Ledger, request_id, sort_lines
from tokenpak.telemetry.queue.recovery import recover

LIBRARY = next(
    iter(
        sorted(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1"))
        + sorted(glob.glob("/usr/lib/faketime/libfaketimeMT.so.1"))
    ),
    None,
)

pytestmark = [
    pytest.mark.fault,
    pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed"),
]

WRITER = """
import signal, sys, time
# libfaketime gives time.sleep() an error when the monotonic clock is not to be faked.
time.sleep = lambda seconds: signal.sigtimedwait([], seconds)
from pathlib import Path
from tests.fault.ledger import Ledger, request_id
from tokenpak.telemetry.error_logger import ErrorLogger

log_dir, ledger, name, end, pause = sys.argv[1:]
words = Ledger(Path(ledger), 3).words  # calls that have returned, stop, when it ended
logger = ErrorLogger(log_dir, linger=0.005, recovery_interval=0.2)
error = ValueError("x")
print("ready", flush=True)
sys.stdin.readline()
number, ended = 0, False
while not words[1] and not ended:
    # Before the call, so that there is one at the end, however slow the machine is.
    ended = time.time() >= float(end)
    logger.log_error(request_id(name, 0, number), error)
    number += 1
    words[0] = number
    time.sleep(float(pause))
words[2] = int(time.time())
assert logger.flush(60), logger.stats()
assert dict(logger.stats().dropped) == {}
assert logger.close(60)
"""


# What libfaketime shares in memory is named after the process id, stays when a process
# is killed, and ends a later one that gets its number.
START = """
rm -f "/dev/shm/faketime_shm_$$" "/dev/shm/sem.faketime_sem_$$"
LD_PRELOAD=$LIBRARY exec "$@"
"""


def at(text: str) -> float:
    """Return the seconds since the epoch of *text*, UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


class Writer:
    """A process with a clock of its own that logs until it is told to stop."""

    def __init__(
        self,
        log_dir: Path,
        name: str,
        clock: dict[str, str],
        end: float = 1e12,
        pause: float = 0.001,
    ) -> None:
        assert LIBRARY is not None
        self.name, path = name, log_dir.parent / f"ledger-{name}"
        self._ledger = Ledger(path, 3)
        self.process = subprocess.Popen(
            [
                *("/bin/sh", "-c", START, "sh"),
                *(sys.executable, "-c", WRITER, str(log_dir), str(path), name),
                *(f"{end}", f"{pause}"),
            ],
            env={
                **os.environ,
                "LIBRARY": LIBRARY,
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "FAKETIME_NO_CACHE": "1",
                "TZ": "UTC",
                **clock,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def go(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    @property
    def acknowledged(self) -> int:
        return self._ledger.words[0]

    @property
    def ended_at(self) -> int:
        """What its clock said at its end."""
        return self._ledger.words[2]

    def stop(self) -> None:
        self._ledger.words[1] = 1


Start = Callable[..., list[Writer]]


@pytest.fixture
def start(log_dir: Path) -> Iterator[Start]:
    """Start writers, which do not outlive the test."""
    writers: list[Writer] = []

    def start(names: list[str], clock: dict[str, str], **more: float) -> list[Writer]:
        writers.extend(Writer(log_dir, name, clock, **more) for name in names)
        return writers[-len(names) :]

    yield start
    for writer in writers:
        if writer.process.poll() is None:
            writer.process.kill()
        writer.process.communicate()


@pytest.fixture
def archives(log_dir: Path) -> Iterator[None]:
    """Archives of these days that are there already: none may be overwritten."""
    place = log_dir / "archive"
    place.mkdir(parents=True)
    before = {}
    for day in range(23, 29):
        path = place / f"errors-2026-03-{day}.jsonl.gz"
        before[path] = gzip.compress(b'{"timestamp":"2026-03-%dT' % day, mtime=0)
        path.write_bytes(before[path])
    yield
    assert {path: path.read_bytes() for path in before} == before


def set_clock(setting: Path, text: str) -> dict[str, str]:
    """Have clocks go as *text* says from now on; return what makes a clock do so."""
    new = setting.with_suffix(".new")
    new.write_text(f"{text}\n")
    new.rename(setting)
    return {"FAKETIME_TIMESTAMP_FILE": str(setting)}


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 100
    while not what():
        assert time.monotonic() < deadline, "it does not come to pass"
        signal.sigtimedwait([], 0.005)


def wait_for_more(writers: list[Writer], count: int = 50) -> None:
    """Return when each of *writers* has logged *count* times from now on."""
    before = [writer.acknowledged for writer in writers]
    wait_for(
        lambda: all(
            writer.acknowledged >= was + count
            for writer, was in zip(writers, before, strict=True)
        )
    )


def check(log_dir: Path, writers: list[Writer], killed: int = 0) -> Counter[str]:
    """Check that all is where it belongs; return how many records each day has."""
    torn = 0
    seen: Counter[str] = Counter()
    days: Counter[str] = Counter()
    for path in log_dir.glob("*.jsonl"):
        content = path.read_bytes()
        assert content.endswith(b"\n"), path
        lines = sort_lines(content.splitlines())
        assert lines.stray == [], path
        torn += len(lines.torn)
        for line in lines.whole:
            record = json.loads(line)
            day = record["timestamp"][:10]
            assert path.name == f"errors-{day}.jsonl", record
            seen[record["request_id"]] += 1
            days[day] += 1
    accepted = {
        request_id(writer.name, 0, number)
        for writer in writers
        for number in range(writer.acknowledged)
    }
    # The call under way at a death may be there, too.
    under_way = {request_id(w.name, 0, w.acknowledged) for w in writers}
    assert torn <= killed
    assert accepted - seen.keys() == set(), "lost"
    assert seen.keys() - accepted <= under_way
    assert set(seen.values()) == {1}, "doubled"
    return days


@pytest.mark.usefixtures("archives")
def test_s3_a_clock_that_is_set_under_eight_writers(
    log_dir: Path, tmp_path: Path, start: Start
) -> None:
    """
    Over midnight, two hours back, a day on, and back again.  One is killed on the way,
    and recovered months later.
    """
    setting = tmp_path / "clock"

    def set_all(text: str) -> dict[str, str]:
        # What is added to the true time.
        return set_clock(setting, f"{at(text) - time.time():+.3f}")

    names = [f"w{number}" for number in range(8)]
    writers = start(names, set_all("2026-03-24T23:50:00"))
    for writer in writers:
        writer.go()
    wait_for_more(writers)
    set_all("2026-03-24T23:59:59.500")
    wait_for((log_dir / "errors-2026-03-25.jsonl").exists)
    wait_for_more(writers)
    set_all("2026-03-24T22:00:02")
    wait_for_more(writers)
    set_all("2026-03-26T00:00:05")
    wait_for_more(writers)
    killed = writers[0]
    killed.process.kill()
    killed.process.wait()
    set_all("2026-03-25T00:00:09")
    wait_for_more(writers[1:])
    for writer in writers[1:]:
        writer.stop()
    status = [writer.process.wait(100) for writer in writers[1:]]
    recover(str(log_dir))

    days = check(log_dir, writers, killed=1)
    assert status == [0] * 7
    assert set(days) == {"2026-03-24", "2026-03-25", "2026-03-26"}
    assert min(days.values()) >= 8 * 50
    assert list((log_dir / "spool").iterdir()) == []


@pytest.mark.heavy
@pytest.mark.usefixtures("archives")
def test_s3_three_midnights_at_sixty_times_the_speed(
    log_dir: Path, tmp_path: Path, start: Start
) -> None:
    """
    Each under writers that log from two minutes before it until two minutes after.
    """
    writers: list[Writer] = []
    for day in (24, 25, 26):
        midnight = at(f"2026-03-{day + 1}T00:00:00")
        setting = tmp_path / f"clock-{day}"
        # They have ten minutes to start; the clock runs when both of them log.
        clock = set_clock(setting, f"@2026-03-{day} 23:50:00")
        pair = start([f"m{day}-0", f"m{day}-1"], clock, end=midnight + 120)
        for writer in pair:
            writer.go()
        wait_for_more(pair)
        set_clock(setting, f"@2026-03-{day} 23:58:00 x60")
        writers += pair
    status = [writer.process.wait(100) for writer in writers]

    days = check(log_dir, writers)
    assert status == [0] * 6
    assert set(days) == {f"2026-03-{day}" for day in (24, 25, 26, 27)}


@pytest.mark.usefixtures("archives")
def test_s3_three_days_in_some_seconds(
    log_dir: Path, tmp_path: Path, start: Start
) -> None:
    """
    Every hour of them passes in an eighth of a second.
    """
    end = at("2026-03-27T18:00:00")
    writers: list[Writer] = []
    for name in ("a", "b", "c"):
        setting = tmp_path / f"clock-{name}"
        # It has six hours to start.
        clock = set_clock(setting, "@2026-03-24 12:00:00")
        (writer,) = start([name], clock, end=end, pause=0.002)
        writer.go()
        wait_for_more([writer])
        set_clock(setting, "@2026-03-24 18:00:00 x30000")
        writers.append(writer)
    status = [writer.process.wait(100) for writer in writers]

    days = check(log_dir, writers)
    assert status == [0] * 3
    assert {"2026-03-25", "2026-03-26", "2026-03-27"} <= set(days)
    assert all(writer.ended_at >= end for writer in writers)
