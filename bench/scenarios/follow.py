"""
How long after the call that logged it is a record shown by ``tail -f``?

The time from the return of ``log_error`` to the line on the pipe of another process;
also while nobody can append, so that the record is to be had from the spool only.  And
what ``tail -f`` takes of a processor while nothing is logged.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

from bench.harness import ROOT
from bench.model import Figures, Job, Row, Samples, Scenario, at_most
from bench.quantiles import quantile
from bench.rows import total_row, value_row
from bench.scenarios.outage import stopped_holder
from bench.workload import CONTEXT, failure
from tokenpak.telemetry.error_logger import ErrorLogger

TICK = 0.037
"""Seconds between calls: no fraction of the follower's interval."""
CALLS = 150
IDLE = 8
"""Seconds."""
DAYS = 30
"""Archives beside the day's file."""
PATIENCE = 60.0

HOW = f"""\
`tokenpak telemetry tail -f` in a process of its own, its output a pipe. One thread
logs a failure ten frames deep every {TICK * 1000:g} ms, {CALLS:,} times: first as
usual, then while another process holds the lock of the day's file, so that nothing can
be appended and each record is shown from the spool. The time is that from the return of
the call to the line's arrival. Then the lock is let go, and no record may come a second
time. Idle: the processor time of `tail -f` over {IDLE} seconds in which nothing is
logged, with the logger's process alive."""


class _Follower:
    """A ``tail -f``, and when each of its lines came."""

    def __init__(self, directory: str) -> None:
        self.arrived: dict[str, int] = {}
        self.doubled = 0
        command = ["tokenpak", "telemetry", "tail", "-f", "-n", "1"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", *command, "--format", "jsonl"],
            env={**os.environ, "TOKENPAK_LOG_DIR": directory, "PYTHONPATH": ROOT},
            stdout=subprocess.PIPE,
        )
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            now = time.monotonic_ns()
            name = json.loads(line)["request_id"]
            self.doubled += name in self.arrived
            self.arrived.setdefault(name, now)

    def wait_for(self, name: str) -> None:
        """Return when the record *name* was shown; one that never is, is counted."""
        end = time.monotonic() + PATIENCE
        while name not in self.arrived and time.monotonic() < end:
            time.sleep(0.01)

    def processor_time(self) -> float:
        """Return the seconds of processor time that it has taken."""
        pid = self._process.pid
        try:
            with open(f"/proc/{pid}/schedstat") as file:
                return int(file.read().split()[0]) / 1e9
        except OSError:  # not Linux, or a kernel without it
            shown = subprocess.run(
                ["ps", "-o", "time=", "-p", str(pid)],
                capture_output=True,
                text=True,
                check=True,
            )
            *larger, seconds = map(float, shown.stdout.strip().split(":"))
            for power, part in enumerate(reversed(larger), 1):
                seconds += part * 60.0**power
            return seconds

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()


def measure(job: Job) -> Figures:
    """Log and follow; then be idle."""
    _make_archives(job.directory)
    logger = ErrorLogger(log_dir=job.directory)
    logger.log_error("first", failure(), CONTEXT)
    logger.flush(PATIENCE)
    follower = _Follower(job.directory)
    try:
        follower.wait_for("first")
        count = job.effort.count(CALLS, least=10)
        returned = _log(logger, "usual", count)
        holder = stopped_holder(job.directory)
        try:
            returned |= _log(logger, "held", count)
            follower.wait_for(f"held-{count - 1}")
        finally:
            holder.kill()
            holder.communicate()
        logger.flush(PATIENCE)
        logger.log_error("last", failure(), CONTEXT)
        follower.wait_for("last")
        # A directory that has just changed, in 2 seconds, is listed more often.
        time.sleep(job.effort.choose(3.0, 2.5))
        before, start = follower.processor_time(), time.monotonic()
        time.sleep(max(1, IDLE * min(1.0, job.effort.scale * 2.5)))
        idle = follower.processor_time() - before
        idle /= time.monotonic() - start
    finally:
        follower.end()
        logger.close(PATIENCE)
    figures: Figures = {
        "idle": idle,
        "lost": sum(name not in follower.arrived for name in returned),
        "doubled": follower.doubled,
    }
    for kind in ("usual", "held"):
        taken = [
            max(0, follower.arrived[name] - at)
            for name, at in returned.items()
            if name.startswith(kind) and name in follower.arrived
        ]
        figures[f"{kind}_p50"] = quantile(taken, 0.5)
        figures[f"{kind}_p99"] = quantile(taken, 0.99)
        figures[f"{kind}_max"] = max(taken)
    return figures


def _log(logger: ErrorLogger, kind: str, count: int) -> dict[str, int]:
    """Log *count* times; return when each call had returned."""
    returned = {}
    for number in range(count):
        name = f"{kind}-{number}"
        logger.log_error(name, failure(), CONTEXT)
        returned[name] = time.monotonic_ns()
        time.sleep(TICK)
    return returned


def _make_archives(directory: str) -> None:
    folder = os.path.join(directory, "archive")
    os.mkdir(folder, 0o700)
    for day in range(1, DAYS + 1):
        open(os.path.join(folder, f"errors-2020-01-{day:02d}.jsonl.gz"), "wb").close()


def judge(samples: Samples) -> list[Row]:
    """Every record within a second, once; and next to nothing while idle."""

    def row(label: str, figure: str, most: float | None = None) -> Row:
        target = None if most is None else at_most(most)
        return value_row(samples, label, ("follow", figure), "ms", target, factor=1e-6)

    return [
        row("shown after the call, longest", "usual_max", 1000),
        row("nobody can append: longest", "held_max", 1000),
        value_row(
            samples,
            "idle, of a core",
            ("follow", "idle"),
            "%",
            at_most(0.5),
            factor=100,
        ),
        total_row(
            samples,
            "lost, doubled",
            [("follow", "lost"), ("follow", "doubled")],
            at_most(0),
        ),
        row("shown after the call, median", "usual_p50"),
        row("p99", "usual_p99"),
        row("nobody can append: median", "held_p50"),
        row("nobody can append: p99", "held_p99"),
    ]


SCENARIO = Scenario(
    name="follow",
    title="When `tail -f` shows a record",
    how=HOW,
    rounds=2,
    measurements={"follow": measure},
    judge=judge,
)

__all__ = ["SCENARIO", "judge", "measure"]
