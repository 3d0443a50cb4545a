"""
A small HTTP server on loopback that fails as LLM providers do.

    POST /v1/chat/completions   shaped as OpenAI's, ``x-request-id`` header
    POST /v1/messages           shaped as Anthropic's, ``request-id`` header

The model's name chooses the answer (``failures.FAILING_MODELS``):

    fail-401, fail-429, fail-500   that status; 429 with ``Retry-After``
    fail-truncated                 200, and half of a JSON object
    fail-silent                    accepts the request and never answers
    fail-dropped                   reads the request and closes the connection
    anything else                  a completion

and the rarer ones that the demo itself leaves out (``failures.RARER_MODELS``):

    fail-quota, fail-context-length, fail-content-filter, fail-overloaded
    fail-cut                       200, and the connection ends within the answer; if
                                   the request says "stream", within the stream
    fail-cut-by-error              the stream's next event is an error

It listens on 127.0.0.1, on a port that the system chooses, and only while the
``with`` block of :func:`serving` runs; leaving it ends every connection and thread.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from tokenpak.demo.failures import (
    CUT,
    CUT_BY_ERROR,
    DROPPED,
    FAIL_PREFIX,
    PATHS,
    RARER_REFUSALS,
    REFUSALS,
    REQUEST_ID_HEADERS,
    SILENT,
    TRUNCATED,
    Provider,
    Refusal,
    bad_request,
    completion,
    not_found,
    stream_begin,
    stream_error,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_BODY: Final = 1024 * 1024
_IDLE_SECONDS: Final = 60.0
_REFUSALS: Final = REFUSALS | RARER_REFUSALS


class ProviderServer(ThreadingHTTPServer):
    """The server; use :func:`serving`, which also starts and stops it."""

    # Threads are waited for in server_close(), so that none outlives the demo.
    daemon_threads = False
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.request_numbers = count(1)
        self._connections: set[socket.socket] = set()  # guarded by _lock
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``, without ``/v1``."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, then serve it in a thread of its own."""
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection, then close it."""
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report an error, unless the client just went away: here it is killed."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    def hang_up(self) -> None:
        """End every open connection, which wakes the threads that read from it."""
        with self._lock:
            # Only shut down: closing is their thread's, or it would happen twice
            # and might hit a descriptor that is somebody else's by then.
            for connection in self._connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:  # the client was faster
                    continue


class _Handler(BaseHTTPRequestHandler):
    server: ProviderServer
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    # Headers and body leave as two packets; Nagle's algorithm would hold the second.
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Answer, or fail, as the model's name asks."""
        provider = PATHS.get(self.path)
        self._streams = False
        model = self._read_model()
        if provider is None:
            self._refuse("openai", not_found(f"No such path: POST {self.path}"))
        elif model is None:
            self._refuse(provider, bad_request("Expected JSON with a model's name."))
        elif model in _REFUSALS:
            self._refuse(provider, _REFUSALS[model])
        elif model in {CUT, CUT_BY_ERROR}:
            self._send_part(provider, model)
        elif model == SILENT:
            # Returns when the client has given up, or the server hangs up.
            self.rfile.read(1)
            self.close_connection = True
        elif model == DROPPED:
            self.close_connection = True
        elif model.startswith(FAIL_PREFIX) and model != TRUNCATED:
            self._refuse(provider, not_found(f"The model {model!r} does not exist."))
        else:
            request_id = self._new_request_id()
            body = json.dumps(completion(provider, model, request_id)).encode()
            if model == TRUNCATED:
                body = body[: len(body) // 2]
            self._send(200, provider, request_id, body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: the demo's output is its table."""

    def _read_model(self) -> str | None:
        try:
            size = int(self.headers.get("content-length", "0"))
            request = json.loads(self.rfile.read(min(max(size, 0), _MAX_BODY)))
            model = request["model"]
            self._streams = request.get("stream") is True
        except (ValueError, KeyError, TypeError):
            # What may be left unread would be taken for the next request.
            self.close_connection = True
            return None
        return model if isinstance(model, str) else None

    def _new_request_id(self) -> str:
        # next() on an itertools.count is one step, so that no lock is needed.
        return f"req_{next(self.server.request_numbers):09d}"

    def _refuse(self, provider: Provider, refusal: Refusal) -> None:
        request_id = self._new_request_id()
        body = json.dumps(refusal.body(provider, request_id)).encode()
        headers = {}
        if refusal.retry_after is not None:
            headers["retry-after"] = str(refusal.retry_after)
        self._send(refusal.status_of(provider), provider, request_id, body, headers)

    def _send_part(self, provider: Provider, model: str) -> None:
        """Send the beginning of an answer, and no end."""
        self.close_connection = True
        request_id = self._new_request_id()
        begin = stream_begin(provider, model, request_id)
        if not self._streams:
            body = json.dumps(completion(provider, model, request_id)).encode()
            self._send(200, provider, request_id, body, part=len(body) // 2)
            return
        self.send_response(200)
        self.send_header(REQUEST_ID_HEADERS[provider], request_id)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self._send_chunk(begin)
        if model == CUT_BY_ERROR:
            self._send_chunk(stream_error(provider, request_id))
            self._send_chunk(b"")

    def _send_chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _send(
        self,
        status: int,
        provider: Provider,
        request_id: str,
        body: bytes,
        headers: dict[str, str] | None = None,
        part: int | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header(REQUEST_ID_HEADERS[provider], request_id)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        if self.close_connection:
            self.send_header("connection", "close")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:part])


@contextmanager
def serving() -> Iterator[ProviderServer]:
    """
    Run a server while the ``with`` block runs.

    Raises:
        OSError: no loopback address to listen on.

    """
    server = ProviderServer()
    # The default poll of shutdown() is half a second; the demo has only a few.
    thread = threading.Thread(
        target=server.serve_forever, args=(0.02,), name="tokenpak-demo-server"
    )
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.hang_up()
        server.server_close()


__all__ = ["ProviderServer", "serving"]
