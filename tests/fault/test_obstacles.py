"""S5, X2: what is no file, or no directory, is where the logger's should be."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fault.ledger import log_lines
from tests.queue.logs import eventually
from tests.store.obstacles import put_in_the_way
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.queue import housekeeping
from tokenpak.telemetry.store import places
from tokenpak.telemetry.store.spool import spool_paths

pytestmark = pytest.mark.fault

KINDS = {
    "link": "a symbolic link",
    "dangling": "a symbolic link",
    "fifo": "a named pipe",
    "directory": "a directory",
    "socket": "a socket",
    "device": "a device",
}


def take_away(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def ids_of(log_dir: Path) -> list[str]:
    return [json.loads(line)["request_id"] for line in log_lines(log_dir)]


def wait_for_warning(caplog: pytest.LogCaptureFixture, words: str) -> str:
    """Return the first warning with *words*, which comes from another thread."""
    for _ in range(12_000):
        for record in list(caplog.records):
            if words in record.getMessage():
                return record.getMessage()
        signal.sigtimedwait([], 0.005)
    raise AssertionError(f"not warned of: {words}")


@pytest.mark.parametrize("kind", KINDS)
def test_s5_what_is_no_log_file_is_refused_and_records_are_kept(
    kind: str,
    make_logger: Callable[..., ErrorLogger],
    log_dir: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    One warning says what is where and what to do; all is written when it is gone.  What
    a link leads to is not touched, nor is what a device or pipe would do with bytes.
    """
    logger = make_logger()
    with caplog.at_level(logging.INFO, "tokenpak.telemetry"):
        logger.log_error("first", ValueError("x"))
        assert logger.flush(60)
        (path,) = log_dir.glob("errors-*.jsonl")
        path.rename(log_dir / "moved")
        put_in_the_way(kind, path)
        for number in range(100):
            logger.log_error(f"{number}", ValueError("x"))
        told = wait_for_warning(caplog, "Failed to write")
        during = logger.stats()
        if kind == "link":
            assert (log_dir / "target").read_bytes() == b"precious"
        if kind == "dangling":
            assert not (log_dir / "gone").exists()
        take_away(path)
        assert logger.flush(60)
        wait_for_warning(caplog, "is written again")

    assert f"{path}: is {KINDS[kind]}" in told
    assert "move it away, or delete it" in told
    assert (during.pending_records, during.dropped) == (100, {})
    assert ids_of(log_dir) == [f"{number}" for number in range(100)]
    assert (log_dir / "moved").read_bytes().count(b"\n") == 1


@pytest.mark.parametrize("kind", ["link", "dangling", "fifo", "socket", "device"])
def test_s5_what_is_no_directory_of_spools_is_refused_and_logging_goes_on(
    kind: str,
    make_logger: Callable[..., ErrorLogger],
    log_dir: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    In memory, if there is no other place, and in a spool as soon as it is gone.
    """
    monkeypatch.setattr(housekeeping, "SPOOL_CHECK", 0.0)
    monkeypatch.setattr(places, "_local_directory", lambda _: "/proc/none/spool")
    log_dir.mkdir()
    path = log_dir / "spool"
    put_in_the_way(kind, path)
    logger = make_logger()
    with caplog.at_level(logging.WARNING, "tokenpak.telemetry"):
        logger.log_error("0", ValueError("x"))
        assert logger.flush(60)
        durable = [logger.stats().durable]
        told = wait_for_warning(caplog, "No spool in")
    take_away(path)
    number = 0
    while not spool_paths(str(path)) and number < 100_000:
        number += 1
        logger.log_error(f"{number}", ValueError("x"))
        assert logger.flush(60)
    # It is seen a moment before the queue goes on in it.
    durable.append(eventually(lambda: logger.stats().durable))
    assert logger.close(60)

    assert f"No spool in {path}: is {KINDS[kind]}" in told
    assert "may be lost" in told
    assert durable == [False, True]
    assert ids_of(log_dir) == [f"{n}" for n in range(number + 1)]


def test_s5_a_log_directory_below_a_link_that_leads_nowhere(
    make_logger: Callable[..., ErrorLogger],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    An unmounted disk: the warning names the link, and records are kept until it is
    there again.  (The directory must not be made elsewhere meanwhile.)
    """
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    logs = tmp_path / "link" / "app" / "logs"
    logger = make_logger(logs)
    with caplog.at_level(logging.WARNING, "tokenpak.telemetry"):
        for number in range(20):
            logger.log_error(f"{number}", ValueError("x"))
        told = wait_for_warning(caplog, "Failed to write")
    pending = logger.stats().pending_records
    os.mkdir(tmp_path / "disk")

    assert logger.flush(60)
    assert f"{tmp_path}/link: is a symbolic link to {tmp_path}/disk" in told
    assert pending == 20
    assert ids_of(logs) == [f"{number}" for number in range(20)]


def test_a_log_directory_may_be_a_link_to_a_directory(
    make_logger: Callable[..., ErrorLogger], tmp_path: Path, log_dir: Path
) -> None:
    """
    Which may be turned to another one while the logger runs.
    """
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    log_dir.symlink_to("one")
    logger = make_logger()
    logger.log_error("0", ValueError("x"))
    assert logger.flush(60)
    (tmp_path / "new").symlink_to("other")
    (tmp_path / "new").rename(log_dir)
    logger.log_error("1", ValueError("x"))
    assert logger.flush(60)

    assert ids_of(tmp_path / "one") == ["0"]
    assert ids_of(tmp_path / "other") == ["1"]
