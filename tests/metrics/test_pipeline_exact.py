"""M1: the pipeline's counters are exact: with threads, forks, spawns, and kill -9."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import ROOT
from tests.metrics.logs import log_size, pipeline
from tests.queue.logs import eventually
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.metrics.machine import MachineCounts
from tokenpak.telemetry.metrics.pipeline import PipelineTotals
from tokenpak.telemetry.queue.recovery import recover
from tokenpak.telemetry.store import meters
from tokenpak.telemetry.store.names import ERRORS

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
RECORDS = 8_000


def appended(totals: PipelineTotals) -> tuple[int, int]:
    """Return how many batches were appended, and their bytes."""
    shown = totals.histogram(meters.BATCH)[(ERRORS,)]
    return sum(shown.buckets), int(shown.total)


def suppressed(totals: PipelineTotals) -> int:
    return totals.by_label(meters.SUPPRESSED)[(meters.SAMPLED,)]


def test_m1_eight_threads_leave_no_append_and_no_sampled_error_uncounted(
    log_dir: Path, make_logger: Any
) -> None:
    """Each of 80,000, half of which are sampled away, by who scrapes meanwhile, too."""
    logger: ErrorLogger = make_logger(sample={"KeyError": 0})
    counts = MachineCounts(str(log_dir))

    def log() -> None:
        for number in range(10_000):
            logger.log_error("r", ValueError() if number % 2 else KeyError())

    threads = [threading.Thread(target=log) for _ in range(8)]
    for thread in threads:
        thread.start()
    seen = [appended(pipeline(log_dir, counts)) for _ in range(20)]
    for thread in threads:
        thread.join()
    assert logger.flush(60)

    totals = pipeline(log_dir)
    assert seen == sorted(seen)
    assert appended(totals) == (logger.stats().batches, log_size(log_dir))
    assert suppressed(totals) == 40_000
    assert logger.stats().written == 40_000
    assert logger.close(60)
    assert appended(pipeline(log_dir)) == (logger.stats().batches, log_size(log_dir))


def _log_some(log_dir: str, number: int) -> None:
    logger = ErrorLogger(log_dir, sample={"KeyError": 0})
    for _ in range(100):
        logger.log_error(f"r{number}", ValueError())
        logger.log_error(f"r{number}", KeyError())
    assert logger.close(60)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_m1_children_have_counters_of_their_own(log_dir: Path, method: Any) -> None:
    """What the parent has counted is no child's."""
    parent = ErrorLogger(log_dir)
    parent.log_error("r", KeyError())
    assert parent.flush(60)
    context = multiprocessing.get_context(method)
    children = [
        context.Process(target=_log_some, args=(str(log_dir), number))
        for number in range(4)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert parent.close(60)

    totals = pipeline(log_dir)
    assert [child.exitcode for child in children] == [0] * 4
    assert appended(totals)[1] == log_size(log_dir)
    assert suppressed(totals) == 400


class Worker:
    """See tests.metrics.pipeline_worker."""

    def __init__(self, log_dir: Path) -> None:
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.metrics.pipeline_worker"),
                *(str(log_dir), str(RECORDS)),
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.done: dict[str, Any] | None = None

    def scrape(self) -> dict[str, float]:
        """Return what it answers."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        for text in self.process.stdout:
            answer = json.loads(text)
            if "shown" in answer:
                assert answer["problems"] == []
                shown: dict[str, float] = answer["shown"]
                return shown
            self.done = answer
        raise AssertionError("it has ended")

    def end(self) -> None:
        """End it, by -9 if it does not by itself."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(100)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.mark.fault
def test_m1_no_counter_of_the_pipeline_goes_down_while_workers_are_killed(
    log_dir: Path,
) -> None:
    """
    Four workers, two of them killed, every one asked in turn: a scrape each 50 ms.

    In the end the living ones' counters are theirs to the last batch; of each dead one
    at most the batch is missing that was under way.
    """
    workers = [Worker(log_dir) for _ in range(4)]
    living = list(workers)
    seen: dict[str, float] = {}
    less: list[tuple[str, float, float]] = []
    victims: list[int] = []
    try:
        for number in range(100_000):
            shown = living[number % len(living)].scrape()
            less += [(k, v, shown[k]) for k, v in seen.items() if shown[k] < v]
            seen = shown
            due = RECORDS // 4 * 40 * (1 + len(victims))
            if len(living) > 2 and seen["batch errors sum"] > due:
                victim = living.pop(0)
                victims.append(victim.process.pid)
                victim.process.send_signal(signal.SIGKILL)
                victim.process.wait()
            if len(living) == 2 and all(worker.done for worker in living):
                break
            time.sleep(0.05)
        recover(str(log_dir))
        place = "recovered ('spools', 'errors')"
        assert eventually(lambda: living[0].scrape()[place] == 2)
        last = [worker.scrape() for worker in living]
    finally:
        for worker in workers:
            worker.end()

    assert less == []
    assert len(victims) == 2
    assert last[0] == last[1]
    done = [worker.done for worker in living]
    sampled = last[0]["suppressed ('sampled', 'errors')"]
    assert sampled >= sum(d["done"]["sampled"] for d in done if d)
    assert sampled <= 4 * RECORDS // 2
    batches = sum(v for k, v in last[0].items() if k.startswith("batch errors"))
    batches -= last[0]["batch errors sum"]
    assert batches > sum(d["batches"] for d in done if d)
    assert last[0]["batch errors sum"] <= log_size(log_dir)


PROGRAM = """
import os, sys
from tokenpak.telemetry.error_logger import ErrorLogger
logger = ErrorLogger(sys.argv[1], sample={"KeyError": 0})
for number in range(4):
    for _ in range(10):
        logger.log_error("r", KeyError())
    logger.log_error("r", ValueError())
    assert logger.flush(100)
logger.log_error("left", ValueError())
os.write(1, str(logger.stats().written_bytes).encode())
os.kill(os.getpid(), 9)
"""


@pytest.mark.fault
def test_m1_who_is_killed_after_a_flush_has_lost_no_counter(log_dir: Path) -> None:
    """What its last batch did not say is said by who recovers it."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(log_dir)],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    before = pipeline(log_dir)
    found = recover(str(log_dir))
    after = pipeline(log_dir)

    assert done.returncode == -signal.SIGKILL
    assert [suppressed(t) for t in (before, after)] == [40, 40]
    assert [appended(t)[0] >= 4 for t in (before, after)] == [True, True]
    records = after.by_stream(meters.RECOVERED, meters.RECORDS)[(ERRORS,)]
    assert records == found.records <= 1
    assert list((log_dir / "spool").iterdir()) == []
