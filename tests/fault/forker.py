"""
The program that forks while its threads log (Q5).

    forker.py LOG_DIR LEDGER_DIR CHILDREN THREADS

Children log a few records each, in two threads' worth of ways to end: ``os._exit`` at
once, after a flush, or the ordinary way.  Prints one JSON object: how many children
hung, how many ended otherwise than they should, and which errors the parent met.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from tests.fault.ledger import Ledger, request_id
from tests.fault.worker import fail
from tokenpak.telemetry.error_logger import get_error_logger

RECORDS = 5
DEADLINE = 200.0


def child(number: int, ledger: Ledger) -> None:
    logger = get_error_logger()
    for record in range(RECORDS):
        logger.log_error(request_id(f"c{number}", 0, record), ValueError("child"), {})
        ledger.words[0] = record + 1
    if number % 3 == 0:
        os._exit(0)
    if number % 3 == 1:
        os._exit(0 if logger.flush(100) else 3)
    sys.exit(0)


def log_until(stop: threading.Event, ledger: Ledger, thread: int) -> None:
    logger = get_error_logger()
    number = 0
    try:
        fail(9)
    except ValueError as error:
        # Bounded in count: forks are slow on a busy machine.
        while not stop.is_set() and number < 60_000:
            logger.log_error(request_id("parent", thread, number), error, {})
            number += 1
            ledger.words[thread] = number
            if number % 20 == 0:
                time.sleep(0.001)
                # Not faster than the writer for long: a full queue drops, as it may.
                while logger.stats().pending_records > 1_000 and not stop.is_set():
                    time.sleep(0.001)


def reap(pids: dict[int, float]) -> tuple[int, int]:
    """Wait for all children; kill, by their id, those that hang."""
    hung = failed = 0
    while pids:
        for pid, started in list(pids.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                del pids[pid]
                failed += status != 0
            elif time.monotonic() - started > DEADLINE:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                del pids[pid]
                hung += 1
        time.sleep(0.005)
    return hung, failed


def main() -> None:
    os.environ["TOKENPAK_LOG_DIR"] = sys.argv[1]
    ledgers, children, threads = Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    parent = Ledger(ledgers / "parent", threads)
    stop = threading.Event()
    workers = [
        threading.Thread(target=log_until, args=(stop, parent, number))
        for number in range(threads)
    ]
    for worker in workers:
        worker.start()
    errors: list[str] = []
    hung = failed = 0
    pids: dict[int, float] = {}
    for number in range(children):
        ledger = Ledger(ledgers / f"c{number}", 1)
        try:
            pid = os.fork()
        except RuntimeError as error:
            errors.append(repr(error))
            continue
        if pid == 0:
            child(number, ledger)
        pids[pid] = time.monotonic()
        if len(pids) >= 8:
            more = reap(pids)
            hung, failed = hung + more[0], failed + more[1]
    more = reap(pids)
    stop.set()
    for worker in workers:
        worker.join()
    stats = get_error_logger().stats()
    print(
        json.dumps(
            {
                "hung": hung + more[0],
                "failed": failed + more[1],
                "errors": errors,
                "dropped": dict(stats.dropped),
            }
        )
    )


if __name__ == "__main__":
    main()
