"""
X2, Q3, C1: the application has used up the descriptors of its process.

In a process of its own, whose limit is lowered: the test's must go on.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("resource", reason="there are no limits of descriptors to lower")

pytestmark = pytest.mark.fault

PRELUDE = """
import gc, json, logging, os, resource, sys, time
from pathlib import Path

now = [1_774_396_790_000_000_000]  # 2026-03-24T23:59:50Z
time.time_ns = lambda: now[0]

from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.queue import housekeeping, upkeep

housekeeping.SPOOL_CHECK = 0.02
upkeep.FIRST = (3600, 3600)  # or on a busy machine it warns that it cannot look
logs = Path(sys.argv[1])
limit = 120
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
warnings = []

class Keep(logging.Handler):
    def emit(self, record):
        warnings.append(record.getMessage())

logging.getLogger("tokenpak.telemetry").addHandler(Keep())
logging.getLogger("tokenpak.telemetry").setLevel(logging.INFO)
hoard = []

def use_up(leave=0):
    try:
        while True:
            hoard.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        give_back(leave)

def none(limit=0):
    # Whatever comes free: what we close, and the mappings of our own spool, too.
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, 120))

def give_back(count):
    for _ in range(count):
        os.close(hoard.pop())

def log(logger, count, start=0):
    for number in range(start, start + count):
        logger.log_error(f"r{number}", ValueError("x"))

def wait_until(what):
    end = time.monotonic() + 60
    while not what():
        if time.monotonic() > end:
            raise AssertionError("it does not come to pass")
        time.sleep(0.002)

def tell(**facts):
    while hoard:
        os.close(hoard.pop())
    print(json.dumps({**facts, "warnings": warnings}))
"""


def run(program: str, log_dir: Path) -> dict[str, Any]:
    """Run *program* behind the prelude; return what it tells."""
    child = subprocess.run(
        [sys.executable, "-c", PRELUDE + program, str(log_dir)],
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    found: dict[str, Any] = json.loads(child.stdout)
    return found


def lines_in(log_dir: Path) -> dict[str, int]:
    """How many lines each file has."""
    return {p.name: p.read_bytes().count(b"\n") for p in log_dir.glob("*.jsonl")}


def test_x2_no_descriptor_before_the_first_record(log_dir: Path) -> None:
    """
    Records are held in memory, the warnings say why, and all is written when some are
    free.  Then there is a spool, too.
    """
    found = run(
        """
logger = ErrorLogger(logs)
none()
log(logger, 100)
wait_until(lambda: any("Failed to write" in text for text in warnings))
during = logger.stats()
none(limit)
freed = time.monotonic()
wait_until(lambda: logger.stats().pending_records == 0)
took = time.monotonic() - freed
number = 100
while not logger.stats().durable:
    log(logger, 1, number)
    number += 1
    logger.flush(60)
after = logger.stats()
closed = logger.close(60)
tell(
    pending=during.pending_records, durable=[during.durable, after.durable],
    dropped=dict(after.dropped), written=after.written, number=number, took=took,
    closed=closed, left=os.listdir(logs / "spool"),
)
""",
        log_dir,
    )
    (path,) = log_dir.glob("*.jsonl")
    ids = [json.loads(line)["request_id"] for line in path.read_bytes().splitlines()]
    failed = [text for text in found["warnings"] if "Failed to write" in text]
    no_spool = [text for text in found["warnings"] if "No spool in" in text]

    assert found["pending"] == 100
    assert found["durable"] == [False, True]
    assert found["dropped"] == {}
    assert found["written"] == found["number"]
    assert ids == [f"r{number}" for number in range(found["number"])]
    assert found["closed"]
    assert found["left"] == []
    assert len(failed) == len(no_spool) == 1
    assert "Too many open files" in failed[0]
    assert "no file descriptor left" in failed[0]
    assert "ulimit -n" in no_spool[0]
    print(f"written {found['took']:.3f} s after some were free")


def test_x2_no_descriptor_during_the_run_is_no_trouble(log_dir: Path) -> None:
    """
    All that is needed is open.
    """
    found = run(
        """
logger = ErrorLogger(logs)
log(logger, 10)
first = logger.flush(60)
use_up()
log(logger, 5_000, 10)
flushed = logger.flush(60)
stats = logger.stats()
tell(flushed=[first, flushed], pending=stats.pending_records, durable=stats.durable,
     dropped=dict(stats.dropped), errors=stats.write_errors, closed=logger.close(60))
""",
        log_dir,
    )
    (path,) = log_dir.glob("*.jsonl")

    assert found["flushed"] == [True, True]
    assert (found["pending"], found["dropped"], found["errors"]) == (0, {}, 0)
    assert found["durable"]
    assert found["closed"]
    assert [w for w in found["warnings"] if "could not be seen yet" not in w] == []
    assert path.read_bytes().count(b"\n") == 5_010


def test_x2_at_midnight_the_new_file_takes_the_descriptor_of_the_old(
    log_dir: Path,
) -> None:
    """
    Nothing is free, then or later, and no record waits.  Both streams.
    """
    found = run(
        """
logger = ErrorLogger(logs)
log(logger, 10)
logger.log_event("e")
flushed = [logger.flush(60)]
use_up()
for day in range(4):
    now[0] += 86_400 * 10**9
    log(logger, 10)
    logger.log_event("e")
    flushed.append(logger.flush(60))
stats = logger.stats()
tell(flushed=flushed, errors=stats.write_errors,
     dropped=dict(stats.dropped), closed=logger.close(60))
""",
        log_dir,
    )

    assert found["flushed"] == [True] * 5
    assert lines_in(log_dir) == {
        f"{stream}-2026-03-{day}.jsonl": count
        for day in range(24, 29)
        for stream, count in (("errors", 10), ("events", 1))
    }
    assert (found["errors"], found["dropped"]) == (0, {})
    # That it cannot be looked for what dead processes left, and nothing else.
    assert [w for w in found["warnings"] if "could not be seen yet" not in w] == []


def test_x2_the_new_file_is_opened_when_some_are_free_again(
    log_dir: Path,
) -> None:
    """
    The application was faster than the new day's file to take the old one's.
    """
    found = run(
        """
logger = ErrorLogger(logs)
log(logger, 10)
flushed = [logger.flush(60)]
none()
now[0] += 86_400 * 10**9
log(logger, 100)
wait_until(lambda: logger.stats().write_errors >= 3)
during = logger.stats()
none(limit)
freed = time.monotonic()
flushed.append(logger.flush(60))
took = time.monotonic() - freed
tell(flushed=flushed, pending=during.pending_records, durable=during.durable,
     dropped=dict(during.dropped), took=took, closed=logger.close(60))
""",
        log_dir,
    )
    told = [text for text in found["warnings"] if "Failed to write" in text]

    assert found["flushed"] == [True, True]
    assert found["pending"] == 100
    assert found["durable"]
    assert found["dropped"] == {}
    assert lines_in(log_dir) == {
        "errors-2026-03-24.jsonl": 10,
        "errors-2026-03-25.jsonl": 100,
    }
    assert len(told) == 1
    assert "errors-2026-03-25.jsonl: Too many open files" in told[0]
    print(f"written {found['took']:.3f} s after one was free")


def test_x2_a_spool_never_takes_the_last_descriptor(log_dir: Path) -> None:
    """
    However many are left: if it is one, both streams are written, from memory if need
    be.  Nothing is left open; a spool whose counters could not be saved for want of a
    descriptor is left, empty, to the next process.
    """
    found = run(
        """
from tokenpak.telemetry.queue.recovery import recover
outcomes = []
for left in range(1, 40):
    logger = ErrorLogger(logs / f"{left}")
    use_up(leave=left)
    for number in range(10):
        logger.log_error(f"r{number}", ValueError("x"))
        logger.log_event("e", f"r{number}")
    flushed = logger.flush(60)
    stats = logger.stats()
    closed = logger.close(60)
    while hoard:
        os.close(hoard.pop())
    del logger
    gc.collect()  # or its mappings would keep their descriptors for a while
    place = logs / f"{left}"
    recovered = recover(str(place))
    assert recovered.records == 0, recovered
    outcomes.append((
        flushed, closed, dict(stats.dropped),
        sum(p.read_bytes().count(b"\\n") for p in place.glob("*.jsonl")),
        [p.name for p in place.glob("spool/*")],
        stats.durable,
    ))
tell(outcomes=outcomes)
""",
        log_dir,
    )
    outcomes = found["outcomes"]

    assert [outcome[:5] for outcome in outcomes] == [[True, True, {}, 20, []]] * 39
    assert outcomes[-1][5], "with enough of them, it is a spool"
