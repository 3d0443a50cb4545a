"""
The program that is killed: logs in several threads, and keeps its ledger.

    worker.py LOG_DIR LEDGER NAME THREADS CALLS [--wait] [--pause SECONDS] [--flush]

With --wait it says "ready" and waits for a line before its first record, so that a
tracer can attach.  With --flush each thread flushes when it has made half of its calls,
so that there are two batches at least, however busy the machine is.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from pathlib import Path

from tests.fault.ledger import Ledger, request_id
from tokenpak.telemetry.error_logger import ErrorLogger


def fail(depth: int) -> None:
    if depth:
        fail(depth - 1)
    raise ValueError("Invalid model parameter")


def run(
    logger: ErrorLogger,
    ledger: Ledger,
    name: str,
    thread: int,
    calls: int,
    pause: float,
    flush_at: int,
) -> None:
    context = {"model": "gpt-4", "provider": "openai", "padding": "x" * (thread * 400)}
    try:
        fail(9)
    except ValueError as error:
        for number in range(calls):
            logger.log_error(request_id(name, thread, number), error, context)
            ledger.words[thread] = number + 1
            if number + 1 == flush_at:
                logger.flush(60)
            if pause:
                time.sleep(pause)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("log_dir")
    parser.add_argument("ledger", type=Path)
    parser.add_argument("name")
    parser.add_argument("threads", type=int)
    parser.add_argument("calls", type=int)
    parser.add_argument("--wait", action="store_true")
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--flush", action="store_true")
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    ledger = Ledger(given.ledger, given.threads)
    logger = ErrorLogger(given.log_dir, linger=0.005)
    if given.wait:
        print("ready", flush=True)
        sys.stdin.readline()
    threads = [
        threading.Thread(
            target=run,
            args=(
                *(logger, ledger, given.name, number, given.calls, given.pause),
                given.calls // 2 if given.flush else 0,
            ),
        )
        for number in range(given.threads)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    logger.flush()
    logger.close()


if __name__ == "__main__":
    main()
