"""
What is lost, doubled or damaged when processes are killed under load?

Children log from three threads at full speed and are killed with SIGKILL at random
moments, from before their first record on.  Others log little and recover what the dead
left, and are killed doing so.  After each block of children, recover() does the rest,
and the log is audited against what was acknowledged.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.ledger import Acks, Ledger, Verdict
from bench.model import Figures, Job, Row, Samples, Scenario, at_most
from bench.rows import total_row
from bench.workload import CONTEXT, failure
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.queue.recovery import recover

KILLS = 200
BLOCK = 20
"""Children to a directory: its log is audited and deleted before the next."""
AT_ONCE = 4
LATEST_KILL = 0.12
"""Seconds after the fork: by then a child has logged most of what it may."""
RECORDS_A_THREAD = 7_000
"""Bounds the disk (a block is some 300 MB), and stays below what would drop."""
RECOVERY_INTERVAL = 0.05
QUIET_SHARE = 0.25
QUIET_RECORDS = 5
"""What a quiet child logs: its writer then has time for what the dead have left, and
is killed doing that."""
LIFETIME = 60.0

HOW = f"""\
{KILLS} processes, one to {AT_ONCE} at a time on one directory, each logging from
three threads at full speed: failures ten frames deep, errors with contexts of random
length, events. Each is killed with SIGKILL at a random moment up to {
    LATEST_KILL * 1000:.0f} ms after its start. A quarter of them log little, so that
their writers recover what earlier ones left, and are killed doing that; after every
{BLOCK}, `recover()` does the rest. A thread stores the number of each record into
shared memory after its call has returned; the log must then hold exactly these
records, each once and in order. Only the one under way may be there or not."""


@dataclass(slots=True)
class _Child:
    number: int
    pid: int
    due: float
    """When it is killed, on the monotonic clock."""
    quiet: bool
    acked: list[memoryview[int]]

    def unfinished(self) -> bool:
        """Return whether it was still logging at full speed."""
        return not self.quiet and any(n[0] < RECORDS_A_THREAD for n in self.acked)


def measure(job: Job) -> Figures:
    """Kill children block by block; return the sum of all verdicts."""
    chance = random.Random(job.seed)
    total = Verdict()
    under_load = crashed = recovered = 0
    kills = job.effort.count(KILLS, least=6)
    for start in range(0, kills, BLOCK):
        place = os.path.join(job.directory, f"block-{start}")
        # On a busy machine all of a block may be killed before their first record.
        os.mkdir(place, 0o700)
        ledger = Ledger()
        number, end = start, min(start + BLOCK, kills)
        while number < end:
            size = min(end - number, chance.randint(1, AT_ONCE))
            children = _start(place, range(number, number + size), chance)
            crashed += _kill(children)
            for child in children:
                under_load += child.unfinished()
                for thread, acked in enumerate(child.acked):
                    ledger.expect(f"{child.number}-{thread}", acked[0])
            number += size
        recovered += recover(place).records
        total.add(ledger.audit(place))
        shutil.rmtree(place)
    return {
        "kills": kills,
        "under_load": under_load,
        "crashed": crashed,
        "recovered": recovered,
        **total.figures(),
    }


def _start(place: str, numbers: range, chance: random.Random) -> list[_Child]:
    children = []
    now = time.monotonic()
    for number in numbers:
        counts = Acks(len(THREADS)).counts
        acked = [counts[thread : thread + 1] for thread in range(len(THREADS))]
        due = now + chance.uniform(0, LATEST_KILL)
        quiet, seed = chance.random() < QUIET_SHARE, chance.getrandbits(32)
        pid = os.fork()
        if not pid:
            count = QUIET_RECORDS if quiet else RECORDS_A_THREAD
            _log_until_killed(place, str(number), acked, count, seed)
        children.append(_Child(number, pid, due, quiet, acked))
    return children


def _kill(children: list[_Child]) -> int:
    """Kill each at its time; return how many were dead already."""
    crashed = 0
    for child in sorted(children, key=lambda child: child.due):
        time.sleep(max(0.0, child.due - time.monotonic()))
        os.kill(child.pid, signal.SIGKILL)
        _, status = os.waitpid(child.pid, 0)
        crashed += not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL
    return crashed


def _log_until_killed(
    place: str, child: str, acked: list[memoryview[int]], count: int, seed: int
) -> None:
    """Never returns: what was forked must not run the code of its parent."""
    parent = os.getppid()
    try:
        logger = ErrorLogger(log_dir=place, recovery_interval=RECOVERY_INTERVAL)
        for number, log in enumerate(THREADS):
            series = _Series(f"{child}-{number}", log, count, seed + number)
            threading.Thread(
                target=series.run,
                args=(logger, acked[number]),
                daemon=True,
            ).start()
        end = time.monotonic() + LIFETIME
        # Not for ever: a parent that was itself killed kills nobody.
        while os.getppid() == parent and time.monotonic() < end:
            time.sleep(0.05)
    finally:
        os._exit(1)


@dataclass(slots=True)
class _Series:
    """What one thread logs."""

    name: str
    log: _Log
    count: int
    seed: int

    def run(self, logger: ErrorLogger, acked: memoryview[int]) -> None:
        chance = random.Random(self.seed)
        for number in range(1, self.count + 1):
            self.log(logger, f"{self.name}:{number}", chance)
            acked[0] = number


def _log_failure(logger: ErrorLogger, request_id: str, _: random.Random) -> None:
    logger.log_error(request_id, failure(), CONTEXT)


def _log_error(logger: ErrorLogger, request_id: str, chance: random.Random) -> None:
    text = "x" * chance.randrange(3_000)
    logger.log_error(request_id, ValueError(request_id), {"prompt": text})


def _log_event(logger: ErrorLogger, request_id: str, _: random.Random) -> None:
    logger.log_event("completion", request_id, CONTEXT)


_Log = Callable[[ErrorLogger, str, random.Random], None]
THREADS: tuple[_Log, ...] = (_log_failure, _log_error, _log_event)


def judge(samples: Samples) -> list[Row]:
    """Nothing may be wrong, ever."""

    def total(label: str, *figures: str, target: bool = True) -> Row:
        keys = [("kill", figure) for figure in figures]
        return total_row(samples, label, keys, at_most(0) if target else None)

    return [
        total("accepted records lost", "lost"),
        total("doubled", "doubled"),
        total("valid lines merged with a torn one", "merged"),
        total("out of order, or never logged", "misordered", "unexpected"),
        total("processes that ended by themselves", "crashed"),
        total("processes killed", "kills", target=False),
        total("of them logging at full speed", "under_load", target=False),
        total("records accepted", "accepted", target=False),
        total("records recovered after the last death", "recovered", target=False),
        total("torn lines, closed", "torn", target=False),
    ]


SCENARIO = Scenario(
    name="kill",
    title="Killed with SIGKILL under load",
    how=HOW,
    rounds=1,
    measurements={"kill": measure},
    judge=judge,
    timeout=600,
)

__all__ = ["SCENARIO", "judge", "measure"]
