"""
What is lost, doubled or damaged when processes are killed under load?

Children log from three threads at full speed and are killed with SIGKILL at random
moments, from before their first record on.  Later children adopt the spools of the
dead while they log themselves, and are killed doing so.  After each block of children,
recover() does the rest, and the log is audited against what was acknowledged.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable

from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.queue.recovery import recover

from bench.ledger import Acks, Ledger, Verdict
from bench.model import Figures, Job, Row, Samples, Scenario, at_most
from bench.rows import total_row
from bench.workload import CONTEXT, failure

KILLS = 200
BLOCK = 20
"""Children to a directory: its log is audited and deleted before the next."""
AT_ONCE = 4
LATEST_KILL = 0.12
"""Seconds after the fork: by then a child has logged most of what it may."""
RECORDS_A_THREAD = 7_000
"""Bounds the disk (a block is some 300 MB), and stays below what would drop."""
LIFETIME = 60.0

HOW = f"""\
{KILLS} processes, one to {AT_ONCE} at a time on one directory, each logging from three
threads at full speed: failures ten frames deep, errors with contexts of random length,
events. Each is killed with SIGKILL at a random moment up to {LATEST_KILL * 1000:.0f} ms
after its start. The spools of the dead are adopted by later processes, which are killed
as well, and by `recover()` after every {BLOCK}. A thread stores the number of each
record into shared memory after its call has returned; the log must then hold exactly
these records, each once and in order. Only the one under way may be there or not."""


def measure(job: Job) -> Figures:
    """Kill children block by block; return the sum of all verdicts."""
    chance = random.Random(job.seed)
    total = Verdict()
    under_load = crashed = recovered = 0
    kills = job.effort.count(KILLS, least=6)
    for start in range(0, kills, BLOCK):
        place = os.path.join(job.directory, f"block-{start}")
        ledger = Ledger()
        left = min(BLOCK, kills - start)
        while left:
            size = min(left, chance.randint(1, AT_ONCE))
            killed, died = _kill_group(
                place, kills - start - left, size, chance, ledger
            )
            under_load, crashed = under_load + killed, crashed + died
            left -= size
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


def _kill_group(
    place: str, first: int, size: int, chance: random.Random, ledger: Ledger
) -> tuple[int, int]:
    """Start *size* children, kill each; return kills under load and crashes."""
    acks = Acks(size * len(THREADS))
    now = time.monotonic()
    due: list[tuple[float, int]] = []
    for child in range(size):
        seed = chance.getrandbits(32)
        at = now + chance.uniform(0, LATEST_KILL)
        pid = os.fork()
        if not pid:
            _log_until_killed(place, first + child, acks, child * len(THREADS), seed)
        due.append((at, pid))
    crashed = 0
    for at, pid in sorted(due):
        time.sleep(max(0.0, at - time.monotonic()))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        crashed += not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL
    counts = list(acks.counts[: size * len(THREADS)])
    for slot, count in enumerate(counts):
        child, thread = divmod(slot, len(THREADS))
        ledger.expect(f"{first + child}-{thread}", count)
    unfinished = sum(
        any(
            count < RECORDS_A_THREAD
            for count in counts[child * len(THREADS) : (child + 1) * len(THREADS)]
        )
        for child in range(size)
    )
    return unfinished, crashed


def _log_until_killed(
    place: str, child: int, acks: Acks, first_slot: int, seed: int
) -> None:
    """Never returns: what was forked must not run the code of its parent."""
    parent = os.getppid()
    try:
        logger = ErrorLogger(log_dir=place)
        for number, log in enumerate(THREADS):
            slot = acks.counts[first_slot + number : first_slot + number + 1]
            threading.Thread(
                target=_log_series,
                args=(logger, log, f"{child}-{number}", slot, seed + number),
                daemon=True,
            ).start()
        end = time.monotonic() + LIFETIME
        # Not for ever: a parent that was itself killed kills nobody.
        while os.getppid() == parent and time.monotonic() < end:
            time.sleep(0.05)
    finally:
        os._exit(1)


def _log_series(
    logger: ErrorLogger, log: _Log, series: str, acked: memoryview[int], seed: int
) -> None:
    chance = random.Random(seed)
    for number in range(1, RECORDS_A_THREAD + 1):
        log(logger, f"{series}:{number}", chance)
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
        total("of them under load", "under_load", target=False),
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
