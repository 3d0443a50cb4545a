"""Decorated is typed as undecorated: mypy checks this file, and the tests run it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, assert_type

from tokenpak.telemetry import error_logger
from tokenpak.telemetry.error_logger import bind, carry, log_exception
from tokenpak.telemetry.scope.bind import Binding
from tokenpak.telemetry.scope.exceptions import ExceptionScope


@log_exception("r", {"a": 1})
def function(a: int, *, b: str = "x") -> float:
    """Give a number."""
    return a / 2


@log_exception
def bare(a: int, *, b: str = "x") -> float:
    """Give a number."""
    return a / 2


@log_exception(request_id=lambda a: f"r-{a}", context=lambda a: {"a": a})
async def coroutine(a: int) -> str:
    """Give a text."""
    return str(a)


@bind(request_id="r", provider="openai")
@log_exception()
def generator(a: int) -> Iterator[int]:
    """Give numbers."""
    yield a


@bind("r")
async def async_generator(a: int) -> AsyncIterator[int]:
    """Give numbers."""
    yield a


class Client:
    """Has methods."""

    @log_exception()
    def method(self, a: int) -> int:
        """Give a number."""
        return a

    @log_exception()
    @classmethod
    def on_class(cls, a: int) -> int:
        """Give a number."""
        return a

    @staticmethod
    @log_exception
    def static(a: int) -> int:
        """Give a number."""
        return a


async def use() -> None:
    """Is not run: mypy reads it."""
    assert_type(function(1, b="y"), float)
    assert_type(bare(1, b="y"), float)
    made: Coroutine[Any, Any, str] = coroutine(1)
    assert_type(await made, str)
    assert_type(generator(1), Iterator[int])
    assert_type(async_generator(1), AsyncIterator[int])
    assert_type(Client().method(1), int)
    assert_type(Client.on_class(1), int)
    assert_type(Client.static(1), int)
    assert_type(carry(function)(1, b="y"), float)
    with log_exception("r") as scope, bind("r", a=1) as binding:
        assert_type(scope, ExceptionScope)
        assert_type(binding, Binding)
    async with log_exception("r"), bind(a=1):
        pass
    function("1")  # type: ignore[arg-type]
    bare("1")  # type: ignore[arg-type]
    Client().method("1")  # type: ignore[arg-type]
    log_exception(exceptions=int)  # type: ignore[arg-type]
    error_logger.log_eror("r", ValueError())  # type: ignore[attr-defined]


def test_what_is_decorated_works_as_it_is_typed() -> None:
    """The types above are those that come."""
    assert [function(1, b="y"), bare(4), Client().method(5)] == [0.5, 2.0, 5]
    assert [Client.on_class(1), Client.static(2), list(generator(3))] == [1, 2, [3]]
