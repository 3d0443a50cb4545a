"""
A handler for the standard library's logging.

    logging.getLogger().addHandler(TelemetryHandler())

A record with ``exc_info`` becomes an error, any other an event.  An event is named
after the message as it was written, before its arguments are put in ("user %s not
found"), so that events of one kind can be counted; the text is in the context.  Where
arguments were put in beforehand (an f-string), each text is a name of its own.

    context       logger, level, message, and what came as ``extra``
    request_id    ``extra={"request_id": ...}``, else the one that is bound

Promises
    C1  emit() raises nothing, and prints nothing: a message that cannot be formatted is
        recorded as it is.
    Q5, Q6  The handler has no lock, since what it calls needs none: it cannot hang in a
        forked child or a signal handler.  (Logging itself takes a lock while loggers
        are configured.)
    X2  What the logger says of its own troubles, as ``tokenpak.telemetry``, is not
        recorded: it says that records cannot be written.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from tokenpak.telemetry.capture.sanitise import safe_str
from tokenpak.telemetry.error_logger import ErrorLogger, get_error_logger
from tokenpak.telemetry.integrations._request import current_request_id

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {
    "asctime",
    "message",
    "taskName",  # from 3.12 on
    "request_id",
}
_OWN: Final = "tokenpak.telemetry"
_MAX_TEXT: Final = 10_000


class TelemetryHandler(logging.Handler):
    """
    See above.  Level and filters work as with any handler.

    A formatter does not matter, since what is recorded is data; and nothing has to be
    flushed: when emit() has returned, the record survives the process.

    Args:
        level: as for any handler.
        logger: default: that of the process.

    """

    def __init__(
        self, level: int | str = logging.NOTSET, logger: ErrorLogger | None = None
    ) -> None:
        super().__init__(level)
        self._logger = logger

    def createLock(self) -> None:  # noqa: N802  logging's name
        """Have none."""
        self.lock = None

    # As Handler.handle(), which in 3.13 cannot do without a lock.
    def handle(self, record: logging.LogRecord) -> Any:
        """Emit *record* if the filters let it pass."""
        passed: object = self.filter(record)  # from 3.12 on, maybe another record
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return passed

    def emit(self, record: logging.LogRecord) -> None:
        """Record *record*; never raises."""
        try:
            if record.name == _OWN or record.name.startswith(f"{_OWN}."):
                return
            logger = self._logger or get_error_logger()
            known = vars(record)
            request_id = known.get("request_id", current_request_id())
            context: dict[str, Any] = {
                "logger": record.name,
                "level": record.levelname,
                "message": _text_of(record),
            }
            for key, value in known.items():
                if key not in _STANDARD:
                    context[f"extra_{key}" if key in context else key] = value
            if record.stack_info:
                context["stack_info"] = record.stack_info
            # logging.exception() outside of an except block has (None, None, None).
            error = record.exc_info[1] if record.exc_info else None
            if error is not None:
                logger.log_error(request_id, error, context)
            else:
                logger.log_event(record.msg, request_id, context)
        except Exception:  # noqa: S110  (C1) there is nobody left to tell
            pass


def _text_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as reason:
        text = safe_str(record.msg, _MAX_TEXT)
        return f"{text} <not formatted: {type(reason).__name__}>"


__all__ = ["TelemetryHandler"]
