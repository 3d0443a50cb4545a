"""Every logger does the same work, or their figures could not be compared."""

from __future__ import annotations

import json
import traceback
from typing import TYPE_CHECKING

import pytest

from bench.adapters import ADAPTERS, PEERS, WRITERS, open_logger
from bench.install_peers import install, requirements
from bench.model import PeerMissingError
from bench.workload import CONTEXT, FRAMES, failure

if TYPE_CHECKING:
    from pathlib import Path

FIELDS = {
    "timestamp",
    "request_id",
    "error_type",
    "message",
    "stack_trace",
    "context",
}
RECORDS = 3


def read_lines(directory: Path) -> list[str]:
    """
    Return the lines of all log files of *directory*.
    """
    texts = [path.read_text("utf-8") for path in directory.glob("*.jsonl")]
    return [line for text in texts for line in text.splitlines()]


def without_markers(trace: str) -> list[str]:
    """
    Return the lines of a stack trace that are not ``~~~^^^``.
    """
    return [line for line in trace.strip().splitlines() if line.strip(" ~^")]


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "os.write"])
def test_a_peer_writes_the_six_fields_with_the_whole_stack_trace(
    name: str, tmp_path: Path
) -> None:
    """
    One line a record, after flush() and before close(), and the trace is traceback's.
    """
    try:
        logger = open_logger(name, str(tmp_path))
    except PeerMissingError as missing:
        pytest.skip(str(missing))
    error = failure()
    for number in range(RECORDS):
        logger.log_error(f"req-{number}", error, CONTEXT)
    logger.flush()
    lines = read_lines(tmp_path)
    logger.close()

    records = [json.loads(line) for line in lines]
    assert [record["request_id"] for record in records] == ["req-0", "req-1", "req-2"]
    for record in records:
        assert set(record) == FIELDS
        assert record["error_type"] == "ProviderError"
        assert record["message"] == str(error)
        assert record["context"] == CONTEXT
        assert record["timestamp"].startswith("2")
        trace = record["stack_trace"]
        assert trace.count('File "') == FRAMES
        # loguru's leaves out the markers below a line, in this as in other settings.
        whole = "".join(traceback.format_exception(error))
        assert without_markers(trace) == without_markers(whole)
    assert logger.dropped() == 0


@pytest.mark.parametrize("name", ["deque", "os.write"])
def test_a_floor_takes_a_ready_line(name: str, tmp_path: Path) -> None:
    """
    It does less than any logger, but takes the same call.
    """
    logger = open_logger(name, str(tmp_path))
    logger.log_error("req-1", failure(), CONTEXT)
    logger.flush()
    logger.close()

    lines = read_lines(tmp_path)
    assert [set(json.loads(line)) for line in lines] == [FIELDS] * (name == "os.write")


def test_a_peer_that_is_not_installed_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The note of the table: which, and the command.
    """
    monkeypatch.setitem(ADAPTERS, "absent", "bench.adapters.absent:Absent")

    with pytest.raises(PeerMissingError, match="absent is not installed: pip install"):
        open_logger("absent", str(tmp_path))


def test_every_peer_is_an_adapter() -> None:
    """
    The tables list them all.
    """
    assert set(PEERS) < set(ADAPTERS)


def test_the_peers_are_installed_one_by_one(tmp_path: Path) -> None:
    """
    Comments are no requirements; one that cannot be had gives a reason, and no error.
    """
    listed = tmp_path / "requirements.txt"
    listed.write_text(
        "# peers\n\nloguru>=0.7  # a comment\nabsent; python_version < '3'\n"
    )

    assert requirements(str(listed)) == ["loguru>=0.7", "absent; python_version < '3'"]
    assert len(requirements()) >= 6
    assert "not a valid wheel" in (install("./no/such/file.whl") or "")
