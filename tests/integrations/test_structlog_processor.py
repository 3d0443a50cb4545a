"""The structlog processor, with the real structlog."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from tests.capture.odd_things import OddMapping, OwnText
from tests.integrations.logs import Make, records
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.integrations._request import bound
from tokenpak.telemetry.integrations.structlog_processor import TelemetryProcessor


@pytest.fixture
def logger(make_logger: Make) -> ErrorLogger:
    return make_logger()


@pytest.fixture
def printed(logger: ErrorLogger) -> Iterator[list[dict[str, Any]]]:
    """Configure structlog; yield what reaches the processor behind."""
    passed: list[dict[str, Any]] = []

    def behind(_logger: object, _name: str, event: Any) -> str:
        passed.append(dict(event))
        return ""

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            TelemetryProcessor(logger),
            structlog.processors.format_exc_info,
            behind,
        ],
        logger_factory=structlog.ReturnLoggerFactory(),
    )
    yield passed
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_an_entry_is_an_event_and_passes_on_unchanged(
    logger: ErrorLogger, printed: list[dict[str, Any]]
) -> None:
    """With what was bound to the logger, and to the context."""
    structlog.contextvars.bind_contextvars(request_id="req-1")
    log = structlog.get_logger().bind(model="gpt-4")
    log.info("completed", cost=0.5)

    (found,) = records(logger, "events")

    assert found["event"] == "completed"
    assert found["request_id"] == "req-1"
    assert found["context"] == {"model": "gpt-4", "cost": 0.5, "level": "info"}
    assert printed == [
        {"event": "completed", "model": "gpt-4", "cost": 0.5, "request_id": "req-1"}
    ]


def test_an_entry_with_an_exception_is_an_error(
    logger: ErrorLogger, printed: list[dict[str, Any]]
) -> None:
    """However the exception was handed over."""
    log = structlog.get_logger()
    try:
        raise ValueError("bad")
    except ValueError as error:
        log.exception("it failed", model="gpt-4")
        log.warning("it failed", exc_info=error)
        log.warning("it failed", exc_info=sys.exc_info())
    log.warning("it failed", exc_info=True)  # noqa: LOG014

    found = records(logger)

    assert [(r["error_type"], r["message"]) for r in found] == [
        ("ValueError", "bad")
    ] * 3
    assert found[0]["context"] == {
        "event": "it failed",
        "model": "gpt-4",
        "level": "error",
    }
    # Nothing was being handled the last time.
    assert len(records(logger, "events")) == 1
    assert len(printed) == 4
    assert "ValueError: bad" in printed[0]["exception"]


def test_the_id_that_is_bound_is_the_request_id(
    logger: ErrorLogger, printed: list[dict[str, Any]]
) -> None:
    """Where the entry has none."""
    with bound("bound-1"):
        structlog.get_logger().info("one")
        structlog.get_logger().info("two", request_id="own")

    assert [r["request_id"] for r in records(logger, "events")] == ["bound-1", "own"]
    assert len(printed) == 2


@pytest.mark.parametrize("odd", [OddMapping("iter"), {}, {"event": OwnText()}])
def test_c1_an_odd_entry_passes_on(logger: ErrorLogger, odd: Any) -> None:
    """Whatever other processors have made of it."""
    if isinstance(odd, OddMapping):
        odd.raising = ()

    assert TelemetryProcessor(logger)(None, "info", odd) is odd
