"""OpenTelemetry: the active span's ids, with the real API and SDK."""

from __future__ import annotations

from collections import UserDict, defaultdict
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext

from tests.integrations.logs import Make, records
from tokenpak.telemetry import error_logger
from tokenpak.telemetry.error_logger import ErrorLogger, log_error
from tokenpak.telemetry.integrations import otel
from tokenpak.telemetry.integrations.otel import add_trace_ids

IDS = {"trace_id": f"{5:032x}", "span_id": f"{7:016x}"}


def span_of_somebody() -> NonRecordingSpan:
    """As a header of a request brings it."""
    return NonRecordingSpan(SpanContext(trace_id=5, span_id=7, is_remote=True))


@pytest.fixture
def logger(make_logger: Make) -> ErrorLogger:
    return make_logger()


def test_records_within_a_span_have_its_ids(logger: ErrorLogger) -> None:
    """Errors and events; those outside of one have none."""
    add_trace_ids(logger)
    with trace.use_span(span_of_somebody()):
        logger.log_error("r", ValueError("x"), {"model": "gpt-4"})
        logger.log_error("r", ValueError("x"))
        logger.log_event("e", "r")
    logger.log_error("r", ValueError("x"), {"model": "gpt-4"})
    logger.log_event("e")

    assert [r["context"] for r in records(logger)] == [
        {"model": "gpt-4", **IDS},
        IDS,
        {"model": "gpt-4"},
    ]
    assert [r["context"] for r in records(logger, "events")] == [IDS, {}]


def test_a_mapping_that_is_no_dict_has_them_too(logger: ErrorLogger) -> None:
    """Such as a defaultdict, or os.environ; what it says wins."""
    add_trace_ids(logger)
    given = UserDict({"model": "gpt-4", "span_id": "mine"})
    with trace.use_span(span_of_somebody()):
        logger.log_error("r", ValueError("x"), defaultdict(int, a=1))
        logger.log_event("e", "r", given)

    assert records(logger)[0]["context"] == {"a": 1, **IDS}
    assert records(logger, "events")[0]["context"] == {**IDS, **given}


def test_what_the_caller_says_wins(logger: ErrorLogger) -> None:
    """And its context is not changed."""
    add_trace_ids(logger)
    context = {"trace_id": "mine"}
    with trace.use_span(span_of_somebody()):
        logger.log_event("e", "r", context)

    assert records(logger, "events")[0]["context"] == IDS | {"trace_id": "mine"}
    assert context == {"trace_id": "mine"}


@pytest.mark.parametrize("asked", [False, True])
def test_the_exception_is_recorded_on_the_span_if_asked_for(
    logger: ErrorLogger, asked: bool
) -> None:
    """By the span's own means."""
    add_trace_ids(logger, record_on_span=asked)
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    with tracer.start_as_current_span("call") as span:
        logger.log_error("r", ValueError("bad"))

    known: Any = span
    assert len(known.events) == (1 if asked else 0)
    if asked:
        assert known.events[0].attributes["exception.message"] == "bad"
    assert records(logger)[0]["context"]["span_id"] == (
        f"{span.get_span_context().span_id:016x}"
    )


def test_c1_a_span_that_fails_costs_no_record(
    logger: ErrorLogger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does an odd context, or what is no exception."""

    class Broken(NonRecordingSpan):  # type: ignore[misc]
        def record_exception(self, *_: Any, **__: Any) -> None:
            raise RuntimeError("no")

    add_trace_ids(logger, record_on_span=True)
    with trace.use_span(Broken(SpanContext(5, 7, is_remote=False))):
        odd: Any = ["no dict"]
        logger.log_error("r", ValueError("x"))
        logger.log_error("r", odd, odd)
        logger.log_event("e", "r", odd)

    found = records(logger)
    assert [r["context"] for r in found] == [IDS, {**IDS, "value": odd}]
    assert len(records(logger, "events")) == 1


def test_the_functions_of_the_module_have_them_too(
    logger: ErrorLogger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They use the logger of the process."""
    monkeypatch.setitem(error_logger._shared, "it", logger)
    add_trace_ids(error_logger.get_error_logger())
    with trace.use_span(span_of_somebody()):
        log_error("r", ValueError("x"))

    assert records(logger)[0]["context"] == IDS


def test_x1_the_api_is_imported_when_it_is_used() -> None:
    """Not by the module, which says so."""
    assert "trace" not in vars(otel)
