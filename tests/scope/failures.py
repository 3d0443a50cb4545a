"""Exceptions that are hard to deal with, and how the tests of scopes catch them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tokenpak.telemetry.error_logger import ErrorLogger

Make = Callable[..., ErrorLogger]


class FailureError(Exception):
    """One that weak references can be made to."""


@dataclass(frozen=True)
class FrozenError(Exception):
    """Refuses to have any attribute set."""

    code: int = 5


class SlottedError(Exception):
    """Has slots of its own."""

    __slots__ = ("code",)


class RefusingError(Exception):
    """Refuses to have any attribute set, also while it is unpickled."""

    __slots__ = ("__weakref__",)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


class HostileError(Exception):
    """Raises whatever is done to it."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __setattr__(self, name: str, value: object) -> None:
        raise RuntimeError(name)


def passing(
    cls: type[BaseException],
) -> contextlib.AbstractContextManager[object, bool]:
    """Catch *cls*, which must come."""
    return pytest.raises(cls)


def call(function: Callable[..., Any], *args: Any) -> None:
    """Call *function*, which fails."""
    try:
        function(*args)
    except Exception:
        return
    pytest.fail("it did not fail")


def throw(error: BaseException) -> None:
    """Raise *error*."""
    raise error
