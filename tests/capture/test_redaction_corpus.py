"""No secret of the corpus is missed in any place of a record, and no more is taken."""

from __future__ import annotations

import collections
import dataclasses
import json
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.capture.secrets_corpus import HARMLESS, SECRETS, Secret
from tests.capture.strict_line import (
    ERROR_FIELDS,
    EVENT_FIELDS,
    raised_by,
    raising,
    strictly,
)
from tokenpak.telemetry.capture.encode import Encoder
from tokenpak.telemetry.capture.privacy.options import OPTION
from tokenpak.telemetry.capture.privacy.redactor import Redactor
from tokenpak.telemetry.capture.privacy.text import SCHEMES
from tokenpak.telemetry.capture.privacy.tokens import TOKENS

IDS = [f"{number}-{secret.rule}" for number, secret in enumerate(SECRETS)]


def redactor(**options: Any) -> Redactor:
    return Redactor("credentials", key=lambda: b"k" * 32, **options)


def encoder(limit: int = 100_000) -> Encoder:
    return Encoder(limit, redactor=redactor())


@dataclasses.dataclass
class Config:
    text: str


class OwnStr(str):
    """A subclass, which orjson is not given."""

    __slots__ = ()


class OtherNameError(NameError):
    """One whose traceback only Python itself can print."""


def chained(text: str) -> BaseException:
    try:
        try:
            raise ValueError(text)
        except ValueError as first:
            raise KeyError("outer") from first
    except KeyError as error:
        return error


def noted(text: str) -> BaseException:
    error = raising(ValueError("x"))
    error.add_note(text)
    return error


def group(text: str) -> BaseException:
    return raising(ExceptionGroup("several", [ValueError(text)]))


def source_line(text: str) -> BaseException:
    """Return an exception from a line of source code that holds *text*."""
    import linecache

    name = f"<made of {text!r}>"
    source = f"def fail(): x = {text!r}; raise ValueError('from source')\n"
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    namespace: dict[str, Any] = {}
    exec(compile(source, name.replace(text, "it"), "exec"), namespace)
    code = namespace["fail"].__code__
    linecache.cache[code.co_filename] = linecache.cache[name]
    try:
        namespace["fail"]()
    except ValueError as error:
        return error
    raise AssertionError


def plain() -> BaseException:
    return raising(ValueError("harmless"))


PLACES: dict[str, Callable[[str], tuple[object, object, object]]] = {
    "message": lambda t: ("req", raising(ValueError(t)), {"n": 1}),
    "message of a cause": lambda t: ("req", chained(t), {}),
    "note": lambda t: ("req", noted(t), {}),
    "message in a group": lambda t: ("req", group(t), {}),
    "message of a special class": lambda t: ("req", raising(OtherNameError(t)), {}),
    "request id": lambda t: (t, plain(), {}),
    "request id that is no str": lambda t: (OwnStr(t), plain(), {}),
    "value": lambda t: ("req", plain(), {"text": t, "n": 1}),
    "value of another kind": lambda t: ("req", plain(), {"text": OwnStr(t)}),
    "key": lambda t: ("req", plain(), {t: 1}),
    "nested": lambda t: ("req", plain(), {"a": [{"b": [1, {"c": t}]}]}),
    "nested key": lambda t: ("req", plain(), {"a": [{t: [1]}]}),
    "JSON": lambda t: ("req", plain(), {"body": json.dumps({"text": t})}),
    "JSON in JSON": lambda t: (
        "req",
        plain(),
        {"body": json.dumps({"inner": json.dumps({"text": t})})},
    ),
    "repr of bytes": lambda t: ("req", plain(), {"body": repr(t.encode())}),
    "repr after a newline": lambda t: ("req", plain(), {"b": repr(f"a\n{t}\n")}),
    "bytes": lambda t: ("req", plain(), {"body": t.encode()}),
    "set": lambda t: ("req", plain(), {"body": {t}}),
    "dataclass": lambda t: ("req", plain(), {"config": Config(t)}),
    "object": lambda t: ("req", plain(), {"x": collections.UserString(t)}),
    "context that is none": lambda t: ("req", plain(), t),
    "error that is none": lambda t: ("req", t, {}),
    "between other words": lambda t: ("req", plain(), {"text": f"saw {t} there"}),
    "in another script": lambda t: ("req", plain(), {"text": f"ключ {t} 鍵"}),
    "source line": lambda t: ("req", source_line(t), {}),
}


def shown_in(secret: Secret, line: bytes) -> bool:
    """Return whether *line* shows the secret, whatever escapes it is written with."""
    text = line.decode()
    for _ in range(4):
        if secret.secret in text:
            return True
        text = (
            text.replace("\\\\", "\\")
            .replace('\\"', '"')
            .replace("\\n", "\n")
            .replace("\\'", "'")
        )
    return False


@pytest.mark.parametrize("secret", SECRETS, ids=IDS)
def test_c1_a_secret_gets_into_no_place_of_a_line(secret: Secret) -> None:
    """The first time it is met, and each time after; and by the rule that knows it."""
    known = encoder()
    for place, make in PLACES.items():
        for _ in range(3):
            line = known.error(*make(secret.text))
            strictly(line, ERROR_FIELDS, 100_000)
            assert not shown_in(secret, line), place
            if not secret.rule.startswith(("named", "bearer", "basic", "url")):
                assert f"[redacted:{secret.rule}:".encode() in line, place


@pytest.mark.parametrize("secret", SECRETS, ids=IDS)
def test_c1_a_secret_gets_into_no_event(secret: Secret) -> None:
    """As its name, which is kept ready, as request id and in the context."""
    known = encoder()
    for _ in range(3):
        for event, request_id, context in (
            (secret.text, "req", {}),
            ("call", secret.text, {"n": 1}),
            ("call", "req", {"text": secret.text}),
            ("call", None, {"text": [secret.text]}),
            (" | ".join([secret.text] * 9), secret.text, {secret.text: secret.text}),
        ):
            line = known.event(event, request_id, context)
            strictly(line, EVENT_FIELDS, 100_000)
            assert not shown_in(secret, line)


def test_every_rule_has_a_secret_in_the_corpus() -> None:
    """A form that nobody tries is one that nobody knows to work."""
    assert {rule.name for rule in (*TOKENS, *SCHEMES, OPTION)} - {
        "huggingface_org"
    } == {secret.rule for secret in SECRETS} - {"named_secret"}
    assert len(SECRETS) >= 60
    assert len(HARMLESS) >= 60


def test_c3_what_only_looks_like_a_secret_stays() -> None:
    """At most two of them may be taken for one; at present it is none."""
    known, plain = encoder(), Encoder(100_000)
    wrong = []
    for text in HARMLESS:
        for place in ("message", "request id", "value", "key", "JSON", "note"):
            arguments = PLACES[place](text)
            line, other = known.error(*arguments), plain.error(*arguments)
            if line[40:] != other[40:]:
                wrong.append((text, place, line))

    assert wrong == []


def test_c3_a_stack_without_a_secret_is_as_python_prints_it() -> None:
    """What is no literal is no secret in a source line: password=self.password."""

    class Client:
        password = token = "harmless"

        def connect(self, password: str, api_key: str) -> None:
            raise ValueError(f"no {api_key}")

        def start(self) -> None:
            self.connect(password=self.password, api_key=self.token)

    known = encoder()
    for _ in range(3):
        error = raised_by(Client().start)
        record = orjson.loads(known.error("req", error, {}))
        assert "password=self.password, api_key=self.token" in record["stack_trace"]
        assert record["stack_trace"] == "".join(traceback.format_exception(error))


def test_c3_a_literal_in_a_source_line_is_replaced_and_nothing_else() -> None:
    """All the rest of the stack is as Python prints it."""

    def connect(password: str) -> None:
        raise ValueError(password[:1])

    known = encoder()
    for _ in range(3):
        error = raised_by(lambda: connect(password="hunter2"))
        stack = orjson.loads(known.error("req", error, {}))["stack_trace"]
        mark = redactor().text("password='hunter2'")[10:-1]
        printed = "".join(traceback.format_exception(error))
        assert 'password="hunter2"' in printed
        assert stack == printed.replace('"hunter2"', f'"{mark}"')


VALUES = st.recursive(
    st.text(min_size=1) | st.integers(min_value=1),
    lambda inner: (
        st.lists(inner, min_size=1) | st.dictionaries(st.text(), inner, min_size=1)
    ),
    max_leaves=5,
)


@pytest.mark.parametrize(
    "key",
    [
        "authorization",
        "Authorization",
        "proxy-authorization",
        "api_key",
        "apiKey",
        "X-Api-Key",
        "openai_api_key",
        "password",
        "PASSWORD",
        "db_password",
        "passwd",
        "pwd",
        "cookie",
        "Set-Cookie",
        "cookies",
        "secret",
        "client_secret",
        "aws_secret_access_key",
        "access_token",
        "refreshToken",
        "credentials",
        "private_key",
        "auth",
    ],
)
@given(value=VALUES)
def test_c1_what_a_secret_name_stands_for_is_replaced_whole(
    key: str, value: object
) -> None:
    """At any depth, whatever it is, but for nothing at all."""
    known = encoder()
    for context in ({key: value}, {"a": [{"b": {key: value, "c": 1}}]}):
        record = orjson.loads(known.error("req", plain(), context))
        inner = record["context"]
        inner = inner if key in inner else inner["a"][0]["b"]
        weak = "oken" in key or key == "credentials"
        if weak and isinstance(value, int) and value < 10_000_000:
            assert inner[key] == value
        else:
            assert inner[key].startswith("[redacted:")
        assert key in inner


@pytest.mark.parametrize("value", [None, True, "", [], {}])
def test_c2_a_secret_name_without_a_value_keeps_it(value: object) -> None:
    """That a password was None is what explains the failure."""
    assert orjson.loads(encoder().error("req", plain(), {"password": value}))[
        "context"
    ] == {"password": value}


def test_c1_of_a_huge_message_of_a_cause_only_the_ends_are_searched() -> None:
    """As of the exception's own: to search all of it would take seconds."""
    error = plain()
    error.__cause__ = ValueError("sk-" * 1_000_000)
    searched: list[int] = []

    def rule(text: str) -> str:
        searched.append(len(text))
        return text

    redactor = Redactor("credentials", {"own": rule}, key=lambda: b"k" * 32)
    line = Encoder(32_000, redactor=redactor).error("req", error, {})
    assert len(line) <= 32_000
    assert 0 < max(searched) < 200_000


@pytest.mark.parametrize("form", [list, tuple])
def test_c1_headers_as_a_list_of_pairs_are_headers(form: type) -> None:
    """As ASGI and most clients hold them; a table of other things is none."""
    headers = [
        form([b"x-api-key", b"hunter2"]),
        form(["Cookie", "s=hunter2"]),
        form(["accept", "text/html"]),
    ]
    context = {"headers": headers, "top": [form(["token", " the"]), form(["a", 1])]}
    for encoded in (context, {**context, "headers": headers[1:]}):
        line = encoder().error("req", plain(), encoded)
        assert b"hunter2" not in line
        shown = orjson.loads(line)["context"]
        assert shown["headers"][-1] == ["accept", "text/html"]
        assert shown["top"] == [["token", " the"], ["a", 1]]


def test_c1_headers_are_headers_also_where_some_are_left_out() -> None:
    """The remark that there are more is no pair, and half a one may be before it."""
    headers = [("authorization", "hunter2")] + [("accept", "x")] * 4_000
    known = encoder(2_000_000)
    ends = set()
    for room in range(4):
        context = {"set": {*range(room)}, "headers": headers}
        line = known.error("req", plain(), context)
        assert b"hunter2" not in line
        shown = orjson.loads(line)["context"]["headers"]
        assert shown.pop() == "<more values left out>"
        ends.add(tuple(shown[-1]))
    assert ("<more values left out>",) in ends


class Login(NamedTuple):
    """As in an application; JSON has no such thing."""

    user: str
    password: str


@pytest.mark.parametrize(
    "context",
    [
        {"login": Login("ann", "hunter2")},
        {"logins": [Login("ann", "hunter2")] * 3},
        {("db", "password"): "hunter2"},
        {"password:": "hunter2"},
        {b"password": "hunter2"},
        {"a": {b"x-api-key": ["hunter2"]}},
        {"api_key_2": "hunter2"},
        {"headers": [{"name": "x-api-key", "value": "hunter2"}]},
        {"env": [{"value": "hunter2", "name": "DB_PASSWORD", "n": 1}]},
        {"tag": {"key": "client_secret", "value": ["hunter2"]}},
    ],
    ids=str,
)
def test_c1_a_name_is_known_wherever_it_stands_beside_its_value(
    context: dict[Any, Any],
) -> None:
    """Of a tuple's item, in a tuple, with more behind it, as the value of ``name``."""
    known = encoder()
    for _ in range(3):
        for line in (
            known.error("req", plain(), context),
            known.error("req", plain(), {"deeper": [context]}),
            known.event("call", "req", context),
        ):
            assert b"hunter2" not in line
            assert b"[redacted:named_secret:" in line


def test_c2_a_value_beside_a_harmless_name_stays() -> None:
    context = {
        "a": {"name": "model", "value": "gpt-4"},
        "b": {"name": 7, "value": "seven"},
        "c": {"name": "password", "value": None, "type": "str"},
    }
    assert orjson.loads(encoder().error("req", plain(), context))["context"] == context


@pytest.mark.parametrize("key", ["eos_token", "stop_token"])
def test_c2_a_token_of_a_vocabulary_is_no_secret(key: str) -> None:
    context = {key: "<|endoftext|>", "pad_token": "<pad>", "mask_token": "[MASK]"}
    line = encoder().error("req", plain(), context)
    assert orjson.loads(line)["context"] == context


def test_the_same_secret_has_the_same_mark_and_another_has_another() -> None:
    """By this it is told whether one key is refused, or two."""
    known, first = encoder(), next(s for s in SECRETS if s.rule == "groq_key")
    other = Secret("groq_key", first.text[:-1] + "_", "")

    marks = [
        orjson.loads(known.error("req", ValueError(text), {}))["message"]
        for text in (first.text, f"{first.text}", other.text[:-1] + "A")
    ]

    assert marks[0] == marks[1] != marks[2]
    assert marks[0].startswith("[redacted:groq_key:")


@given(
    st.sampled_from(SECRETS), st.integers(0, 8_000), st.sampled_from(["", " ", "x "])
)
def test_c1_no_half_of_a_secret_gets_through_a_cut(
    secret: Secret, before: int, gap: str
) -> None:
    """Wherever the limits are: searched first, cut afterwards."""
    text = "y" * before + gap + " " + secret.text
    known = encoder(1_000)
    pieces = {secret.secret[:-1], secret.secret[1:]}
    if len(secret.secret) >= 16:
        half = len(secret.secret) // 2
        pieces |= {secret.secret[:half], secret.secret[half:]}
    for arguments in (
        ("req", raising(ValueError(text)), {}),
        ("req", noted(text), {}),
        (text, plain(), {"text": text}),
        ("req", plain(), {"text": text, text: 1}),
        ("req", plain(), {"bytes": text.encode(), "set": {text}}),
    ):
        line = known.error(*arguments)
        strictly(line, ERROR_FIELDS, 1_000)
        for piece in pieces:
            if piece.strip("-") and len(piece) >= 5:
                assert not shown_in(Secret(secret.rule, "", piece), line)
