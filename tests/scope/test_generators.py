"""Generators: what is sent, thrown, returned and closed passes through the wrappers."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

import pytest

from tokenpak.telemetry.error_logger import ErrorLogger, bind, bound, log_exception

from .callables import run
from .rig import records_of

Make = Callable[..., ErrorLogger]
Decorate = Callable[[Any], Any]


@pytest.fixture(params=["log_exception", "bind", "both"])
def decorate(request: Any, make_logger: Make) -> Decorate:
    """Each decorator, and both."""
    logged = log_exception("r", logger=make_logger())
    bound_too = bind("r", a=1)
    each: dict[str, Decorate] = {
        "log_exception": logged,
        "bind": bound_too,
        "both": lambda function: bound_too(logged(function)),
    }
    return each[request.param]


def test_a_generator_gets_what_is_sent_and_gives_what_it_returns(
    decorate: Decorate,
) -> None:
    """Also to "yield from"; and what is thrown into it can be handled."""

    @decorate
    def echo() -> Generator[object, object, str]:
        got: object = "first"
        while got != "end":
            try:
                got = yield got
            except KeyError as error:
                got = error.args[0]
        return "result"

    def outer() -> Generator[object, object, None]:
        result = yield from echo()
        yield result

    generator = outer()
    steps = [
        generator.send(None),
        generator.send(5),
        generator.throw(KeyError("thrown")),
        generator.send(None),
        generator.send("end"),
    ]

    assert steps == ["first", 5, "thrown", None, "result"]
    assert list(generator) == []


def test_an_async_generator_gets_what_is_sent(decorate: Decorate) -> None:
    """And what is thrown into it can be handled."""

    @decorate
    async def echo() -> AsyncGenerator[object, object]:
        got: object = "first"
        while got != "end":
            try:
                got = yield got
            except KeyError as error:
                got = error.args[0]

    async def main() -> list[object]:
        generator = echo()
        steps = [
            await generator.asend(None),
            await generator.asend(5),
            await generator.athrow(KeyError("thrown")),
            await generator.asend(None),
        ]
        with pytest.raises(StopAsyncIteration):
            await generator.asend("end")
        return steps

    assert run(main()) == ["first", 5, "thrown", None]


def test_what_is_raised_after_something_thrown_was_handled_has_no_context(
    decorate: Decorate,
) -> None:
    """As it has none without a decorator: the wrapper is not in an except clause."""

    async def body() -> AsyncGenerator[int, None]:
        try:
            yield 1
        except KeyError:
            pass
        raise ValueError("later")

    def sync_body() -> Generator[int, None, None]:
        try:
            yield 1
        except KeyError:
            pass
        raise ValueError("later")

    async def main(function: Any) -> None:
        generator = function()
        await anext(generator)
        await generator.athrow(KeyError("earlier"))

    def sync_main(function: Any) -> None:
        generator = function()
        next(generator)
        generator.throw(KeyError("earlier"))

    for each in (body, decorate(body)):
        with pytest.raises(ValueError, match="later") as caught:
            run(main(each))
        assert caught.value.__context__ is None
    for each in (sync_body, decorate(sync_body)):
        with pytest.raises(ValueError, match="later") as caught:
            sync_main(each)
        assert caught.value.__context__ is None


def test_a_generator_that_ignores_its_closing_is_told_so(decorate: Decorate) -> None:
    """By the same RuntimeError as without a decorator."""

    @decorate
    def stubborn() -> Generator[int, None, None]:
        try:
            yield 1
        except GeneratorExit:
            yield 2

    @decorate
    async def stubborn_too() -> AsyncGenerator[int, None]:
        try:
            yield 1
        except GeneratorExit:
            yield 2

    async def main() -> None:
        generator = stubborn_too()
        await anext(generator)
        await generator.aclose()

    generator = stubborn()
    next(generator)
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        generator.close()
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        run(main())


def test_an_async_generator_is_closed_once_at_the_end_of_the_loop(
    decorate: Decorate,
) -> None:
    """The loop closes all that is left over at once: the wrapper, not what is in it."""
    notes: list[str] = []
    told: list[object] = []

    @decorate
    async def stream() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            notes.append("closed")

    kept: list[Any] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context))
        kept.append(stream())
        assert await anext(kept[0]) == 1

    asyncio.run(main())

    assert (notes, told) == (["closed"], [])


def test_an_async_generator_that_is_collected_is_closed(decorate: Decorate) -> None:
    """By the hooks of the loop."""
    notes: list[str] = []

    @decorate
    async def stream() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            notes.append("closed")

    async def main() -> None:
        generator = stream()
        assert await anext(generator) == 1
        del generator
        gc.collect()
        for _ in range(20):
            await asyncio.sleep(0)
        assert notes == ["closed"]

    asyncio.run(main())

    assert notes == ["closed"]


def test_a_decorated_generator_is_bound_only_while_it_runs(make_logger: Make) -> None:
    """Not for who iterates over it, between its steps."""
    logger = make_logger()

    @bind("inside", a=1)
    def stream() -> Generator[int, None, None]:
        for number in range(2):
            logger.log_event("in", None, {"number": number})
            yield number

    @bind("inside", a=1)
    async def async_stream() -> AsyncGenerator[int, None]:
        for number in range(2):
            logger.log_event("in", None, {"number": number})
            yield number

    async def main() -> None:
        async for _ in async_stream():
            assert bound() == {"request_id": "outside"}

    with bind("outside"):
        for _ in stream():
            assert bound() == {"request_id": "outside"}
        run(main())

    found = records_of(logger, "events")
    assert [r["request_id"] for r in found] == ["inside"] * 4
    assert [r["context"] for r in found[:2]] == [
        {"a": 1, "number": 0},
        {"a": 1, "number": 1},
    ]
