"""
The ways in which LLM providers fail, and the model names that ask for them.

A client chooses its failure by the name of the model, since that is what every SDK
lets a program send: ``fail-429`` is refused for its rate, any name that does not
begin with ``fail-`` is answered.  The bodies are shaped as OpenAI and as Anthropic
shape theirs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, Literal

Provider = Literal["openai", "anthropic"]

OPENAI: Final = "openai"
ANTHROPIC: Final = "anthropic"

PATHS: Final[dict[str, Provider]] = {
    "/v1/chat/completions": OPENAI,
    "/v1/messages": ANTHROPIC,
}
REQUEST_ID_HEADERS: Final[dict[Provider, str]] = {
    OPENAI: "x-request-id",
    ANTHROPIC: "request-id",
}

FAIL_PREFIX: Final = "fail-"
TRUNCATED: Final = "fail-truncated"
SILENT: Final = "fail-silent"
DROPPED: Final = "fail-dropped"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A status that a provider answers with, and what it says."""

    status: int
    message: str
    openai_type: str
    openai_code: str | None
    anthropic_type: str
    retry_after: int | None = None
    """Seconds, for the ``Retry-After`` header; None sends no such header."""
    anthropic_status: int | None = None
    """Anthropic's status and message, where they are other ones."""
    anthropic_message: str | None = None

    def status_of(self, provider: Provider) -> int:
        """Return the status that *provider* answers with."""
        if provider == ANTHROPIC and self.anthropic_status is not None:
            return self.anthropic_status
        return self.status

    def body(self, provider: Provider, request_id: str) -> dict[str, Any]:
        """Return the error object as *provider* shapes it."""
        if provider == OPENAI:
            error = {
                "message": self.message,
                "type": self.openai_type,
                "param": None,
                "code": self.openai_code,
            }
            return {"error": error}
        message = self.anthropic_message or self.message
        error = {"type": self.anthropic_type, "message": message}
        return {"type": "error", "error": error, "request_id": request_id}


REFUSALS: Final = {
    "fail-401": Refusal(
        401,
        "Incorrect API key provided.",
        "invalid_request_error",
        "invalid_api_key",
        "authentication_error",
    ),
    "fail-429": Refusal(
        429,
        "Rate limit reached: 3 requests per minute. Try again in 1 s.",
        "requests",
        "rate_limit_exceeded",
        "rate_limit_error",
        retry_after=1,
    ),
    "fail-500": Refusal(
        500,
        "The server had an error while processing your request.",
        "server_error",
        None,
        "api_error",
    ),
}

FAILING_MODELS: Final = (*REFUSALS, TRUNCATED, SILENT, DROPPED)
"""Each model name that makes the server fail, in one way each."""

RARER_REFUSALS: Final = {
    "fail-quota": Refusal(
        429,
        "You exceeded your current quota, please check your plan and billing details.",
        "insufficient_quota",
        "insufficient_quota",
        "billing_error",
        anthropic_status=402,
    ),
    "fail-context-length": Refusal(
        400,
        "This model's maximum context length is 8192 tokens.",
        "invalid_request_error",
        "context_length_exceeded",
        "invalid_request_error",
        anthropic_message="prompt is too long: 208656 tokens > 200000 maximum",
    ),
    "fail-content-filter": Refusal(
        400,
        "The response was filtered due to the prompt.",
        "invalid_request_error",
        "content_filter",
        "invalid_request_error",
        anthropic_message="Output blocked by content filtering policy",
    ),
    "fail-overloaded": Refusal(
        503,
        "The engine is currently overloaded, please try again later.",
        "server_error",
        "server_is_overloaded",
        "overloaded_error",
        anthropic_status=529,
        anthropic_message="Overloaded",
    ),
}
"""Refusals that the demo's rounds leave out; asked for in the same way."""
CUT: Final = "fail-cut"
CUT_BY_ERROR: Final = "fail-cut-by-error"
RARER_MODELS: Final = (*RARER_REFUSALS, CUT, CUT_BY_ERROR)
"""The model names that the demo's rounds leave out."""


def bad_request(message: str) -> Refusal:
    """Return the refusal of a request that is no request of this provider."""
    return Refusal(400, message, "invalid_request_error", None, "invalid_request_error")


def not_found(message: str) -> Refusal:
    """Return the refusal of a path or a model that there is not."""
    return Refusal(
        404, message, "invalid_request_error", "model_not_found", "not_found_error"
    )


def completion(provider: Provider, model: str, request_id: str) -> dict[str, Any]:
    """Return a successful answer as *provider* shapes it."""
    if provider == OPENAI:
        return {
            "id": f"chatcmpl-{request_id}",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": model,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "All is well."},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13},
        }
    return {
        "id": f"msg_{request_id}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": "All is well."}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 9, "output_tokens": 4},
    }


def stream_begin(provider: Provider, model: str, request_id: str) -> bytes:
    """Return how a streamed answer begins, as *provider* shapes it."""
    if provider == OPENAI:
        chunk = completion(provider, model, request_id) | {
            "object": "chat.completion.chunk",
            "choices": [
                {"index": 0, "delta": {"content": "All"}, "finish_reason": None}
            ],
        }
        return b"data: %b\n\n" % json.dumps(chunk).encode()
    message = completion(provider, model, request_id) | {"content": []}
    start = json.dumps({"type": "message_start", "message": message})
    return b"event: message_start\ndata: %b\n\n" % start.encode()


def stream_error(provider: Provider, request_id: str) -> bytes:
    """Return an error in the middle of a stream, whose status was 200."""
    body = RARER_REFUSALS["fail-overloaded"].body(provider, request_id)
    event = b"event: error\n" if provider == ANTHROPIC else b""
    return event + b"data: %b\n\n" % json.dumps(body).encode()


__all__ = [
    "ANTHROPIC",
    "CUT",
    "CUT_BY_ERROR",
    "DROPPED",
    "FAILING_MODELS",
    "FAIL_PREFIX",
    "OPENAI",
    "PATHS",
    "RARER_MODELS",
    "RARER_REFUSALS",
    "REFUSALS",
    "REQUEST_ID_HEADERS",
    "SILENT",
    "TRUNCATED",
    "Provider",
    "Refusal",
    "bad_request",
    "completion",
    "not_found",
    "stream_begin",
    "stream_error",
]
