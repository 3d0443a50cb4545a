"""
What the exceptions of the real SDKs and HTTP libraries know.

They talk to the demo's server, which fails as providers do.  It does not speak as AWS
and Google do: the exceptions of their libraries are made by hand, of the real classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import anthropic
import httpx
import openai
import pytest
import requests

from tokenpak.demo.failures import CUT, CUT_BY_ERROR, FAILING_MODELS, RARER_MODELS
from tokenpak.demo.server import ProviderServer, serving
from tokenpak.telemetry.capture.facts import describe
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.read import iter_records

SHORT = 0.2
"""Seconds; only what never answers takes them."""
LONG = 60.0
MESSAGES: Any = [{"role": "user", "content": "Is all well?"}]

EXPECTED: dict[str, dict[str, dict[str, Any]]] = {
    # model: what all know, and what only one of the two knows
    "fail-401": {"": {"status_code": 401, "kind": "auth"}},
    "fail-429": {"": {"status_code": 429, "kind": "rate_limit", "retry_after": 1.0}},
    "fail-500": {"": {"status_code": 500, "kind": "server_error"}},
    "fail-silent": {"": {"kind": "timeout"}},
    "fail-dropped": {"": {"kind": "connection"}},
    "fail-quota": {
        "": {"kind": "quota"},
        "openai": {"status_code": 429},
        "anthropic": {"status_code": 402},
    },
    "fail-context-length": {"": {"status_code": 400, "kind": "context_length"}},
    "fail-content-filter": {"": {"status_code": 400, "kind": "content_filter"}},
    "fail-overloaded": {
        "": {"kind": "overloaded"},
        "openai": {"status_code": 503},
        "anthropic": {"status_code": 529},
    },
    CUT: {"": {"kind": "stream_cut"}},
}


@pytest.fixture(scope="module")
def server() -> Iterator[ProviderServer]:
    with serving() as running:
        yield running


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def _ask_openai(url: str, model: str, *, stream: bool) -> None:
    timeout = SHORT if model == "fail-silent" else LONG
    with openai.OpenAI(
        base_url=f"{url}/v1", api_key="demo", max_retries=0, timeout=timeout
    ) as client:
        answer: Any = client.chat.completions.create(
            model=model, messages=MESSAGES, stream=stream
        )
        list(answer)


def _ask_anthropic(url: str, model: str, *, stream: bool) -> None:
    timeout = SHORT if model == "fail-silent" else LONG
    with anthropic.Anthropic(
        base_url=url, api_key="demo", max_retries=0, timeout=timeout
    ) as client:
        answer: Any = client.messages.create(
            model=model, max_tokens=10, messages=MESSAGES, stream=stream
        )
        list(answer)


SDKS = {"openai": _ask_openai, "anthropic": _ask_anthropic}


def failure_of(call: Callable[..., object], *arguments: Any, **more: Any) -> Exception:
    try:
        call(*arguments, **more)
    except Exception as error:
        return error
    raise AssertionError("it did not fail")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("model", EXPECTED)
@pytest.mark.parametrize("sdk", SDKS)
def test_each_failure_of_an_sdk_is_told_apart(
    server: ProviderServer, sdk: str, model: str, stream: bool
) -> None:
    """Streaming or not; with the provider's id wherever there was an answer."""
    error = failure_of(SDKS[sdk], server.url, model, stream=stream)
    found = describe(error)

    request_id = found.pop("provider_request_id", None)
    assert found == EXPECTED[model][""] | EXPECTED[model].get(sdk, {})
    assert (request_id is not None) == ("status_code" in found)
    assert request_id is None or request_id.startswith("req_")


def test_all_that_the_server_can_do_is_tried() -> None:
    """But for half of a JSON object, of which the JSON library complains."""
    assert set(EXPECTED) | {"fail-truncated", CUT_BY_ERROR} == {
        *FAILING_MODELS,
        *RARER_MODELS,
    }


@pytest.mark.parametrize("sdk", SDKS)
def test_an_error_within_a_stream_is_what_it_says(
    server: ProviderServer, sdk: str
) -> None:
    """The status was 200 long before; the SDK says so if it knows it."""
    found = describe(failure_of(SDKS[sdk], server.url, CUT_BY_ERROR, stream=True))

    assert found["kind"] == "overloaded"
    assert found.get("status_code") == {"openai": None, "anthropic": 200}[sdk]


@pytest.mark.parametrize("sdk", SDKS)
def test_the_facts_are_in_the_log(
    server: ProviderServer, sdk: str, make_logger: Callable[..., ErrorLogger]
) -> None:
    """Of the SDK's error, and of the application's that was raised from it."""
    logger = make_logger()
    error = failure_of(SDKS[sdk], server.url, "fail-429", stream=False)
    own = RuntimeError("the report could not be written")
    own.__cause__ = error

    for number, one in enumerate([error, own, own]):
        logger.log_error(f"req-{number}", one, {"model": "fail-429"})
    assert logger.flush(100)

    contexts = [r["context"] for r in iter_records(logger.settings.log_dir)]  # type: ignore[index]
    assert contexts[0] == contexts[1] == contexts[2]
    assert contexts[0]["model"] == "fail-429"
    assert contexts[0]["kind"] == "rate_limit"
    assert contexts[0]["retry_after"] == 1.0
    assert contexts[0]["provider_request_id"].startswith("req_")


def _post_httpx(url: str, model: str, timeout: float) -> None:
    body = {"model": model}
    httpx.post(f"{url}/v1/messages", json=body, timeout=timeout).raise_for_status()


def _post_requests(url: str, model: str, timeout: float) -> None:
    body = {"model": model}
    with requests.Session() as session:
        session.trust_env = False
        with session.post(f"{url}/v1/messages", json=body, timeout=timeout) as response:
            response.raise_for_status()


HTTP = {"httpx": _post_httpx, "requests": _post_requests}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("fail-401", {"status_code": 401, "kind": "auth"}),
        ("fail-429", {"status_code": 429, "kind": "rate_limit", "retry_after": 1.0}),
        ("fail-500", {"status_code": 500, "kind": "server_error"}),
        ("fail-quota", {"status_code": 402, "kind": "quota"}),
        # Only the body would say more.
        ("fail-context-length", {"status_code": 400, "kind": "bad_request"}),
        ("fail-overloaded", {"status_code": 529, "kind": "overloaded"}),
        ("fail-silent", {"kind": "timeout"}),
        ("fail-dropped", {"kind": "connection"}),
        (CUT, {"kind": "stream_cut"}),
    ],
)
@pytest.mark.parametrize("library", HTTP)
def test_http_libraries_know_what_the_headers_say(
    server: ProviderServer, library: str, model: str, expected: dict[str, Any]
) -> None:
    """The same for both."""
    timeout = SHORT if model == "fail-silent" else LONG
    found = describe(failure_of(HTTP[library], server.url, model, timeout))

    assert (found.pop("provider_request_id", None) is None) == (
        "status_code" not in found
    )
    assert found == expected


@pytest.mark.parametrize("library", HTTP)
def test_nobody_listens(library: str) -> None:
    """A connection that is refused."""
    found = describe(failure_of(HTTP[library], "http://127.0.0.1:9", "gpt-4", LONG))

    assert found == {"kind": "connection"}


@pytest.mark.parametrize("library", HTTP)
def test_an_address_that_is_none(library: str) -> None:
    """No connection was tried."""
    found = describe(failure_of(HTTP[library], "nothing://x", "gpt-4", LONG))

    assert found == {"kind": "bad_request"}


def test_a_stream_that_nobody_has_read_stays_unread(server: ProviderServer) -> None:
    """The facts are those of the headers; the body is for whoever wants it."""
    with httpx.stream(
        "POST", f"{server.url}/v1/messages", json={"model": "fail-429"}
    ) as answer:
        found = describe(failure_of(answer.raise_for_status))

        assert found["kind"] == "rate_limit"
        assert not answer.is_stream_consumed
        assert b"rate_limit_error" in answer.read()

    with (
        requests.Session() as session,
        session.post(
            f"{server.url}/v1/messages", json={"model": "fail-429"}, stream=True
        ) as response,
    ):
        found = describe(failure_of(response.raise_for_status))

        assert found["kind"] == "rate_limit"
        assert response.raw.tell() == 0
        assert b"rate_limit_error" in response.content


def test_botocores_own_exceptions() -> None:
    """Where it is installed."""
    exceptions = pytest.importorskip("botocore.exceptions")
    answer = {
        "Error": {"Code": "ThrottlingException", "Message": "Too many tokens"},
        "ResponseMetadata": {
            "HTTPStatusCode": 429,
            "RequestId": "aws-1",
            "HTTPHeaders": {"retry-after": "2"},
        },
    }

    assert describe(exceptions.ClientError(answer, "Converse")) == {
        "status_code": 429,
        "provider_request_id": "aws-1",
        "retry_after": 2.0,
        "kind": "rate_limit",
    }
    for error, kind in (
        (exceptions.ReadTimeoutError(endpoint_url="x"), "timeout"),
        (exceptions.ConnectTimeoutError(endpoint_url="x", error="e"), "timeout"),
        (exceptions.EndpointConnectionError(endpoint_url="x"), "connection"),
        (exceptions.ConnectionClosedError(endpoint_url="x"), "connection"),
        (exceptions.ResponseStreamingError(error="e"), "stream_cut"),
        (exceptions.NoCredentialsError(), "auth"),
        (exceptions.ParamValidationError(report="r"), "bad_request"),
    ):
        assert describe(error) == {"kind": kind}


def test_googles_own_exceptions() -> None:
    """Where they are installed."""
    exceptions = pytest.importorskip("google.api_core.exceptions")
    wait = SimpleNamespace(retry_delay=SimpleNamespace(seconds=7, nanos=500_000_000))

    for error, found in (
        (
            exceptions.ResourceExhausted("slow", details=[wait]),
            {"status_code": 429, "kind": "rate_limit", "retry_after": 7.5},
        ),
        (
            exceptions.InvalidArgument("no"),
            {"status_code": 400, "kind": "bad_request"},
        ),
        (exceptions.Unauthenticated("no"), {"status_code": 401, "kind": "auth"}),
        (exceptions.DeadlineExceeded("no"), {"status_code": 504, "kind": "timeout"}),
        (
            exceptions.ServiceUnavailable("no"),
            {"status_code": 503, "kind": "overloaded"},
        ),
        (
            exceptions.InternalServerError("no"),
            {"status_code": 500, "kind": "server_error"},
        ),
        (exceptions.RetryError("no", None), {"kind": "timeout"}),
    ):
        assert describe(error) == found


def test_google_genais_own_exceptions() -> None:
    """Where it is installed."""
    errors = pytest.importorskip("google.genai.errors")
    body = {
        "error": {
            "code": 429,
            "status": "RESOURCE_EXHAUSTED",
            "message": "You exceeded your current quota",
            "details": [{"retryDelay": "34s"}],
        }
    }
    too_long = {
        "error": {
            "code": 400,
            "status": "INVALID_ARGUMENT",
            "message": "The input token count (9) exceeds the maximum number of tokens",
        }
    }

    assert describe(errors.ClientError(429, body)) == {
        "status_code": 429,
        "kind": "rate_limit",
        "retry_after": 34.0,
    }
    assert describe(errors.ClientError(400, too_long)) == {
        "status_code": 400,
        "kind": "context_length",
    }
