"""What makes two failures the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.capture.test_storm import elsewhere, refused
from tokenpak.telemetry.capture.fingerprint import Fingerprint, shape_of, stack_of
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
