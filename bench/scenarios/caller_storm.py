"""
What does a failure cost that storm control holds back?

It is not recorded, but it is counted, and must be told from others first: by its stack
and its message.
"""

from __future__ import annotations

import os

from bench.model import Figures, Job, Row, Samples, Scenario, at_most
from bench.quantiles import quantile
from bench.rows import ratio_row, total_row, value_row
from bench.scenarios.caller_burst import time_calls
from bench.workload import ProviderError, failure
from tokenpak.telemetry.error_logger import ErrorLogger

CALLS_A_BLOCK = 200

HOW = f"""\
Blocks of {CALLS_A_BLOCK} calls take turns: of a logger as it is by default, and of one
that holds back all but the first in an hour. The exceptions are those of the scenarios
above, raised anew before each call; once with the same message each time, and once with
another number in it."""


class _Ours:
    def __init__(self, directory: str, **settings: float) -> None:
        self.logger = ErrorLogger(log_dir=directory, **settings)  # type: ignore[arg-type]
        self.log_error = self.logger.log_error

    def flush(self) -> None:
        self.logger.flush(timeout=60)

    def close(self) -> None:
        self.logger.close(timeout=60)

    def dropped(self) -> int:
        return sum(self.logger.stats().dropped.values())


def measure(job: Job) -> Figures:
    """Time alternating blocks of recorded and of held-back calls."""
    full = _Ours(os.path.join(job.directory, "full"))
    held = _Ours(
        os.path.join(job.directory, "held"),
        storm_first=1,
        storm_every=0,
        storm_window=3600,
    )
    numbers = iter(range(10**9))

    def numbered() -> ProviderError:
        error = failure()
        error.args = (f"{error.args[0]} after {next(numbers)} ms",)
        return error

    times: dict[str, list[int]] = {"full": [], "same": [], "numbered": []}
    for _ in range(job.effort.count(60, least=3)):
        time_calls(full, CALLS_A_BLOCK, times["full"], failure)
        time_calls(held, CALLS_A_BLOCK, times["same"], failure)
        time_calls(held, CALLS_A_BLOCK, times["numbered"], numbered)
    recorded = held.logger.stats()
    wrong = recorded.accepted - recorded.summaries - 2 + full.dropped()
    for logger in (full, held):
        logger.close()
    found = {name: quantile(values, 0.5) for name, values in times.items()}
    return {**found, "wrong": wrong}


def judge(samples: Samples) -> list[Row]:
    """Compare what is held back with what is recorded."""
    full = ("tokenpak", "full")
    return [
        ratio_row(
            samples,
            "held back, in % of a recorded call",
            ("tokenpak", "same"),
            full,
            at_most(50),
            percent=True,
        ),
        ratio_row(
            samples,
            "the same, with another number in each message",
            ("tokenpak", "numbered"),
            full,
            percent=True,
        ),
        value_row(samples, "median of a recorded call", full, "µs", factor=1e-3),
        total_row(
            samples,
            "recorded or dropped by mistake",
            [("tokenpak", "wrong")],
            at_most(0),
        ),
    ]


SCENARIO = Scenario(
    name="caller_storm",
    title="A failure that storm control holds back",
    how=HOW,
    rounds=3,
    measurements={"tokenpak": measure},
    judge=judge,
)

__all__ = ["SCENARIO", "judge", "measure"]
