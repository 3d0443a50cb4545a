"""
The mark on an exception that says when it was recorded.

An exception that passes several layers is recorded once.  The logger may not keep the
exception (C2), and an address that is used again would lose a record.  So the exception
itself says it: one attribute, an integer, the nanoseconds since the epoch at which it
was recorded last.  It shows in no traceback and survives pickling.

Why a time and not a flag: some programs raise one exception object again and again,
and each time is a failure.  Whoever asks says since when, that is, when the call began
that has failed now: what was recorded before that belongs to an earlier failure.
"""

from __future__ import annotations

import time
import weakref
from typing import Final, cast

MARK: Final = "_tokenpak_recorded"
"""The attribute.  The hot path writes it by name."""

_set = BaseException.__setattr__
_MOST: Final = 1_000
"""How many exceptions of a group are looked at."""
_elsewhere: dict[int, tuple[weakref.ref[object], int]] = {}
"""The marks of exceptions that have a way of their own with attributes, by their id:
one that refuses them, as a frozen dataclass, could not be unpickled with the mark."""


def plain_attributes(cls: type) -> bool:
    """Return whether instances of *cls* have attributes set without code of theirs."""
    return issubclass(cls, BaseException) and cls.__setattr__ is _set


def mark(error: object, moment: int) -> None:
    """
    Say of *error* that it was recorded at *moment*.

    Args:
        error: an exception; anything else is left alone.
        moment: nanoseconds since the epoch.

    Raises:
        Exception: it cannot be marked.  Then each layer records it.

    """
    if plain_attributes(type(error)):
        _set(cast("BaseException", error), MARK, moment)
    elif issubclass(type(error), BaseException):
        key = id(error)
        gone = weakref.ref(error, lambda _: _elsewhere.pop(key, None))
        _elsewhere[key] = gone, moment


def recorded(error: BaseException, since: int = 0) -> bool:
    """
    Return whether *error* was recorded, and not before *since*.

    A group is recorded if all exceptions in it are.  What has a mark of the future is
    not: it comes from another machine, or the clock was set.

    Args:
        error: the exception.
        since: nanoseconds since the epoch; 0 for whenever.

    """
    left = [error]
    for each in left:
        moment = _moment(each)
        if moment is not None and since <= moment <= time.time_ns():
            continue
        if not issubclass(type(each), BaseExceptionGroup) or len(left) > _MOST:
            return False
        left.extend(_members(each))
    return True


def _moment(error: BaseException) -> int | None:
    if _elsewhere:
        entry = _elsewhere.get(id(error))
        if entry is not None and entry[0]() is error:
            return entry[1]
    # Not as an attribute: one that is missing takes ten times as long.
    moment = attributes(error).get(MARK)
    return moment if type(moment) is int else None


attributes = vars(BaseException)["__dict__"].__get__
"""The attributes of an exception, without any code of its class."""
_members = vars(BaseExceptionGroup)["exceptions"].__get__

__all__ = ["MARK", "attributes", "mark", "plain_attributes", "recorded"]
