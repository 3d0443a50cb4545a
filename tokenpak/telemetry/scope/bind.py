"""
``bind``: request id and context of all records that are made within.

Held by a context variable: each thread has its own, an asyncio task begins with what
was bound where it was created, and a forked child keeps what was bound at the fork.
For other threads and processes there is ``carry``.
"""

from __future__ import annotations

import types
from collections.abc import AsyncGenerator, Callable, Generator
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, overload

from tokenpak.telemetry.capture.bound import Bound, current
from tokenpak.telemetry.scope.callables import (
    check_callable,
    is_awaitable_generator,
    kind_of,
    like,
)
from tokenpak.telemetry.scope.left import leave
from tokenpak.telemetry.scope.wrappers import first_step

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Binding:
    """
    What ``bind()`` returns: a context manager and a decorator.

    Any number of blocks, functions, threads and tasks may use one at the same time.
    """

    __slots__ = ("_before", "_context", "_request_id")

    def __init__(self, request_id: str | None, context: dict[str, Any]) -> None:
        self._request_id = request_id
        self._context = context
        # For each block under way what it has bound, and what was bound before.
        self._before: dict[int, tuple[Bound, Bound | None]] = {}

    def __enter__(self) -> Self:
        before = current.get()
        bound = self._on(before)
        self._before[id(bound)] = bound, before
        current.set(bound)
        return self

    def __exit__(
        self,
        cls: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        # Not by a token: where a generator has bound something that is still bound, a
        # token would bring back what was bound around it, long after that has ended.
        bound = current.get()
        while bound is not None:
            entry = self._before.pop(id(bound), None)
            if entry is not None:
                current.set(entry[1])
                if error is not None:
                    _say_what_was_bound(error, bound)
                return
            bound = bound.parent
        # Another context than that of __enter__: nothing of ours is bound here.

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        cls: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(cls, error, traceback)

    def _on(self, before: Bound | None) -> Bound:
        return Bound(self._request_id, self._context, before)

    def _anew(self) -> Binding:
        # For wrappers, which live long: a coroutine that is closed in another context
        # would leave its entry behind.
        return Binding(self._request_id, self._context)

    @overload
    def __call__(self, function: classmethod[T, P, R], /) -> classmethod[T, P, R]: ...

    @overload
    def __call__(self, function: staticmethod[P, R], /) -> staticmethod[P, R]: ...

    @overload
    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]: ...

    def __call__(self, function: Any, /) -> Any:
        """
        Return *function*, within which this is bound, as a function of the same kind.

        A generator has it while it runs, and not while it waits at a ``yield``.

        Raises:
            TypeError: it is a class, or it cannot be called.

        """
        if isinstance(function, staticmethod | classmethod):
            return type(function)(self(function.__func__))
        check_callable("bind", function)
        kind = kind_of(function)
        if kind == "coroutine":
            return self._coroutine(function)
        if kind == "async generator":
            return self._async_generator(function)
        if kind == "generator":
            wrapper = self._generator(function)
            if is_awaitable_generator(function):
                return types.coroutine(wrapper)
            return wrapper
        return self._function(function)

    def _function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @like(function)
        def bound(*args: Any, **kwargs: Any) -> Any:
            with self._anew():
                return function(*args, **kwargs)

        return bound  # type: ignore[no-any-return]

    def _coroutine(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @like(function)
        async def bound(*args: Any, **kwargs: Any) -> Any:
            with self._anew():
                return await function(*args, **kwargs)

        return bound  # type: ignore[no-any-return]

    def _generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @like(function)
        def bound(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            inner = function(*args, **kwargs)
            sent: Any = None
            thrown: BaseException | None = None
            while True:
                try:
                    with self._anew():
                        item = (
                            inner.send(sent) if thrown is None else inner.throw(thrown)
                        )
                except StopIteration as end:
                    return end.value
                finally:
                    thrown = None  # or it would hold itself, by this frame
                try:
                    sent = yield item
                except BaseException as error:
                    thrown = error

        return bound  # type: ignore[no-any-return]

    def _async_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @like(function)
        async def bound(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            inner = function(*args, **kwargs)
            step = first_step(inner)
            thrown: BaseException | None = None
            while True:
                try:
                    with self._anew():
                        item = await step
                except StopAsyncIteration:
                    return
                finally:
                    thrown = step = None  # as above
                try:
                    sent = yield item
                except BaseException as error:
                    thrown = error
                step = inner.asend(sent) if thrown is None else inner.athrow(thrown)

        return bound  # type: ignore[no-any-return]


def _say_what_was_bound(error: BaseException, bound: Bound) -> None:
    try:
        leave(error, bound)
    except Exception:  # noqa: S110  the exception itself is what counts
        pass


def bind(request_id: str | None = None, **context: Any) -> Binding:
    """
    Give all records that are made within a block or a function this id and context.

        with bind(request_id="req-123", provider="openai"):
            ...

    Blocks nest; the inner ones win, and what is given to the logging call wins over
    all.  What is bound is looked at when a record is made, and is a snapshot in it.

    Args:
        request_id: for records that have none of their own.  Default: that of the
            block around.
        context: as for log_error().

    """
    return Binding(request_id, context)


def bound() -> dict[str, Any]:
    """
    Return what is bound here: the context, and ``request_id`` if there is one.

    >>> with bind(request_id="req-123", provider="openai"):
    ...     bound()
    {'request_id': 'req-123', 'provider': 'openai'}
    """
    now = current.get()
    if now is None:
        return {}
    own = {} if now.request_id is None else {"request_id": now.request_id}
    return {**own, **now.context}


__all__ = ["Binding", "bind", "bound"]
