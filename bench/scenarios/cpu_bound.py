"""
How much does logging in one thread slow down the Python code in another?

The caller's work itself takes its time from the other thread, whatever it is; so does a
logger's thread.  A control does as much work in the caller, without a logger.
"""

from __future__ import annotations

import functools
import threading
import time

from bench.adapters import ADAPTERS, OURS, Logger, open_logger
from bench.model import Column, Figures, Job, Row, Samples, Scenario, at_most
from bench.quantiles import quantile
from bench.rows import value_row
from bench.workload import CONTEXT, failure

A_SECOND = 5_000
PHASE = 0.4
PHASES = {OURS: 3}
"""Of each kind; 1 for all others."""
MOST_A_TURN = 200
MOST_A_TURN_ROUGH = 50
"""A phase ends between turns: one of 200 calls that each wait 5 ms for the GIL takes a
second, however short the phase is."""
CALIBRATION = 200

HOW = f"""\
One thread counts in a loop; another raises {A_SECOND:,} failures a second and logs
them, those that are due whenever it gets the GIL. Before, the CPU time of the
logging call is measured in its own thread (median of {CALIBRATION}). Phases of
{PHASE:g} seconds with the logger, {PHASES[OURS]} in each round and one for the
others, alternate with as many in which the call is replaced by Python code that
burns the same CPU time. The slow-down is how much further the
counting thread came beside the control than beside the logger: what the logger costs
over the work itself. Its thread that writes, the locks, and the GIL that is given up
and taken back are all in it."""

READ = """\
0 % means that the call costs other threads what its own CPU time is, and nothing
more. A value below zero means that the logger spent its time without the GIL, or did
not come to the pace: see `errors a second`. `CPU time of a call` is the work itself."""


class _Counter:
    """The thread that counts."""

    def __init__(self) -> None:
        self.count = 0
        self.stop = False
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self.stop:
            total = 0
            for number in range(200):
                total += number
            self.count += 1


def measure(adapter: str, job: Job) -> Figures:
    """Alternate phases with the logger and with the control."""
    logger = open_logger(adapter, job.directory)
    cost = _cpu_time_of_a_call(logger, job.effort.choose(CALIBRATION, 100))
    most = job.effort.choose(MOST_A_TURN, MOST_A_TURN_ROUGH)
    counter = _Counter()
    counter.thread.start()
    counts = {True: 0, False: 0}
    logged = 0
    phases = job.effort.count(PHASES.get(adapter, 1))
    seconds = min(PHASE, job.effort.count(int(PHASE * 4_000)) / 1_000)
    try:
        for _ in range(phases):
            for with_logger in (True, False):
                before = counter.count
                calls = _storm(logger if with_logger else None, cost, seconds, most)
                counts[with_logger] += counter.count - before
                logged += calls * with_logger
                # What the logger's thread has left belongs to its own phase, and is
                # short; what comes after it would belong to the control's.
                logger.flush()
    finally:
        counter.stop = True
        counter.thread.join()
    dropped = logger.dropped()
    logger.close()
    return {
        "slowdown": counts[False] / counts[True] - 1,
        "cpu_call": cost,
        "rate": logged / (phases * seconds),
        "dropped": dropped,
    }


def _cpu_time_of_a_call(logger: Logger, calls: int) -> float:
    """Return nanoseconds of CPU time, in the caller's thread; the median of *calls*."""
    clock = time.thread_time_ns
    times = []
    for number in range(2 * calls):
        error = failure()
        before = clock()
        logger.log_error(f"calibrate-{number}", error, CONTEXT)
        times.append(clock() - before)
    before = clock()
    for _ in range(calls):
        clock()
    own = (clock() - before) / calls
    logger.flush()
    return max(0.0, quantile(times[calls:], 0.5) - own)


def _storm(logger: Logger | None, cost: float, seconds: float, most: int) -> int:
    clock, cpu = time.perf_counter, time.thread_time_ns
    start = clock()
    done = 0
    while (now := clock()) < start + seconds:
        due = int((now - start) * A_SECOND)
        for _ in range(min(due - done, most)):
            error = failure()
            if logger is not None:
                logger.log_error(f"req-{done}", error, CONTEXT)
            else:
                until = cpu() + cost
                while cpu() < until:
                    pass
            done += 1
        time.sleep(0.001)
    return done


def judge(samples: Samples) -> list[Row]:
    """Compare with the same work without a logger."""
    return [
        value_row(
            samples,
            "slow-down over the work itself",
            (OURS, "slowdown"),
            "%",
            at_most(3),
            factor=100,
        ),
    ]


SCENARIO = Scenario(
    name="cpu_bound",
    title="A thread that computes, at 5,000 failures a second",
    how=HOW,
    read=READ,
    rounds=3,
    measurements={name: functools.partial(measure, name) for name in ADAPTERS},
    judge=judge,
    columns=(
        Column("slow-down", "slowdown", "%", 100),
        Column("CPU time of a call", "cpu_call", "µs", 1e-3),
        Column("errors a second", "rate"),
    ),
    may_fail=frozenset(ADAPTERS) - {OURS},
)

__all__ = ["SCENARIO", "judge", "measure"]
