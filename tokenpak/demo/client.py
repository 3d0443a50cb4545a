"""
A client of LLM providers from the standard library, with the failures SDKs have.

complete() returns a Reply or raises a ProviderError whose ``__cause__`` is what
``urllib``, ``http.client``, ``json`` or the socket really raised.  It never retries:
each failure is to be seen.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any, Final

from tokenpak.demo.failures import OPENAI, PATHS, REQUEST_ID_HEADERS, Provider

_PATH_OF: Final = {provider: path for path, provider in PATHS.items()}


class ProviderError(Exception):
    """
    A call of a provider failed.

    Attributes:
        status: the HTTP status, or None if no whole answer came.
        request_id: the provider's own id of the request, if it sent one.
        retry_after: seconds, as the provider asked for, or None.

    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after


class AuthenticationError(ProviderError):
    """The key was refused (401)."""


class RateLimitError(ProviderError):
    """Too many requests (429)."""


class InternalServerError(ProviderError):
    """The provider itself failed (5xx)."""


class InvalidResponseError(ProviderError):
    """The answer was not what the provider promises, such as half of its JSON."""


class APITimeoutError(ProviderError):
    """No answer in time."""


class APIConnectionError(ProviderError):
    """The connection could not be had, or was lost."""


_STATUS_ERRORS: Final = {401: AuthenticationError, 429: RateLimitError}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its text, and the provider's own id of the request."""

    text: str
    request_id: str | None


def complete(
    base_url: str, provider: Provider, model: str, prompt: str, *, timeout: float
) -> Reply:
    """
    Ask *model* of *provider* at *base_url*; wait for *timeout* seconds at most.

    Raises:
        ProviderError: one of its subclasses, by what went wrong.

    """
    request = _make_request(base_url, provider, model, prompt)
    # No proxy, whatever the environment says: the server is on loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    header = REQUEST_ID_HEADERS[provider]
    try:
        with opener.open(request, timeout=timeout) as response:
            request_id = response.headers.get(header)
            body = response.read()
    except urllib.error.HTTPError as error:
        with error:
            answer = error.read()
        raise _status_error(error, error.headers.get(header), answer) from error
    except TimeoutError as error:
        raise APITimeoutError(f"No answer from {provider} in {timeout} s.") from error
    except (OSError, http.client.HTTPException) as error:
        raise APIConnectionError(f"Connection to {provider} failed.") from error
    try:
        return Reply(_text_of(provider, json.loads(body)), request_id)
    except (ValueError, LookupError, TypeError) as error:
        raise InvalidResponseError(
            f"{provider} sent {len(body)} bytes that are no completion.",
            status=200,
            request_id=request_id,
        ) from error


def _make_request(
    base_url: str, provider: Provider, model: str, prompt: str
) -> urllib.request.Request:
    body = {
        "model": model,
        "max_tokens": 100,
        "messages": [{"role": "user", "content": prompt}],
    }
    headers = {"content-type": "application/json"}
    if provider == OPENAI:
        headers["authorization"] = "Bearer demo"
    else:
        headers |= {"x-api-key": "demo", "anthropic-version": "2023-06-01"}
    return urllib.request.Request(  # the caller's URL is http://127.0.0.1
        base_url + _PATH_OF[provider], json.dumps(body).encode(), headers
    )


def _status_error(
    error: urllib.error.HTTPError, request_id: str | None, answer: bytes
) -> ProviderError:
    default = InternalServerError if error.code >= 500 else ProviderError
    try:
        message = json.loads(answer)["error"]["message"]
    except (ValueError, LookupError, TypeError):
        message = error.reason
    try:
        retry_after = float(error.headers["retry-after"])
    except (TypeError, ValueError):  # not sent, or a date
        retry_after = None
    return _STATUS_ERRORS.get(error.code, default)(
        f"{error.code}: {message}",
        status=error.code,
        request_id=request_id,
        retry_after=retry_after,
    )


def _text_of(provider: Provider, answer: Any) -> str:
    if provider == OPENAI:
        return str(answer["choices"][0]["message"]["content"])
    return str(answer["content"][0]["text"])


__all__ = [
    "APIConnectionError",
    "APITimeoutError",
    "AuthenticationError",
    "InternalServerError",
    "InvalidResponseError",
    "ProviderError",
    "RateLimitError",
    "Reply",
    "complete",
]
