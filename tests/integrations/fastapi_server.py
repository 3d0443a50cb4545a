"""What uvicorn serves in test_servers.py."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import fastapi
import fastapi.responses

from tests.integrations.acks import acknowledge
from tokenpak.telemetry.error_logger import get_error_logger
from tokenpak.telemetry.integrations.asgi import TelemetryMiddleware

app = fastapi.FastAPI()
app.add_middleware(TelemetryMiddleware)


@app.get("/fail/{number}")
async def fail(number: int) -> str:
    raise ValueError(f"request {number}")


@app.get("/logged/{number}")
def logged(number: int, request: fastapi.Request) -> str:
    get_error_logger().log_error(request.scope["tokenpak.request_id"], KeyError(number))
    return "logged"


@app.get("/stream")
async def stream() -> fastapi.responses.StreamingResponse:
    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 1024
                await asyncio.sleep(0)
        finally:
            acknowledge("closed")

    return fastapi.responses.StreamingResponse(endless())


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Serve, say who did, and acknowledge what has been recorded by then."""

    async def telling(message: Any) -> None:
        if message["type"] == "http.response.start":
            pid = (b"x-pid", str(os.getpid()).encode())
            message = {**message, "headers": [*message["headers"], pid]}
            # Starlette answers when the exception has passed our middleware.
            acknowledge(dict(scope["headers"])[b"x-request-id"].decode())
        await send(message)

    if scope["type"] != "http":
        await app(scope, receive, send)
        return
    try:
        await app(scope, receive, telling)
    except ValueError:
        pass  # else uvicorn prints it
