"""
An HTTP server that shows the metrics of a directory, for who has none of their own.

``/metrics`` is what Prometheus asks; ``/`` says where that is.  A request that is no
good gets an answer that says so, and nothing a client does ends the server.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from tokenpak.telemetry.metrics.exposition import CONTENT_TYPES, Exposition
from tokenpak.telemetry.metrics.prometheus import form_for

DEFAULT_ADDRESS: Final = ("127.0.0.1", 9464)
PATH: Final = "/metrics"
_PATIENCE: Final = 10.0
"""Seconds that a client may take to ask."""
_INDEX: Final = b"The metrics of tokenpak telemetry are at /metrics.\n"


class MetricsServer(ThreadingHTTPServer):
    """
    Serves at once; see serving().

    Args:
        address: host and port; port 0 takes one that is free.
        exposition: of the directory.

    Raises:
        OSError: the address cannot be had.

    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], exposition: Exposition) -> None:
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

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that goes away is none of our errors."""


class _Handler(BaseHTTPRequestHandler):
    server: MetricsServer
    server_version = "tokenpak"
    sys_version = ""
    timeout = _PATIENCE

    def do_GET(self) -> None:
        """Answer with the metrics."""
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
    exposition: Exposition, address: tuple[str, int] = DEFAULT_ADDRESS
) -> Iterator[str]:
    """
    Serve *exposition* in a thread of its own, until the end of the block.

    Yields:
        The URL of the metrics.

    Raises:
        OSError: the address cannot be had.

    """
    server = MetricsServer(address, exposition)
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


__all__ = ["DEFAULT_ADDRESS", "PATH", "MetricsServer", "serving"]
