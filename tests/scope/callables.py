"""Every kind of callable, and every way in which one of it can fail."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import types
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from typing import Any, NamedTuple

Decorate = Callable[[Any], Any]
Scopes = tuple[Any, Any]
"""What a block is put into: the outer and the inner one."""

RAISES, INTERRUPTED, CANCELLED, CLOSED, THROWN = WAYS = (
    "raises",
    "interrupted",
    "cancelled",
    "closed early",
    "thrown into",
)


class Kind(NamedTuple):
    """One kind of callable."""

    make: Callable[[Decorate, Scopes, list[str]], Callable[..., Any]]
    """Makes one, decorated or with a block in it.  That it was closed is noted."""
    drives: dict[str, Callable[[Callable[..., Any], BaseException], object]]
    """How it is made to fail, in each way that it can.  The exception is one to be
    raised or thrown into it, where the way is not of the interpreter's own making."""


@types.coroutine
def pause() -> Generator[None, None, None]:
    """Suspend a coroutine once, without an event loop."""
    yield


async def forever() -> None:
    """Wait until cancelled."""
    await asyncio.get_running_loop().create_future()


# -- what is decorated -----------------------------------------------------------


def make_function(decorate: Decorate, _: Scopes, notes: list[str]) -> Any:
    @decorate
    def function(error: BaseException) -> None:
        raise error

    return function


def make_method(decorate: Decorate, _: Scopes, notes: list[str]) -> Any:
    class Client:
        @decorate
        def call(self, error: BaseException) -> None:
            raise error

    return Client().call


def make_class_method(decorate: Decorate, _: Scopes, notes: list[str]) -> Any:
    class Client:
        @decorate
        @classmethod
        def call(cls, error: BaseException) -> None:
            raise error

    return Client.call


def make_below_class_method(decorate: Decorate, _: Scopes, notes: list[str]) -> Any:
    class Client:
        @classmethod
        @decorate
        def call(cls, error: BaseException) -> None:
            raise error

    return Client().call


def make_static_method(decorate: Decorate, _: Scopes, notes: list[str]) -> Any:
    class Client:
        @decorate
        @staticmethod
        def call(error: BaseException) -> None:
            raise error

    return Client().call


def make_below_static_method(decorate: Decorate, _: Scopes, notes: list[str]) -> Any:
    class Client:
        @staticmethod
        @decorate
        def call(error: BaseException) -> None:
            raise error

    return Client.call


def make_partial(decorate: Decorate, _: Scopes, notes: list[str]) -> Any:
    def call(first: int, error: BaseException) -> None:
        raise error

    return decorate(functools.partial(call, 5))


def make_object(decorate: Decorate, _: Scopes, notes: list[str]) -> Any:
    class Call:
        def __call__(self, error: BaseException) -> None:
            raise error

    return decorate(Call())


def make_block(_: Decorate, scopes: Scopes, notes: list[str]) -> Any:
    def function(error: BaseException) -> None:
        with scopes[0], scopes[1]:
            raise error

    return function


def make_coroutine(decorate: Decorate, _: Scopes, notes: list[str]) -> Any:
    @decorate
    async def function(error: BaseException | None, wait: Any = pause) -> None:
        try:
            await wait()
            if error is not None:
                raise error
        finally:
            notes.append("closed")

    return function


def plain_coroutine(notes: list[str]) -> Any:
    return make_coroutine(lambda function: function, (None, None), notes)


def make_coroutine_partial(decorate: Decorate, _: Scopes, notes: list[str]) -> Any:
    return decorate(functools.partial(plain_coroutine(notes)))


def make_coroutine_object(decorate: Decorate, _: Scopes, notes: list[str]) -> Any:
    class Call:
        async def __call__(self, error: Any, wait: Any = pause) -> None:
            await plain_coroutine(notes)(error, wait)

    return decorate(Call())


def make_awaitable_generator(decorate: Decorate, _: Scopes, notes: list[str]) -> Any:
    @decorate
    @types.coroutine
    def function(error: Any, wait: Any = pause) -> Generator[Any, Any, None]:
        yield from plain_coroutine(notes)(error, wait).__await__()

    return function


def make_async_block(_: Decorate, scopes: Scopes, notes: list[str]) -> Any:
    async def function(error: BaseException | None, wait: Any = pause) -> None:
        async with scopes[0], scopes[1]:
            try:
                await wait()
                if error is not None:
                    raise error
            finally:
                notes.append("closed")

    return function


def make_generator(decorate: Decorate, _: Scopes, notes: list[str]) -> Any:
    @decorate
    def function(error: BaseException | None) -> Generator[int, None, None]:
        try:
            yield 1
            if error is not None:
                raise error
        finally:
            notes.append("closed")

    return function


def make_block_in_generator(_: Decorate, scopes: Scopes, notes: list[str]) -> Any:
    def function(error: BaseException | None) -> Generator[int, None, None]:
        with scopes[0], scopes[1]:
            try:
                yield 1
                if error is not None:
                    raise error
            finally:
                notes.append("closed")

    return function


def make_async_generator(decorate: Decorate, _: Scopes, notes: list[str]) -> Any:
    @decorate
    async def function(error: Any, wait: Any = pause) -> AsyncGenerator[int, None]:
        try:
            yield 1
            await wait()
            if error is not None:
                raise error
        finally:
            notes.append("closed")

    return function


# -- how it fails ------------------------------------------------------------------


def run(awaitable: Awaitable[Any]) -> Any:
    """Run *awaitable* to its end, without an event loop."""
    steps = awaitable.__await__()
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def call(function: Any, error: BaseException) -> object:
    return function(error)


def awaited(function: Any, error: BaseException) -> object:
    return run(_as_coroutine(function(error)))


async def _as_coroutine(awaitable: Any) -> Any:
    return await awaitable


def cancel(function: Any, _: BaseException) -> None:
    async def main() -> None:
        task = asyncio.create_task(_as_coroutine(function(None, forever)))
        await asyncio.sleep(0)
        task.cancel()
        await task

    asyncio.run(main())


def close_coroutine(function: Any, _: BaseException) -> None:
    coroutine: Coroutine[Any, Any, Any] = function(None)
    coroutine.send(None)
    coroutine.close()


def throw_into_coroutine(function: Any, error: BaseException) -> object:
    coroutine: Coroutine[Any, Any, Any] = function(None)
    coroutine.send(None)
    return coroutine.throw(error)


def iterate(function: Any, error: BaseException) -> object:
    return list(function(error))


def close_generator(function: Any, _: BaseException) -> None:
    generator = function(None)
    assert next(generator) == 1
    generator.close()
    assert list(generator) == []


def throw_into_generator(function: Any, error: BaseException) -> object:
    generator = function(None)
    assert next(generator) == 1
    return generator.throw(error)


def iterate_async(function: Any, error: BaseException) -> None:
    async def main() -> None:
        generator = function(error)
        assert await anext(generator) == 1
        await anext(generator)

    run(main())


def cancel_async_generator(function: Any, _: BaseException) -> None:
    async def drain(generator: Any) -> None:
        async for _ in generator:
            pass

    async def main() -> None:
        task = asyncio.create_task(drain(function(None, forever)))
        await asyncio.sleep(0)
        task.cancel()
        await task

    asyncio.run(main())


def close_async_generator(function: Any, _: BaseException) -> None:
    async def main() -> None:
        generator = function(None)
        assert await anext(generator) == 1
        await generator.aclose()
        assert [item async for item in generator] == []

    run(main())


def throw_into_async_generator(function: Any, error: BaseException) -> None:
    async def main() -> None:
        generator = function(None)
        assert await anext(generator) == 1
        await generator.athrow(error)

    run(main())


_CALLED: Any = {RAISES: call, INTERRUPTED: call}
_AWAITED: Any = {
    RAISES: awaited,
    INTERRUPTED: awaited,
    CANCELLED: cancel,
    CLOSED: close_coroutine,
    THROWN: throw_into_coroutine,
}
_ITERATED: Any = {
    RAISES: iterate,
    INTERRUPTED: iterate,
    CLOSED: close_generator,
    THROWN: throw_into_generator,
}
_ITERATED_ASYNC: Any = {
    RAISES: iterate_async,
    INTERRUPTED: iterate_async,
    CANCELLED: cancel_async_generator,
    CLOSED: close_async_generator,
    THROWN: throw_into_async_generator,
}

KINDS = {
    "function": Kind(make_function, _CALLED),
    "method": Kind(make_method, _CALLED),
    "class method": Kind(make_class_method, _CALLED),
    "function below `@classmethod`": Kind(make_below_class_method, _CALLED),
    "static method": Kind(make_static_method, _CALLED),
    "function below `@staticmethod`": Kind(make_below_static_method, _CALLED),
    "`functools.partial`": Kind(make_partial, _CALLED),
    "object with `__call__`": Kind(make_object, _CALLED),
    "`with` block": Kind(make_block, _CALLED),
    "coroutine function": Kind(make_coroutine, _AWAITED),
    "`functools.partial` of one": Kind(make_coroutine_partial, _AWAITED),
    "object with `async def __call__`": Kind(make_coroutine_object, _AWAITED),
    "`types.coroutine` generator": Kind(make_awaitable_generator, _AWAITED),
    "`async with` block": Kind(make_async_block, _AWAITED),
    "generator": Kind(make_generator, _ITERATED),
    "`with` block in a generator": Kind(make_block_in_generator, _ITERATED),
    "async generator": Kind(make_async_generator, _ITERATED_ASYNC),
}


def undecorated(kind: Kind) -> Callable[..., Any]:
    """Return one that nobody watches."""
    nobody = contextlib.nullcontext()
    return kind.make(lambda function: function, (nobody, nobody), [])


__all__ = [
    "CANCELLED",
    "CLOSED",
    "INTERRUPTED",
    "KINDS",
    "RAISES",
    "THROWN",
    "WAYS",
    "Kind",
    "run",
    "undecorated",
]
