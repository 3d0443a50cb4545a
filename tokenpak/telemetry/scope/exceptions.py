"""
``log_exception``: the exceptions of functions and blocks are logged, and raised again.

C1  Nothing here raises in place of the exception, or where there is none, whatever the
    callables do that say the request id and the context.
C2  No exception, argument or frame is kept.

An exception that passes several layers is recorded by the innermost, once: see mark.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from time import time_ns
from types import TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar, cast, overload

from tokenpak.telemetry.capture.mark import recorded
from tokenpak.telemetry.capture.sanitise import class_name, safe_str
from tokenpak.telemetry.scope.callables import check_callable
from tokenpak.telemetry.scope.left import record
from tokenpak.telemetry.scope.target import Logger, target
from tokenpak.telemetry.scope.wrappers import Classes, without_wrapper, wrapped

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
RequestId = str | Callable[..., str | None] | None
Context = Mapping[str, Any] | Callable[..., Mapping[str, Any] | None] | None

_ENDS: Final = (StopIteration, StopAsyncIteration)
_ITERATES: Final = {"__next__", "__anext__", "send", "throw", "asend", "athrow"}
"""Methods that say by an exception that there is no more."""
_MOST: Final = 64
_blocks: Final[ContextVar[tuple[tuple[int, int], ...]]] = ContextVar(
    "tokenpak_blocks", default=()
)
"""The blocks that this context is in: whose, and since when.  Bounded, because one that
is left in another context, as a generator may be, is never taken off."""


class ExceptionScope:
    """
    What ``log_exception()`` returns: a decorator and a context manager.

    Any number of functions, blocks, threads and tasks may use one at the same time.
    """

    __slots__ = (
        "_context",
        "_each_layer",
        "_exceptions",
        "_logger",
        "_logs_ends",
        "_plain",
        "_request_id",
    )

    def __init__(
        self,
        request_id: RequestId,
        context: Context,
        exceptions: type[BaseException] | tuple[type[BaseException], ...],
        logger: Logger | None,
        each_layer: bool,
    ) -> None:
        self._request_id = request_id
        self._context = context
        self._exceptions = _classes(exceptions)
        self._logger = logger
        self._each_layer = each_layer
        self._plain = not (callable(request_id) or callable(context))
        self._logs_ends = any(issubclass(cls, _ENDS) for cls in self._exceptions)

    @overload
    def __call__(self, function: classmethod[T, P, R], /) -> classmethod[T, P, R]: ...

    @overload
    def __call__(self, function: staticmethod[P, R], /) -> staticmethod[P, R]: ...

    @overload
    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]: ...

    def __call__(self, function: Any, /) -> Any:
        """
        Return *function*, whose exceptions are logged, as a function of the same kind.

        Raises:
            TypeError: it is a class, or it cannot be called.

        """
        if isinstance(function, staticmethod | classmethod):
            return type(function)(self(function.__func__))
        check_callable("log_exception", function)
        failed = self._failed
        if getattr(function, "__name__", "") in _ITERATES and not self._logs_ends:
            failed = self._failed_not_ended
        return wrapped(function, self._exceptions, failed)

    def __enter__(self) -> Self:
        began = (id(self), time_ns())
        _blocks.set((*_blocks.get()[1 - _MOST :], began))
        return self

    def __exit__(
        self,
        cls: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            began = self._leave()
            # By the real class: what an exception claims to be is code of its own.
            if error is not None and issubclass(type(error), self._exceptions):
                self._failed(error, began)
        except Exception:  # noqa: S110  the exception itself is what counts
            pass

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        cls: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(cls, error, traceback)

    def _leave(self) -> int:
        """Return when the innermost block of this scope began; 0 if nobody knows."""
        blocks = _blocks.get()
        for number in range(len(blocks) - 1, -1, -1):
            scope, began = blocks[number]
            if scope == id(self):
                _blocks.set(blocks[:number] + blocks[number + 1 :])
                return began
        return 0

    def _failed_not_ended(
        self,
        error: BaseException,
        began: int,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> None:
        if not issubclass(type(error), _ENDS):
            self._failed(error, began, args, kwargs)

    def _failed(
        self,
        error: BaseException,
        began: int,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> None:
        without_wrapper(error)
        if not self._each_layer and recorded(error, began):
            return
        logger = target(self._logger)
        if self._plain:
            record(logger, self._request_id, error, self._context, began)  # type: ignore[arg-type]
            return
        notes: dict[str, str] = {}
        interrupts: list[BaseException] = []

        def value(name: str, given: Any) -> Any:
            if not callable(given):
                return given
            try:
                return given(*args, **(kwargs or {}))
            except BaseException as reason:  # user code
                name_of_reason = class_name(type(reason))
                notes[f"{name}_failed"] = f"{name_of_reason}: {safe_str(reason, 200)}"
                if issubclass(type(reason), KeyboardInterrupt | SystemExit):
                    interrupts.append(reason)  # a signal handler's, it may be
                return None

        request_id = value("request_id", self._request_id)
        context = value("context", self._context)
        if notes:
            context = _with(context, notes)
        record(logger, request_id, error, context, began)
        if interrupts:
            raise interrupts.pop()


def _with(context: object, notes: dict[str, str]) -> dict[str, Any]:
    if context is None:
        return {**notes}
    try:
        return {**cast("Mapping[str, Any]", context), **notes}
    except Exception:
        return {"value": context, **notes}


def _classes(exceptions: object) -> Classes:
    classes = exceptions if isinstance(exceptions, tuple) else (exceptions,)
    for cls in classes:
        if not (isinstance(cls, type) and issubclass(cls, BaseException)):
            raise TypeError(
                f"exceptions: {cls!r} is no exception class; try exceptions=Exception"
            )
    return classes


__all__ = ["Context", "ExceptionScope", "RequestId"]
