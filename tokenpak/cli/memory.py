"""
A command that goes through much memory neither gives it back nor searches it.

Records are trees: to search them for cycles would take a fifth of the time.

What has been freed is kept, to be used again.  An export takes some megabytes for each
day, and frees them.  glibc gives what is free at the top of the heap back to the system
at once; what comes back is other memory, to be zeroed and mapped page by page, which
takes a tenth of the time of an export that keeps little.  It costs no memory at the
peak: what is kept is what was in use before.

That, and what is not searched ever again, only in a process that is the command's own:
a program that calls the command goes on afterwards, with its own heap and garbage.
"""

from __future__ import annotations

import gc
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
"""From malloc.h: above how much free memory at the top some is given back, and from
which size on a piece has a mapping of its own, which is given back when it is freed."""
_KEPT_BYTES: Final = 32 * 1024 * 1024
_MAPPED_BYTES: Final = 4 * 1024 * 1024


@contextmanager
def much_memory(*, own: bool) -> Iterator[None]:
    """
    Let no garbage be searched for, within.

    Args:
        own: whether the process is the command's own.  Then what is loaded by now is
            not searched as it ends, either, and freed memory is kept.

    """
    collecting = gc.isenabled()
    gc.disable()
    if own:
        gc.freeze()
        keep_freed_memory()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def keep_freed_memory() -> bool:
    """Let malloc() keep what is freed, up to 32 MiB; return whether it does."""
    try:
        if not os.confstr("CS_GNU_LIBC_VERSION"):
            return False
        # Imported here: only a command that needs much memory needs it.
        import ctypes  # noqa: PLC0415

        mallopt = ctypes.PyDLL(None).mallopt
        kept = mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
        mapped = mallopt(_MMAP_THRESHOLD, _MAPPED_BYTES)
    except Exception:  # another system, no ctypes, no such function
        return False
    return bool(kept and mapped)


__all__ = ["keep_freed_memory", "much_memory"]
