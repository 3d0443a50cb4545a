"""
A worker process: calls the provider, logs what happens, acknowledges each record.

A round is one call of each kind, answered and failing, in random order; what went
wrong is logged with log_error(), what went well with log_event().  After each failure,
the last ones are logged again and again at full speed: these *replays* are what the
times are taken of, and they see to it that a kill finds records pending.

A worker is a process started anew with the same ``sys.path``, not a fork: it works in
every caller, with or without threads or a ``__main__`` guard.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from itertools import cycle
from typing import IO, Any, Final

from tokenpak.demo.acks import (
    FAILURES,
    REPLAYS,
    SUCCESSES,
    AckTable,
    note_burst,
    note_duration,
    note_state,
)
from tokenpak.demo.client import complete
from tokenpak.demo.failures import (
    ANTHROPIC,
    FAILING_MODELS,
    OPENAI,
    SILENT,
    Provider,
)
from tokenpak.telemetry.error_logger import ErrorLogger

WORKING_MODELS: Final[dict[Provider, str]] = {
    OPENAI: "gpt-4",
    ANTHROPIC: "claude-sonnet-4",
}
REPLAYS_A_FAILURE: Final = 40

_SILENT_TIMEOUT: Final = 0.05
"""Seconds; with it, a round takes so long that the log stays a few ten MB."""
_TIMEOUT: Final = 60.0
"""Seconds for who does answer, however busy the machine is."""
_CLOSE_TIMEOUT: Final = 60.0
_NOT_WRITTEN: Final = 3

# The parent's path as it is: modules it found through sys.path must be found here.
_BOOT: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from tokenpak.demo.workers import main; sys.exit(main(*sys.argv[2:]))"
)


_Failure = tuple[Exception, dict[str, Any]]
"""What was raised, and the context to log it with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one worker is to do."""

    log_dir: str
    run: str
    """Begins each request id, so that runs into one directory are told apart."""
    workers: int
    index: int
    seconds: float
    """From the worker's first call on; it ends with the round that is under way."""
    seed: int


def request_id(run: str, worker: int, number: int) -> str:
    """Return the id of the record with *number*, from 1 on, of *worker*."""
    return f"{run}-w{worker}-{number:06d}"


def start_worker(
    job: Job, base_url: str, acks_path: str, output: IO[bytes]
) -> subprocess.Popen[bytes]:
    """
    Start a process that does *job*.

    Args:
        job: what it is to do.
        base_url: of the server that it is to call, without ``/v1``.
        acks_path: the file of the AckTable, with a row for each worker.
        output: where what it has to complain of goes.

    Raises:
        OSError: no process could be started.

    """
    arguments = [json.dumps(sys.path), json.dumps(asdict(job)), base_url, acks_path]
    return subprocess.Popen(
        [sys.executable, "-c", _BOOT, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
    )


def main(job_text: str, base_url: str, acks_path: str) -> int:
    """Do the job that *job_text* describes as JSON; return the exit status."""
    job = Job(**json.loads(job_text))
    logger = ErrorLogger(log_dir=job.log_dir)
    with AckTable(acks_path, job.workers) as table, table.row(job.index) as row:
        _Worker(job, base_url, logger, row).work()
    if not logger.close(timeout=_CLOSE_TIMEOUT):
        print(f"not all is written after {_CLOSE_TIMEOUT} s: {logger.stats()}")
        return _NOT_WRITTEN
    return 0


class _Worker:
    def __init__(
        self, job: Job, base_url: str, logger: ErrorLogger, row: memoryview
    ) -> None:
        self._job = job
        self._base_url = base_url
        self._logger = logger
        self._row = row
        self._number = 0
        self._failures: deque[_Failure] = deque(maxlen=len(FAILING_MODELS))
        self._random = random.Random(f"{job.seed}/{job.index}")

    def work(self) -> None:
        """Make rounds, one at least, until the time is up or nobody counts them."""
        parent = os.getppid()
        end = time.monotonic() + self._job.seconds
        for provider in cycle(WORKING_MODELS):
            models = [WORKING_MODELS[provider], *FAILING_MODELS]
            self._random.shuffle(models)
            for model in models:
                failure = self._call(provider, model)
                if failure is not None:
                    self._failures.append(failure)
                    self._replay()
            if time.monotonic() > end or os.getppid() != parent:
                return

    def _call(self, provider: Provider, model: str) -> _Failure | None:
        prompt = "Is all well? " * self._random.randint(1, 80)
        context: dict[str, Any] = {
            "model": model,
            "provider": provider,
            "input_size": len(prompt),
        }
        timeout = _SILENT_TIMEOUT if model == SILENT else _TIMEOUT
        start = time.perf_counter()
        try:
            reply = complete(self._base_url, provider, model, prompt, timeout=timeout)
        except Exception as error:
            context["duration_ms"] = _milliseconds_since(start)
            context["provider_request_id"] = getattr(error, "request_id", None)
            context["replayed"] = False
            self._logger.log_error(self._next_id(), error, context)
            self._row[FAILURES] += 1
            return error, {**context, "replayed": True}
        context["duration_ms"] = _milliseconds_since(start)
        context["cost_estimate"] = round(len(prompt) * 1e-6, 6)
        context["provider_request_id"] = reply.request_id
        self._logger.log_event("completion", self._next_id(), context)
        self._row[SUCCESSES] += 1
        return None

    def _replay(self) -> None:
        failures = list(self._failures)
        clock = time.perf_counter_ns
        log_error = self._logger.log_error
        row = self._row
        burst = clock()
        for index in range(REPLAYS_A_FAILURE):
            error, context = failures[index % len(failures)]
            name = self._next_id()
            start = clock()
            log_error(name, error, context)
            end = clock()
            # First of all, and alone: what is counted here has been accepted, and a
            # kill right after the call costs nothing but the one record in flight.
            row[REPLAYS] += 1
            note_duration(row, end - start)
        note_burst(row, REPLAYS_A_FAILURE, clock() - burst)
        stats = self._logger.stats()
        note_state(
            row, dropped=sum(stats.dropped.values()), in_memory=not stats.durable
        )

    def _next_id(self) -> str:
        self._number += 1
        return request_id(self._job.run, self._job.index, self._number)


def _milliseconds_since(start: float) -> float:
    return round((time.perf_counter() - start) * 1000, 3)


__all__ = [
    "REPLAYS_A_FAILURE",
    "WORKING_MODELS",
    "Job",
    "main",
    "request_id",
    "start_worker",
]
