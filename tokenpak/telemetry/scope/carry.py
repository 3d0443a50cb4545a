"""
``carry``: what is bound here goes along to a thread or a process of a pool.

A context of contextvars could not: two threads cannot be in one at the same time, and
it cannot be pickled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar

from tokenpak.telemetry.capture.bound import Bound, current
from tokenpak.telemetry.capture.sanitise import safe_str, sanitise_context
from tokenpak.telemetry.scope.callables import kind_of, like

P = ParamSpec("P")
R = TypeVar("R")

_LONGEST: Final = 32_000
"""Characters of a bound string that go to another process: what a line can hold."""


class Carried:
    """A callable that brings what was bound where it was made."""

    def __init__(self, function: Callable[..., Any], bound: Bound | None) -> None:
        self._function = function
        self._bound = bound
        like(function)(self)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function with that bound, in place of what is bound here."""
        token = current.set(self._bound)
        try:
            return self._function(*args, **kwargs)
        finally:
            current.reset(token)

    def __reduce__(self) -> tuple[Any, ...]:
        # As plain data, as which it would be recorded: a lock or a client in the
        # context must not keep the call from being sent to its process.
        now = self._bound
        if now is None:
            return _received, (self._function, None, {})
        request_id = now.request_id
        if request_id is not None:
            request_id = safe_str(request_id, _LONGEST)
        plain = sanitise_context(now.context, _LONGEST)
        return _received, (self._function, request_id, plain)


def _received(
    function: Callable[..., Any], request_id: str | None, context: dict[str, Any]
) -> Carried:
    if request_id is None and not context:
        return Carried(function, None)
    return Carried(function, Bound(request_id, context, None))


def carry(function: Callable[P, R]) -> Callable[P, R]:
    """
    Return *function*, which brings along what is bound here.

        executor.submit(carry(work), item)
        pool.map(carry(work), items)

    For threads, and for processes, to which it is sent if *function* can be: what is
    bound goes as plain data, in the form in which it is recorded.

    Args:
        function: no coroutine function: asyncio tasks have what is bound anyway.

    Raises:
        TypeError: it is a coroutine function or a generator function.

    """
    if kind_of(function) != "function":
        raise TypeError(
            f"carry() is for functions that run when they are called, and this is a "
            f"{kind_of(function)}: decorate it with bind()"
        )
    return Carried(function, current.get())


__all__ = ["carry"]
