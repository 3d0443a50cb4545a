"""
The work that every logger is given: an exception, its context, an event.

The exception comes from ten frames of ten different functions, as in a web application
that calls an LLM through an SDK.  (Ten recursive frames would be cheaper to format:
``traceback`` folds repeated ones.)  It is raised anew for each record, as failures are:
an exception object that is logged again and again would let a logger remember it.
"""

from __future__ import annotations

from typing import Final

REQUEST_ID: Final = "req-123"

CONTEXT: Final[dict[str, object]] = {
    "model": "gpt-4",
    "provider": "openai",
    "input_size": 1024,
    "cost_estimate": 0.045,
    "duration_ms": 2350,
}

EVENT: Final = "completion"

FRAMES: Final = 10


class ProviderError(Exception):
    """What an SDK raises when the provider answers with an error."""


def failure() -> ProviderError:
    """Return an exception just raised, with a traceback of FRAMES frames."""
    try:
        _handle_request("How are you?", "openai")
    except ProviderError as error:
        return error
    raise AssertionError("the provider did not fail")


def _handle_request(prompt: str, provider: str) -> str:
    return _answer(prompt, provider=provider).strip()


def _answer(prompt: str, provider: str) -> str:
    messages = [{"role": "user", "content": prompt}]
    return _complete(messages, provider, temperature=0.2)


def _complete(messages: list[dict[str, str]], provider: str, temperature: float) -> str:
    return _with_retries(messages, {"provider": provider, "temperature": temperature})


def _with_retries(messages: list[dict[str, str]], options: dict[str, object]) -> str:
    return "".join(_post("/v1/chat/completions", messages, options))


def _post(
    path: str, messages: list[dict[str, str]], options: dict[str, object]
) -> list[str]:
    return [_send(path, {"messages": messages, **options})]


def _send(path: str, body: dict[str, object]) -> str:
    return _read(path, len(body), stream=False)


def _read(path: str, size: int, *, stream: bool) -> str:
    return _decode(path, b"" if stream else b"429", size)


def _decode(path: str, answer: bytes, size: int) -> str:
    return _check_status(int(answer), path) + str(size)


def _check_status(status: int, path: str) -> str:
    raise ProviderError(f"Error code: {status} - rate limit reached at {path}")


__all__ = [
    "CONTEXT",
    "EVENT",
    "FRAMES",
    "REQUEST_ID",
    "ProviderError",
    "failure",
]
