"""
The program of the fault matrix: append, rotation and archive, in a forked child a case.

    cycle.py          a server: forks a child for each request on its stdin, a socket

Everything is imported once, by the server; its children only do what is to be looked
at, so that a case takes a few hundredths of a second.  A child says its process id and
waits, so that a tracer can attach; logs over a midnight, in a directory with a day that
is to be archived; waits again, until the tracer is gone; and logs once more.  It says
what became of all that as one line of JSON.

It talks by send and recv, which are no calls of the logger's.
"""

from __future__ import annotations

import functools
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.fault.ledger import Ledger
from tokenpak.telemetry import error_logger
from tokenpak.telemetry.capture.encode import Encoder
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.queue import upkeep, writer

OLD_DAY = "2026-01-05"
OLD_RECORDS = 40
DAY = 86_400 * 10**9
RECORDS = 5
"""Two of today, two of tomorrow, and the one after the fault."""
PATIENCE = 0.02
"""Seconds for which a step is waited for after a trouble was told."""


def hurry() -> None:
    """Shorten the pauses between attempts, which are for machines and not for tests."""
    for module, name, value in (
        (writer, "DISK_RETRY", (0.001, 0.004)),
        (upkeep, "FIRST", (0.0, 0.0)),
        (upkeep, "AGAIN", (0.002, 0.004)),
        (upkeep, "REST", 0.0),
    ):
        assert hasattr(module, name)
        setattr(module, name, value)


class Cycle:
    """One case, in a child."""

    def __init__(self, log_dir: str, ledger: str, patience: float) -> None:
        # A day that is not to be archived yet, and its end.
        self.midnight = (time.time_ns() // DAY + 1) * DAY
        self.now = self.midnight - 10**9
        self.patience = patience
        self.words = Ledger(Path(ledger), 1).words
        self.raised: list[str] = []
        self.slowest = 0.0
        self.log_dir = log_dir
        make = functools.partial(Encoder, clock=lambda: self.now)
        vars(error_logger)["Encoder"] = make
        self.logger = ErrorLogger(log_dir, fsync="batch", linger=0.0)

    def log(self, number: int) -> None:
        """Log record *number*, and note that the call has returned."""
        error = ValueError("x")
        # The first call makes the spool, and the next one if it can't: C1 excepts that.
        has_spool = self.logger._pipeline.chains["errors"].head is not None
        self.now += 1_000
        begun = time.perf_counter()
        try:
            self.logger.log_error(f"r{number}", error, {"model": "gpt-4"})
        except BaseException as raised:
            self.raised.append(repr(raised))
        lasted = time.perf_counter() - begun
        if has_spool:
            self.slowest = max(self.slowest, lasted)
        self.words[0] = number + 1

    def archived(self) -> bool:
        """Whether the old day is archived: without a system call of a kind meant."""
        upkeep_of = self.logger._pipeline._housekeeping.upkeep
        due = upkeep_of._due or 0
        return upkeep_of._steps is None and due > time.monotonic() + 100

    def wait(
        self,
        done: Callable[[], bool],
        patience: float,
        *,
        though_troubled: bool = False,
    ) -> bool:
        """Wait until it is done; not for long any more when there was a trouble."""
        trouble = self.logger._pipeline._trouble
        deadline = time.monotonic() + patience
        while not (finished := done()) and time.monotonic() < deadline:
            time.sleep(0.001)
            if not though_troubled and (
                trouble.write_errors or trouble._last or trouble._noted
            ):
                deadline = min(deadline, time.monotonic() + PATIENCE)
                though_troubled = True
        return finished

    def under_fault(self) -> None:
        """Append, rotate, append, archive."""
        self.log(0)
        self.log(1)
        self.wait(lambda: self.logger.flush(0.002), self.patience)
        self.now = self.midnight + 10**9
        self.log(2)
        self.log(3)
        self.wait(lambda: self.logger.flush(0.002), self.patience)
        self.wait(self.archived, self.patience)

    def afterwards(self) -> dict[str, object]:
        """Log once more, and end."""
        before = self.logger.stats().write_errors
        self.log(4)
        flushed = self.logger.flush(60)
        failed = self.logger.stats().write_errors - before
        archived = self.wait(self.archived, 60, though_troubled=True)
        closed = self.logger.close(60)
        stats = self.logger.stats()
        return {
            "raised": self.raised,
            "slowest": self.slowest,
            "flushed": flushed,
            "failed": failed,
            "archived": archived,
            "closed": closed,
            "accepted": stats.accepted,
            "written": stats.written,
            "pending": stats.pending_records,
            "notices": stats.notices,
            "dropped": dict(stats.dropped),
        }


def child(channel: socket.socket, log_dir: str, ledger: str, patience: float) -> None:
    """Do one case."""
    cycle = Cycle(log_dir, ledger, patience)
    channel.send(b"%d\n" % os.getpid())
    channel.recv(1)
    cycle.under_fault()
    channel.send(b"done\n")
    channel.recv(1)
    channel.send(json.dumps(cycle.afterwards()).encode() + b"\n")


def main() -> None:
    hurry()
    channel = socket.socket(fileno=0)
    while True:
        request = channel.recv(4096)
        if not request:
            return
        log_dir, ledger, patience = request.decode().split("\n")
        pid = os.fork()
        if pid == 0:
            try:
                child(channel, log_dir, ledger, float(patience))
            finally:
                sys.stderr.flush()
                os._exit(0)
        _, status = os.waitpid(pid, 0)
        channel.send(b"exit %d\n" % os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
