"""
Find bytes in bytes, as ``bytes.find`` does, in a tenth of its time.

CPython searches byte by byte.  glibc's ``strstr`` compares 16 bytes or more at once
with the first two of what is wanted.  It ends at a NUL, so it is used where there is
none, which takes a glance (memchr); and it needs one at the end, which all ``bytes``
have, see PyBytes_AsString().

Any other C library may be slower than CPython, or quadratic: there it is bytes.find().
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    Find = Callable[[bytes, int], int]

WORTH_BYTES: Final = 4096
"""Less is searched sooner than a function of C is called."""


def finder(data: bytes) -> Find:
    """
    Return what finds bytes in *data* from a position on, or returns -1.

    The position must be in *data* or at its end.  What is looked for is not empty and
    holds no NUL.
    """
    if len(data) < WORTH_BYTES:
        return data.find
    functions = _c_functions()
    if functions is None or b"\0" in data:
        return data.find
    strstr, address_of = functions
    base: int = address_of(data)

    # Its default keeps *data* where it is.
    def find(what: bytes, position: int, _data: bytes = data) -> int:
        place = strstr(base + position, what)
        return -1 if place is None else place - base

    return find


@cache
def _c_functions() -> tuple[Callable[..., Any], Callable[..., Any]] | None:
    """Return strstr() and PyBytes_AsString(); None: they are not to be had."""
    try:
        if not os.confstr("CS_GNU_LIBC_VERSION"):
            return None
        # Imported here: who does not search need not load it.
        import ctypes  # noqa: PLC0415

        # PyDLL keeps the GIL, as bytes.find does: to get it back from busy threads
        # would take much longer than the search.
        strstr = ctypes.PyDLL(None).strstr
        strstr.argtypes = ctypes.c_void_p, ctypes.c_char_p
        strstr.restype = ctypes.c_void_p
        # Made anew: the one that is an attribute may be declared otherwise by others.
        address_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object)(
            ("PyBytes_AsString", ctypes.pythonapi)
        )
    except Exception:  # another system, no ctypes, no such function
        return None
    return strstr, address_of


__all__ = ["WORTH_BYTES", "finder"]
