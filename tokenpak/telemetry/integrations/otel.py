"""
OpenTelemetry: records know the span that they were made in.

    add_trace_ids(get_error_logger())

From then on, while a span is active, ``trace_id`` and ``span_id`` are in the context of
each record of that logger, as 32 and 16 hexadecimal digits, as every tracing tool shows
them.  If asked for, the exception is recorded on the span as well.

``opentelemetry-api`` is imported by add_trace_ids(), not before.
"""

from __future__ import annotations

from typing import Any

from tokenpak.telemetry.capture.bound import Bound, merge
from tokenpak.telemetry.error_logger import ErrorLogger


def add_trace_ids(logger: ErrorLogger, *, record_on_span: bool = False) -> None:
    """
    Let *logger* add the ids of the active span.  Once for each logger.

    Values that the caller gives under the same keys win.

    Args:
        logger: whose ``log_error`` and ``log_event`` are replaced.
        record_on_span: whether log_error() also calls the span's record_exception().

    Raises:
        ImportError: opentelemetry-api is not installed.

    """
    from opentelemetry import trace  # noqa: PLC0415

    log_error, log_event = logger.log_error, logger.log_event
    current = trace.get_current_span

    def with_ids(span: Any, context: Any) -> Any:
        known = span.get_span_context()
        if not known.is_valid:  # no span is active
            return context
        ids = {
            "trace_id": f"{known.trace_id:032x}",
            "span_id": f"{known.span_id:016x}",
        }
        if context is None:
            return ids
        if type(context) is not dict:
            return merge(Bound(None, ids, None), None, context)[1]
        return {**context, **{k: v for k, v in ids.items() if k not in context}}

    def log_error_with_ids(request_id: Any, error: Any, context: Any = None) -> None:
        try:
            span = current()
            context = with_ids(span, context)
            if record_on_span and isinstance(error, BaseException):
                span.record_exception(error)
        except Exception:  # noqa: S110  (C1) the record is made without them
            pass
        log_error(request_id, error, context)

    def log_event_with_ids(
        event: Any, request_id: Any = None, context: Any = None
    ) -> None:
        try:
            context = with_ids(current(), context)
        except Exception:  # noqa: S110  (C1) the record is made without them
            pass
        log_event(event, request_id, context)

    logger.log_error = log_error_with_ids  # type: ignore[method-assign]
    logger.log_event = log_event_with_ids  # type: ignore[method-assign]


__all__ = ["add_trace_ids"]
