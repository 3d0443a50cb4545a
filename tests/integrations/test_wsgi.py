"""The WSGI middleware and Flask: what leaves the application is recorded once."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import flask
import pytest

from tests.integrations.logs import Make, records
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.integrations import flask_app
from tokenpak.telemetry.integrations._request import current_request_id
from tokenpak.telemetry.integrations.wsgi import TelemetryMiddleware

Start = Callable[..., Any]


@pytest.fixture
def logger(make_logger: Make) -> ErrorLogger:
    return make_logger()


def call(app: Any, **environ: Any) -> tuple[str, list[bytes]]:
    """Return status and body, as a server gets them; close the body."""
    environment: dict[str, Any] = {"REQUEST_METHOD": "POST", "QUERY_STRING": "key=s3"}
    environment |= {"SCRIPT_NAME": "/api", "PATH_INFO": "/chat", **environ}
    setup_testing_defaults(environment)
    statuses: list[str] = []

    def start(status: str, _headers: object, _exc_info: object = None) -> Any:
        statuses.append(status)
        return lambda _data: None

    body = app(environment, start)
    try:
        chunks = list(body)
    finally:
        if hasattr(body, "close"):
            body.close()
    return statuses[-1], chunks


def working(environ: dict[str, Any], start: Start) -> list[bytes]:
    start("200 OK", [("content-type", "text/plain")])
    return [environ["tokenpak.request_id"].encode()]


def failing(_environ: dict[str, Any], _start: Start) -> list[bytes]:
    raise ValueError("bad")


def test_what_works_passes_as_it_is(logger: ErrorLogger) -> None:
    """The very object that the application returned; and nothing is recorded."""
    made: list[Any] = [[b"a"], (b"a", b"b"), FileWrapper(io.BytesIO(b"file"))]
    for body in made:

        def app(_environ: object, start: Start, body: Any = body) -> Any:
            start("200 OK", [])
            return body

        environ = {"wsgi.file_wrapper": FileWrapper}
        result = TelemetryMiddleware(app, logger)(environ, lambda *_: lambda _: None)
        assert result is body
    assert not logger.stats().accepted


def test_an_exception_is_recorded_with_its_request_and_raised_again(
    logger: ErrorLogger,
) -> None:
    """The same object, with its traceback; nothing of the query."""
    with pytest.raises(ValueError, match="bad") as raised:
        call(TelemetryMiddleware(failing, logger), HTTP_X_REQUEST_ID="req-1")

    (found,) = records(logger)
    assert found["request_id"] == "req-1"
    assert found["context"].pop("duration_ms") >= 0
    assert found["context"] == {"method": "POST", "path": "/api/chat", "status": 500}
    assert ", in failing\n" in found["stack_trace"]
    assert raised.traceback[-1].name == "failing"
    assert "s3" not in str(found)


def test_the_application_knows_the_id(logger: ErrorLogger) -> None:
    """Given, from a trace, or made: in the environ, and bound."""
    seen: list[str | None] = []

    def app(environ: dict[str, Any], start: Start) -> list[bytes]:
        seen.append(current_request_id())
        return working(environ, start)

    app_with = TelemetryMiddleware(app, logger)
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    bodies = [
        call(app_with, HTTP_X_REQUEST_ID="req-1")[1],
        call(app_with, HTTP_TRACEPARENT=f"00-{trace}-00f067aa0ba902b7-01")[1],
        call(app_with)[1],
    ]

    assert [b"".join(body).decode() for body in bodies] == seen
    assert seen[:2] == ["req-1", trace]
    assert re.fullmatch("[0-9a-f]{32}", seen[2] or "")
    assert current_request_id() is None


def test_an_exception_while_the_answer_is_sent_is_recorded_once(
    logger: ErrorLogger,
) -> None:
    """With the status that is on its way by then; the body is closed."""
    closed: list[str | None] = []

    def app(_environ: object, start: Start) -> Iterator[bytes]:
        start("206 Partial Content", [])
        try:
            yield b""
            yield b"part"
            raise ValueError(current_request_id())
        finally:
            closed.append(current_request_id())

    with pytest.raises(ValueError, match="req-1"):
        call(TelemetryMiddleware(app, logger), HTTP_X_REQUEST_ID="req-1")

    (found,) = records(logger)
    assert found["message"] == "req-1"
    assert found["context"]["status"] == 206
    assert closed == ["req-1"]
    assert current_request_id() is None


def test_before_the_first_byte_the_status_is_the_one_that_the_server_sends(
    logger: ErrorLogger,
) -> None:
    """Headers wait for it, so that it can still send a 500."""

    def app(_environ: object, start: Start) -> Iterator[bytes]:
        start("200 OK", [])
        yield b""
        raise ValueError

    with pytest.raises(ValueError):
        call(TelemetryMiddleware(app, logger))

    (found,) = records(logger)
    assert found["context"]["status"] == 500


def test_an_exception_in_close_is_recorded(logger: ErrorLogger) -> None:
    """It is where many frameworks do the rest of their work."""

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"all"])

        def close(self) -> None:
            raise ValueError("in close")

    def app(_environ: object, start: Start) -> Iterable[bytes]:
        start("200 OK", [])
        return Body()

    with pytest.raises(ValueError, match="in close"):
        call(TelemetryMiddleware(app, logger))

    (found,) = records(logger)
    assert found["context"]["status"] == 200


def test_one_exception_is_one_record_however_often_it_passes(
    logger: ErrorLogger,
) -> None:
    """In the body and again in close(), through one middleware or two."""
    error = ValueError("one")

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            raise error

        def close(self) -> None:
            raise error

    def app(_environ: object, start: Start) -> Iterable[bytes]:
        start("200 OK", [])
        return Body()

    with pytest.raises(ValueError):
        call(TelemetryMiddleware(app, logger))
    with pytest.raises(ValueError):
        call(TelemetryMiddleware(TelemetryMiddleware(app, logger), logger))

    assert len(records(logger)) == 2


def test_what_was_written_at_once_has_been_sent(logger: ErrorLogger) -> None:
    """By write(), which WSGI keeps for old applications."""

    def app(_environ: object, start: Start) -> list[bytes]:
        start("203 Fine", [])(b"part")
        raise ValueError

    with pytest.raises(ValueError):
        call(TelemetryMiddleware(app, logger))

    (found,) = records(logger)
    assert found["context"]["status"] == 203


def test_a_client_that_goes_away_is_no_error(logger: ErrorLogger) -> None:
    """The server closes the body early, or the framework says so while reading."""

    class ClientDisconnected(Exception):  # noqa: N818  werkzeug's name
        pass

    def endless(_environ: object, start: Start) -> Iterator[bytes]:
        start("200 OK", [])
        while True:
            yield b"more"

    body = TelemetryMiddleware(endless, logger)({}, lambda *_: lambda _: None)
    assert next(iter(body)) == b"more"
    body.close()  # type: ignore[attr-defined]

    def reading(_environ: object, _start: Start) -> list[bytes]:
        raise ClientDisconnected

    with pytest.raises(ClientDisconnected):
        call(TelemetryMiddleware(reading, logger))
    assert not logger.stats().accepted


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_ends_a_worker_is_no_error(
    logger: ErrorLogger, error: type[BaseException]
) -> None:
    """A server's own signal handlers raise such in the middle of a request."""

    def app(_environ: object, _start: Start) -> list[bytes]:
        raise error

    with pytest.raises(error):
        call(TelemetryMiddleware(app, logger))
    assert not logger.stats().accepted
    assert current_request_id() is None


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({"SCRIPT_NAME": "", "PATH_INFO": "/"}, "/"),
        ({"SCRIPT_NAME": "", "PATH_INFO": "/gr\u00c3\u00bc\u00c3\u009fe"}, "/grüße"),
        ({"SCRIPT_NAME": "", "PATH_INFO": "/\u00ff"}, "/\ufffd"),
        ({"SCRIPT_NAME": "", "PATH_INFO": "/\u20ac"}, "/\u20ac"),
    ],
)
def test_c1_the_path_is_readable(
    logger: ErrorLogger, environ: dict[str, str], path: str
) -> None:
    """WSGI hands bytes out as Latin-1; not all servers keep to it."""
    with pytest.raises(ValueError):
        call(TelemetryMiddleware(failing, logger), **environ)

    (found,) = records(logger)
    assert found["context"]["path"] == path


def test_c1_a_status_that_is_none_is_the_servers_business(logger: ErrorLogger) -> None:
    """Nothing of ours fails on it."""

    def app(_environ: object, start: Start) -> list[bytes]:
        start("fine", [])
        return [b""]

    assert call(TelemetryMiddleware(app, logger)) == ("fine", [b""])


def test_it_keeps_to_the_rules_of_wsgi(logger: ErrorLogger) -> None:
    """As wsgiref's validator sees them, from both sides."""

    def app(_environ: object, start: Start) -> Iterator[bytes]:
        start("200 OK", [("Content-Type", "text/plain")])
        yield b"part"
        yield b"rest"

    checked: Any = validator(TelemetryMiddleware(validator(app), logger))
    status, chunks = call(checked, REQUEST_METHOD="GET")

    assert (status, chunks) == ("200 OK", [b"part", b"rest"])


def make_flask(logger: ErrorLogger) -> flask.Flask:
    app = flask.Flask("shop")
    flask_app.init_app(app, logger)

    @app.get("/orders/<int:number>")
    def order(number: int) -> Any:
        if number == 404:
            flask.abort(404)
        if number == 7:
            return flask.Response(stream())
        raise ValueError(f"order {number}: {current_request_id()}")

    @app.get("/handled")
    def handled() -> str:
        raise KeyError("handled")

    @app.errorhandler(KeyError)
    def on_key_error(_error: KeyError) -> tuple[str, int]:
        return "sorry", 400

    def stream() -> Iterator[str]:
        yield "part"
        raise ValueError("in the middle")

    return app


def test_flask_answers_and_the_exception_is_recorded_once(logger: ErrorLogger) -> None:
    """With the route, so that all orders are one; whether it is let out or not."""
    app = make_flask(logger)
    headers = {"X-Request-ID": "req-1"}
    answer = app.test_client().get("/orders/5?key=s3", headers=headers)
    assert answer.status_code == 500

    app.testing = True  # it raises then
    with pytest.raises(ValueError):
        app.test_client().get("/orders/6", headers=headers)

    found = records(logger)
    assert [r["message"] for r in found] == ["order 5: req-1", "order 6: req-1"]
    for number, record in enumerate(found, 5):
        assert record["request_id"] == "req-1"
        del record["context"]["duration_ms"]
        assert record["context"] == {
            "method": "GET",
            "path": f"/orders/{number}",
            "route": "/orders/<int:number>",
            "status": 500,
        }


def test_what_flask_handles_is_not_recorded(logger: ErrorLogger) -> None:
    """A 404, and an exception that the application has a handler for."""
    client = make_flask(logger).test_client()

    assert client.get("/orders/404").status_code == 404
    assert client.get("/nothing").status_code == 404
    assert client.get("/handled").status_code == 400
    assert not logger.stats().accepted


def test_a_stream_of_flask_that_breaks_is_recorded(logger: ErrorLogger) -> None:
    """Flask itself does not see it any more."""
    client = make_flask(logger).test_client()

    with pytest.raises(ValueError, match="in the middle"):
        client.get("/orders/7", buffered=True)

    (found,) = records(logger)
    assert found["context"]["status"] == 200
    assert found["context"]["route"] == "/orders/<int:number>"
