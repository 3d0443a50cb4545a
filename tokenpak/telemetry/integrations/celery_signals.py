"""
Celery: tasks that fail are recorded, in the worker, with their name, id and retries.

    connect()      where the application is made: it counts for producers and workers

- A task that has failed for good is an error.  So is one whose worker was killed: then
  it is the worker's main process that records a ``WorkerLostError``.
- A task that is tried again is an event, ``task_retried``.
- The request id that is bound where a task is sent goes with it, and is bound while it
  runs; a task that was sent without one has its own id as its request id.

Arguments are not recorded.  What ``Ignore``, ``Reject`` and a revocation end is no
failure.
"""

from __future__ import annotations

import sys
import time
from typing import Any, Final

from tokenpak.telemetry.capture.mark import recorded
from tokenpak.telemetry.error_logger import ErrorLogger, get_error_logger
from tokenpak.telemetry.integrations._request import bound, current_request_id
from tokenpak.telemetry.scope.bind import Binding
from tokenpak.telemetry.scope.left import record

HEADER: Final = "tokenpak_request_id"
"""The header of a task's message with the id that was bound where it was sent."""

_connected: list[_Receivers] = []


class _Receivers:
    """What Celery calls.  It catches what they raise, and prints it; they don't."""

    def __init__(self, logger: ErrorLogger | None) -> None:
        self._logger = logger
        # By the task's id, innermost last: one id may be at work twice at a time, where
        # a broker delivers it again, or a task applies another here and now.
        self._bound: dict[str, list[tuple[Binding, int]]] = {}

    def before_task_publish(self, headers: Any = None, **_more: Any) -> None:
        request_id = current_request_id()
        if request_id is not None and isinstance(headers, dict):
            headers.setdefault(HEADER, request_id)

    def task_prerun(self, task_id: str, task: Any, **_more: Any) -> None:
        block = bound(_request_id(task, task_id))
        block.__enter__()
        self._bound.setdefault(task_id, []).append((block, time.time_ns()))

    def task_postrun(self, task_id: str, **_more: Any) -> None:
        blocks = self._bound.get(task_id)
        if blocks:
            block, _ = blocks.pop()
            if not blocks:
                self._bound.pop(task_id, None)
            block.__exit__()

    def task_failure(
        self, sender: Any, task_id: str, exception: BaseException, **_more: Any
    ) -> None:
        # What cannot be pickled is handed on in a wrapper; the exception itself is the
        # one that is being handled.
        active = sys.exception()
        if active is not None and active.__traceback__ is exception.__traceback__:
            exception = active
        blocks = self._bound.get(task_id)
        since = blocks[-1][1] if blocks else 0
        if blocks and recorded(exception, since):
            return  # by the task itself
        request_id, context = _request_id(sender, task_id), _context(sender, task_id)
        record(self._log(), request_id, exception, context, since)

    def task_retry(self, sender: Any, request: Any, reason: Any, **_more: Any) -> None:
        context = _context(sender, request.id)
        error = getattr(reason, "exc", None)
        if error is not None:
            context["error_type"] = type(error).__name__
            context["message"] = error
        self._log().log_event("task_retried", _request_id(sender, request.id), context)

    def _log(self) -> ErrorLogger:
        return self._logger or get_error_logger()


def connect(logger: ErrorLogger | None = None) -> None:
    """
    Connect to Celery's signals.  Idempotent: the logger of the first call counts.

    Args:
        logger: default: that of the process.

    Raises:
        ImportError: Celery is not installed.

    """
    from celery import signals  # noqa: PLC0415

    if _connected:
        return
    receivers = _Receivers(logger)
    _connected.append(receivers)
    for name in (
        "before_task_publish",
        "task_prerun",
        "task_postrun",
        "task_failure",
        "task_retry",
    ):
        getattr(signals, name).connect(getattr(receivers, name), weak=False)


def _request_id(task: Any, task_id: str) -> str:
    request_id = getattr(getattr(task, "request", None), HEADER, None)
    return request_id if isinstance(request_id, str) else task_id


def _context(task: Any, task_id: str) -> dict[str, Any]:
    return {
        "task": getattr(task, "name", None),
        "task_id": task_id,
        "retries": getattr(getattr(task, "request", None), "retries", None),
    }


__all__ = ["HEADER", "connect"]
