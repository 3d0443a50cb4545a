"""M1: exact, with threads, forks, spawns, and workers killed with -9."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import pytest

from tests.docs.pages import ROOT
from tests.metrics.logs import append, errors_of, line, total, values
from tests.queue.logs import eventually
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.metrics.machine import MachineCounts, machine_counts
from tokenpak.telemetry.queue.recovery import recover
from tokenpak.telemetry.store.manage import archive_days

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
EACH = 4_000
CHILDREN = 500


def test_m1_eight_threads_are_counted_to_the_record(
    log_dir: Path, make_logger: Any
) -> None:
    """Each of 80,000, by who scrapes meanwhile and by who comes afterwards."""
    logger: ErrorLogger = make_logger()
    counts = machine_counts(log_dir)
    errors = [type(f"Error{number}", (Exception,), {})() for number in range(8)]

    def log(error: Exception) -> None:
        for _ in range(10_000):
            logger.log_error("r", error)

    threads = [threading.Thread(target=log, args=(error,)) for error in errors]
    for thread in threads:
        thread.start()
    seen = [total(counts) for _ in range(20)]
    for thread in threads:
        thread.join()
    assert logger.flush(60)

    everything = {f"Error{number}": 10_000 for number in range(8)}
    assert seen == sorted(seen)
    assert logger.get_metrics(scope="machine") == everything
    assert total(MachineCounts(str(log_dir))) == 80_000


class Worker:
    """See tests.metrics.worker."""

    def __init__(self, log_dir: Path, name: str, acknowledged: Path) -> None:
        self.name = name
        self.acknowledged = acknowledged
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.metrics.worker"),
                *(str(log_dir), name, str(EACH), str(acknowledged)),
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.done = False

    def scrape(self) -> int:
        """Return what it answers."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(b"\n")
        stdin.flush()
        return self._number(stdout)

    def _number(self, stdout: IO[bytes]) -> int:
        for answer in stdout:
            if answer != b"done\n":
                return int(answer)
            self.done = True
        raise AssertionError("it has ended")

    def logged(self) -> int:
        """Return how many records it has been acknowledged."""
        try:
            return int.from_bytes(self.acknowledged.read_bytes(), "little")
        except FileNotFoundError:
            return 0

    def end(self) -> None:
        """End it, by -9 if it does not by itself."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(100)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.mark.fault
def test_m1_four_workers_two_killed_and_every_scrape_is_no_less(
    log_dir: Path, tmp_path: Path
) -> None:
    """Whichever worker is asked; in the end what was accepted is what is counted."""
    workers = [
        Worker(log_dir, f"Worker{number}", tmp_path / f"acknowledged{number}")
        for number in range(4)
    ]
    living = list(workers)
    seen: list[int] = []
    wanted = (EACH // 3, 2 * EACH // 3)
    try:
        for number in range(1_000_000):
            seen.append(living[number % len(living)].scrape())
            if len(living) > 2 and living[0].logged() > wanted[4 - len(living)]:
                victim = living.pop(0)
                victim.process.send_signal(signal.SIGKILL)
                victim.process.wait()
                append(log_dir, line(number, error_type="Late"))
                archive_days(str(log_dir), age=timedelta(0))
            if len(living) == 2 and all(worker.done for worker in living):
                break
        recover(str(log_dir))
        # A living worker may be in the middle of recovering what a dead one left: also
        # a last record that was accepted, and not acknowledged.
        assert eventually(lambda: len([*log_dir.glob("spool/*.spool")]) == len(living))
        seen.extend(worker.scrape() for worker in living)
    finally:
        for worker in workers:
            worker.end()

    accepted = {worker.name: worker.logged() for worker in workers}
    counted = MachineCounts(str(log_dir)).read(
        lambda view: {k[0]: count.value for k, count in view.tally.errors.items()}
    )
    late = counted.pop("Late")
    assert len(living) == 2
    assert seen == sorted(seen)
    assert len(seen) > 20
    assert late == 2
    for name, number in counted.items():
        # The one that was under way may have been accepted, and not acknowledged.
        assert accepted[name] <= number <= accepted[name] + 1
    assert [accepted[worker.name] for worker in living] == [EACH, EACH]
    assert seen[-1] == sum(counted.values()) + late


def _log_some(log_dir: str, number: int) -> None:
    logger = ErrorLogger(log_dir)
    for _ in range(100):
        logger.log_error(f"r{number}", ValueError())
    assert logger.close(60)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_m1_children_are_counted_once(log_dir: Path, method: Any) -> None:
    """What the parent has counted, and what it had pending, is no child's."""
    parent = ErrorLogger(log_dir)
    parent.log_error("r", KeyError())
    before = machine_counts(log_dir).read(errors_of)
    context = multiprocessing.get_context(method)
    children = [
        context.Process(target=_log_some, args=(str(log_dir), number))
        for number in range(4)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert parent.close(60)

    assert before <= 1
    assert [child.exitcode for child in children] == [0] * 4
    assert machine_counts(log_dir).read(errors_of) == 401


@pytest.mark.fault
@pytest.mark.heavy
@pytest.mark.timeout(1800)  # 500 times what a busy machine takes for a fork
def test_m1_children_forked_while_threads_count_and_scrape_do_not_hang(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """500 of them; prometheus_client's own mode, which is set, hung each."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "multiprocess"))
    from tokenpak.telemetry.metrics.prometheus import Collector

    logger = ErrorLogger(log_dir)
    collector = Collector(log_dir)
    stop = threading.Event()

    def load(act: Any) -> None:
        while not stop.is_set():
            act()

    def log() -> None:
        logger.log_error("parent", ValueError())
        stop.wait(0.0005)

    def scrape() -> None:
        collector.collect()
        stop.wait(0.005)

    threads = [
        threading.Thread(target=load, args=(act,)) for act in (log, log, scrape, scrape)
    ]
    for thread in threads:
        thread.start()
    hung = 0
    try:
        for number in range(CHILDREN):
            pid = os.fork()
            if pid == 0:  # pragma: no cover  (another process)
                status = 1
                try:
                    signal.alarm(120)
                    if number % 10 == 0:
                        logger.log_error("child", KeyError())
                        logger.flush(100)
                    if number % 3 == 0:
                        collector.collect()
                    status = 0
                finally:
                    os._exit(status)
            _, status = os.waitpid(pid, 0)
            hung += status != 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert logger.close(60)
    recover(str(log_dir))

    assert hung == 0
    errors = logger.get_metrics(scope="machine")
    assert errors["KeyError"] == CHILDREN // 10
    assert errors["ValueError"] == logger.get_metrics()["ValueError"]
    assert values(machine_counts(log_dir), "trouble") == {}
