"""
Tasks of pools: what fails in a worker is recorded there, with the task's name.

    pool.map(recorded(work), items)          multiprocessing.Pool
    executor.submit(recorded(work), item)    concurrent.futures: threads, processes

A pool keeps an exception for whoever asks for the result, which may be nobody; and by
then it is a copy, in another process.  In the worker it is whole.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from tokenpak.telemetry.capture.mark import recorded as was_recorded
from tokenpak.telemetry.error_logger import get_error_logger
from tokenpak.telemetry.integrations._request import bound, current_request_id
from tokenpak.telemetry.scope.left import record

P = ParamSpec("P")
Q = ParamSpec("Q")
T = TypeVar("T")
R = TypeVar("R")


class recorded(Generic[P, R]):  # noqa: N801  it is used as a function
    """
    A function whose exceptions are recorded, once, where it runs, and raised again.

    The context names the task, as ``module.function``; its arguments are not in it.
    ``Exception`` and what derives from it; what ends a worker passes unlogged.

    It can be pickled if *function* can, and be used as a decorator.

    Args:
        function: the task.
        request_id: by which the record is found again; bound while the task runs.
            Default: the one that is bound where this is called.

    """

    def __init__(self, function: Callable[P, R], request_id: str | None = None) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._request_id = (
            request_id if request_id is not None else current_request_id()
        )

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function."""
        if self._request_id is None:
            return self._call(*args, **kwargs)
        with bound(self._request_id):
            return self._call(*args, **kwargs)

    def _call(self, *args: P.args, **kwargs: P.kwargs) -> R:
        since = time.time_ns()
        try:
            return self._function(*args, **kwargs)
        except Exception as error:
            if not was_recorded(error, since):
                context = {"task": name_of(self._function)}
                record(get_error_logger(), self._request_id, error, context, since)
            raise

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...

    @overload
    def __get__(
        self: recorded[Concatenate[T, Q], R], instance: T, owner: type | None = None
    ) -> Callable[Q, R]: ...

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Be a method, where a method is decorated."""
        return self if instance is None else MethodType(self, instance)

    def __reduce__(self) -> str | tuple[Any, ...]:
        # As a decorator it stands under the name of what it wraps, which can only be
        # pickled by that name.
        name = getattr(self._function, "__qualname__", "")
        found: object = sys.modules.get(
            getattr(self._function, "__module__", None) or ""
        )
        for part in name.split("."):
            found = getattr(found, part, None)
        return name if found is self else (recorded, (self._function, self._request_id))


def name_of(function: object) -> str:
    """Return ``module.function`` for what a pool calls."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return f"{getattr(function, '__module__', None)}.{name}"


__all__ = ["recorded"]
