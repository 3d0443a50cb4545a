"""
Which values may be given to orjson as they are.

orjson takes more types than JSON has: enums, dataclasses, datetimes, UUIDs, fragments.
For those it runs code of the caller's (``value``, ``utcoffset``, descriptors), and does
not expect that this fails, or that it changes the container that is being encoded: the
process dies of a segmentation fault.  A fragment is copied without a look, so it could
put a newline or a NUL byte into a line.

So it is given only what JSON itself has.  Everything else takes the slow road, through
sanitise, which writes the same as orjson does, and survives (C1).
"""

from __future__ import annotations

from typing import Any, Final

LEAVES: Final = frozenset({str, int, float, bool, type(None)})
"""Exact types that orjson encodes without running any code of the caller's."""


class NotNativeError(Exception):
    """A value that orjson must not be given, or one that is too large to look at."""


def check_native(value: object, most: int) -> None:
    """
    Return if *value*, which is no leaf, is made of dicts, lists, tuples and leaves.

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
        for item in items:
            if type(item) not in LEAVES:
                found.append(item)  # noqa: PERF401  (may change under our hands)


__all__ = ["LEAVES", "NotNativeError", "check_native"]
