"""
An HTTP server that shows the metrics of a directory, for who has none of their own.

``/metrics`` is what Prometheus asks; ``/`` says where that is.  A request that is no
good gets an answer that says so, and nothing a client does ends the server.

Nor does one keep it from others: whoever has not asked after some seconds is cut off,
however he dribbles, and so many connections are open; if one more comes, that which has
waited longest without asking gives way.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from tokenpak.telemetry.metrics.exposition import CONTENT_TYPES, Exposition
from tokenpak.telemetry.metrics.prometheus import form_for

DEFAULT_ADDRESS: Final = ("127.0.0.1", 9464)
PATH: Final = "/metrics"
PATIENCE: Final = 10.0
"""Seconds that a client may take to ask, and then to take its answer."""
MOST_CONNECTIONS: Final = 64
_INDEX: Final = b"The metrics of tokenpak telemetry are at /metrics.\n"


class MetricsServer(ThreadingHTTPServer):
    """
    Serves at once; see serving().

    Args:
        address: host and port; port 0 takes one that is free.
        exposition: of the directory.
        patience: seconds, see PATIENCE.

    Raises:
        OSError: the address cannot be had.

    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        exposition: Exposition,
        patience: float = PATIENCE,
    ) -> None:
        self.patience = patience
        self._lock = threading.Lock()
        self._asking: dict[Any, float] = {}
        """Connections whose request is not read yet, and until when it must be; the
        oldest first."""
        self._answered: set[Any] = set()
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.exposition = exposition
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Take the address, without looking up its name."""
        # HTTPServer asks the resolver for it, which may take seconds.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        host, port = self.server_address[:2]
        self.server_name, self.server_port = str(host), int(port)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Take a connection, if need be in the place of one that does not ask."""
        with self._lock:
            full = len(self._asking) + len(self._answered) >= MOST_CONNECTIONS
            oldest = next(iter(self._asking), None)
            if full and oldest is not None:
                self._cut(oldest)
            refused = full and oldest is None
            if not refused:
                self._asking[request] = time.monotonic() + self.patience
        if refused:  # all of them are being answered
            self.shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def service_actions(self) -> None:
        """Cut off whoever has not asked in time; called some times a second."""
        now = time.monotonic()
        with self._lock:
            for request in [r for r, until in self._asking.items() if until <= now]:
                self._cut(request)

    def has_asked(self, request: Any) -> bool:
        """Take it that *request* was read; return whether it was in time."""
        with self._lock:
            if self._asking.pop(request, None) is None:
                return False
            self._answered.add(request)
        return True

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection, and close it."""
        with self._lock:
            self._asking.pop(request, None)
            self._answered.discard(request)
        super().shutdown_request(request)

    def _cut(self, request: Any) -> None:
        # Its thread finds the end of what it reads, and closes it.
        del self._asking[request]
        try:
            request.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the client was quicker

    def server_close(self) -> None:
        """Close it, and cut off who has not asked: nobody else would do it later."""
        super().server_close()
        with self._lock:
            for request in list(self._asking):
                self._cut(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that goes away is none of our errors."""


class _Handler(BaseHTTPRequestHandler):
    server: MetricsServer
    server_version = "tokenpak"
    sys_version = ""

    def setup(self) -> None:
        """Bound each step of reading and writing."""
        super().setup()
        self.connection.settimeout(self.server.patience)

    def do_GET(self) -> None:
        """Answer with the metrics."""
        if not self.server.has_asked(self.request):
            return  # cut off this moment
        path = self.path.partition("?")[0]
        if path == PATH:
            form = form_for(self.headers.get("Accept", ""))
            self._answer(200, CONTENT_TYPES[form], self.server.exposition.render(form))
        elif path == "/":
            self._answer(200, "text/plain; charset=utf-8", _INDEX)
        else:
            self._answer(404, "text/plain; charset=utf-8", _INDEX)

    do_HEAD = do_GET  # noqa: N815  (its name is the method's)

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: a line for each scrape helps nobody."""


@contextmanager
def serving(
    exposition: Exposition,
    address: tuple[str, int] = DEFAULT_ADDRESS,
    patience: float = PATIENCE,
) -> Iterator[str]:
    """
    Serve *exposition* in a thread of its own, until the end of the block.

    Yields:
        The URL of the metrics.

    Raises:
        OSError: the address cannot be had.

    """
    server = MetricsServer(address, exposition, patience)
    thread = threading.Thread(
        target=server.serve_forever, args=(0.1,), name="tokenpak-metrics", daemon=True
    )
    thread.start()
    try:
        host, port = server.server_address[:2]
        where = f"[{host!s}]" if ":" in str(host) else host
        yield f"http://{where!s}:{port}{PATH}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


__all__ = [
    "DEFAULT_ADDRESS",
    "MOST_CONNECTIONS",
    "PATH",
    "PATIENCE",
    "MetricsServer",
    "serving",
]
