"""What a writer counts of its own work, as others see it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.metrics.logs import log_size, pipeline
from tests.queue.logs import eventually
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.metrics.pipeline import PipelineTotals
from tokenpak.telemetry.queue.meter import LOOK, Meter, Meters
from tokenpak.telemetry.queue.recovery import recover
from tokenpak.telemetry.store import meters
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.names import ERRORS
from tokenpak.telemetry.store.notes import QUEUE_FULL
from tokenpak.telemetry.store.spool import SpoolFile
from tokenpak.telemetry.store.totals import Totals

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs spools")


def counted(totals: PipelineTotals, name: str, label: str) -> int:
    return totals.by_label(name)[(label,)]


def batches(totals: PipelineTotals) -> tuple[int, int]:
    """Return how many appends there were, and their bytes."""
    shown = totals.histogram(meters.BATCH)[(ERRORS,)]
    return sum(shown.buckets), int(shown.total)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[SpoolFile]:
    made = SpoolFile.create(OsFiles(), str(tmp_path / "spool"), ERRORS, 4)
    yield made
    made.remove()


def read(spool: SpoolFile) -> meters.Reading:
    return meters.parse(spool.counters, spool.notes.drops(), ERRORS, spool.ident)


def leave_orphan(log_dir: Path) -> None:
    """Have a process log one error, and die before its writer has come to it."""
    pid = os.fork()
    if pid == 0:
        logger = ErrorLogger(log_dir)
        # None may start: on a busy machine it could be faster than the death.
        logger._pipeline._writer._permit.clear()
        logger.log_error("orphan", KeyError())
        os._exit(0)
    os.waitpid(pid, 0)


def test_m1_what_is_counted_before_there_is_a_spool_is_in_it(spool: SpoolFile) -> None:
    """And what is counted after."""
    meter = Meter(ERRORS)
    meter.add(meters.WRITE_ERRORS, "ENOSPC", 2)
    not_begun = read(spool)
    meter.attach(spool)
    meter.appended(100, 0.003, 0.0)
    meter.add(meters.WRITE_ERRORS, "ENOSPC")

    seen = read(spool)

    assert not any(not_begun.values)
    assert seen == meter.reading({})
    assert seen.ident == not_begun.ident == spool.ident
    assert seen.values[meters.COUNTER_AT[meters.WRITE_ERRORS, "ENOSPC"]] == 3
    first = meters.HISTOGRAM_AT[meters.APPEND]
    place = first + meters.TIMES.index(0.005)
    assert seen.values[place] == 1
    assert seen.values[first + len(meters.TIMES) + 1] == 3_000_000


def test_m1_a_spool_that_takes_the_place_of_another_has_the_same_counters(
    spool: SpoolFile, tmp_path: Path
) -> None:
    """Under the same ident: whoever saw the first one counts it once."""
    meter = Meter(ERRORS)
    meter.attach(spool)
    meter.appended(5, 0.1, 0.1)
    other = SpoolFile.create(OsFiles(), str(tmp_path / "spool"), ERRORS, 4)
    try:
        meter.attach(other)

        assert read(other) == read(spool)
    finally:
        other.remove()


def test_m1_a_bucket_holds_its_upper_bound() -> None:
    """As Prometheus has it: le is less or equal."""
    meter = Meter(ERRORS)
    for size in (0, 256, 257, 2**40):
        meter.appended(size, 0, 0)

    first = meters.HISTOGRAM_AT[meters.BATCH]
    values = meter.reading({}).values[first : first + len(meters.SIZES) + 1]

    assert values == [2, 1, *[0] * 7, 1]


def test_m1_nothing_counted_overflows_its_word(spool: SpoolFile) -> None:
    """Nor becomes what is taken for damage."""
    meter = Meter(ERRORS)
    meter.attach(spool)
    meter.appended(2**61, 1e9, 1e9)
    meter.appended(2**61, 1e9, 1e9)
    meter.appended(2**61, 1e9, 1e9)

    assert read(spool).left_out is None


def test_m1_reason_by_reason_what_is_given_up_is_counted_once(
    log_dir: Path, make_logger: Any
) -> None:
    """Sampled away, not even encoded, dropped: each is one in stats(), too."""
    logger = make_logger(sample={"KeyError": 0}, max_pending_bytes=2**22)
    for _ in range(3):
        logger.log_error("r", KeyError())
    logger.log_error("r", ValueError())
    drops = logger._pipeline.chains[ERRORS].drops
    drops.add(QUEUE_FULL)
    logger._pipeline.chains[ERRORS].sink.unmade()
    assert logger.flush(60)

    totals = pipeline(log_dir)

    shown = {
        **{label: n for (label, _), n in totals.by_both(meters.DROPPED).items() if n},
        **{label: n for (label,), n in totals.by_label(meters.SUPPRESSED).items() if n},
    }
    assert shown == logger.stats().dropped
    assert shown == {QUEUE_FULL: 1, "not_encoded": 1, "sampled": 3}


def test_m1_a_process_that_samples_everything_away_is_counted(
    log_dir: Path, make_logger: Any
) -> None:
    """It has no record, so nothing else would make it begin."""
    logger = make_logger(sample=0)
    for _ in range(5):
        logger.log_error("r", KeyError())
    assert logger.flush(60)
    living = counted(pipeline(log_dir), meters.SUPPRESSED, meters.SAMPLED)

    logger.close(60)

    assert living == 5
    assert counted(pipeline(log_dir), meters.SUPPRESSED, meters.SAMPLED) == 5


def test_m1_a_short_program_that_samples_everything_away_is_counted(
    log_dir: Path,
) -> None:
    """Its writer may not even have begun when it ends."""
    program = (
        "import sys; from tokenpak.telemetry.error_logger import ErrorLogger; "
        "ErrorLogger(sys.argv[1], sample=0).log_error('r', KeyError())"
    )
    for _ in range(3):
        subprocess.run([sys.executable, "-c", program, str(log_dir)], check=True)

    before = counted(pipeline(log_dir), meters.SUPPRESSED, meters.SAMPLED)
    recover(str(log_dir))

    assert before == 3
    assert counted(pipeline(log_dir), meters.SUPPRESSED, meters.SAMPLED) == 3


def test_q6_who_samples_away_after_the_end_begins_nothing(
    log_dir: Path, make_logger: Any
) -> None:
    """There is nobody who would end it."""
    logger = make_logger(sample=0)
    logger.close(60)

    logger.log_error("r", KeyError())

    assert not (log_dir / "spool").exists()
    assert logger._pipeline._writer._permit, "no thread was started"


def test_m1_processes_without_a_spool_are_saved_as_ended(log_dir: Path) -> None:
    """When they end, closed or not: what is kept of the others has no bound."""
    program = (
        "import os, sys; vars(os).pop('posix_fallocate', None); "
        "from tokenpak.telemetry.error_logger import ErrorLogger; "
        "ErrorLogger(sys.argv[1], exit_timeout=60).log_error('r', KeyError())"
    )
    for _ in range(2):
        subprocess.run(
            [sys.executable, "-c", program, str(log_dir)],
            check=True,
            stderr=subprocess.DEVNULL,
        )

    saved = Totals(OsFiles(), str(log_dir)).load()

    assert saved is not None
    assert [known.ended for known in saved.known.values()] == [True, True]
    assert batches(pipeline(log_dir)) == (2, log_size(log_dir))


def test_m1_who_holds_the_lock_of_the_counters_holds_up_no_record(
    log_dir: Path, make_logger: Any
) -> None:
    """Of a dead process: they are appended, and its spool is deleted later."""
    (log_dir / "metrics").mkdir(parents=True)
    leave_orphan(log_dir)
    files = OsFiles()
    path = str(log_dir / "metrics" / "pipeline-v1.lock")
    fd = files.open(path, os.O_RDWR | os.O_CREAT)
    assert files.lock(fd)

    held = recover(str(log_dir))
    size = log_size(log_dir)
    files.close(fd)
    later = recover(str(log_dir))

    assert (held.records, held.spools) == (1, 0)
    assert size == log_size(log_dir) > 0
    assert (later.records, later.spools) == (0, 1)
    recovered = pipeline(log_dir).by_label(meters.RECOVERED)
    assert recovered[(meters.RECORDS,)] == 1
    assert recovered[(meters.SPOOLS,)] == 1


def test_m1_a_logger_that_is_closed_leaves_its_counters_and_no_spool(
    log_dir: Path, make_logger: Any
) -> None:
    """Also one whose log directory is used by several, one after the other."""
    expected = 0
    for number in range(3):
        logger = make_logger()
        logger.log_error(f"r{number}", ValueError())
        logger.close(60)
        expected += logger.stats().batches

    assert list((log_dir / "spool").iterdir()) == []
    assert batches(pipeline(log_dir)) == (expected, log_size(log_dir))


def test_m1_a_lock_that_is_held_leaves_the_spool_to_the_next(
    log_dir: Path, make_logger: Any
) -> None:
    """Nobody waits for long, and no counter is lost."""
    logger = make_logger()
    logger.log_error("r", ValueError())
    logger.flush(60)
    (log_dir / "metrics").mkdir()
    files = OsFiles()
    path = str(log_dir / "metrics" / "pipeline-v1.lock")
    fd = files.open(path, os.O_RDWR | os.O_CREAT)
    assert files.lock(fd)

    assert logger.close(60)
    left = len(list((log_dir / "spool").iterdir()))
    files.close(fd)
    found = recover(str(log_dir))

    assert left == 1
    assert (found.spools, found.records, found.unsaved) == (1, 0, 0)
    assert batches(pipeline(log_dir)) == (1, log_size(log_dir))


def test_m1_a_process_without_descriptors_leaves_counters_to_the_next(
    log_dir: Path, make_logger: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own, and a dead one's: that passes, and they would be lost for good."""
    logger = make_logger()
    logger.log_error("r", ValueError())
    assert logger.flush(60)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(Totals, "fold", refuse)
        assert logger.close(60)
        leave_orphan(log_dir)
        recover(str(log_dir))
    left = len(list((log_dir / "spool").iterdir()))
    found = recover(str(log_dir))

    assert (left, found.spools, found.unsaved) == (2, 2, 0)
    assert batches(pipeline(log_dir))[0] == 1
    assert counted(pipeline(log_dir), meters.LEFT_OUT, meters.NOT_SAVED) == 0


def test_m1_counters_that_cannot_be_saved_keep_nobody_from_anything(
    log_dir: Path, make_logger: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A file in the place of their directory; that they are missing is told."""
    log_dir.mkdir()
    (log_dir / "metrics").write_text("no directory")
    leave_orphan(log_dir)

    logger = make_logger()
    logger.log_error("r", ValueError())
    told = f"could not be saved in {log_dir / 'metrics'}"
    assert eventually(lambda: told in caplog.text)  # the last that is done for it
    assert logger.stats().recovered == 1
    assert logger.flush(60)

    totals = pipeline(log_dir)
    assert counted(totals, meters.LEFT_OUT, meters.NOT_SAVED) == 1


def test_m1_the_names_of_disk_errors_are_counted(
    log_dir: Path, make_logger: Any
) -> None:
    """Each attempt is one."""
    logger = make_logger()
    log_dir.mkdir()
    logger.log_error("first", ValueError())
    assert logger.flush(60)
    (path,) = log_dir.glob("*.jsonl")
    path.unlink()
    path.mkdir()
    logger.log_error("second", ValueError())
    assert eventually(
        lambda: counted(pipeline(log_dir), meters.WRITE_ERRORS, "EISDIR") > 0
    )

    path.rmdir()
    assert logger.flush(60)

    totals = pipeline(log_dir)
    assert sum(totals.by_label(meters.WRITE_ERRORS).values()) == (
        logger.stats().write_errors
    )


def test_m1_waiting_for_a_lock_is_counted_and_not_as_appending(
    log_dir: Path, make_logger: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock of the day's file, which somebody else holds."""
    logger = make_logger()
    logger.log_error("first", ValueError())
    assert logger.flush(60)
    files = OsFiles()
    (path,) = log_dir.glob("*.jsonl")
    fd = files.open(str(path), os.O_RDWR)
    assert files.lock(fd)
    refused: list[float] = []
    chores = logger._pipeline._housekeeping
    monkeypatch.setattr(chores, "contended", lambda: refused.append(time.monotonic()))
    logger.log_error("second", ValueError())
    assert eventually(lambda: bool(refused))
    # The next attempt begins after this one, so the first one was so long ago then.
    assert eventually(lambda: refused[-1] > refused[0] + 0.06)
    files.close(fd)
    assert logger.flush(60)

    totals = pipeline(log_dir)

    waited = totals.histogram(meters.LOCK, 1e9)[(ERRORS,)]
    took = totals.histogram(meters.APPEND, 1e9)[(ERRORS,)]
    assert sum(waited.buckets) == sum(took.buckets) == 2
    assert waited.total >= 0.06
    assert sum(waited.buckets[meters.TIMES.index(0.1) :]) == 1


def test_m1_a_forked_child_counts_for_itself(log_dir: Path, make_logger: Any) -> None:
    """And stores nothing into its parent's pages."""
    logger = make_logger()
    logger.log_error("parent", ValueError())
    assert logger.flush(60)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.alarm(100)
            logger.log_error("child", ValueError())
            status = not logger.close(60)
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)

    logger.log_error("parent again", ValueError())
    assert logger.flush(60)

    assert status == 0
    assert batches(pipeline(log_dir)) == (3, log_size(log_dir))
    assert logger.stats().batches == 2


def test_m1_an_archive_run_is_counted_by_what_it_came_to(
    log_dir: Path, make_logger: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that finds an old day, here."""
    monkeypatch.setattr("tokenpak.telemetry.queue.upkeep.FIRST", (0.0, 0.0))
    log_dir.mkdir()
    (log_dir / "errors-2024-01-05.jsonl").write_bytes(b'{"request_id":"old"}\n')
    logger = make_logger()
    logger.log_error("r", ValueError())

    assert eventually(
        lambda: counted(pipeline(log_dir), meters.ARCHIVE_RUNS, meters.DONE) == 1
    )
    runs = pipeline(log_dir).by_label(meters.ARCHIVE_RUNS)
    assert sum(runs.values()) == 1


class Queue:
    """One that was never used, of which so many could not be encoded."""

    def __init__(self) -> None:
        self.meter = Meter(ERRORS)
        self.supply: object | None = None
        self.chain: Any = self
        self.unmade = 0


def test_m1_threads_that_look_at_once_count_once() -> None:
    """Whoever flushes looks, and so does the writer."""
    queue, suppressed = Queue(), {"sampled": 0}
    looking = Meters([queue], lambda: suppressed)

    def look() -> None:
        for _ in range(500):
            suppressed["sampled"] += 1
            looking.look()

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    looking.look()

    values = queue.meter.reading({}).values
    place = meters.COUNTER_AT[meters.SUPPRESSED, meters.SAMPLED]
    assert values[place] == suppressed["sampled"]
    assert looking.look() == float("inf"), "nothing rises any more"


def test_m1_a_signal_handler_that_flushes_does_not_wait_for_itself() -> None:
    """It has interrupted its own thread while that stored."""
    looking: Meters
    queue, waited = Queue(), []

    def interrupted() -> dict[str, int]:
        waited.append(looking.look(1e9))
        return {}

    looking = Meters([queue], interrupted)
    looking.look()

    assert waited == [LOOK], "and somebody looks again"
