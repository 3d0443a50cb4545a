"""
A worker that logs and answers scrapes at the same time, for test_machine_exact.

    python -m tests.metrics.worker LOG_DIR TYPE RECORDS ACKNOWLEDGED

Logs RECORDS errors, and after each writes how many that were into the file
ACKNOWLEDGED, 8 bytes; a line on stdin is a scrape, a line on stdout its answer.
However busy the machine is, it logs no more than BETWEEN from one scrape to the next.
"""

from __future__ import annotations

import os
import sys
import threading
import time

from tests.metrics.logs import errors_of
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.metrics.machine import machine_counts

BETWEEN = 400
scrapes: list[int] = []
over = threading.Event()


def say(text: str) -> None:
    os.write(1, text.encode() + b"\n")  # in one piece: two threads have something


def log(log_dir: str, name: str, records: int, acknowledged: str) -> None:
    logger = ErrorLogger(log_dir)
    error = type(name, (Exception,), {})()
    fd = os.open(acknowledged, os.O_WRONLY | os.O_CREAT)
    for number in range(1, records + 1):
        logger.log_error(f"{name}-{number}", error, {"provider": name})
        os.pwrite(fd, number.to_bytes(8, "little"), 0)
        time.sleep(0.0002)  # so that scrapes come in between
        while number // BETWEEN > len(scrapes) and not over.wait(0.001):
            pass
    logger.flush(60)
    say("done")


def answer(log_dir: str) -> None:
    counts = machine_counts(log_dir)
    for _ in sys.stdin:
        say(str(counts.read(errors_of)))
        scrapes.append(1)
    over.set()


if __name__ == "__main__":
    thread = threading.Thread(
        target=log, args=(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
    )
    thread.start()
    answer(sys.argv[1])
    thread.join()
