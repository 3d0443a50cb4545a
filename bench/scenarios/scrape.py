"""
What does a scrape of the machine's metrics take?

A log with many label sets, asked as Prometheus asks: when nothing has changed, when
lines were appended, when a label set is new (and is saved at once), and by a process
that takes over what another one has saved.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import orjson
from prometheus_client import CollectorRegistry, generate_latest

from bench.model import Figures, Job, Row, Samples, Scenario, at_most
from bench.quantiles import quantile
from bench.rows import value_row
from tokenpak.telemetry.metrics.exposition import Exposition
from tokenpak.telemetry.metrics.machine import MachineCounts
from tokenpak.telemetry.metrics.prometheus import Collector

LABEL_SETS = 10_000
APPENDED = 100
DAY = "2026-03-24"

HOW = f"""\
One file with {LABEL_SETS:,} label sets of errors, a hundred of durations, costs and
tokens; each scrape renders all of it. The median of some dozens of scrapes is one
round. Before a scrape that is to find something, {APPENDED} lines of 1.2 kB are
appended. Nothing else is measured in the logging process, since it does nothing: the
log is what is counted."""


def _lines(numbers: range) -> bytes:
    return b"".join(
        orjson.dumps(
            {
                "timestamp": f"{DAY}T17:35:22.123456Z",
                "request_id": f"req-{number}",
                "error_type": f"Error{number}",
                "message": "no",
                "stack_trace": "x" * 900,
                "context": {
                    "model": f"model-{number % 100}",
                    "provider": f"provider-{number % 10}",
                    "duration_ms": number % 5_000,
                    "cost_estimate": 0.045,
                    "input_tokens": 1024,
                },
            },
            None,
            orjson.OPT_APPEND_NEWLINE,
        )
        for number in numbers
    )


def measure(job: Job) -> Figures:
    """Make the log, and scrape it in each of the ways."""
    log_dir = os.path.join(job.directory, "logs")
    os.mkdir(log_dir)
    path = os.path.join(log_dir, f"errors-{DAY}.jsonl")

    def append(data: bytes) -> None:
        with open(path, "ab") as file:
            file.write(data)

    def process() -> Exposition:
        return Exposition(MachineCounts(log_dir, None, 2 * LABEL_SETS))

    append(_lines(range(LABEL_SETS)))
    # As on most scrapes, no name has changed for some seconds.
    os.utime(log_dir, (0, 0))
    known = process()
    known.render()
    os.utime(log_dir, (0, 0))
    known.render()
    new = iter(range(LABEL_SETS, 2 * LABEL_SETS))
    repeat = job.effort.count(40, least=3)
    return {
        "unchanged": _median(known.render, repeat),
        "changed": _median(
            known.render, repeat, lambda: append(_lines(range(APPENDED)))
        ),
        "new": _median(
            known.render,
            repeat,
            lambda: append(_lines(range(number := next(new), number + 1))),
        ),
        "taken_over": _median(lambda: process().render(), max(3, repeat // 4)),
        **_of_a_registry(log_dir, lambda: append(_lines(range(APPENDED))), repeat),
    }


def _of_a_registry(
    log_dir: str, before: Callable[[], None], repeat: int
) -> dict[str, float]:
    """Measure our part of what a registry of prometheus_client does, and all of it."""
    collector = Collector(log_dir, max_label_sets=2 * LABEL_SETS)
    registry = CollectorRegistry()
    registry.register(collector)
    collector.collect()
    return {
        "collected": _median(collector.collect, repeat, before),
        "registry": _median(
            lambda: generate_latest(registry), max(3, repeat // 4), before
        ),
    }


def _median(
    scrape: Callable[[], object],
    repeat: int,
    before: Callable[[], None] = lambda: None,
) -> float:
    taken = []
    for _ in range(repeat):
        before()
        start = time.perf_counter_ns()
        scrape()
        taken.append(time.perf_counter_ns() - start)
    return quantile(taken, 0.5)


def judge(samples: Samples) -> list[Row]:
    """Compare with what a scrape may take."""
    rows = (
        ("nothing has changed", "unchanged", 1.0),
        (f"{APPENDED} lines were appended", "changed", 100.0),
        ("a label set is new, and saved", "new", 100.0),
        ("first scrape of a further process", "taken_over", None),
        (f"registry: our collect(), {APPENDED} lines appended", "collected", 100.0),
        ("registry: prometheus_client's generate_latest()", "registry", None),
    )
    return [
        value_row(
            samples,
            label,
            ("scrapes", figure),
            "ms",
            None if limit is None else at_most(limit),
            factor=1e-6,
        )
        for label, figure, limit in rows
    ]


SCENARIO = Scenario(
    name="scrape",
    title=f"A scrape of {LABEL_SETS:,} label sets",
    how=HOW,
    rounds=3,
    measurements={"scrapes": measure},
    judge=judge,
)

__all__ = ["SCENARIO", "judge", "measure"]
