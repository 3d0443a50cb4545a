"""
An ASGI middleware: every exception that leaves the application is recorded.

    app = TelemetryMiddleware(app)            any application
    app.add_middleware(TelemetryMiddleware)   FastAPI and Starlette

Once, with the id of its request, method, path, route, status and duration, and raised
again as it was.  A client that goes away is no error, and neither is a task that is
cancelled.  Scopes other than "http" (lifespan, websocket) pass as they are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.integrations._request import (
    REQUEST_ID_KEY,
    REQUEST_KEY,
    Request,
    bound,
    request_id_from,
)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class TelemetryMiddleware:
    """
    See above.  Any number of tasks.

    The id is that of ``X-Request-ID``, else the trace id of ``traceparent``, else a new
    one; the application finds it as ``scope["tokenpak.request_id"]``.

    Args:
        app: the application.
        logger: default: that of the process.

    """

    def __init__(self, app: ASGIApp, logger: ErrorLogger | None = None) -> None:
        self._app = app
        self._logger = logger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application."""
        # Another one around this one may be at it.
        if scope["type"] != "http" or REQUEST_KEY in scope:
            await self._app(scope, receive, send)
            return
        request_id = request_id_from(
            _header(scope, b"x-request-id"), _header(scope, b"traceparent")
        )
        request = Request(
            self._logger, request_id, scope.get("method", ""), scope.get("path", "")
        )
        # A copy, as the specification asks for.  A router notes its route in it.
        scope = {**scope, REQUEST_ID_KEY: request_id, REQUEST_KEY: request}
        gone: list[OSError] = []

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                request.status = message.get("status")
                request.sent = True
            try:
                await send(message)
            except OSError as error:  # how a server says that nobody listens any more
                gone.append(error)
                raise

        with bound(request_id, method=request.method, path=request.path):
            try:
                await self._app(scope, receive, noting)
            except Exception as error:
                if not any(error is one for one in gone):
                    request.route = _route(scope)
                    request.record(error)
                raise
            finally:
                # The exception's frames hold this one.
                gone.clear()


def _header(scope: Scope, name: bytes) -> str | None:
    for key, value in scope.get("headers", ()):
        if key.lower() == name:
            return str(value, "latin-1")
    return None


def _route(scope: Scope) -> str | None:
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else None


__all__ = ["TelemetryMiddleware"]
