"""The demo's server: it fails as providers do, and stops without a trace."""

from __future__ import annotations

import http.client
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tokenpak.demo.failures import FAILING_MODELS, REFUSALS
from tokenpak.demo.server import ProviderServer, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

PROVIDERS = [
    ("/v1/chat/completions", "x-request-id"),
    ("/v1/messages", "request-id"),
]


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with serving() as running:
        yield running


@pytest.fixture
def connection(server: ProviderServer) -> Iterator[http.client.HTTPConnection]:
    host, port = server.server_address[:2]
    connection = http.client.HTTPConnection(str(host), port, timeout=30)
    yield connection
    connection.close()


def post(
    connection: http.client.HTTPConnection, path: str, body: Any
) -> http.client.HTTPResponse:
    text = body if isinstance(body, str) else json.dumps(body)
    connection.request("POST", path, text, {"content-type": "application/json"})
    return connection.getresponse()


@pytest.mark.parametrize(("path", "header"), PROVIDERS)
def test_a_model_that_works_is_answered_with_a_request_id(
    connection: http.client.HTTPConnection, path: str, header: str
) -> None:
    """The answer names the model, and each answer has an id of its own."""
    first = post(connection, path, {"model": "gpt-4"})
    answer = json.loads(first.read())
    second = post(connection, path, {"model": "gpt-4"})
    second.read()

    assert first.status == 200
    assert answer["model"] == "gpt-4"
    assert first.headers[header]
    assert first.headers[header] != second.headers[header]


@pytest.mark.parametrize("model", REFUSALS)
@pytest.mark.parametrize(("path", "header"), PROVIDERS)
def test_a_refusal_has_the_status_that_the_model_asks_for(
    connection: http.client.HTTPConnection, path: str, header: str, model: str
) -> None:
    """The status is the number in the model's name; the body has an error."""
    response = post(connection, path, {"model": model})
    answer = json.loads(response.read())

    assert response.status == int(model.removeprefix("fail-"))
    assert answer["error"]["message"] == REFUSALS[model].message
    assert response.headers[header]


def test_errors_are_shaped_as_each_provider_shapes_them(
    connection: http.client.HTTPConnection,
) -> None:
    """OpenAI's have a code, Anthropic's a type around them and the request's id."""
    (openai, _), (anthropic, header) = PROVIDERS
    response = post(connection, openai, {"model": "fail-429"})
    of_openai = json.loads(response.read())
    response = post(connection, anthropic, {"model": "fail-429"})
    of_anthropic = json.loads(response.read())

    assert of_openai["error"]["code"] == "rate_limit_exceeded"
    assert of_openai.keys() == {"error"}
    assert of_anthropic["type"] == "error"
    assert of_anthropic["error"]["type"] == "rate_limit_error"
    assert of_anthropic["request_id"] == response.headers[header]


@pytest.mark.parametrize("model", REFUSALS)
def test_only_a_rate_limit_says_when_to_retry(
    connection: http.client.HTTPConnection, model: str
) -> None:
    """429 has a Retry-After of a second, the others none."""
    response = post(connection, "/v1/messages", {"model": model})
    response.read()

    assert response.headers["retry-after"] == ("1" if model == "fail-429" else None)


@pytest.mark.parametrize(("path", "header"), PROVIDERS)
def test_a_truncated_answer_is_whole_http_and_half_a_json_object(
    connection: http.client.HTTPConnection, path: str, header: str
) -> None:
    """Status, length and id are right; only the JSON is cut."""
    response = post(connection, path, {"model": "fail-truncated"})
    body = response.read()

    assert response.status == 200
    assert response.headers[header]
    assert len(body) == int(response.headers["content-length"])
    assert body.startswith(b"{")
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)


def test_a_silent_model_never_answers(server: ProviderServer) -> None:
    """The client's own timeout ends the call."""
    host, port = server.server_address[:2]
    connection = http.client.HTTPConnection(str(host), port, timeout=0.05)
    try:
        with pytest.raises(TimeoutError):
            post(connection, "/v1/messages", {"model": "fail-silent"})
    finally:
        connection.close()


def test_a_dropped_connection_ends_without_an_answer(
    connection: http.client.HTTPConnection,
) -> None:
    """The client sees that the other side has closed."""
    with pytest.raises(http.client.RemoteDisconnected):
        post(connection, "/v1/messages", {"model": "fail-dropped"})


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/messages", "no json", 400),
        ("/v1/messages", [], 400),
        ("/v1/messages", {}, 400),
        ("/v1/messages", {"model": 4}, 400),
        ("/v1/chat/completions", "", 400),
        ("/v1/nothing", {"model": "gpt-4"}, 404),
        ("/v1/messages", {"model": "fail-unknown"}, 404),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(
    connection: http.client.HTTPConnection, path: str, body: Any, status: int
) -> None:
    """What is no request of a provider gets a 4xx with an error in JSON."""
    response = post(connection, path, body)
    answer = json.loads(response.read())

    assert response.status == status
    assert answer["error"]["message"]


def test_a_connection_outlives_a_refusal(
    connection: http.client.HTTPConnection,
) -> None:
    """SDKs keep their connections; a 429 is no reason to lose one."""
    post(connection, "/v1/messages", {"model": "fail-429"}).read()
    sock = connection.sock
    response = post(connection, "/v1/messages", {"model": "claude-sonnet-4"})
    response.read()

    assert response.status == 200
    assert connection.sock is sock


def test_stopping_ends_all_connections_and_threads() -> None:
    """Also those of a client that still waits for an answer, or for its next call."""
    before = set(threading.enumerate())  # a count goes down when another's end
    with serving() as server:
        host, port = server.server_address[:2]
        idle = http.client.HTTPConnection(str(host), port, timeout=30)
        post(idle, "/v1/messages", {"model": "gpt-4"}).read()
        waiting = http.client.HTTPConnection(str(host), port, timeout=30)
        waiting.request("POST", "/v1/messages", '{"model": "fail-silent"}')

    assert set(threading.enumerate()) <= before
    with pytest.raises(ConnectionError):
        waiting.getresponse()
    idle.close()
    waiting.close()


def test_each_failing_model_is_named_as_one() -> None:
    """The docs' rule, that only names with this prefix fail, holds."""
    assert len(FAILING_MODELS) == len(set(FAILING_MODELS)) == 6
    assert all(model.startswith("fail-") for model in FAILING_MODELS)
