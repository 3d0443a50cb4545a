"""
What does a fork do while other threads log?

A child inherits locks that are held by threads it does not have, and mappings that
belong to its parent.  Four threads of the parent log in bursts while it forks; each
child logs a few records and ends in one of three ways.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.ledger import Acks, Ledger
from bench.model import Figures, Job, Row, Samples, Scenario, at_most
from bench.rows import total_row
from bench.workload import CONTEXT, failure
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.queue.recovery import recover

if TYPE_CHECKING:
    from collections.abc import Callable

CHILDREN = 300
THREADS = 4
AT_ONCE = 4
HUNG_AFTER = 20.0
HUNG_AFTER_ROUGH = 120.0
"""In a run whose times mean nothing: the machine may do a lot else meanwhile."""
RECORDS_A_CHILD = 5
RECORDS_A_THREAD = 200_000
"""Bounds the disk, should the forks take long."""

HOW = f"""\
{CHILDREN} children of a process in which {THREADS} threads log events in bursts;
each child logs {RECORDS_A_CHILD} records of its own through the inherited logger. A
third of them end with `os._exit`, a third as an interpreter does, a third are those
of `multiprocessing`. A child that lives longer than {HUNG_AFTER:.0f} s counts as
hung. In the end `recover()` appends what the dead had accepted, and the log must
hold each record of parent and children once."""


@dataclass(slots=True)
class _Child:
    pid: int
    poll: Callable[[], int | None]
    """Return the exit code, or None while it runs."""
    born: float = field(default_factory=time.monotonic)
    killed: bool = False


@dataclass(slots=True)
class _Family:
    """The children that are alive, and what became of the others."""

    hung_after: float
    alive: list[_Child] = field(default_factory=list)
    hung: int = 0
    failed: int = 0

    def reap(self, at_most_left: int) -> None:
        """Wait until no more than *at_most_left* are alive."""
        while True:
            for child in list(self.alive):
                code = child.poll()
                if code is not None:
                    self.alive.remove(child)
                    self.failed += code != 0 and not child.killed
                elif not child.killed and self._has_hung(child):
                    os.kill(child.pid, signal.SIGKILL)
                    self.hung += 1
                    child.killed = True
            if len(self.alive) <= at_most_left:
                return
            time.sleep(0.001)

    def _has_hung(self, child: _Child) -> bool:
        return time.monotonic() - child.born > self.hung_after


def measure(job: Job) -> Figures:
    """Fork while threads log; return what went wrong."""
    children = job.effort.count(CHILDREN, least=9)
    logger = ErrorLogger(log_dir=job.directory)
    stop = threading.Event()
    logged = [0] * THREADS
    threads = [
        threading.Thread(target=_log_bursts, args=(logger, number, logged, stop))
        for number in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    acks = Acks(children)
    family = _Family(job.effort.choose(HUNG_AFTER, HUNG_AFTER_ROUGH))
    runtime_errors = 0
    for number in range(children):
        try:
            family.alive.append(WAYS[number % len(WAYS)](logger, number, acks))
        except RuntimeError:
            runtime_errors += 1
        family.reap(AT_ONCE - 1)
    family.reap(0)
    stop.set()
    for thread in threads:
        thread.join()
    logger.flush(timeout=60)
    dropped = sum(logger.stats().dropped.values())
    logger.close(timeout=60)
    recovered = recover(job.directory).records

    ledger = Ledger()
    for number, count in enumerate(logged):
        ledger.expect(f"parent-{number}", count)
    for number in range(children):
        ledger.expect(f"child-{number}", acks.counts[number])
    return {
        "children": children,
        "hung": family.hung,
        "failed": family.failed,
        "runtime_errors": runtime_errors,
        "dropped": dropped,
        "recovered": recovered,
        **ledger.audit(job.directory).figures(),
    }


def _log_bursts(
    logger: ErrorLogger, thread: int, logged: list[int], stop: threading.Event
) -> None:
    number = 0
    while not stop.is_set() and number < RECORDS_A_THREAD:
        for _ in range(20):
            number += 1
            logger.log_event("parent", f"parent-{thread}:{number}", CONTEXT)
            logged[thread] = number
        # Bursts: a fork shall meet threads that log, and a writer that appends.
        time.sleep(0.001)


def _log_as_child(logger: ErrorLogger, child: int, acks: Acks) -> None:
    for number in range(1, RECORDS_A_CHILD + 1):
        # One stream for each child: order is promised within a stream.
        if child % 2:
            logger.log_event("child", f"child-{child}:{number}")
        else:
            logger.log_error(f"child-{child}:{number}", failure(), CONTEXT)
        acks.counts[child] = number


def _fork_and_exit_at_once(logger: ErrorLogger, number: int, acks: Acks) -> _Child:
    pid = os.fork()
    if not pid:
        _log_as_child(logger, number, acks)
        os._exit(0)
    return _Child(pid, lambda: _poll(pid))


def _fork_and_exit(logger: ErrorLogger, number: int, acks: Acks) -> _Child:
    pid = os.fork()
    if not pid:
        _log_as_child(logger, number, acks)
        # Out through measure() and main(): atexit hooks run, nothing else may.
        sys.exit(0)
    return _Child(pid, lambda: _poll(pid))


def _start_process(logger: ErrorLogger, number: int, acks: Acks) -> _Child:
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_log_as_child, args=(logger, number, acks))
    process.start()
    assert process.pid is not None
    return _Child(process.pid, lambda: process.exitcode)


WAYS = (_fork_and_exit_at_once, _fork_and_exit, _start_process)


def _poll(pid: int) -> int | None:
    done, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if done else None


def judge(samples: Samples) -> list[Row]:
    """Nothing may be wrong, ever."""

    def total(label: str, *figures: str, target: bool = True) -> Row:
        keys = [("fork", figure) for figure in figures]
        return total_row(samples, label, keys, at_most(0) if target else None)

    return [
        total("children hung", "hung"),
        total("RuntimeError from the fork", "runtime_errors"),
        total("accepted records lost", "lost"),
        total("doubled", "doubled"),
        total(
            "merged, out of order, or never logged",
            "merged",
            "misordered",
            "unexpected",
        ),
        total("children that failed", "failed"),
        total("records dropped by the parent", "dropped"),
        total("children forked", "children", target=False),
        total("records accepted", "accepted", target=False),
        total("records recovered at the end", "recovered", target=False),
    ]


SCENARIO = Scenario(
    name="fork",
    title="Forked while four threads log",
    how=HOW,
    rounds=1,
    measurements={"fork": measure},
    judge=judge,
    timeout=600,
)

__all__ = ["SCENARIO", "judge", "measure"]
