"""What makes two failures the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.capture.secrets_corpus import SECRETS
from tests.capture.test_storm import elsewhere, refused
from tokenpak.telemetry.capture.fingerprint import (
    Fingerprint,
    shape_in,
    shape_of,
    stack_of,
)
from tokenpak.telemetry.capture.privacy.redactor import Redactor
from tokenpak.telemetry.capture.stack import StackCache


@pytest.mark.parametrize(
    ("message", "shape"),
    [
        ("", ""),
        ("429 after 3.5 s", "# after #.# s"),
        ("request req_8a1f-77 failed", "request #-# failed"),
        ("no digits at all", "no digits at all"),
        ("id=550e8400-e29b-41d4-a716-446655440000.", "id=#-#-#-#-#."),
    ],
)
def test_the_shape_of_a_message_has_no_numbers(message: str, shape: str) -> None:
    """Words that hold a digit are taken out."""
    assert shape_of(message) == shape


@given(st.text())
def test_the_shape_of_any_message_has_no_numbers(message: str) -> None:
    """Whatever characters it has."""
    assert not any(c in "0123456789" for c in shape_of(message))


def test_a_digest_is_that_of_type_stack_and_shape() -> None:
    """The same in another process, with another cache; and for another number."""

    def digest(error: BaseException) -> str:
        entry = stack_of(StackCache(Redactor()), error)
        return Fingerprint(type(error), entry, shape_of(str(error))).digest()

    same = {digest(refused(f"after {n} s")) for n in range(5)}
    others = {digest(refused("x")), digest(elsewhere("after 1 s")), *same}

    assert len(same) == 1
    assert len(others) == 3
    assert all(len(one) == 16 for one in others)


def test_c1_a_fingerprint_tells_nothing_of_a_secret() -> None:
    """Whichever key is refused, it is one failure; and who guesses it cannot tell."""
    stacks = StackCache(Redactor("credentials", key=lambda: b"k" * 32))
    for secret in SECRETS:
        shape = shape_in(stacks, f"no: {secret.text}")
        assert secret.secret not in shape
        for word in secret.secret.replace("-", " ").replace("_", " ").split():
            assert len(word) < 8 or word not in shape

    words = ("correcthorse", "batterystaple", "swordfish")
    shapes = {shape_in(stacks, f"no: password={word!r}, at 3 s") for word in words}
    assert shapes == {"no: password='[redacted:named_secret]', at # s"}
    long = "y" * 1_990 + " password=swordfish"
    assert "fish" not in shape_in(stacks, long)
    # Wherever the end of what is looked at cuts a mark, nothing is left of its hash.
    for length in range(1_940, 2_000):
        text = "y " * (length // 2) + "y" * (length % 2) + " password="
        many = {shape_in(stacks, f"{text}{n:a>16b}{text}") for n in range(20)}
        assert len(many) == 1


def test_a_fingerprint_of_a_message_without_a_secret_is_what_it_was() -> None:
    """With redaction and without, and for a message that cannot be encoded."""
    known = StackCache(Redactor("credentials", key=lambda: b"k" * 32))
    for message in ("429 after 3.5 s", "x" * 9_000, "lone \udc80 5", ""):
        for stacks in (known, StackCache(Redactor())):
            assert shape_in(stacks, message) == shape_of(message)
