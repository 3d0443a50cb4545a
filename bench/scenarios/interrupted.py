"""
Does a call that interrupts another one ever wait for it?

A lock that the interrupted call holds would never be released: the process would stand
still for good.  So calls are made from wherever Python may run code in the middle of
another call, all at the same time.
"""

from __future__ import annotations

import atexit
import gc
import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from bench.ledger import Ledger
from bench.model import Figures, Job, Row, Samples, Scenario, at_most
from bench.rows import total_row
from bench.workload import CONTEXT, failure
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.queue.recovery import recover

SECONDS = 30.0
EVERY = 0.001
"""Seconds between two signals."""
MOST = 1_000_000
"""Records of each series: bounds the disk."""
HUNG_AFTER = 60.0
BUSY = 30.0
"""Seconds that it may go on, if a place has not come to its turn yet: a thread needs as
long to begin, on a busy machine."""
PLACES = ("main", "thread", "signal", "finalizer", "collector", "warning", "exit")
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

HOW = f"""\
One process, {SECONDS:g} seconds. Its main thread and a second one log; a signal handler
logs, {1 / EVERY:,.0f} times a second; so do finalizers of objects that are garbage, a
callback of the garbage collector, and a handler for the logger's own warnings, which
come all the time; and a callback at the end of the process, when the logger's own has
run already. A process that lives {HUNG_AFTER:g} seconds longer counts as hung.
Afterwards `recover()` appends what is left, and each record must be in the log once."""


def measure(job: Job) -> Figures:
    """Let a process interrupt itself; return what went wrong."""
    tenths = int(job.effort.choose(SECONDS, SECONDS / 2) * 10)
    seconds = job.effort.count(tenths, least=10) / 10
    log_dir = os.path.join(job.directory, "logs")
    command = [sys.executable, "-m", __name__, log_dir, str(seconds)]
    try:
        done = subprocess.run(
            command,
            cwd=_ROOT,
            stdout=subprocess.PIPE,
            check=True,
            timeout=seconds + HUNG_AFTER,
        )
    except subprocess.TimeoutExpired:
        return {"hung": 1}
    said = json.loads(done.stdout)
    recovered = recover(log_dir).records
    ledger = Ledger()
    for place in PLACES:
        ledger.expect(place, said["logged"][place])
    verdict = ledger.audit(log_dir)
    return {
        "hung": 0,
        "silent": sum(not said["logged"][place] for place in PLACES),
        "interruptions": sum(said["logged"][place] for place in PLACES[2:]),
        "dropped": said["dropped"],
        "recovered": recovered,
        **verdict.figures(),
        # A call that interrupts another of its series is in the log before that.
        "torn": verdict.torn + verdict.merged,
    }


class _Log:
    """Logs in series, one for each place from which a call is made."""

    def __init__(self, log_dir: str) -> None:
        # What is registered first runs last: the logger's own has run by then.
        atexit.register(self._end)
        self.logger = ErrorLogger(log_dir)
        self._error = failure()
        self._numbers = {place: itertools.count(1) for place in PLACES}
        self.logged = dict.fromkeys(PLACES, 0)

    def of(self, place: str) -> Callable[..., None]:
        """Return what logs one record of *place*, whatever it is passed."""
        numbers, log_error = self._numbers[place], self.logger.log_error
        error, logged = self._error, self.logged

        def log(*_: object) -> None:
            number = next(numbers)
            if number <= MOST:
                log_error(f"{place}:{number}", error, CONTEXT)
                logged[place] = max(logged[place], number)

        return log

    def _end(self) -> None:
        self.of("exit")()
        dropped = sum(self.logger.stats().dropped.values())
        print(json.dumps({"logged": self.logged, "dropped": dropped}), flush=True)


class _Mortal:
    """Garbage only the collector finds, that logs when it goes."""

    def __init__(self, last_words: Callable[..., None]) -> None:
        self.itself = self
        self._last_words = last_words

    def __del__(self) -> None:
        self._last_words()


class _OfWarnings(logging.Handler):
    """Logs what the logger itself warns of."""

    def __init__(self, log: Callable[..., None]) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Log *record*."""
        self._log(record)


def _interrupt_yourself(log_dir: str, seconds: float) -> None:
    log = _Log(log_dir)
    in_main, in_thread, in_finalizer = map(log.of, ("main", "thread", "finalizer"))
    warnings = logging.getLogger("tokenpak.telemetry")
    warnings.addHandler(_OfWarnings(log.of("warning")))
    warnings.propagate = False
    signal.signal(signal.SIGALRM, log.of("signal"))
    of_collector = log.of("collector")
    gc.callbacks.append(of_collector)
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            for _ in range(20):
                in_thread()
            time.sleep(0.0005)

    # Where to make the spool takes longer than it is to the next signal, each handler
    # would be interrupted while it makes one, until the stack is used up.
    in_main()
    thread = threading.Thread(target=work)
    thread.start()
    signal.setitimer(signal.ITIMER_REAL, EVERY, EVERY)
    end = time.monotonic() + seconds
    for turn in itertools.count():
        in_main()
        _Mortal(in_finalizer)
        if turn % 50 == 0:
            log.logger._pipeline.warn(str(turn), "nothing")
            time.sleep(0.0005)
            late = time.monotonic() - end
            if late > BUSY or (late > 0 and all(log.logged[p] for p in PLACES[:-1])):
                break
    signal.setitimer(signal.ITIMER_REAL, 0)
    stop.set()
    thread.join()
    gc.callbacks.remove(of_collector)
    gc.collect()


def judge(samples: Samples) -> list[Row]:
    """Nothing may be wrong, ever."""

    rounds = samples.get("tokenpak", ())

    def total(label: str, *figures: str, target: bool = True) -> Row:
        keys = [("tokenpak", figure) for figure in figures]
        if not all(figure in found for found in rounds for figure in figures):
            return Row(label, None, "", None, "unknown, since it hung", ("tokenpak",))
        return total_row(samples, label, keys, at_most(0) if target else None)

    return [
        total("processes that hung", "hung"),
        total("accepted records lost", "lost"),
        total("doubled", "doubled"),
        total("torn, merged, or never logged", "torn", "unexpected"),
        total("dropped", "dropped"),
        total("places from which nothing was logged", "silent"),
        total("records accepted", "accepted", target=False),
        total(
            "from the middle of other calls, or the end", "interruptions", target=False
        ),
    ]


SCENARIO = Scenario(
    name="interrupted",
    title="Calls in the middle of calls",
    how=HOW,
    rounds=1,
    measurements={"tokenpak": measure},
    judge=judge,
    timeout=300,
)

__all__ = ["SCENARIO", "judge", "measure"]

if __name__ == "__main__":
    _interrupt_yourself(sys.argv[1], float(sys.argv[2]))
