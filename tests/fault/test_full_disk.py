"""
S1, Q3: writes that take only a part, and full disks: no line is merged or lost.

A write that is cut short, by a full disk, a limit or a signal, leaves the beginning of
a line.  It is completed in place, by whoever comes first.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.fault.disks import fill, tmpfs
from tests.queue.logs import eventually
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.store.files import Buffer, OsFiles

pytestmark = pytest.mark.fault

CYCLES = 20


def lines_of(log_dir: Path) -> list[bytes]:
    """Return all lines of the log, without newlines; the last may be unfinished."""
    return [
        line
        for path in sorted(log_dir.glob("errors-*.jsonl"))
        for line in path.read_bytes().removesuffix(b"\n").split(b"\n")
    ]


def ids_of(lines: list[bytes]) -> tuple[Counter[str], int, int]:
    """Return the ids of the records, how many lines don't decode, how many merged."""
    ids: Counter[str] = Counter()
    malformed = merged = 0
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            malformed += 1
            merged += line.count(b'{"timestamp":"') > 1
        else:
            if record["error_type"] != "RecordsDropped":
                ids[record["request_id"]] += 1
    return ids, malformed, merged


def log(logger: ErrorLogger, start: int, count: int, padding: int) -> None:
    context = {"padding": "y" * padding}
    error = ValueError("x")
    for number in range(start, start + count):
        logger.log_error(f"r{number}", error, context)


def meets_another_error(logger: ErrorLogger, before: int) -> bool:
    """Return whether the writer comes to have met more errors than *before*."""
    return eventually(lambda: logger.stats().write_errors > before)


class ShortWrites:
    """Lets each third write take only a part, sometimes of a line."""

    def __init__(self) -> None:
        self.writes = self.short = 0

    def write(self, fd: int, parts: Sequence[Buffer]) -> int:
        """Append *parts*, or the beginning of the first."""
        self.writes += 1
        first = parts[0]
        if self.writes % 3 == 0 and len(first) > 1:
            self.short += 1
            return os.write(fd, first[: 1 + len(first) * (self.writes % 7) // 7])
        return os.writev(fd, parts)


def test_s1_short_writes_are_continued(
    make_logger: Callable[..., ErrorLogger],
    log_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    40,000 records, each third write is short: no line is torn, merged, lost or doubled.
    """
    short = ShortWrites()
    monkeypatch.setattr(OsFiles, "write", lambda _, fd, parts: short.write(fd, parts))
    logger = make_logger(linger=0.0)
    for start in range(0, 40_000, 100):
        log(logger, start, 100, 100)
        assert logger.flush(60)
    assert logger.close(60)
    ids, malformed, merged = ids_of(lines_of(log_dir))

    assert short.short > 100
    assert logger.stats().dropped == {}
    assert (malformed, merged) == (0, 0)
    assert ids == Counter({f"r{number}": 1 for number in range(40_000)})


LIMITED = """
import resource, sys
from tokenpak.telemetry.error_logger import ErrorLogger

log_dir, spool_dir = sys.argv[1:]
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
logger = ErrorLogger(log_dir, spool_dir=spool_dir, linger=0.0)
logger.log_error("first", ValueError("x"))
assert logger.flush(60)
limit = 5_000
failed = 0
for start in range(0, 30_000, 300):
    # What the file may grow to ends in the middle of a line; a spool is made by then.
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    before = logger.stats().write_errors
    for number in range(start, start + 300):
        logger.log_error(f"r{number}", ValueError("x"), {"padding": "y" * 100})
    for _ in range(100):  # on a busy machine the writer takes longer to come to it
        flushed = logger.flush(0.02)
        if flushed or logger.stats().write_errors > before:
            break
    failed += not flushed
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))
    assert logger.flush(60)
    limit = 300 * 250 * (start // 300 + 1) + 7_777
assert logger.close(60)
stats = logger.stats()
print(failed, stats.write_errors, sum(stats.dropped.values()))
"""


def test_s1_a_limit_on_the_size_of_files_tears_no_line(tmp_path: Path) -> None:
    """
    RLIMIT_FSIZE is met and lifted a hundred times: 30,000 records, each once.
    """
    log_dir, spool_dir = tmp_path / "logs", tmp_path / "spools"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(log_dir), str(spool_dir)],
        check=True,
        capture_output=True,
        text=True,
        timeout=240,
    )
    failed, errors, dropped = map(int, done.stdout.split())
    ids, malformed, merged = ids_of(lines_of(log_dir))
    del ids["first"]

    assert failed > 50
    assert errors > 50
    assert dropped == 0
    assert (malformed, merged) == (0, 0)
    assert ids == Counter({f"r{number}": 1 for number in range(30_000)})


def test_s1_a_disk_that_fills_up_again_and_again_tears_no_line(
    make_logger: Callable[..., ErrorLogger], tmp_path: Path
) -> None:
    """
    Log and spool share 40 MB: 30,000 records, each in the log once, or counted.
    """
    with tmpfs(tmp_path, "40m") as disk:
        log_dir = disk / "logs"
        logger = make_logger(log_dir, linger=0.0, spool_dir=log_dir / "spool")
        log(logger, 30_000, 1, 100)  # or there would be no room for the spool
        assert logger.flush(60)
        shared = list(log_dir.glob("spool/*/*.spool"))
        full = 0
        for start in range(0, 30_000, 3_000):
            fill(disk / "filler")
            log(logger, start, 3_000, 100)
            full += not logger.flush(0.1)
            (disk / "filler").unlink()
            assert logger.flush(60)
        assert logger.close(60)
        stats = logger.stats()
        ids, malformed, merged = ids_of(lines_of(log_dir))
        durable = stats.durable

    assert durable
    assert len(shared) == 1, "the spool is elsewhere"
    assert full > 5
    assert (malformed, merged) == (0, 0)
    assert len(ids) == sum(ids.values()) == 30_001 - sum(stats.dropped.values())


def test_q3_a_small_disk_is_filled_and_freed_twenty_times(
    make_logger: Callable[..., ErrorLogger], tmp_path: Path
) -> None:
    """
    A tmpfs of 1 MB, too small for a spool: after each cycle all is there that the bound
    has room for, and no cycle leaves more than one torn line.
    """
    with tmpfs(tmp_path, "1m") as disk:
        log_dir = disk / "logs"
        logger = make_logger(log_dir, max_pending_bytes=4 * 1024 * 1024)
        logger.log_error("first", ValueError("x"))
        assert logger.flush(60)
        (path,) = log_dir.glob("errors-*.jsonl")
        written = 1
        full = torn = 0
        for cycle in range(CYCLES):
            fill(disk / "filler")
            before = logger.stats().write_errors
            log(logger, cycle * 300, 300, 1_000)
            assert meets_another_error(logger, before)
            full += not logger.flush(0.1)
            content = path.read_bytes()
            torn += content != b"" and not content.endswith(b"\n")
            (disk / "filler").unlink()
            assert logger.flush(60)
            ids, malformed, merged = ids_of(lines_of(log_dir))
            del ids["between"]
            written += sum(ids.values()) - (cycle == 0)
            stats = logger.stats()
            calls = 1 + 300 * (cycle + 1)

            assert (malformed, merged) == (0, 0)
            assert stats.pending_records == 0
            assert written == calls - sum(stats.dropped.values())
            assert all(count == 1 for count in ids.values())
            # Freed: as by who deletes old files, under the logger.
            path.unlink()
            logger.log_error("between", ValueError("x"))
            assert logger.flush(60)
        dropped = dict(stats.dropped)
        assert logger.close(60)

    assert full == CYCLES
    assert torn > 0
    assert dropped == {}
