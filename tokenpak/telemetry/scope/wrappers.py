"""
Wrappers that tell of the exceptions of what they wrap, one for each kind of function.

All else passes: results, what is sent and thrown into generators, their closing and
their return values.  The exception is raised again as the same object.  The frame of
the wrapper is taken out of its traceback, so it is the one that it would be without.

A wrapper that does not fail costs its call and one look at the clock.
"""

from __future__ import annotations

import sys
import types
from collections.abc import AsyncGenerator, Callable, Generator
from time import time_ns
from typing import Any, Protocol

from tokenpak.telemetry.scope.callables import is_awaitable_generator, kind_of, like

Call = Callable[..., Any]
Classes = tuple[type[BaseException], ...]


class Failed(Protocol):
    """What is told of failures."""

    def __call__(
        self,
        error: BaseException,
        began: int,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> None:
        """
        Take note.

        Args:
            error: the exception.
            began: when the call did, in nanoseconds since the epoch.
            args: of the call.
            kwargs: of the call.

        """


def wrapped(function: Call, exceptions: Classes, failed: Failed) -> Call:
    """
    Return a function of the same kind that tells *failed* of its *exceptions*.

    Args:
        function: any callable, but for classes.
        exceptions: which ones.
        failed: what is told, at most once for each call.

    """
    kind = kind_of(function)
    if kind == "coroutine":
        return _coroutine(function, exceptions, failed)
    if kind == "async generator":
        return _async_generator(function, exceptions, failed)
    if kind == "generator":
        wrapper = _generator(function, exceptions, failed)
        if is_awaitable_generator(function):
            return types.coroutine(wrapper)
        return wrapper
    return _function(function, exceptions, failed)


# In each: `failed` cannot even be called at the very end of the stack.  Then the
# exception is not marked, and the next layer, which has more room, records it.


def _function(function: Call, exceptions: Classes, failed: Failed) -> Call:
    @like(function)
    def logged(*args: Any, **kwargs: Any) -> Any:
        began = time_ns()
        try:
            return function(*args, **kwargs)
        except exceptions as error:
            try:
                failed(error, began, args, kwargs)
            except Exception:  # noqa: S110
                pass
            raise

    return logged  # type: ignore[no-any-return]


def _coroutine(function: Call, exceptions: Classes, failed: Failed) -> Call:
    @like(function)
    async def logged(*args: Any, **kwargs: Any) -> Any:
        began = time_ns()
        try:
            return await function(*args, **kwargs)
        except exceptions as error:
            try:
                failed(error, began, args, kwargs)
            except Exception:  # noqa: S110
                pass
            raise

    return logged  # type: ignore[no-any-return]


def _generator(function: Call, exceptions: Classes, failed: Failed) -> Call:
    @like(function)
    def logged(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        began = time_ns()
        try:
            return (yield from function(*args, **kwargs))
        except exceptions as error:
            try:
                failed(error, began, args, kwargs)
            except Exception:  # noqa: S110
                pass
            raise

    return logged  # type: ignore[no-any-return]


def _async_generator(function: Call, exceptions: Classes, failed: Failed) -> Call:
    @like(function)
    async def logged(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        began = time_ns()
        thrown: BaseException | None = None
        try:
            inner = function(*args, **kwargs)
            step = first_step(inner)
            while True:
                try:
                    item = await step
                except StopAsyncIteration:
                    return
                finally:
                    thrown = step = None  # or it would hold itself, by this frame
                try:
                    sent = yield item
                except BaseException as error:
                    thrown = error
                # Outside of the except clause, or what the generator raises next would
                # have the other exception for its context.
                if thrown is None:
                    step = inner.asend(sent)
                else:
                    # GeneratorExit, too: that is how a generator is closed.
                    without_wrapper(thrown, also_alone=True)
                    step = inner.athrow(thrown)
        except exceptions as error:
            try:
                failed(error, began, args, kwargs)
            except Exception:  # noqa: S110
                pass
            raise

    return logged  # type: ignore[no-any-return]


def first_step(inner: AsyncGenerator[Any, Any]) -> Any:
    """
    Return what runs *inner*, which is driven by a wrapper, to its first yield.

    The event loop is not told of it: it would close it at its end, at the same time as
    the wrapper does, and one of the two would fail.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=None, finalizer=None)
    try:
        return inner.asend(None)
    finally:
        sys.set_asyncgen_hooks(*hooks)


def without_wrapper(error: BaseException, *, also_alone: bool = False) -> None:
    """
    Take a frame of this module off the head of the traceback of *error*.

    Args:
        error: the exception.
        also_alone: whether to take it off if it is the only one.  As a rule not: where
            arguments do not fit, it is the wrapper in which the call has failed.

    """
    head = _traceback(error)
    if (
        head is not None
        and head.tb_frame.f_globals is _OWN
        and (head.tb_next is not None or also_alone)
    ):
        # Not the attribute: a frozen dataclass refuses to have it set.
        BaseException.with_traceback(error, head.tb_next)


_OWN = globals()
_traceback = vars(BaseException)["__traceback__"].__get__

__all__ = ["Call", "Classes", "Failed", "first_step", "without_wrapper", "wrapped"]
