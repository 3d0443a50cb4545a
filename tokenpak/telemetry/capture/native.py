"""
Which values may be given to orjson as they are.

orjson takes more types than JSON has: datetimes, dataclasses, enums, UUIDs, fragments.
For those it runs code of the caller's (``utcoffset``, descriptors, ``value``), and does
not expect it to fail: the process dies of a segmentation fault.  What is no JSON type
takes the slow road, through sanitise, which writes the same as orjson, and survives.

The hot path cannot look at each value: that costs more than to encode it.  There,
orjson is told to leave datetimes and dataclasses alone, which costs nothing.  It has no
such option for enums, UUIDs and fragments, so some things remain with the caller: an
enum whose ``value`` raises, a UUID without its ``int``, and a list that holds a list
many times, which holds a list many times, and so on.

A fragment that is no JSON is found where a line is looked at more closely, as each is
that looks like none before it (is_sound).  What passes is one that differs in nothing
but digits and the letters a to f from what was JSON: nothing, in the place of a number.
With ``redact="off"`` no line is looked at, and only one with a newline is refused.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

NATIVE: Final = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
"""For all encoding of what comes from the caller."""

_LEAVES: Final = frozenset({str, int, float, bool, type(None)})


class NotNativeError(Exception):
    """A value that orjson must not be given, or one that is too large to look at."""


def is_sound(context: dict[Any, Any] | None, encoded: bytes) -> bool:
    """Return whether *encoded*, which orjson has made of *context*, is JSON."""
    if not context or _LEAVES.issuperset(map(type, context.values())):
        return True
    for value in context.values():
        kind = type(value)
        if kind is dict:
            if _LEAVES.issuperset(map(type, value.values())):
                continue
        elif kind in _LEAVES or (
            (kind is list or kind is tuple) and _LEAVES.issuperset(map(type, value))
        ):
            continue
        break
    else:
        return True
    # To look for a fragment at any depth takes longer than to read it all.
    try:
        orjson.loads(encoded)
    except ValueError:
        return False
    return True


def check_native(value: object, most: int) -> None:
    """
    Return if *value* is a dict, list or tuple that holds nothing but what JSON has.

    Args:
        value: any object; none of its code is run.
        most: how many values it may hold.  It ends a search through cycles, and through
            a small object that holds another one so often that its text is huge.

    Raises:
        NotNativeError: it holds something else, or more than that.

    """
    found: list[Any] = [value]
    for container in found:
        kind = type(container)
        if kind is dict:
            items = container.values()
        elif kind is list or kind is tuple:
            items = container
        else:
            raise NotNativeError
        most -= len(items) + 1
        if most < 0:
            raise NotNativeError
        found.extend(item for item in items if type(item) not in _LEAVES)


__all__ = ["NATIVE", "NotNativeError", "check_native", "is_sound"]
