"""A decorated function is what it was: to inspect, to pickle, without parentheses."""

from __future__ import annotations

import inspect
import pickle
import types
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tokenpak.telemetry.error_logger import log_exception

from .failures import (
    FailureError,
    Make,
    call,
)
from .rig import records_of

CHECKS = (
    inspect.iscoroutinefunction,
    inspect.isgeneratorfunction,
    inspect.isasyncgenfunction,
)


def test_a_decorated_function_is_what_it_was_to_inspect() -> None:
    """Kind, signature, name and text."""

    def function(a: int, *, b: str = "x") -> int:
        """Text."""
        return a

    async def coroutine(a: int) -> int:
        return a

    def generator(a: int) -> Iterator[int]:
        yield a

    async def async_generator(a: int) -> AsyncIterator[int]:
        yield a

    @types.coroutine
    def awaitable(a: int) -> Any:
        yield a

    for each in (function, coroutine, generator, async_generator, awaitable):
        for wrapped in (log_exception("r")(each), log_exception(each)):
            assert [check(wrapped) for check in CHECKS] == [c(each) for c in CHECKS]
            assert inspect.signature(wrapped) == inspect.signature(each)
            assert wrapped.__name__ == each.__name__
            assert wrapped.__qualname__ == each.__qualname__
            assert wrapped.__doc__ == each.__doc__
            assert inspect.unwrap(wrapped) is each
    assert inspect.isawaitable(log_exception(awaitable)(1))


def test_without_parentheses_the_function_is_decorated(
    make_logger: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Class- and static methods, too; the logger is that of the process."""
    from tokenpak.telemetry import error_logger

    logger = make_logger()
    monkeypatch.setattr(error_logger, "_shared", {"it": logger})

    class Client:
        @log_exception
        def method(self) -> None:
            raise FailureError("method")

        @log_exception
        @classmethod
        def on_class(cls) -> None:
            raise FailureError("class")

        @log_exception
        @staticmethod
        def static() -> None:
            raise FailureError("static")

    for function in (Client().method, Client.on_class, Client().static):
        call(function)

    messages = [r["message"] for r in records_of(logger)]
    assert messages == ["method", "class", "static"]


ANYTHING: Any = log_exception


@pytest.mark.parametrize(
    "decorate",
    [
        lambda: ANYTHING()(FailureError),
        lambda: ANYTHING(FailureError),
        lambda: ANYTHING()(property(len)),
        lambda: ANYTHING()(5),
        lambda: ANYTHING(lambda request: request.id),
    ],
)
def test_what_cannot_be_decorated_is_refused_at_once(decorate: Any) -> None:
    """A class would become a function, and a lambda is meant as a request id."""
    with pytest.raises(TypeError, match="decorate"):
        decorate()


def test_a_decorated_function_can_be_pickled() -> None:
    """As any function of a module can, for pools."""
    assert pickle.loads(pickle.dumps(decorated)) is decorated


@log_exception("r")
def decorated() -> None:
    """Do nothing."""


def test_what_leaves_no_trace_is_not_in_the_log(make_logger: Make) -> None:
    """A call that does not fail makes no record, and gives what it gives."""
    logger = make_logger()

    @log_exception("r", logger=logger)
    def double(number: int) -> int:
        return number * 2

    assert [double(number) for number in range(3)] == [0, 2, 4]
    assert records_of(logger) == []
