"""``log_exception``: how it is called, with parentheses and without, and its types."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, overload

from tokenpak.telemetry.scope.exceptions import Context, ExceptionScope
from tokenpak.telemetry.scope.target import Logger

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def _or_bare(make: Callable[..., ExceptionScope]) -> Callable[..., Any]:
    """Let *make* be used as a decorator without parentheses, too."""

    @functools.wraps(make)
    def log_exception(*given: Any, **named: Any) -> Any:
        (function, *more) = given or (None,)
        if more or named or not _decorates(function):
            return make(*given, **named)
        if getattr(function, "__name__", "") == "<lambda>":
            raise TypeError(
                "log_exception: a callable is the function to decorate, unless it is "
                "given by name: request_id=lambda ..."
            )
        return make()(function)

    return log_exception


def _decorates(given: object) -> bool:
    return callable(given) or isinstance(given, classmethod)


@overload
def log_exception(request_id: classmethod[T, P, R], /) -> classmethod[T, P, R]: ...


@overload
def log_exception(request_id: staticmethod[P, R], /) -> staticmethod[P, R]: ...


@overload
def log_exception(request_id: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def log_exception(
    *,
    request_id: Callable[..., str | None],
    context: Context = None,
    exceptions: type[BaseException] | tuple[type[BaseException], ...] = Exception,
    logger: Logger | None = None,
    each_layer: bool = False,
) -> ExceptionScope: ...


@overload
def log_exception(
    request_id: str | None = None,
    context: Context = None,
    *,
    exceptions: type[BaseException] | tuple[type[BaseException], ...] = Exception,
    logger: Logger | None = None,
    each_layer: bool = False,
) -> ExceptionScope: ...


@_or_bare
def log_exception(
    request_id: str | Callable[..., str | None] | None = None,
    context: Mapping[str, Any] | Callable[..., Mapping[str, Any] | None] | None = None,
    *,
    exceptions: type[BaseException] | tuple[type[BaseException], ...] = Exception,
    logger: Logger | None = None,
    each_layer: bool = False,
) -> ExceptionScope:
    """
    Log the exceptions of a function or a block, and raise them again.

        @log_exception(request_id="req-456", context={"provider": "openai"})
        def call_model(): ...

        with log_exception("req-456"):
            ...

    Functions, methods, class- and static methods, coroutine functions, generators and
    async generators; ``with`` and ``async with``.  ``@log_exception`` alone will do.

    Args:
        request_id: as for log_error(); or a callable of the call's arguments, which
            must be given by name: ``request_id=lambda request: request.id``.  For a
            block it gets none.
        context: as for log_error(), or such a callable.
        exceptions: which classes.  Default ``Exception``: cancellation,
            ``KeyboardInterrupt``, ``SystemExit`` and ``GeneratorExit`` pass unlogged.
        logger: which ErrorLogger; default that of the process.
        each_layer: whether to log what was already recorded during the call.  Default
            False: an exception that passes several layers is recorded once.

    Raises:
        TypeError: *exceptions* holds something else, or what is decorated is a class or
            cannot be called.

    """
    return ExceptionScope(request_id, context, exceptions, logger, each_layer)


__all__ = ["log_exception"]
