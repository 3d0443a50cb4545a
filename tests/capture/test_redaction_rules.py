"""Personal data by a setting, rules of one's own, and C1 with all of them."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.capture.odd_things import ODD
from tests.capture.strict_line import ERROR_FIELDS, EVENT_FIELDS, raising, strictly
from tokenpak.telemetry.capture.encode import Encoder
from tokenpak.telemetry.capture.privacy.personal import luhn
from tokenpak.telemetry.capture.privacy.redactor import Redactor


def redactor(level: str = "credentials", own: Any = None) -> Redactor:
    return Redactor(level, own, key=lambda: b"k" * 32)


PERSONAL = {
    "email": [
        "jane.doe+tag@mail.example.co.uk",
        "o'brien@example.org",
        "x_1@a-b.io",
    ],
    "card_number": ["4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005"],
    "phone_number": ["+49 170 1234567", "+1 (212) 555-0123", "212-555-0123"],
    "ip_address": ["10.20.30.40", "2001:db8::8a2e:370:7334", "fe80::1", "8.8.8.8"],
}
NOT_PERSONAL = [
    "4111 1111 1111 1112",
    "1711302922123456789",
    "2026-03-24T17:35:22.123456Z",
    "550e8400-e29b-41d4-a716-446655440000",
    "127.0.0.1:8080",
    "version 1.2.3",
    "1.2.3.4.5",
    "300.1.1.1",
    "12:30:45",
    "a @ b",
    "0.045",
    "std::vector",
    "@decorator",
]


@pytest.mark.parametrize(
    ("name", "text"),
    [(name, text) for name, texts in PERSONAL.items() for text in texts],
)
def test_personal_data_is_replaced_if_the_setting_says_so(name: str, text: str) -> None:
    """In every place; and by default it stays, since it is what records are about."""
    asked = Encoder(32_000, redactor=redactor("personal"))
    default = Encoder(32_000, redactor=redactor())
    places: list[tuple[object, object, object]] = [
        ("req", raising(ValueError(f"no answer to {text}, again")), {}),
        (text, ValueError("x"), {}),
        ("req", ValueError("x"), {"who": [text], "n": 1}),
        ("req", ValueError("x"), {text: 1}),
    ]
    for arguments in places:
        for _ in range(3):
            line = asked.error(*arguments).decode()
            assert text not in line
            assert f"[redacted:{name}:" in line
            assert text in default.error(*arguments).decode()


@pytest.mark.parametrize("text", NOT_PERSONAL)
def test_what_is_no_personal_data_stays(text: str) -> None:
    """Numbers without a check digit, versions, times, this machine's own address."""
    assert redactor("personal").text(f"saw {text} there") == f"saw {text} there"


@given(st.text("0123456789-. +:@a", max_size=60))
def test_personal_data_that_is_let_pass_quickly_is_none(text: str) -> None:
    """The quick look sees all that is replaced."""
    known = redactor("personal")

    if known.text(text) != text:
        assert not known.clears((orjson.dumps(text),))


@pytest.mark.parametrize(
    ("digits", "valid"),
    [
        ("4111111111111111", True),
        ("4111111111111112", False),
        ("0000000000000000", False),
    ],
)
def test_a_card_number_is_told_by_its_check_digit(digits: str, valid: bool) -> None:
    """And one of noughts only is none."""
    assert luhn(digits) == valid


def test_off_means_off() -> None:
    """Nothing is replaced, and nothing looked at."""
    off = redactor("off")
    line = Encoder(32_000, redactor=off).error(
        "r", ValueError("password=x"), {"password": "y"}
    )

    assert b"password=x" in line
    assert b'{"password":"y"}' in line
    assert not off.active


def test_own_rules_are_expressions_or_functions() -> None:
    """Beside those for credentials, and also without them."""
    own = {
        "employee": r"EMP-\d{6}",
        "ticket": re.compile("tck_[a-z]+"),
        "shouting": lambda text: text.replace("HUSH", "hush"),
    }
    for level in ("credentials", "off", "personal"):
        encoder = Encoder(32_000, redactor=redactor(level, own))
        record = orjson.loads(
            encoder.error(
                "EMP-123456",
                raising(ValueError("HUSH, tck_abc")),
                {"a": ["EMP-123456"], "EMP-654321": 1},
            )
        )

        mark = record["request_id"]
        assert re.fullmatch(r"\[redacted:employee:[0-9a-f]{8}\]", mark)
        assert re.fullmatch(r"hush, \[redacted:ticket:[0-9a-f]{8}\]", record["message"])
        assert record["message"] in record["stack_trace"]
        assert record["context"]["a"] == [mark]
        assert "EMP-654321" not in record["context"]


class EvilStr(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise ValueError

    def __len__(self) -> int:
        raise ValueError

    def __getitem__(self, key: object) -> str:
        raise ValueError


def leaving(text: str) -> str:
    raise SystemExit(text)


def failing(text: str) -> str:
    raise ValueError(text)


@pytest.mark.parametrize(
    "rule", [failing, leaving, lambda _: None, lambda _: 7, lambda: "", re.compile]
)
def test_c1_a_rule_that_fails_drops_the_value_and_not_the_record(rule: Any) -> None:
    """Whatever it raises or returns: the text that it was asked about is not shown."""
    encoder = Encoder(32_000, redactor=redactor(own={"mine": rule}))
    record = strictly(
        encoder.error("shown?", ValueError("shown?"), {"shown?": ["shown?", 17]}),
        ERROR_FIELDS,
    )

    failed = "[redacted: the rule mine failed]"
    assert record["request_id"] == record["message"] == failed
    assert record["context"] == {failed: [failed, 17]}
    assert "shown?" not in record["stack_trace"]


def test_c1_a_rule_may_return_a_str_of_its_own_kind() -> None:
    """It is taken for what it holds; its methods are not called."""
    encoder = Encoder(32_000, redactor=redactor(own={"mine": EvilStr}))
    record = strictly(encoder.error("req", ValueError("x"), {"a": "y"}), ERROR_FIELDS)

    assert (record["message"], record["context"]) == ("x", {"a": "y"})


def test_a_rule_that_finds_nothing_everywhere_changes_nothing() -> None:
    """An expression that matches the empty text."""
    assert redactor(own={"mine": "z*"}).text("a zz b").startswith("a [redacted:mine:")
    assert redactor(own={"mine": "z*"}).text("ab") == "ab"


@pytest.mark.parametrize("what", ODD)
@pytest.mark.parametrize(
    "options",
    [
        {"level": "credentials"},
        {"level": "personal", "own": {"x": "y", "z": lambda text: text}},
        {"level": "off", "own": {"fails": failing}},
    ],
    ids=["credentials", "personal and own", "own that fails"],
)
def test_c1_odd_things_make_one_line_with_redaction_too(
    what: str, options: dict[str, Any]
) -> None:
    """As request id, as error, as event, as context, and inside of one."""
    make = ODD[what]
    for limit in (32_000, 1_000):
        encoder = Encoder(limit, redactor=redactor(**options))
        for arguments in (
            (make(), ValueError("x"), {"model": "gpt-4"}),
            ("req", make(), {"password": make()}),
            ("req", ValueError(make()), {"model": "gpt-4"}),
            ("req", ValueError("x"), {"odd": [make(), {"a": make()}]}),
            (make(), make(), make()),
        ):
            strictly(encoder.error(*arguments), ERROR_FIELDS, limit)
            request_id, event, context = arguments
            strictly(encoder.event(event, request_id, context), EVENT_FIELDS, limit)


def test_c1_a_key_that_cannot_be_had_makes_marks_without_a_hash() -> None:
    """The secret is kept from the log all the same."""

    def no_key() -> bytes:
        raise OSError("no such device")

    known = Redactor("credentials", key=no_key)
    known.prepare()

    assert known.text("password=hunter2") == "password=[redacted:named_secret]"


@given(st.text(max_size=200))
def test_what_is_redacted_twice_is_redacted_once(text: str) -> None:
    """Marks are no secrets, whatever name is before them."""
    known = redactor("personal")
    for before in (
        "",
        "password=",
        "Authorization: Bearer ",
        '"api_key": "',
        "token: ",
    ):
        once = known.text(f"{before}sk-proj-{'aB3' * 20} {text}")
        assert known.text(once) == once


@pytest.mark.parametrize(
    "text",
    [
        "[redacted:x password=12345678]",
        "[redacted: password=12345678]",
        "[redacted:openai_key:3f9a2c01] token=12345678]",
    ],
)
def test_what_only_looks_like_a_mark_hides_nothing(text: str) -> None:
    """A secret does not pass because somebody has put the beginning of a mark there."""
    assert "12345678" not in redactor().text(text)


def test_c1_an_interrupt_passes() -> None:
    """Ctrl-C that comes while nothing of the caller's runs must end the program."""

    class Interrupted(Redactor):
        def clears(self, pieces: object, skeleton: bytes = b"") -> bool:
            raise KeyboardInterrupt

    encoder = Encoder(32_000, redactor=Interrupted("credentials"))

    with pytest.raises(KeyboardInterrupt):
        encoder.error("req", ValueError("never seen before"), {})


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        ("api_key_2=abc123)Authorization: Token xyz, realm=r", ["abc123", "xyz"]),
        ("db_secret: abc123Passwd: hunter2", ["abc123", "hunter2"]),
        ("db_secret: abc123KAPI_KEY = hunter2x", ["abc123", "hunter2x"]),
        ("password=aSet-Cookie: b=c; password: 'hunter 2'", ["b=c", "hunter 2"]),
        ('Authorization: "SecretAccessKey": "hunter2"', ["hunter2"]),
        ('cookie: a; token="SecretAccessKey": "hunter2"', ["hunter2"]),
    ],
)
def test_the_value_of_a_name_that_another_value_ends_in_is_hidden(
    text: str, secrets: list[str]
) -> None:
    """What is before the sign was taken for a value, and the rest for no name's."""
    for around in (text, json.dumps({"m": text}), repr({"m": text})):
        found = redactor().text(around)
        assert [secret for secret in secrets if secret in found] == [], found
