"""What gunicorn serves in test_servers.py."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import flask

from tests.integrations.acks import acknowledge
from tokenpak.telemetry.error_logger import get_error_logger
from tokenpak.telemetry.integrations.flask_app import init_app

app = flask.Flask(__name__)
init_app(app)


@app.get("/fail/<int:number>")
def fail(number: int) -> str:
    raise ValueError(f"request {number}")


@app.get("/logged/<int:number>")
def logged(number: int) -> str:
    get_error_logger().log_error(
        flask.request.environ["tokenpak.request_id"], KeyError(number)
    )
    return "logged"


@app.get("/stream")
def stream() -> flask.Response:
    def endless() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 1024
        finally:
            acknowledge("closed")

    return flask.Response(endless())


def application(environ: dict[str, Any], start_response: Any) -> Any:
    """Serve, say who did, and acknowledge what has been recorded by then."""

    def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
        return start_response(status, [*headers, ("X-Pid", str(os.getpid()))], *more)

    body = app(environ, start)
    acknowledge(environ["HTTP_X_REQUEST_ID"])
    return body


if os.environ.get("LOG_AT_IMPORT"):
    get_error_logger().log_error("import", RuntimeError("at import"))
