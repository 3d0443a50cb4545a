"""What an exception itself knows goes into the context: whose, when, and when not."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.capture.odd_things import OddMapping, OwnText
from tests.capture.strict_line import ERROR_FIELDS, strictly
from tokenpak.telemetry.capture.encode import Encoder
from tokenpak.telemetry.capture.fact_table import CLASSES, CODES, KINDS, STATUSES
from tokenpak.telemetry.capture.facts import KEYS, MAX_LINKS, describe
from tokenpak.telemetry.error_logger import ErrorLogger


def make_class(
    module: str, name: str = "APIStatusError", *bases: type[BaseException]
) -> type[Any]:
    """Return an exception class that seems to come from *module*."""

    def init(self: Any, message: str = "no", **attributes: Any) -> None:
        Exception.__init__(self, message)
        self.message = message
        for key, value in attributes.items():
            setattr(self, key, value)

    return type(name, bases or (Exception,), {"__module__": module, "__init__": init})


class Response:
    """What requests and httpx hand out; its body must not be touched."""

    def __init__(self, status: int, **headers: str) -> None:
        self.status_code = status
        self.headers = {k.replace("_", "-"): v for k, v in headers.items()}

    def __bool__(self) -> bool:
        return self.status_code < 400  # as a requests.Response

    def _body(self) -> Any:
        raise AssertionError("the body was read")

    text = content = property(_body)

    def json(self) -> Any:
        return self._body()

    read = json


StatusError = make_class("openai")


def refused(**more: Any) -> Exception:
    response = Response(429, x_request_id="req_1", retry_after="1.5")
    error: Exception = StatusError("slow", response=response, status_code=429, **more)
    return error


FACTS = {
    "status_code": 429,
    "provider_request_id": "req_1",
    "retry_after": 1.5,
    "kind": "rate_limit",
}


def context_of(
    error: object, context: object = None, encoder: Encoder | None = None
) -> dict[str, Any]:
    """Return the context of the record, which is the same on all roads."""
    encoder = encoder or Encoder(32_000)
    several = [
        strictly(encoder.error("r", error, context), ERROR_FIELDS) for _ in range(3)
    ]
    assert all(r["context"] == several[0]["context"] for r in several)
    assert all(r["stack_trace"] == several[0]["stack_trace"] for r in several)
    found: dict[str, Any] = several[0]["context"]
    return found


def raised_from(error: BaseException, *causes: BaseException) -> BaseException:
    top = error
    for cause in causes:
        try:
            raise error from cause
        except BaseException:
            error = cause
    return top


def test_c1_what_the_exception_knows_is_in_the_context() -> None:
    """With no context, and beside what the caller gave, which comes first."""
    assert describe(refused()) == FACTS
    assert context_of(refused()) == FACTS
    assert context_of(refused(), {}) == FACTS
    assert list(context_of(refused(), {"model": "gpt-4"}).items()) == [
        ("model", "gpt-4"),
        *FACTS.items(),
    ]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("value", ["mine", None, 0])
def test_what_the_caller_says_wins(key: str, value: object) -> None:
    """Also where it is None, and also on the careful encoder's road."""
    for odd in ({}, {"big": 2**70}):
        found = context_of(refused(), {key: value, **odd})

        assert found[key] == value
        assert {k: v for k, v in found.items() if k in KEYS and k != key} == {
            k: v for k, v in FACTS.items() if k != key
        }


def test_c2_the_callers_context_is_not_changed() -> None:
    """It belongs to the caller."""
    context = {"model": "gpt-4"}
    context_of(refused(), context)

    assert context == {"model": "gpt-4"}


@pytest.mark.parametrize("context", [OddMapping(), [1], "text", 5, {"a": 2**70}])
def test_c1_an_odd_context_has_the_facts_too(context: object) -> None:
    """Whatever was passed, the careful encoder makes a dict of it first."""
    assert FACTS.items() <= context_of(refused(), context).items()


def test_a_logger_can_be_told_to_leave_it(
    make_logger: Callable[..., ErrorLogger], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the setting, as an argument or in the environment, on both roads."""
    assert context_of(refused(), {"a": 1}, Encoder(32_000, facts=False)) == {"a": 1}
    assert context_of(refused(), [1], Encoder(32_000, facts=False)) == {"value": [1]}

    monkeypatch.setenv("TOKENPAK_EXCEPTION_FACTS", "no")
    assert make_logger().settings.exception_facts is False
    assert make_logger(exception_facts=True).settings.exception_facts is True
    monkeypatch.delenv("TOKENPAK_EXCEPTION_FACTS")
    assert make_logger().settings.exception_facts is True


def test_other_exceptions_have_none() -> None:
    """An attribute of the same name is not enough; nor is a name that begins alike."""
    for module in ("mine", "openai_like", "myopenai.openai", "builtins"):
        error = make_class(module)(status_code=429)

        assert describe(error) == {}
        assert context_of(error) == {}
    assert describe(KeyError("x")) == {}


def test_a_class_of_ones_own_that_derives_from_an_sdks_knows() -> None:
    """As those of wrappers around several SDKs do."""
    mine = make_class("mine", "MyRateLimitError", StatusError)

    assert context_of(mine(response=Response(429), status_code=429)) == {
        "status_code": 429,
        "kind": "rate_limit",
    }


def test_what_an_exception_was_raised_from_counts_too() -> None:
    """An application's own error, on the first record and on the next ones."""
    encoder = Encoder(32_000)

    for links in range(1, MAX_LINKS):
        between = [RuntimeError(str(n)) for n in range(links - 1)]
        error = raised_from(ValueError("mine"), *between, refused())
        assert context_of(error, {"a": 1}, encoder) == {"a": 1, **FACTS}

    # And the same class without such a cause has none.
    assert context_of(ValueError("mine"), {"a": 1}, encoder) == {"a": 1}


def test_causes_are_followed_for_a_bounded_number_of_links() -> None:
    """A chain may be long, or a circle."""
    far = [RuntimeError(str(n)) for n in range(MAX_LINKS)]
    assert describe(raised_from(ValueError(), *far, refused())) == {}

    circle = ValueError("x")
    circle.__cause__ = KeyError("y")
    circle.__cause__.__cause__ = circle
    assert describe(circle) == {}
    assert context_of(circle) == {}


def test_what_only_happened_before_does_not_count() -> None:
    """A failure while another one was handled is another failure."""
    error = KeyError("a bug in the handler")
    with pytest.raises(KeyError):
        try:
            raise refused()
        except Exception:
            raise error  # noqa: B904

    assert error.__context__ is not None
    assert context_of(error) == {}


def test_what_is_nearer_to_the_top_counts() -> None:
    """But for a mere "connection", of which the cause may know more."""
    lower = StatusError(status_code=500, request_id="req_2", code="slow_down")
    upper = StatusError(status_code=429)
    assert describe(raised_from(upper, lower)) == {
        "status_code": 429,
        "kind": "rate_limit",
        "provider_request_id": "req_2",
    }

    for cause, kind in (
        (make_class("httpx", "TimeoutException"), "timeout"),
        (make_class("httpx", "TransportError"), "connection"),
    ):
        error = raised_from(make_class("openai", "APIConnectionError")(), cause())
        assert describe(error) == {"kind": kind}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "2"}, 2.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "later"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "Wed, 99 Oct 99999 07:28:00 GMT"}, None),
        ({"retry-after": b"7"}, None),
        ({}, None),
    ],
)
def test_the_wait_is_seconds_or_nothing(
    headers: dict[str, Any], seconds: float | None
) -> None:
    """What makes no sense is left out, and harms nothing else."""
    response = Response(503)
    response.headers = headers
    found = describe(StatusError(response=response))

    assert found.pop("retry_after", None) == seconds
    assert found == {"status_code": 503, "kind": "overloaded"}


def test_a_date_is_as_many_seconds_away_as_the_clock_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """HTTP allows a date in place of seconds."""
    now = 1_774_373_722.0
    monkeypatch.setattr(time, "time", lambda: now)
    response = Response(429, retry_after=formatdate(now + 90, usegmt=True))

    assert describe(StatusError(response=response))["retry_after"] == 90.0


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        ({"status_code": 400}, "bad_request"),
        ({"status_code": 404}, "bad_request"),
        ({"status_code": 422}, "bad_request"),
        ({"status_code": 500}, "server_error"),
        ({"status_code": 502}, "server_error"),
        ({"status_code": 503, "code": "server_error"}, "overloaded"),
        ({"status_code": 200, "type": "server_error"}, "server_error"),
        ({"status_code": 600}, None),
        ({"status_code": 200}, None),
        ({"status_code": 429, "code": "insufficient_quota"}, "quota"),
        ({"status_code": 429, "type": "insufficient_quota"}, "quota"),
        ({"status_code": 429, "code": "something_new"}, "rate_limit"),
        ({"status_code": 400, "code": "content_filter"}, "content_filter"),
        ({"status_code": 400, "message": "A maximum context length"}, "context_length"),
        ({"status_code": 500, "message": "maximum context length"}, "server_error"),
        ({"status_code": 429, "message": "maximum context length"}, "rate_limit"),
        *[({"status_code": status}, kind) for status, kind in STATUSES.items()],
    ],
)
def test_the_kind_is_the_most_exact_that_is_known(
    attributes: dict[str, Any], kind: str | None
) -> None:
    """First the provider's code, then class, then text if only "wrong", then status."""
    assert describe(StatusError(**attributes)).get("kind") == kind


@pytest.mark.parametrize(
    ("family", "name", "kind"),
    [(f, name, kind) for f, names in CLASSES.items() for name, kind in names.items()],
)
def test_a_class_alone_can_tell_the_kind(family: str, name: str, kind: str) -> None:
    """Where there was no answer; also for what derives from it."""
    cls = make_class(f"{family}.exceptions", name)

    assert describe(cls()) == {"kind": kind}
    assert describe(make_class("mine", "Mine", cls)()) == {"kind": kind}


def test_each_kind_is_one_that_is_documented() -> None:
    """The tables hold no other word."""
    told = {*CODES.values(), *STATUSES.values()}
    told.update(kind for names in CLASSES.values() for kind in names.values())

    assert told <= set(KINDS)
    assert all(code == code.lower() for code in CODES)


def _aws(code: str, message: str = "no", **about: Any) -> BaseException:
    error: BaseException = make_class("botocore.errorfactory", "ClientError")(
        response={
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": about,
        }
    )
    return error


def test_aws_answers_are_dicts() -> None:
    """Status, id and headers are in them; codes have an ending, and two spellings."""
    throttled = _aws(
        "ThrottlingException",
        HTTPStatusCode=429,
        RequestId="aws-1",
        HTTPHeaders={"retry-after": "3"},
    )

    assert describe(throttled) == {
        "status_code": 429,
        "provider_request_id": "aws-1",
        "retry_after": 3.0,
        "kind": "rate_limit",
    }
    # In a stream of events they begin with a small letter.
    assert describe(_aws("throttlingException")) == {"kind": "rate_limit"}
    assert describe(_aws("ServiceQuotaExceededException"))["kind"] == "quota"
    assert describe(
        _aws("ValidationException", "Input is too long", HTTPStatusCode=400)
    ) == {"status_code": 400, "kind": "context_length"}
    assert describe(_aws("InternalServerException", HTTPStatusCode=500)) == {
        "status_code": 500,
        "kind": "server_error",
    }


def test_google_says_it_in_its_body() -> None:
    """The wait and the reason are in the details, as dicts."""
    genai = make_class("google.genai.errors", "ClientError")
    details = [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure"},
        {"retryDelay": "34.5s"},
    ]
    slow = genai(
        code=429,
        status="RESOURCE_EXHAUSTED",
        details={"error": {"code": 429, "details": details}},
    )
    denied = genai(
        code=400,
        status="INVALID_ARGUMENT",
        details={"error": {"details": [{"reason": "API_KEY_INVALID"}]}},
    )

    assert describe(slow) == {
        "status_code": 429,
        "retry_after": 34.5,
        "kind": "rate_limit",
    }
    assert describe(denied) == {"status_code": 400, "kind": "auth"}


def test_requests_has_one_class_for_what_breaks_while_reading() -> None:
    """A time-out there is a ConnectionError around urllib3's own."""
    slow = make_class("urllib3.exceptions", "ReadTimeoutError")()
    error = make_class("requests.exceptions", "ConnectionError")
    timed_out = error()
    timed_out.args = (slow,)

    assert describe(timed_out) == {"kind": "timeout"}
    assert describe(error("x")) == {"kind": "connection"}


NAMES = [
    *("response", "body", "code", "type", "status", "status_code", "request_id"),
    *("details", "message", "headers"),
]
ODD_VALUES: list[Any] = [
    OwnText(),
    object(),
    "",
    "x" * 10_000,
    b"x",
    True,
    -1,
    10**30,
    1.5,
    [],
    {},
    {"Error": OwnText(), "ResponseMetadata": 5},
    {"error": {"type": OwnText(), "details": [OwnText()]}},
    Response(429),
]


@pytest.mark.parametrize(
    "module", ["openai", "anthropic", "botocore", "google", "httpx"]
)
@given(
    attributes=st.dictionaries(
        st.sampled_from(NAMES),
        st.sampled_from(ODD_VALUES),
    )
)
def test_c1_odd_attributes_make_one_line(
    module: str, attributes: Mapping[str, Any]
) -> None:
    """Whatever an SDK may put there one day, the rest of the record is as always."""
    error = make_class(module, "Odd")("no")
    vars(error).update(attributes)

    found = context_of(error, {"model": "gpt-4"})

    assert found["model"] == "gpt-4"
    assert set(found) <= {"model", *KEYS}
    assert len(str(found)) < 1_000


def test_c1_attributes_that_raise_are_as_good_as_none() -> None:
    """Properties, a headers object, a cause."""

    def fail(*_: object) -> Any:
        raise RuntimeError("no")

    for name in ("response", "status_code", "request_id", "code", "__cause__"):
        cls = type("E", (Exception,), {"__module__": "openai", name: property(fail)})
        assert set(context_of(cls("x"), {"a": 1})) <= {"a", *KEYS}

    class Headers:
        get = fail

    response = Response(429)
    response.headers = Headers()  # type: ignore[assignment]
    assert context_of(StatusError(response=response), {"a": 1}) == {"a": 1}


def test_c1_a_metaclass_with_its_own_ideas_is_no_harm() -> None:
    """Its classes are equal to others, have no hash, or hide their module."""

    class Odd(type):
        def __eq__(cls, other: object) -> bool:
            return True

        def __hash__(cls) -> int:
            return 1

        @property
        def __module__(cls) -> str:  # type: ignore[override]
            raise RuntimeError

    odd = Odd("Odd", (Exception,), {})
    assert describe(odd("x")) == {}
    assert describe(refused()) == FACTS
    assert context_of(odd("x"), {"a": 1}) == {"a": 1}


def test_c3_the_stack_trace_is_the_same_with_facts_and_without() -> None:
    """The first record of a class that is raised from such takes another road."""
    error = raised_from(ValueError("mine"), refused())
    with_facts, without = Encoder(32_000), Encoder(32_000, facts=False)

    traces = {
        strictly(encoder.error("r", error, None), ERROR_FIELDS)["stack_trace"]
        for encoder in (with_facts, without, with_facts, without)
    }

    assert len(traces) == 1
