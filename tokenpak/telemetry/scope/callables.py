"""
Which kind of function something is, so that a wrapper can be of the same kind.

A wrapper must be a coroutine function where the wrapped is one, and so on: frameworks
look, and what a coroutine or generator raises is raised long after the call returned.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Literal

Kind = Literal["function", "coroutine", "generator", "async generator"]


def kind_of(function: Callable[..., Any]) -> Kind:
    """Return how *function*, which may be any callable, must be wrapped."""
    inner: Any = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    if not inspect.isroutine(inner):
        inner = type(inner).__call__
    if inspect.isasyncgenfunction(inner):
        return "async generator"
    if inspect.iscoroutinefunction(inner):
        return "coroutine"
    if inspect.isgeneratorfunction(inner):
        return "generator"
    return "function"


def is_awaitable_generator(function: Callable[..., Any]) -> bool:
    """Return whether *function* is a generator that types.coroutine() has marked."""
    code = getattr(function, "__code__", None)
    return bool(getattr(code, "co_flags", 0) & inspect.CO_ITERABLE_COROUTINE)


def check_callable(decorator: str, function: object) -> None:
    """
    Raise TypeError if *decorator* cannot wrap *function*.

    Raises:
        TypeError: it is a class, or it cannot be called.

    """
    if isinstance(function, type):
        raise TypeError(
            f"{decorator} decorates functions, and {function.__qualname__} is a class: "
            f"decorate its methods"
        )
    if not callable(function):
        raise TypeError(
            f"{decorator} decorates functions, not {type(function).__name__}: "
            f"put it below @property and the like"
        )


def like(function: Callable[..., Any]) -> Callable[[Any], Any]:
    """Return a decorator that gives a wrapper the name and the text of *function*."""
    if inspect.isroutine(function):
        return functools.wraps(function)
    # Not the attributes of an object that happens to be callable.
    return functools.wraps(function, updated=())


__all__ = ["Kind", "check_callable", "is_awaitable_generator", "kind_of", "like"]
