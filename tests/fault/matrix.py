"""
Runs the cases of the fault matrix: one system call of a cycle fails, or is the last.

For each case a child of tests.fault.cycle is traced by strace, which lets the Nth call
of one kind fail, once or for ever, or kills the process at it.  strace counts by
thread: the Nth call of the caller's thread and the Nth of the writer's both fail.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from tests.fault.cycle import OLD_DAY, OLD_RECORDS, RECORDS
from tests.fault.ledger import Ledger
from tests.fault.tracing import STRACE, wait_until_traced
from tokenpak.telemetry.queue.recovery import recover
from tokenpak.telemetry.read import iter_records
from tokenpak.telemetry.store.manage import archive_days

LONG: Final = 20.0
"""Seconds for which a child waits for each of its steps, if a fault is not for ever."""
ENDLESS: Final = 0.9
"""Seconds after which a fault that is for ever ends, whatever the child is at."""
MOST_PATIENCE: Final = 120.0
MOST: Final = 400
"""Cases of one kind of call; more than a cycle makes of any."""


@dataclass
class Outcome:
    """What a case came to."""

    injected: bool
    """Whether the call was made at all."""
    problems: list[str] = field(default_factory=list)
    slowest: float = 0.0
    """Seconds of the longest call of the logger, traced, but for the first."""


class Runner:
    """One server and what it needs.  One case at a time; for use in one thread."""

    def __init__(self, place: Path) -> None:
        self._place = place
        place.mkdir(parents=True)
        self._said = (place / "stderr").open("wb")
        self._cases = 0
        self._start()

    def _start(self) -> None:
        self._ours, theirs = socket.socketpair()
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.fault.cycle"],
            stdin=theirs.fileno(),
            stderr=self._said,
        )
        theirs.close()
        self._heard = b""

    def start_anew(self) -> None:
        """Leave a case that failed behind: its child would answer for the next one."""
        self._ours.close()
        self._server.kill()
        self._server.wait()
        self._start()

    def close(self) -> None:
        """End the server."""
        self._ours.close()
        self._server.wait(timeout=30)
        self._said.close()

    def _line(self, patience: float = MOST_PATIENCE) -> str:
        """Return what the child says; empty: nothing for *patience* seconds."""
        self._ours.settimeout(patience)
        while b"\n" not in self._heard:
            try:
                part = self._ours.recv(65_536)
            except TimeoutError:
                assert patience < MOST_PATIENCE, "the case hangs"
                return ""
            assert part, "the server of the cases has ended"
            self._heard += part
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode()

    def run(
        self, call: str, effect: str, when: str, *, patient: bool = False
    ) -> Outcome:
        """
        Run one case.

        Args:
            call: name of the system call.
            effect: ``error=ENOSPC`` or ``signal=KILL``.
            when: ``3`` or ``3+``, as strace has it.
            patient: give a fault that is for ever as much time as one that is not: on
                a busy machine, the cycle may not come to the call otherwise.

        """
        self._cases += 1
        place = self._place / str(self._cases)
        log_dir = place / "logs"
        make_old_day(log_dir)
        ledger, trace = place / "ledger", place / "trace"
        endless = when.endswith("+")
        patience = ENDLESS / 3 if endless and not patient else LONG
        self._ours.send(f"{log_dir}\n{ledger}\n{patience}".encode())
        pid = int(self._line())
        tracer = subprocess.Popen(
            [
                *(str(STRACE), "-f", "-qq", "-o", str(trace), "-p", str(pid)),
                *("-e", f"trace={call}", "-e", f"inject={call}:{effect}:when={when}"),
            ],
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until_traced(pid)
            self._ours.send(b"g")
            # What the interpreter repeats for ever, EINTR, ends with the fault only.
            until = 3 * LONG if patient else ENDLESS
            line = self._line(until if endless else MOST_PATIENCE)
            if line in {"done", ""}:
                tracer.send_signal(signal.SIGINT)  # it detaches
                tracer.wait(timeout=60)
                line = line or self._line()
                self._ours.send(b"g")
                answer = json.loads(self._line())
                line = self._line()
                outcome = judge(log_dir, answer)
            else:
                tracer.wait(timeout=60)
                outcome = judge_killed(log_dir, Ledger(ledger, 1).acknowledged()[0])
            if line not in {"exit 0", f"exit {-signal.SIGKILL}"}:
                outcome.problems.append(line)
        finally:
            tracer.kill()
            tracer.wait()
        text = trace.read_text()
        outcome.injected = "(INJECTED)" in text or "+++ killed by SIGKILL" in text
        if outcome.problems:
            outcome.problems.append(text[-600:])
        shutil.rmtree(place)
        return outcome


def make_old_day(log_dir: Path) -> None:
    """Make a file that is due to be archived."""
    log_dir.mkdir(parents=True, mode=0o700)
    with open(log_dir / f"errors-{OLD_DAY}.jsonl", "w", encoding="ascii") as file:
        for number in range(OLD_RECORDS):
            record = {
                "timestamp": f"{OLD_DAY}T12:00:00.000000Z",
                "request_id": f"old{number}",
                "error_type": "ValueError",
                "message": "x",
                "stack_trace": "",
                "context": {},
            }
            file.write(json.dumps(record, separators=(",", ":")) + "\n")


def count(log_dir: Path) -> tuple[Counter[str], int]:
    """Return how often each record is in the log, by its id, and the damages."""
    seen: Counter[str] = Counter()
    damaged = 0
    for item in iter_records(log_dir):
        if not isinstance(item, dict):
            damaged += 1
        elif item["error_type"] != "RecordsDropped":
            seen[str(item["request_id"])] += 1
    return seen, damaged


def look(log_dir: Path, accepted: int, lost: int) -> list[str]:
    """
    Return what is wrong with the log.

    Args:
        log_dir: where it is.
        accepted: how many of the records must be there; later ones may.
        lost: how many of them may be missing, since they are counted as dropped.

    """
    problems: list[str] = []
    seen, damaged = count(log_dir)
    problems += [
        f"old{number} is there {seen[f'old{number}']} times"
        for number in range(OLD_RECORDS)
        if seen[f"old{number}"] != 1
    ]
    missing = [n for n in range(accepted) if not seen[f"r{n}"]]
    if len(missing) != lost:
        problems.append(f"missing {missing}, counted {lost}")
    problems += [f"{name} is there {n} times" for name, n in seen.items() if n > 1]
    if damaged:
        problems.append(f"{damaged} damages")
    archive = log_dir / "archive"
    names = os.listdir(archive) if archive.exists() else []
    left = [name for name in names if name.startswith(".")]
    if left or (log_dir / f"errors-{OLD_DAY}.jsonl").exists():
        problems.append(f"not archived, or left over: {left}")
    return problems


def judge(log_dir: Path, answer: dict[str, Any]) -> Outcome:
    """Hold what a child says of itself against the log: the law."""
    problems = look(log_dir, RECORDS, sum(answer["dropped"].values()))
    if answer["raised"]:
        problems.append(f"raised {answer['raised']}")
    if not (answer["flushed"] and answer["closed"] and answer["archived"]):
        problems.append("it did not go on after the fault")
    if answer["failed"] > 1:  # one may have been under way when the fault ended
        problems.append(f"{answer['failed']} appends failed after the fault")
    if answer["accepted"] + sum(answer["dropped"].values()) != RECORDS:
        problems.append("accepted + dropped is not what was called")
    if answer["accepted"] + answer["notices"] != answer["written"] + answer["pending"]:
        problems.append("accepted is not written + pending")
    if problems:
        problems.append(json.dumps(answer))
    return Outcome(False, problems, float(answer["slowest"]))


def judge_killed(log_dir: Path, acknowledged: int) -> Outcome:
    """Recover and archive what a killed child left, and look."""
    seen, _ = count(log_dir)
    problems = [
        f"old{n} was there {seen[f'old{n}']} times before the recovery"
        for n in range(OLD_RECORDS)
        if seen[f"old{n}"] != 1
    ]
    recovered = recover(str(log_dir))
    result = archive_days(str(log_dir), age=timedelta(days=7))
    problems += look(log_dir, acknowledged, 0)
    if recovered.left or result.failed or result.put_off:
        problems.append(f"{recovered} {result}")
    return Outcome(False, problems)
