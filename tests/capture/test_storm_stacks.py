"""Storm control compares a failure with the stack of one that it is alike."""

from __future__ import annotations

from traceback import TracebackException

import pytest

from tests.capture.test_storm import Rig
from tokenpak.telemetry.capture.storm import MOST_MESSAGES


def test_what_is_new_is_never_held_back_though_most_of_its_stack_is_known() -> None:
    """Another class raised by the same instruction; a frame more, or less."""
    rig = Rig(first=1)

    def fail(depth: int, cls: type[Exception]) -> None:
        if depth:
            fail(depth - 1, cls)
        raise cls("the same")

    def failed(depth: int, cls: type[Exception] = ValueError) -> Exception:
        with pytest.raises(cls) as caught:
            fail(depth, cls)
        return caught.value

    known = failed(5)
    assert [rig.takes(known) for _ in range(3)] == [True, False, False]
    others = [failed(6), failed(4), failed(5, KeyError), failed(5, ArithmeticError)]
    cut = failed(5)
    assert cut.__traceback__ is not None
    others.append(cut.with_traceback(cut.__traceback__.tb_next))

    for other in others:
        assert rig.takes(other)
        assert not rig.takes(other)
        assert not rig.takes(known)


def test_numbers_in_messages_of_unknown_stacks_do_not_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of stacks that only traceback can print, as where a library has changed it."""
    monkeypatch.setattr(TracebackException, "format", lambda *_, **__: ["other\n"])
    rig = Rig(first=1)

    def failed(number: int) -> Exception:
        with pytest.raises(ValueError, match="order") as caught:
            raise ValueError(f"order {number:06}")
        return caught.value

    taken = [rig.takes(failed(number)) for number in range(MOST_MESSAGES + 10)]

    assert taken.count(True) == 1
    assert len(rig.storms._messages) <= MOST_MESSAGES
