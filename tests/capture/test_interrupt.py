"""C1: what the caller's objects raise is caught, but not what a signal raises."""

from __future__ import annotations

import functools
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from types import FrameType

import pytest

from tests.capture.strict_line import ERROR_FIELDS, strictly
from tokenpak.telemetry.capture.encode import Encoder
from tokenpak.telemetry.error_logger import bind

INTERRUPT = functools.partial(signal.raise_signal, signal.SIGINT)
"""As a ``__str__``: a signal that arrives in the middle of it, deterministically."""


class DisturbedError(Exception):
    """A signal arrives while it is looked at."""

    # A static method: a partial alone is a method from Python 3.14 on.
    __str__ = staticmethod(INTERRUPT)  # type: ignore[assignment]


class ExitingError(Exception):
    """It ends the program itself, or would like to."""

    def __init__(self, reason: type[BaseException]) -> None:
        self.reason = reason

    def __str__(self) -> str:
        raise self.reason


def leave(number: int, frame: FrameType | None) -> None:
    """Be a handler that ends the program."""
    sys.exit(number)


@pytest.fixture(autouse=True)
def _own_handlers() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def test_c1_ctrl_c_passes_while_an_exception_is_looked_at() -> None:
    """Once in a hundred calls was it swallowed, in a program that logs all the time."""
    signal.signal(signal.SIGINT, signal.default_int_handler)

    with pytest.raises(KeyboardInterrupt):
        Encoder(10_000).error("r", DisturbedError(), {})


def test_c1_what_a_handler_of_the_application_raises_passes() -> None:
    """Such as the SystemExit of a server's worker that is to end."""
    signal.signal(signal.SIGINT, leave)

    with pytest.raises(SystemExit):
        Encoder(10_000).error("r", DisturbedError(), {})


@pytest.mark.parametrize("reason", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_c1_what_the_exception_itself_raises_is_caught(
    reason: type[BaseException],
) -> None:
    """Whatever it is."""
    line = Encoder(10_000).error("r", ExitingError(reason), {})

    record = strictly(line, ERROR_FIELDS, 10_000)

    assert record["error_type"] == "ExitingError"


class DisturbedMapping(Mapping[str, object]):
    """A signal arrives while it is read."""

    def __getitem__(self, key: str) -> object:
        return key

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 1

    items = staticmethod(INTERRUPT)  # type: ignore[assignment]


class DisturbedText:
    """A signal arrives while its text is made."""

    __str__ = staticmethod(INTERRUPT)  # type: ignore[assignment]


def _caused() -> BaseException:
    error = ValueError("x")
    error.__cause__ = DisturbedError()
    return error


PLACES: dict[str, tuple[object, object, object]] = {
    "request id": (DisturbedText(), ValueError("x"), None),
    "error that is none": ("r", DisturbedText(), None),
    "value of the context": ("r", ValueError("x"), {"a": DisturbedText()}),
    "key of the context": ("r", ValueError("x"), {DisturbedText(): 1}),
    "context": ("r", ValueError("x"), DisturbedMapping()),
    "mapping in the context": ("r", ValueError("x"), {"a": DisturbedMapping()}),
    "cause": ("r", _caused(), None),
    "careful road": ("r", DisturbedError(), {"a": object()}),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("bound", [False, True])
def test_c1_an_interruption_passes_wherever_the_callers_objects_are_looked_at(
    place: str, bound: bool
) -> None:
    """On the slow road, too, which looks at more of them."""
    signal.signal(signal.SIGINT, leave)
    with bind(model="gpt-4") if bound else nullcontext(), pytest.raises(SystemExit):
        Encoder(10_000).error(*PLACES[place])
