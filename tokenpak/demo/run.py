"""
The demo's run: start the server and the workers, kill some, account for every record.

What it finds out: whether each record that a worker acknowledged is in the log exactly
once (Q1), also those of the workers that were killed.  Nothing of this is assumed: the
acknowledgements are the workers' own (``acks``), the log is read back line by line
(``audit``).

No process, thread or scratch file is left behind, also when the run is interrupted;
the log is.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from tokenpak.demo import MAX_SECONDS, MAX_WORKERS
from tokenpak.demo.acks import Account, AckTable, median_ns
from tokenpak.demo.audit import Audit, audit
from tokenpak.demo.crew import Crew
from tokenpak.demo.server import serving
from tokenpak.demo.workers import Job
from tokenpak.telemetry.queue.recovery import recover


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """What a run of the demo found."""

    log_dir: str
    """Where the log is."""
    temporary: bool
    """Whether the demo made *log_dir*, which is left to be looked at."""
    workers: int
    killed: int
    """Workers that SIGKILL ended; the others came to their own end."""
    failures: int
    """Calls of the server that failed, each logged with log_error()."""
    successes: int
    """Calls of the server that were answered, each logged with log_event()."""
    replayed: int
    """Exceptions of these failures, logged again at full speed."""
    dropped: int
    """Records that the logger itself counted as dropped, of all these."""
    in_memory: bool
    """Whether a worker could not have a spool, so that Q1 could not hold for it."""
    recovered: int
    """Records that recovery appended after the last worker's end."""
    audit: Audit
    """What is in the log, compared with what was accepted."""
    calls_per_second: float | None
    """Of one worker, at full speed; None if none got so far."""
    median_call_us: float | None
    """Microseconds of a replayed log_error(), the clock included; None if none."""
    seconds: float
    """What the whole run took."""

    @property
    def accepted(self) -> int:
        """Logging calls that have returned, less what the logger dropped."""
        return self.failures + self.successes + self.replayed - self.dropped

    @property
    def lost(self) -> int:
        """Accepted records that are not in the log."""
        return max(0, self.audit.missing - self.dropped)

    @property
    def ok(self) -> bool:
        """Whether the log holds each accepted record once, and no other."""
        return not (self.lost or self.audit.doubled or self.audit.unknown)


def run_demo(
    log_dir: str | None = None,
    *,
    workers: int = 4,
    kill: int = 2,
    seconds: float = 3.0,
    seed: int | None = None,
) -> DemoResult:
    """
    Let *workers* processes log real failures, kill some, and account for the records.

    Args:
        log_dir: where to log to, created if need be; None, the default, is a new
            temporary directory.  Records that are already there are left alone.
        workers: how many processes, from 1 to 64; default 4.
        kill: how many of them to kill with SIGKILL, from 0 to *workers*; default 2.
        seconds: how long the workers work, over 0 and up to 600; default 3.
            Starting them and reading the log comes on top.
        seed: for the order of calls and the moments of the kills; None, the default,
            is a new one each time.  Two runs are never quite the same: the system
            decides what a moment finds a process doing.

    Raises:
        ValueError: an argument is outside its range.
        OSError: *log_dir* or a scratch file cannot be created, or the log not read.
        DemoError: a worker failed, or did not end.

    """
    _check(workers, kill, seconds)
    begin = time.monotonic()
    since = datetime.now(UTC).date()
    temporary = log_dir is None
    log_dir = _make_log_dir(log_dir)
    run = uuid.uuid4().hex[:8]
    chance = random.Random(seed)
    moments = {
        index: chance.uniform(0.1, 0.9) * seconds
        for index in chance.sample(range(workers), kill)
    }
    jobs = [
        Job(
            log_dir=log_dir,
            run=run,
            workers=workers,
            index=index,
            # Who is to be killed must not come to its end before that.
            seconds=2 * MAX_SECONDS if index in moments else seconds,
            seed=chance.getrandbits(32),
        )
        for index in range(workers)
    ]
    accounts = _work(jobs, moments)
    recovered = recover(log_dir).records
    acknowledged = [account.accepted for account in accounts]
    found = audit(log_dir, run, since, acknowledged, moments.keys())
    timed_ns = sum(account.timed_ns for account in accounts)
    timed = sum(account.timed for account in accounts)
    median = median_ns(accounts)
    return DemoResult(
        log_dir=log_dir,
        temporary=temporary,
        workers=workers,
        killed=len(moments),
        failures=sum(account.failures for account in accounts),
        successes=sum(account.successes for account in accounts),
        replayed=sum(account.replays for account in accounts),
        dropped=sum(account.dropped for account in accounts),
        in_memory=any(account.in_memory for account in accounts),
        recovered=recovered,
        audit=found,
        calls_per_second=timed / timed_ns * 1e9 if timed_ns else None,
        median_call_us=None if median is None else median / 1000,
        seconds=time.monotonic() - begin,
    )


def _work(jobs: list[Job], moments: dict[int, float]) -> list[Account]:
    with tempfile.TemporaryDirectory(prefix="tokenpak-demo-acks-") as scratch:
        acks_path = os.path.join(scratch, "acks")
        with AckTable(acks_path, len(jobs)) as table:
            with serving() as server, Crew(table) as crew:
                for job in jobs:
                    crew.start(job, server.url, acks_path)
                crew.wait_until_all_log()
                crew.kill(moments)
                crew.wait_for_the_rest()
            return [table.read(job.index) for job in jobs]


def _check(workers: int, kill: int, seconds: float) -> None:
    if not 1 <= workers <= MAX_WORKERS:
        raise ValueError(f"workers={workers}: expected 1 to {MAX_WORKERS}")
    if not 0 <= kill <= workers:
        raise ValueError(f"kill={kill}: expected 0 to {workers}, the workers there are")
    if not 0 < seconds <= MAX_SECONDS:
        raise ValueError(f"seconds={seconds}: expected over 0, up to {MAX_SECONDS:.0f}")


def _make_log_dir(log_dir: str | None) -> str:
    if log_dir is None:
        return tempfile.mkdtemp(prefix="tokenpak-demo-")
    log_dir = os.path.abspath(os.path.expanduser(log_dir))
    os.makedirs(log_dir, mode=0o700, exist_ok=True)
    return log_dir


__all__ = ["MAX_SECONDS", "MAX_WORKERS", "DemoResult", "run_demo"]
