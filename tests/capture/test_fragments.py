"""
C1: an orjson.Fragment, which orjson writes as it is, cannot spoil its line.

What it holds may be no JSON at all: an answer that was cut, or none.
"""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.capture.secrets_corpus import SECRETS
from tokenpak.telemetry.capture.encode import Encoder
from tokenpak.telemetry.capture.privacy.redactor import Redactor

LEVELS = ("credentials", "personal")
NOT_JSON = (
    b'{"key"',
    b"None",
    b"hello",
    b"",
    b'{\n"key"',
    b'{"n": 01}',
    b"[1, 2,]",
    b"\xff",
    b'"x"},"request_id":"of another',
    b'"x"}}\n{"timestamp":"',
)


def encoder(level: str) -> Encoder:
    return Encoder(32_000, redactor=Redactor(level, key=lambda: b"k" * 32))


def contexts(context: dict[str, Any], level: str = LEVELS[0]) -> list[dict[str, Any]]:
    """Return what four records of each kind have, the first and the later ones."""
    made, found = encoder(level), []
    for _ in range(4):
        for line in (
            made.error("r", ValueError("x"), context),
            made.event("e", "r", context),
        ):
            assert line.count(b"\n") == 1
            record = json.loads(line)
            assert record["request_id"] == "r"
            found.append(record["context"])
    return found


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("raw", NOT_JSON)
def test_c1_a_fragment_that_is_no_json_is_shown_as_text(raw: bytes, level: str) -> None:
    """At any depth, each time; what is beside it stays."""
    text = raw.decode(errors="backslashreplace")
    piece = orjson.Fragment(raw)

    assert contexts({"n": 1, "f": piece}, level) == [{"n": 1, "f": text}] * 8
    assert contexts({"a": [{"f": piece}]}, level) == [{"a": [{"f": text}]}] * 8


@pytest.mark.parametrize("level", LEVELS)
def test_c1_a_fragment_that_is_json_is_what_it_holds(level: str) -> None:
    """Also over two lines, and beside a value that orjson refuses."""
    for raw in (b'{"a": [1, null]}', '"hé"', b"1.5", b'{\n"a": 1}', b" null\n"):
        held = orjson.loads(raw)
        for beside, shown in (1, 1), ({1}, [1]), (10**30, str(10**30)):
            context = {"n": beside, "f": orjson.Fragment(raw)}
            assert contexts(context, level) == [{"n": shown, "f": held}] * 8


@given(st.binary(max_size=8) | st.text('{}[]",:01ae', max_size=8))
def test_c1_whatever_a_fragment_holds_the_line_is_json(raw: bytes | str) -> None:
    """And what is beside it can be read."""
    for context in contexts({"n": 1, "f": orjson.Fragment(raw)}):
        assert context["n"] == 1


def test_c1_a_fragment_of_another_type_is_told() -> None:
    """Orjson refuses it only when it is written."""
    (shown,) = {c["f"] for c in contexts({"f": orjson.Fragment(5)})}  # type: ignore[arg-type]

    assert "Fragment" in shown


def test_a_secret_in_a_fragment_that_is_no_json_is_found() -> None:
    """By its form, and by its name."""
    secret = SECRETS[0].text
    raw = b'{"password": "hunter2", "a": "%b"' % secret.encode()
    for context in contexts({"f": orjson.Fragment(raw)}):
        assert secret not in context["f"]
        assert "hunter2" not in context["f"]
        assert context["f"].count("[redacted:") == 2
