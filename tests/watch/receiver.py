"""A webhook on loopback that keeps what it is sent, and answers as it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """What was received."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.address = ""
        self.arrived = threading.Condition()

    def wait_for(self, number: int, seconds: float) -> bool:
        """Wait until *number* bodies were received; return whether they were."""
        with self.arrived:
            return self.arrived.wait_for(lambda: len(self.bodies) >= number, seconds)


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a Receiver."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers.get("Content-Length", "0"))
            body = json.loads(self.rfile.read(size))
            with receiver.arrived:
                if receiver.status < 300:
                    receiver.bodies.append(body)
                receiver.paths.append(self.path)
                receiver.headers.append(dict(self.headers))
                receiver.arrived.notify_all()
            self.send_response(receiver.status)
            if receiver.status in {301, 302}:
                self.send_header("Location", f"{receiver.address}/elsewhere")
            self.end_headers()

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}
    )
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


__all__ = ["Receiver", "receiving"]
