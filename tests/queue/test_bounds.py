"""Q3: what a bound on a file's or the directory's size has no room for is counted."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.queue.rig import DAY, Rig, make_line, name_of
from tests.store.fakes import LOG_DIR, Disk, Fate, Fault, fake_day_files, lines_of
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.queue import teller
from tokenpak.telemetry.queue.recovery import recover
from tokenpak.telemetry.settings import MIB
from tokenpak.telemetry.store import limits as limits_module
from tokenpak.telemetry.store.limits import NOTICE_BYTES, Limits
from tokenpak.telemetry.store.notes import DAY_FULL, DIRECTORY_FULL
from tokenpak.telemetry.store.spool import spool_paths

PATH = f"{LOG_DIR}/errors-{DAY}.jsonl"


def records_in(log_dir: Path) -> list[dict[str, Any]]:
    """Return the records of all files of errors."""
    return [
        json.loads(line)
        for path in sorted(log_dir.glob("errors-*.jsonl"))
        for line in path.read_bytes().splitlines()
    ]


def bounded_rig(bound: int, fate: Fate | None = None) -> Rig:
    disk = Disk()
    limits = Limits(LOG_DIR, max_day_bytes=bound)
    return Rig(disk, day_files=fake_day_files(disk, fate), limits=limits)


@pytest.mark.parametrize("bound", [0, 1, 99, 100, 101, 250, 299, 300, 301])
def test_q3_of_a_batch_what_fits_is_written_and_the_rest_is_counted(bound: int) -> None:
    """
    Whole lines, the first ones; never a byte beyond the bound.
    """
    rig = bounded_rig(bound or 1)
    for name in ("one", "two", "three"):
        rig.put(make_line(name, 100))
    rig.drain_all()
    written = len(lines_of(rig.disk, PATH))

    assert written == min(3, (max(bound, 1) - 1) // 100)
    assert len(rig.disk.open(PATH).data) <= max(bound, 1)
    assert rig.drain.progress.given_up.get(DAY_FULL, 0) == 3 - written
    assert rig.chain.drops.by_reason().get(DAY_FULL, 0) == 3 - written
    assert rig.drain.empty()


@pytest.mark.parametrize("kind", ["error before", "error after", "short"])
@pytest.mark.parametrize("operation", ["write", "unlock", "read"])
def test_q3_an_error_at_the_bound_neither_loses_nor_doubles(
    kind: str, operation: str
) -> None:
    """
    The part that fits fails, half-way; it is settled, and then the rest is given up.
    """
    fate = Fate()
    rig = bounded_rig(250, fate)
    for name in ("one", "two", "three", "four"):
        rig.put(make_line(name, 100))
    fate.plan({operation: Fault(kind, 0.7)})
    for _ in range(3):
        try:
            rig.drain.step()
        except OSError:
            pass
    rig.drain_all()

    assert [name_of(line) for line in lines_of(rig.disk, PATH)] == ["one", "two"]
    assert rig.drain.progress.given_up == {DAY_FULL: 2}
    assert rig.drain.progress.written_bytes == 200
    assert rig.chain.drops.by_reason() == {DAY_FULL: 2}


def test_q3_a_torn_tail_is_closed_within_the_bound() -> None:
    """
    Its newline is reckoned with.
    """
    for torn in range(90, 103):
        rig = bounded_rig(200)
        rig.disk.open(PATH).data += b"x" * torn
        rig.put(make_line("one", 100))
        rig.drain_all()

        assert len(rig.disk.open(PATH).data) <= 200
        assert len(lines_of(rig.disk, PATH)) == (2 if torn < 99 else 0) or torn == 99


def fill(logger: ErrorLogger, records: int, size: int = 10_000) -> None:
    for number in range(records):
        logger.log_error(f"r{number}", ValueError("x"), {"padding": "y" * size})
    assert logger.flush(60)


def law_holds(logger: ErrorLogger, calls: int) -> None:
    stats = logger.stats()
    assert stats.accepted + sum(stats.dropped.values()) == calls
    assert stats.accepted == stats.written + stats.pending_records - stats.notices


def test_q3_a_full_day_is_told_of_at_once_and_only_once(
    make_logger: Callable[..., ErrorLogger],
    log_dir: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    One summary record, one warning; the file does not grow any more.
    """
    logger = make_logger(max_day_bytes=MIB)
    with caplog.at_level(logging.WARNING, "tokenpak.telemetry"):
        for _ in range(4):
            fill(logger, 60)
            law_holds(
                logger,
                logger.stats().accepted + logger.stats().dropped.get(DAY_FULL, 0),
            )
        (path,) = log_dir.glob("errors-*.jsonl")
        size = path.stat().st_size
        law_holds(logger, 240)
        dropped = logger.stats().dropped
        assert logger.close(60)
    told = [r for r in records_in(log_dir) if r["error_type"] == "RecordsDropped"]

    assert MIB - 12_000 < size <= MIB + NOTICE_BYTES
    assert set(dropped) == {DAY_FULL}
    # The second is the one of close(): with the drops after the first.
    assert len(told) == 2
    assert sum(r["context"]["dropped"] for r in told) == dropped[DAY_FULL]
    assert "max_day_bytes" in told[0]["message"]
    warnings = [
        r.getMessage() for r in caplog.records if "max_day_bytes" in r.getMessage()
    ]
    assert len(warnings) == 1
    assert str(log_dir) in warnings[0]
    assert len(records_in(log_dir)) == 240 - dropped[DAY_FULL] + len(told)


def test_q3_notices_stop_a_little_beyond_the_bound(
    make_logger: Callable[..., ErrorLogger],
    log_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    However many there would be; then the drops are warned of.
    """
    monkeypatch.setattr(teller, "LIMIT_EVERY", 0.0)
    logger = make_logger(max_day_bytes=MIB)
    fill(logger, 110)
    (path,) = log_dir.glob("errors-*.jsonl")
    for _ in range(300):
        fill(logger, 1)
    size = path.stat().st_size
    with caplog.at_level(logging.WARNING, "tokenpak.telemetry"):
        logger.close(60)

    assert size <= MIB + NOTICE_BYTES
    assert size > MIB + NOTICE_BYTES - 4_096
    assert path.stat().st_size <= MIB + NOTICE_BYTES
    assert any("could not be told" in r.getMessage() for r in caplog.records)


def test_q3_a_full_directory_takes_records_again_when_there_is_room(
    make_logger: Callable[..., ErrorLogger],
    log_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Archives count; who deletes one is noticed, and the log says what it missed.
    """
    monkeypatch.setattr(limits_module, "MEASURE_FULL_EVERY", 0.0)
    archive = log_dir / "archive"
    archive.mkdir(parents=True)
    old = archive / "errors-2026-01-01.jsonl.gz"
    old.write_bytes(b"x" * (MIB - 50_000))
    (archive / "somebody-elses").write_bytes(b"x" * MIB)
    logger = make_logger(max_dir_bytes=MIB)
    fill(logger, 20)
    full = logger.stats().dropped
    old.unlink()
    fill(logger, 20)
    after = logger.stats().dropped
    law_holds(logger, 40)
    logger.close(60)
    told = [r for r in records_in(log_dir) if r["error_type"] == "RecordsDropped"]

    assert 10 < full[DIRECTORY_FULL] < 20
    assert after == full
    assert sum(r["context"]["dropped"] for r in told) == full[DIRECTORY_FULL]


def test_q3_recovery_keeps_to_the_bounds_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What an orphan held and has no room is counted, and the log told.
    """
    from tests.queue.test_recovery import make_orphan

    path = tmp_path / f"errors-{DAY}.jsonl"
    path.write_bytes(make_line("before", MIB - 300))
    spool, _ = make_orphan(tmp_path, [make_line(str(n), 120) for n in range(5)])
    spool.release()
    monkeypatch.setenv("TOKENPAK_MAX_DAY_BYTES", str(MIB))
    found = recover(str(tmp_path))
    told = [r for r in records_in(tmp_path) if r.get("error_type") == "RecordsDropped"]

    assert path.stat().st_size == MIB - 300 + 240
    assert (found.records, found.spools, found.untold) == (2, 1, 0)
    assert [r["context"]["dropped"] for r in told] == [3]
    assert spool_paths(str(tmp_path / "spool")) == []


def test_the_directory_is_measured_now_and_then_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    In between, what is appended to known files is followed by their sizes.
    """
    looks: list[str] = []
    now = [0.0]
    scan = os.scandir

    def look(path: str) -> Any:
        looks.append(path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", look)
    limits = Limits(str(tmp_path), max_dir_bytes=100_000, clock=lambda: now[0])
    (tmp_path / "events-2026-01-01.jsonl").write_bytes(b"x" * 10_000)
    path = str(tmp_path / "errors-2026-01-01.jsonl")
    left = []
    for size in range(0, 90_000, 10_000):
        now[0] += 1.0
        room = limits.room(path, size)
        assert room is not None
        left.append(room.size)

    assert left == [90_000 - size for size in range(0, 90_000, 10_000)]
    assert len(looks) == 2  # the directory and its archive, once
