"""
A WSGI middleware: every exception that leaves the application is recorded.

    application = TelemetryMiddleware(application)

Once, with the id of its request, method, path, status and duration, and raised
again as it was.  Exceptions while the answer is being iterated, or closed, count too.
A client that goes away is no error.

An application that answers its exceptions itself, as Flask does, lets none of them out:
see ``flask_app`` for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.integrations._request import (
    REQUEST_ID_KEY,
    REQUEST_KEY,
    Request,
    bound,
    request_id_from,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class TelemetryMiddleware:
    """
    See above.  Any number of threads.

    The id is that of ``X-Request-ID``, else the trace id of ``traceparent``, else a new
    one; the application finds it as ``environ["tokenpak.request_id"]``.

    Args:
        app: the application.
        logger: default: that of the process.

    """

    def __init__(self, app: WSGIApplication, logger: ErrorLogger | None = None) -> None:
        self._app = app
        self._logger = logger

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Call the application."""
        if REQUEST_KEY in environ:  # another one around this one is at it
            return self._app(environ, start_response)
        request_id = request_id_from(
            environ.get("HTTP_X_REQUEST_ID"), environ.get("HTTP_TRACEPARENT")
        )
        method = environ.get("REQUEST_METHOD", "")
        request = Request(self._logger, request_id, method, path_of(environ))
        environ[REQUEST_ID_KEY] = request_id
        environ[REQUEST_KEY] = request
        with bound(request_id, method=method, path=request.path):
            try:
                body = self._app(environ, _noting(request, start_response))
            except Exception as error:
                request.record(error)
                raise
        wrapper = environ.get("wsgi.file_wrapper")
        if type(body) in {list, tuple} or (
            isinstance(wrapper, type) and isinstance(body, wrapper)
        ):
            # Nothing can fail in it; and servers look for these: for the length of a
            # list of one, and to send a file without reading it.
            return body
        return _Body(body, request)


class _Body:
    """The answer, on its way to the server."""

    def __init__(self, body: Iterable[bytes], request: Request) -> None:
        self._body = body
        self._chunks: Iterator[bytes] | None = None
        self._request = request

    def __iter__(self) -> _Body:
        return self

    def __next__(self) -> bytes:
        chunk: bytes = self._watched(self._next)
        return chunk

    def close(self) -> None:
        """Close the answer, if it wants to be closed."""
        close = getattr(self._body, "close", None)
        if close is not None:
            self._watched(close)

    def _next(self) -> bytes:
        if self._chunks is None:
            self._chunks = iter(self._body)
        chunk = next(self._chunks)
        if chunk:
            self._request.sent = True
        return chunk

    def _watched(self, call: Callable[[], Any]) -> Any:
        request = self._request
        with bound(request.request_id, method=request.method, path=request.path):
            try:
                return call()
            except StopIteration:
                raise
            except Exception as error:
                request.record(error)
                raise


def _noting(request: Request, start_response: StartResponse) -> StartResponse:
    def start(status: str, headers: Any, *exc_info: Any) -> Callable[[bytes], object]:
        try:
            request.status = int(status[:3])
        except (ValueError, TypeError):
            request.status = None  # the server will complain
        write = start_response(status, headers, *exc_info)

        def noted(data: bytes) -> object:
            request.sent = True
            return write(data)

        return noted

    return start


def path_of(environ: WSGIEnvironment) -> str:
    """Return the path of a request, without its query."""
    path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}"
    try:
        # WSGI hands out bytes as Latin-1.
        return path.encode("latin-1").decode("utf-8", "replace")
    except UnicodeEncodeError:
        return path


__all__ = ["TelemetryMiddleware"]
