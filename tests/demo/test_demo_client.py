"""The demo's client: each failure has its own type, and its real cause."""

from __future__ import annotations

import http.client
import json
import socket
import urllib.error
from typing import TYPE_CHECKING

import pytest

from tokenpak.demo.client import (
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    InternalServerError,
    InvalidResponseError,
    ProviderError,
    RateLimitError,
    complete,
)
from tokenpak.demo.failures import FAILING_MODELS, Provider
from tokenpak.demo.server import ProviderServer, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

PROVIDERS: list[Provider] = ["openai", "anthropic"]
EXPECTED: dict[str, tuple[type[ProviderError], type[BaseException]]] = {
    "fail-401": (AuthenticationError, urllib.error.HTTPError),
    "fail-429": (RateLimitError, urllib.error.HTTPError),
    "fail-500": (InternalServerError, urllib.error.HTTPError),
    "fail-truncated": (InvalidResponseError, json.JSONDecodeError),
    "fail-silent": (APITimeoutError, TimeoutError),
    "fail-dropped": (APIConnectionError, http.client.RemoteDisconnected),
}


@pytest.fixture(scope="module")
def server() -> Iterator[ProviderServer]:
    with serving() as running:
        yield running


def fail(url: str, provider: Provider, model: str) -> ProviderError:
    timeout = 0.05 if model == "fail-silent" else 30.0
    with pytest.raises(ProviderError) as caught:
        complete(url, provider, model, "Is all well?", timeout=timeout)
    return caught.value


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_answer_is_text_with_the_providers_request_id(
    server: ProviderServer, provider: Provider
) -> None:
    """Both shapes of answer are understood."""
    reply = complete(server.url, provider, "gpt-4", "Is all well?", timeout=30)

    assert reply.text == "All is well."
    assert reply.request_id is not None


@pytest.mark.parametrize("model", FAILING_MODELS)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_each_failure_has_a_type_and_its_cause(
    server: ProviderServer, provider: Provider, model: str
) -> None:
    """The cause is what the standard library raised, not a copy of its text."""
    error = fail(server.url, provider, model)

    assert (type(error), type(error.__cause__)) == EXPECTED[model]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_rate_limit_carries_what_the_provider_said(
    server: ProviderServer, provider: Provider
) -> None:
    """Status, request id and the time to wait, for the context of the record."""
    error = fail(server.url, provider, "fail-429")

    assert error.status == 429
    assert error.retry_after == 1.0
    assert error.request_id is not None
    assert "Rate limit" in str(error)


def test_an_unknown_model_is_an_error_without_a_type_of_its_own(
    server: ProviderServer,
) -> None:
    """A status that nobody thought of is no reason for another exception."""
    error = fail(server.url, "openai", "fail-unknown")

    assert type(error) is ProviderError
    assert error.status == 404
    assert error.retry_after is None


def test_a_server_that_is_not_there_is_a_failed_connection() -> None:
    """Nobody listens on the port, and nobody else can have it meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        error = fail(url, "openai", "gpt-4")

    assert type(error) is APIConnectionError
    assert isinstance(error.__cause__, urllib.error.URLError)


def test_proxies_of_the_environment_are_not_asked(
    server: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The demo works behind a proxy that knows nothing of this machine's ports."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    reply = complete(server.url, "openai", "gpt-4", "Is all well?", timeout=30)

    assert reply.text == "All is well."
