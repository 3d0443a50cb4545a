"""X2: the logger's own troubles reach a person, and do not flood him."""

from __future__ import annotations

import errno
import logging

import pytest

from tokenpak.telemetry.queue.trouble import INTERVAL, LOGGER_NAME, Trouble


class Clock:
    """A clock that stands still until it is set."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return a clock."""
    return Clock()


@pytest.fixture
def trouble(clock: Clock, caplog: pytest.LogCaptureFixture) -> Trouble:
    """Return troubles that are told by that clock, to caplog."""
    caplog.set_level(logging.INFO, LOGGER_NAME)
    return Trouble(clock)


def test_x2_one_warning_a_minute_of_each_kind(
    trouble: Trouble, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The next one says how many were held back; other kinds are told by themselves.
    """
    for _ in range(3):
        trouble.warn("one", "first")
        clock.now += INTERVAL / 4
    trouble.warn("other", "of another kind")
    clock.now += INTERVAL / 4
    trouble.warn("one", "second")
    clock.now += INTERVAL
    trouble.warn("one", "third")

    assert caplog.messages == [
        "first",
        "of another kind",
        "second (2 more such warnings held back)",
        "third",
    ]
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert {record.name for record in caplog.records} == {"tokenpak.telemetry"}


def test_x2_the_warning_says_what_where_why_and_what_to_try(
    trouble: Trouble, caplog: pytest.LogCaptureFixture
) -> None:
    """
    For a person who has never heard of this logger.
    """
    error = OSError(errno.EACCES, "Permission denied", "/logs/errors-2026-03-24.jsonl")
    trouble.write_failed("/logs", error, "Records are held in memory, up to 64 MiB.")
    (message,) = caplog.messages

    assert message.startswith(
        "Failed to write error log /logs/errors-2026-03-24.jsonl: Permission denied."
    )
    assert "held in memory, up to 64 MiB" in message
    assert "ls -la /logs" in message
    assert trouble.write_errors == 1


def test_x2_an_error_without_a_path_names_the_directory(
    trouble: Trouble, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A write to a descriptor knows no path.
    """
    trouble.write_failed("/logs", OSError(errno.ENOSPC, "No space left on device"), "")

    assert caplog.messages[0].startswith(
        "Failed to write error log /logs: No space left on device."
    )


def test_x2_the_end_of_an_outage_is_told(
    trouble: Trouble, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    How long it took, once; and nothing where there was no outage.
    """
    trouble.write_succeeded("/logs")
    trouble.write_failed("/logs", OSError(errno.EIO, "I/O error"), "")
    clock.now += 12.5
    trouble.write_failed("/logs", OSError(errno.EIO, "I/O error"), "")
    trouble.write_succeeded("/logs")
    trouble.write_succeeded("/logs")

    assert len(caplog.messages) == 2
    assert caplog.messages[1] == "Error log in /logs is written again after 12.5 s"
    assert trouble.write_errors == 2


def test_x2_a_disk_that_comes_and_goes_is_warned_of_once_a_minute(
    trouble: Trouble, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Each outage ends the one before, but not its rate limit.
    """
    for _ in range(100):
        trouble.write_failed("/logs", OSError(errno.ENOSPC, "No space left"), "")
        trouble.write_succeeded("/logs")
        clock.now += 0.1

    assert sum(record.levelname == "WARNING" for record in caplog.records) == 1
    assert trouble.write_errors == 100


def test_x2_what_other_threads_note_is_told_by_the_writer(
    trouble: Trouble, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A handler may wait or write to a terminal: never in a thread that logs (C1).
    """
    for number in range(100):
        trouble.note(f"kind {number}", f"text {number}")
    before = list(caplog.messages)
    trouble.tell_noted()
    trouble.tell_noted()

    assert before == []
    assert caplog.messages[-1] == "text 99"
    assert len(caplog.messages) == 32


def test_x2_a_handler_that_raises_does_not_stop_the_writer(
    trouble: Trouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It is somebody else's code.
    """

    class Raises(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError(record)

    handler = Raises()
    logging.getLogger(LOGGER_NAME).addHandler(handler)
    try:
        trouble.warn("kind", "text")
        trouble.write_failed("/logs", OSError(errno.EIO, "I/O error"), "")
        trouble.write_succeeded("/logs")
    finally:
        logging.getLogger(LOGGER_NAME).removeHandler(handler)

    assert trouble.write_errors == 1


def test_q5_a_child_begins_without_its_parents_troubles(
    trouble: Trouble, caplog: pytest.LogCaptureFixture
) -> None:
    """
    What the parent was warned of says nothing to who reads the child's.
    """
    trouble.warn("kind", "text")
    trouble.note("kind", "noted")
    trouble.reset()
    trouble.tell_noted()
    trouble.warn("kind", "text")

    assert caplog.messages == ["text", "text"]
    assert trouble.write_errors == 0
