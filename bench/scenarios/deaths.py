"""
What does each logger lose, double or damage when a process ends without notice?

The same five endings for all: processes that are killed, that end themselves without
the interpreter's help, and children that are forked while a thread logs.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import importlib
import json
import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.adapters import ADAPTERS, OURS, PEERS, Logger, open_logger, recover
from bench.ledger import Acks, Ledger, Verdict
from bench.model import Column, Figures, Job, Row, Samples, Scenario, at_most
from bench.rows import total_row
from bench.workload import CONTEXT, failure

NAMES = (OURS, *PEERS)
RECORDS = 2_000
"""What one process logs at most, in less than a second."""
EXIT_RECORDS = 200
CHILDREN = 6
RECORDS_A_CHILD = 5
HUNG_AFTER = 1.5
HUNG_AFTER_OURS = 30.0
"""A machine under load must not be able to make us hang."""
MOST_HUNG = 2
MOST_HUNG_ROUGH = 1
"""That one hangs is soon seen; that a second does, too, is for a full run."""
PARENT_HUNG_AFTER = 6.0
DEADLINE = 30.0
DEADLINE_OURS = 120.0

HOW = f"""\
A process logs failures and stores the number of each into shared memory after its
call has returned. It ends in one of five ways. **SIGKILL** and **SIGTERM** (with its
default action) at a random moment; **`os._exit`** after {EXIT_RECORDS} records; the
workers of a `multiprocessing` pool by **`Pool.terminate`**; **fork**: {CHILDREN}
children of `multiprocessing` are forked while a thread logs in bursts, each logs
{RECORDS_A_CHILD} records through the logger that it inherited and ends as such
children do, and the parent flushes and closes. A child that lives longer than
{HUNG_AFTER:g} s counts as hung, and after {MOST_HUNG} such no more are forked.
Afterwards the log is read, for this logger after its `recover()`, which the next
process that logs into the directory does by itself."""

READ = """\
`lost` are records whose call had returned, without those that the logger itself
counts as `dropped`; `of` how many that were. A logger that writes in the call loses
nothing when a process dies, as what the kernel has been given is safe, and pays for
it in every call. `damaged` are lines that are no record: the beginning of a line
that was being written, which this logger closes and whose record, if it was
accepted, follows whole."""


@dataclass(slots=True)
class _Tally:
    """What came of all trials of one way to end."""

    verdict: Verdict
    most_hung: int = MOST_HUNG
    """After so many no more are forked."""
    hung: int = 0
    dropped: int = 0
    """What the logger says it gave up, and so is not lost without a word."""


def measure(adapter: str, job: Job) -> Figures:
    """End processes in each of the ways; return what was lost and doubled."""
    # Imported before the forks, so that children log at once; not opened.
    importlib.import_module(ADAPTERS[adapter].partition(":")[0])
    chance = random.Random(job.seed)
    figures: Figures = {}
    total = _Tally(Verdict())
    for way, (trial, trials) in WAYS.items():
        tally = _Tally(Verdict(), job.effort.choose(MOST_HUNG, MOST_HUNG_ROUGH))
        for number in range(job.effort.count(trials)):
            place = os.path.join(job.directory, f"{way}-{number}")
            os.mkdir(place)
            trial(adapter, place, chance, tally)
        figures[f"{way}_lost"] = tally.verdict.lost
        figures[f"{way}_doubled"] = tally.verdict.doubled
        figures[f"{way}_of"] = tally.verdict.accepted
        total.verdict.add(tally.verdict)
        total.hung += tally.hung
        total.dropped += tally.dropped
    figures["lost"] = total.verdict.lost
    figures["doubled"] = total.verdict.doubled
    figures["damaged"] = total.verdict.merged + total.verdict.torn
    figures["accepted"] = total.verdict.accepted
    figures["hung"] = total.hung
    figures["dropped"] = total.dropped
    return figures


def _log(logger: Logger, series: str, count: int, acked: memoryview[int]) -> None:
    for number in range(1, count + 1):
        logger.log_error(f"{series}:{number}", failure(), CONTEXT)
        acked[0] = number


def _in_child(work: Callable[[], object]) -> int:
    """Fork a process with a session of its own that does *work*; return its pid."""
    pid = os.fork()
    if not pid:
        try:
            os.setsid()
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return pid


def _deadline(adapter: str) -> float:
    """Return the seconds after which a process of *adapter* counts as hung."""
    return DEADLINE_OURS if adapter == OURS else DEADLINE


def _wait(pid: int, seconds: float) -> bool:
    """Wait for the child; kill it and all that it started if it takes longer."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return True
        time.sleep(0.002)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return False


def _audit(
    adapter: str, place: str, acks: Acks, series: list[str], tally: _Tally
) -> None:
    """Add what came of one trial to *tally*."""
    recover(adapter, place)
    ledger = Ledger()
    for number, name in enumerate(series):
        ledger.expect(name, acks.counts[number])
    verdict = ledger.audit(place)
    dropped = _told(place) if adapter == OURS else 0
    verdict.lost -= dropped
    tally.dropped += dropped
    tally.verdict.add(verdict)


def _told(place: str) -> int:
    """Return how many records the log itself says were dropped."""
    total = 0
    for path in glob.glob(os.path.join(glob.escape(place), "*.jsonl")):
        with open(path, "rb") as lines:
            for line in lines:
                if b'"error_type":"RecordsDropped"' in line:
                    # Torn by a death, it follows whole.
                    with contextlib.suppress(json.JSONDecodeError):
                        total += int(json.loads(line)["context"]["dropped"])
    return total


def _killed(
    signal_number: int, adapter: str, place: str, chance: random.Random, tally: _Tally
) -> None:
    acks = Acks(1)

    def work() -> None:
        logger = open_logger(adapter, place)
        _log(logger, "a", RECORDS, acks.counts)
        time.sleep(_deadline(adapter))

    pid = _in_child(work)
    end = time.monotonic() + _deadline(adapter)
    while acks.counts[0] < 20 and time.monotonic() < end:
        time.sleep(0.001)
    time.sleep(chance.uniform(0, 0.1))
    os.kill(pid, signal_number)
    tally.hung += not _wait(pid, _deadline(adapter))
    _audit(adapter, place, acks, ["a"], tally)


def _exits(adapter: str, place: str, _: random.Random, tally: _Tally) -> None:
    acks = Acks(1)

    def work() -> None:
        _log(open_logger(adapter, place), "a", EXIT_RECORDS, acks.counts)

    tally.hung += not _wait(_in_child(work), _deadline(adapter))
    _audit(adapter, place, acks, ["a"], tally)


_worker_logger: list[Logger] = []


def _open_in_worker(adapter: str, place: str) -> None:
    _worker_logger.append(open_logger(adapter, place))


def _pool(adapter: str, place: str, chance: random.Random, tally: _Tally) -> None:
    acks = Acks(2)
    delay = chance.uniform(0, 0.1)

    def task(number: int) -> None:
        _log(_worker_logger[0], f"a{number}", RECORDS, acks.counts[number : number + 1])
        # Who is ended while it hands its result over leaves the pool's lock locked, and
        # terminate() then waits for ever, whatever the logger is.
        time.sleep(_deadline(adapter))

    def work() -> None:
        global _task  # noqa: PLW0603 - a pool pickles the name of its function
        _task = task
        context = multiprocessing.get_context("fork")
        pool = context.Pool(2, _open_in_worker, (adapter, place))
        pool.map_async(_run_task, range(2), chunksize=1)
        end = time.monotonic() + _deadline(adapter) / 2
        while min(acks.counts[:2]) < 20 and time.monotonic() < end:
            time.sleep(0.001)
        time.sleep(delay)
        pool.terminate()
        pool.join()

    tally.hung += not _wait(_in_child(work), _deadline(adapter))
    _audit(adapter, place, acks, ["a0", "a1"], tally)


_task: Callable[[int], None] | None = None


def _run_task(number: int) -> None:
    assert _task is not None
    _task(number)


def _forks(adapter: str, place: str, _: random.Random, tally: _Tally) -> None:
    # The last slot: the children that hung.
    acks = Acks(CHILDREN + 2)
    patience = HUNG_AFTER_OURS if adapter == OURS else HUNG_AFTER

    def work() -> None:
        logger = open_logger(adapter, place)
        stop = threading.Event()
        thread = threading.Thread(
            target=_log_until, args=(logger, acks.counts[:1], stop), daemon=True
        )
        thread.start()
        context = multiprocessing.get_context("fork")
        for child in range(1, CHILDREN + 1):
            process = context.Process(
                target=_log,
                args=(
                    logger,
                    f"child-{child}",
                    RECORDS_A_CHILD,
                    acks.counts[child : child + 1],
                ),
            )
            process.start()
            process.join(patience)
            if process.exitcode is None:
                acks.counts[CHILDREN + 1] += 1
                process.kill()
                process.join()
                if acks.counts[CHILDREN + 1] == tally.most_hung:
                    break
        stop.set()
        thread.join()
        logger.flush()
        logger.close()

    # A parent may wait for ever, too, for a lock that a killed child has held.
    most = CHILDREN if adapter == OURS else tally.most_hung
    rest = DEADLINE_OURS if adapter == OURS else PARENT_HUNG_AFTER
    finished = _wait(_in_child(work), patience * most + rest)
    tally.hung += acks.counts[CHILDREN + 1] + (not finished)
    series = ["parent", *(f"child-{child}" for child in range(1, CHILDREN + 1))]
    _audit(adapter, place, acks, series, tally)


def _log_until(logger: Logger, acked: memoryview[int], stop: threading.Event) -> None:
    number = 0
    while not stop.is_set() and number < 20 * RECORDS:
        for _ in range(20):
            number += 1
            logger.log_error(f"parent:{number}", failure(), CONTEXT)
            acked[0] = number
        # Bursts: how much a logger can take is another question.
        time.sleep(0.001)


_Trial = Callable[[str, str, random.Random, _Tally], None]
WAYS: dict[str, tuple[_Trial, int]] = {
    "sigkill": (functools.partial(_killed, signal.SIGKILL), 8),
    "sigterm": (functools.partial(_killed, signal.SIGTERM), 4),
    "exit": (_exits, 3),
    "pool": (_pool, 3),
    "fork": (_forks, 1),
}
"""Each way to end, and how often a full run tries it."""


def judge(samples: Samples) -> list[Row]:
    """Nothing of ours may be lost, doubled or damaged, and nobody may hang."""
    return [
        total_row(samples, label, [(OURS, figure)], at_most(0))
        for label, figure in (
            ("accepted records lost", "lost"),
            ("doubled", "doubled"),
            ("processes that hung", "hung"),
            ("dropped", "dropped"),
        )
    ]


SCENARIO = Scenario(
    name="deaths",
    title="Lost and doubled: five ways to end a process",
    how=HOW,
    read=READ,
    rounds=1,
    measurements={name: functools.partial(measure, name) for name in NAMES},
    judge=judge,
    columns=(
        Column("lost: SIGKILL", "sigkill_lost"),
        Column("SIGTERM", "sigterm_lost"),
        Column("`os._exit`", "exit_lost"),
        Column("`Pool.terminate`", "pool_lost"),
        Column("fork", "fork_lost"),
        Column("of", "accepted"),
        Column("doubled", "doubled"),
        Column("damaged", "damaged"),
        Column("hung", "hung"),
        Column("dropped", "dropped"),
    ),
    may_fail=frozenset(PEERS),
    patience=180,
    side_by_side=True,
)

__all__ = ["SCENARIO", "judge", "measure"]
