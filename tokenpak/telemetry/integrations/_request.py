"""
One HTTP request, as the middlewares for WSGI and ASGI see it.

The id of the request is bound to the thread or task that works on it, with method and
path, so that whatever is logged meanwhile has them.

C1  Nothing here raises what the request's own data could make it raise.
C2  No exception is kept: it says itself that it was recorded, by whatever layer.

One object may end several requests, as where they wait for the same task.  So it also
says which of them has seen it: each is recorded.
"""

from __future__ import annotations

import re
import time
import uuid
from typing import Any, Final

from tokenpak.telemetry.capture.bound import current
from tokenpak.telemetry.capture.mark import attributes, plain_attributes, recorded
from tokenpak.telemetry.error_logger import ErrorLogger, get_error_logger
from tokenpak.telemetry.scope.bind import bind
from tokenpak.telemetry.scope.left import record

REQUEST_ID_KEY: Final = "tokenpak.request_id"
"""Where the id is in the WSGI environ and the ASGI scope."""
REQUEST_KEY: Final = "tokenpak.request"
"""Where the Request is; for the integrations."""

_SEEN: Final = "_tokenpak_request"
"""The attribute of an exception: which request it has left last, and when."""
_GIVEN: Final = re.compile(r"[!-~]{1,128}")
_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
)
_DISCONNECTS: Final = frozenset(
    {
        "ClientDisconnect",  # starlette
        "ClientDisconnected",  # werkzeug, uvicorn
        "NoMoreData",  # gunicorn
    }
)
"""Classes that say that the client went away, which is no failure of ours."""

bound = bind


def current_request_id() -> str | None:
    """Return the id that is bound here, or None."""
    here = current.get()
    return None if here is None else here.request_id


def request_id_from(given: str | None, traceparent: str | None) -> str:
    """
    Return the id of a request by its headers, or a new one.

    Args:
        given: ``X-Request-ID``; counts if it is 1 to 128 visible ASCII characters.
        traceparent: of the W3C's trace context; its trace id counts.

    """
    if given is not None and _GIVEN.fullmatch(given):
        return given
    match = _TRACEPARENT.fullmatch(traceparent) if traceparent is not None else None
    return match[1] if match else uuid.uuid4().hex


class Request:
    """
    A request that is worked on.  One thread or task at a time.

    Args:
        logger: None: that of the process, when it is needed.
        request_id: see request_id_from().
        method: of HTTP.
        path: without the query, which may hold secrets.

    Attributes:
        status: that of the answer, as far as it is known.
        sent: whether that status is on its way; if not, the server will send 500.
        route: the pattern that the path matched, if the framework tells.

    """

    __slots__ = (
        "_began",
        "_logger",
        "_since",
        "method",
        "path",
        "request_id",
        "route",
        "sent",
        "status",
    )

    def __init__(
        self, logger: ErrorLogger | None, request_id: str, method: str, path: str
    ) -> None:
        self._logger = logger
        self._since = time.time_ns()
        self._began = time.perf_counter()
        self.request_id = request_id
        self.method = method
        self.path = path
        self.status: int | None = None
        self.sent = False
        self.route: str | None = None

    def record(self, error: Exception) -> None:
        """Record *error*, unless a layer has, or it says that the client went away."""
        done = recorded(error, self._seen(error)) or says_disconnect(error)
        if not done:
            self._record(error)
        if plain_attributes(type(error)):
            setattr(error, _SEEN, (id(self), time.time_ns()))

    def _seen(self, error: Exception) -> int:
        """Return since when a record of *error* is one of this request's."""
        by, moment = attributes(error).get(_SEEN, (None, -1))
        return self._since if by == id(self) else max(self._since, int(moment) + 1)

    def _record(self, error: Exception) -> None:
        context: dict[str, Any] = {"method": self.method, "path": self.path}
        if self.route is not None:
            context["route"] = self.route
        context["status"] = self.status if self.sent else 500
        context["duration_ms"] = round((time.perf_counter() - self._began) * 1000, 3)
        logger = self._logger or get_error_logger()
        record(logger, self.request_id, error, context, self._since)


def says_disconnect(error: BaseException) -> bool:
    """Return whether *error* is a framework's way to say that the client is gone."""
    return any(cls.__name__ in _DISCONNECTS for cls in type(error).__mro__)


__all__ = [
    "REQUEST_ID_KEY",
    "REQUEST_KEY",
    "Request",
    "bound",
    "current_request_id",
    "request_id_from",
    "says_disconnect",
]
