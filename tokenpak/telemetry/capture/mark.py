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
from typing import Final, cast

MARK: Final = "_tokenpak_recorded"
"""The attribute.  The hot path writes it by name."""

_set = BaseException.__setattr__
_get = BaseException.__getattribute__
_MOST: Final = 1_000
"""How many exceptions of a group are looked at."""


def plain_attributes(cls: type) -> bool:
    """Return whether instances of *cls* have attributes set without code of theirs."""
    return issubclass(cls, BaseException) and cls.__setattr__ is _set


def mark(error: object, moment: int) -> None:
    """
    Say on *error* that it was recorded at *moment*.  Never raises an ``Exception``.

    Args:
        error: an exception; anything else is left alone.
        moment: nanoseconds since the epoch.

    """
    try:
        # Not the attribute as such: a frozen dataclass refuses that.
        _set(cast("BaseException", error), MARK, moment)
    except Exception:  # noqa: S110  no exception, or no memory
        pass


def recorded(error: BaseException, since: int = 0) -> bool:
    """
    Return whether *error* was recorded, and not before *since*.

    A group is recorded if all exceptions in it are.  What has a mark of the future is
    not: it comes from another machine, or the clock was set.

    Args:
        error: the exception.
        since: nanoseconds since the epoch; 0 for whenever.

    """
    now = time.time_ns()
    left: list[BaseException] = [error]
    for each in left:
        try:
            moment = _get(each, MARK)
        except AttributeError:
            moment = None
        if type(moment) is int and since <= moment <= now:
            continue
        if not isinstance(each, BaseExceptionGroup) or len(left) > _MOST:
            return False
        left.extend(BaseExceptionGroup.exceptions.__get__(each))
    return True


__all__ = ["MARK", "mark", "plain_attributes", "recorded"]
