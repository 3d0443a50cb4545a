"""
A worker that logs and answers scrapes, for test_pipeline_exact.

    python -m tests.metrics.pipeline_worker LOG_DIR RECORDS

Logs RECORDS errors, half of which are sampled away.  A line on stdin is a scrape, a
line on stdout its answer: all counters of the pipeline, of the machine, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

from tests.metrics.logs import pipeline
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.metrics.machine import machine_counts
from tokenpak.telemetry.store import meters


def say(text: str) -> None:
    os.write(1, text.encode() + b"\n")  # in one piece: two threads have something


def log(log_dir: str, records: int) -> None:
    # Looks for days to be archived come at random: two scrapes could not be compared.
    logger = ErrorLogger(
        log_dir, sample={"KeyError": 0}, recovery_interval=0.05, archive_after_days=0
    )
    for number in range(records):
        logger.log_error(str(number), ValueError() if number % 2 else KeyError())
        time.sleep(0.0002)  # so that scrapes come in between
    logger.flush(60)
    say(
        json.dumps(
            {"done": dict(logger.stats().dropped), "batches": logger.stats().batches}
        )
    )


def answer(log_dir: str) -> None:
    counts = machine_counts(log_dir)
    for _ in sys.stdin:
        totals = pipeline(Path(log_dir), counts)
        shown: dict[str, float] = {}
        for name in meters.HISTOGRAMS:
            for (stream,), histogram in totals.histogram(name).items():
                shown[f"{name} {stream} sum"] = histogram.total
                for place, number in enumerate(histogram.buckets):
                    shown[f"{name} {stream} {place}"] = number
        for name in meters.COUNTERS:
            for labels, number in totals.by_both(name).items():
                shown[f"{name} {labels}"] = number
        say(json.dumps({"shown": shown, "problems": totals.problems}))


if __name__ == "__main__":
    thread = threading.Thread(target=log, args=(sys.argv[1], int(sys.argv[2])))
    thread.start()
    answer(sys.argv[1])
    thread.join()
