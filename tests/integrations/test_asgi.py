"""The ASGI middleware and FastAPI: what leaves the application is recorded once."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import fastapi
import fastapi.responses
import pytest

from tests.integrations.logs import Make, records
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.integrations._request import current_request_id
from tokenpak.telemetry.integrations.asgi import TelemetryMiddleware

Message = dict[str, Any]
START = {"type": "http.response.start", "status": 201, "headers": []}


@pytest.fixture
def logger(make_logger: Make) -> ErrorLogger:
    return make_logger()


async def nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def unused(_message: Any) -> None:
    pass


def ask(
    app: Any,
    path: str = "/chat",
    headers: dict[str, str] | None = None,
    send: Callable[[Message], Awaitable[None]] | None = None,
    receive: Callable[[], Awaitable[Message]] = nothing,
    **scope: Any,
) -> list[Message]:
    """Return what *app* sends."""
    sent: list[Message] = []

    async def keep(message: Message) -> None:
        sent.append(message)

    whole = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"key=s3",
        "root_path": "",
        "headers": [(k.encode(), v.encode()) for k, v in (headers or {}).items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        **scope,
    }
    asyncio.run(app(whole, receive, send or keep))
    return sent


async def failing(_scope: object, _receive: object, _send: object) -> None:
    raise ValueError("bad")


def test_an_exception_is_recorded_with_its_request_and_raised_again(
    logger: ErrorLogger,
) -> None:
    """The same object, with its traceback; nothing of the query."""
    with pytest.raises(ValueError, match="bad") as raised:
        ask(TelemetryMiddleware(failing, logger), headers={"x-request-id": "req-1"})

    (found,) = records(logger)
    assert found["request_id"] == "req-1"
    assert found["context"].pop("duration_ms") >= 0
    assert found["context"] == {"method": "POST", "path": "/chat", "status": 500}
    assert ", in failing\n" in found["stack_trace"]
    assert raised.traceback[-1].name == "failing"
    assert "s3" not in str(found)


def test_the_application_knows_the_id(logger: ErrorLogger) -> None:
    """Given, from a trace, or made: in the scope, and bound, in tasks as well."""
    seen: list[str | None] = []

    async def app(scope: Any, _receive: object, _send: object) -> None:
        async def look() -> None:
            seen.append(current_request_id())

        await asyncio.create_task(look())
        assert scope["tokenpak.request_id"] == seen[-1]

    app_with = TelemetryMiddleware(app, logger)
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    ask(app_with, headers={"X-Request-ID": "req-1"})
    ask(app_with, headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    ask(app_with)

    assert seen[:2] == ["req-1", trace]
    assert re.fullmatch("[0-9a-f]{32}", seen[2] or "")
    assert current_request_id() is None


def test_requests_that_overlap_keep_their_ids(logger: ErrorLogger) -> None:
    """Each task has its own."""

    async def app(scope: Any, _receive: object, _send: object) -> None:
        for _ in range(5):
            await asyncio.sleep(0)
            assert current_request_id() == scope["tokenpak.request_id"]
        raise ValueError(current_request_id())

    async def all_of_them() -> list[Any]:
        app_with = TelemetryMiddleware(app, logger)
        return await asyncio.gather(
            *(
                app_with(
                    {"type": "http", "headers": [(b"x-request-id", b"r-%d" % n)]},
                    nothing,
                    failing,  # type: ignore[arg-type]
                )
                for n in range(20)
            ),
            return_exceptions=True,
        )

    asyncio.run(all_of_them())

    found = records(logger)
    assert sorted(r["request_id"] for r in found) == sorted(f"r-{n}" for n in range(20))
    assert all(r["request_id"] == r["message"] for r in found)


def test_an_exception_while_the_answer_is_sent_has_its_status(
    logger: ErrorLogger,
) -> None:
    """It is on its way by then."""

    async def app(_scope: object, _receive: object, send: Any) -> None:
        await send(START)
        raise ValueError("in the middle")

    with pytest.raises(ValueError):
        ask(TelemetryMiddleware(app, logger))

    (found,) = records(logger)
    assert found["context"]["status"] == 201


def test_a_client_that_goes_away_is_no_error(logger: ErrorLogger) -> None:
    """The server's send() says so, or the framework does; a bug after it is one."""

    async def gone(message: Message) -> None:
        if message["type"] == "http.response.body":
            raise ConnectionResetError("nobody listens")

    async def app(_scope: object, _receive: object, send: Any) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"x"})

    with pytest.raises(ConnectionResetError):
        ask(TelemetryMiddleware(app, logger), send=gone)

    class ClientDisconnect(Exception):  # noqa: N818  starlette's name
        pass

    async def framework(_scope: object, _receive: object, _send: object) -> None:
        raise ClientDisconnect

    with pytest.raises(ClientDisconnect):
        ask(TelemetryMiddleware(framework, logger))
    assert not logger.stats().accepted

    async def bug(scope: object, receive: object, send: Any) -> None:
        try:
            await app(scope, receive, send)
        except ConnectionResetError:
            raise KeyError("a bug") from None

    with pytest.raises(KeyError):
        ask(TelemetryMiddleware(bug, logger), send=gone)
    assert [r["error_type"] for r in records(logger)] == ["KeyError"]


def test_a_connection_error_of_the_application_itself_is_an_error(
    logger: ErrorLogger,
) -> None:
    """To a database, say: it was not the client's."""

    async def app(_scope: object, _receive: object, _send: object) -> None:
        raise ConnectionResetError("database")

    with pytest.raises(ConnectionResetError):
        ask(TelemetryMiddleware(app, logger))
    assert [r["message"] for r in records(logger)] == ["database"]


def test_a_request_that_is_cancelled_is_no_error(logger: ErrorLogger) -> None:
    """Servers cancel requests when they stop."""

    async def app(_scope: object, _receive: object, _send: object) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        ask(TelemetryMiddleware(app, logger))
    assert not logger.stats().accepted


@pytest.mark.parametrize("kind", ["lifespan", "websocket", "something new"])
def test_other_scopes_pass_as_they_are(logger: ErrorLogger, kind: str) -> None:
    """The same objects, and exceptions without a record."""
    scope = {"type": kind}
    seen: list[Any] = []

    async def app(*arguments: Any) -> None:
        seen.extend(arguments)
        raise ValueError("theirs")

    async def send(_message: Message) -> None:
        pass

    with pytest.raises(ValueError, match="theirs"):
        asyncio.run(TelemetryMiddleware(app, logger)(scope, nothing, send))  # type: ignore[arg-type]

    assert seen[0] is scope
    assert seen[1:] == [nothing, send]
    assert scope == {"type": kind}
    assert not logger.stats().accepted


def make_fastapi() -> fastapi.FastAPI:
    app = fastapi.FastAPI()

    @app.post("/orders/{number}")
    async def order(number: int) -> Any:
        if number == 404:
            raise fastapi.HTTPException(404)
        if number == 7:
            return fastapi.responses.StreamingResponse(stream())
        raise ValueError(f"order {number}: {current_request_id()}")

    @app.post("/plain")
    def plain() -> None:
        raise ValueError(f"in a thread: {current_request_id()}")

    async def stream() -> AsyncIterator[bytes]:
        yield b"part"
        raise ValueError("in the middle")

    return app


@pytest.mark.parametrize("inside", [False, True], ids=["around", "add_middleware"])
def test_fastapi_answers_and_the_exception_is_recorded_once(
    logger: ErrorLogger, inside: bool
) -> None:
    """With the route, so that all orders are one; also of a function in a thread."""
    app: Any = make_fastapi()
    if inside:
        app.add_middleware(TelemetryMiddleware, logger=logger)
    else:
        app = TelemetryMiddleware(app, logger)
    headers = {"x-request-id": "req-1"}
    for path in ("/orders/5", "/orders/7", "/plain"):
        with pytest.raises(ValueError):
            ask(app, path, headers)

    found = records(logger)
    assert [r["message"] for r in found] == [
        "order 5: req-1",
        "in the middle",
        "in a thread: req-1",
    ]
    contexts = [r["context"] for r in found]
    assert [c["route"] for c in contexts] == ["/orders/{number}"] * 2 + ["/plain"]
    assert [c["status"] for c in contexts] == [
        500,
        200,
        500,
    ]
    assert all(r["request_id"] == "req-1" for r in found)


def test_two_middlewares_make_one_record(logger: ErrorLogger) -> None:
    """As where a platform puts one around every application."""
    with pytest.raises(ValueError):
        ask(TelemetryMiddleware(TelemetryMiddleware(failing, logger), logger))

    assert len(records(logger)) == 1


@pytest.mark.parametrize("logs", [False, True], ids=["silent", "logs"])
def test_each_request_that_one_exception_ends_is_recorded(
    logger: ErrorLogger, logs: bool
) -> None:
    """As where they wait for the same task: one object, but more failures than one."""
    ids = ["req-1", "req-2", "req-3"]

    async def all_of_them() -> list[object]:
        waiting = asyncio.get_running_loop().create_future()

        async def application(_scope: object, _receive: object, _send: object) -> None:
            try:
                await waiting
            except TimeoutError as error:
                if logs:
                    logger.log_error(None, error)
                raise

        async def request(name: str) -> None:
            headers = [(b"x-request-id", name.encode())]
            scope = {"type": "http", "headers": headers}
            await TelemetryMiddleware(application, logger)(scope, nothing, unused)

        tasks = [asyncio.create_task(request(name)) for name in ids]
        asyncio.get_running_loop().call_soon(waiting.set_exception, TimeoutError("no"))
        return await asyncio.gather(*tasks, return_exceptions=True)

    raised = asyncio.run(all_of_them())

    assert len({id(error) for error in raised}) == 1
    assert [r["request_id"] for r in records(logger)] == ids


def test_a_handler_for_any_exception_that_fastapi_calls_last_costs_no_record(
    logger: ErrorLogger,
) -> None:
    """It stands around the middlewares: what it answers has passed ours."""
    app = fastapi.FastAPI()
    app.add_middleware(TelemetryMiddleware, logger=logger)

    @app.exception_handler(Exception)
    async def any_of_them(_request: object, _error: Exception) -> Any:
        return fastapi.responses.JSONResponse({}, status_code=503)

    @app.exception_handler(KeyError)
    async def expected(_request: object, _error: Exception) -> Any:
        return fastapi.responses.JSONResponse({}, status_code=404)

    @app.post("/{kind}")
    async def fail(kind: str) -> None:
        raise {"key": KeyError, "value": ValueError}[kind]

    for kind in ("key", "value"):
        with contextlib.suppress(ValueError):
            ask(app, f"/{kind}")

    assert [r["error_type"] for r in records(logger)] == ["ValueError"]


def test_what_fastapi_answers_itself_is_not_recorded(logger: ErrorLogger) -> None:
    """A 404, an invalid request, a path that there is not."""
    app = TelemetryMiddleware(make_fastapi(), logger)

    statuses = [
        ask(app, path)[0]["status"] for path in ("/orders/404", "/orders/x", "/no")
    ]

    assert statuses == [404, 422, 404]
    assert not logger.stats().accepted


def test_a_client_of_fastapi_that_goes_away_is_no_error(logger: ErrorLogger) -> None:
    """While its request is being read."""
    app = fastapi.FastAPI()

    @app.post("/upload")
    async def upload(request: fastapi.Request) -> None:
        await request.body()

    async def gone() -> Message:
        return {"type": "http.disconnect"}

    try:
        ask(TelemetryMiddleware(app, logger), "/upload", receive=gone)
    except Exception as error:
        assert type(error).__name__ == "ClientDisconnect"  # noqa: PT017

    assert not logger.stats().accepted
