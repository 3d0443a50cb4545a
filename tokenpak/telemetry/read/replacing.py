"""
A file that is written as a whole: what was there before stays until all is there.

It is written under a temporary name beside its own and renamed, so that whoever fails
half-way leaves the old file, or none.  What is no file (a pipe, a device) cannot be
replaced, and is written to as it is.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """
    Yield what becomes the file *path* at the end, readable by its owner alone.

    A symbolic link is followed.

    Raises:
        OSError: it cannot be written.

    """
    if not is_replaceable(path):
        with open(path, "wb") as out:
            yield out
        return
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    # Its name is known before it is there, and where it is not, it is not missed: what
    # a signal raises may come between any two steps.
    temporary = os.path.join(folder, f".{name}-{os.urandom(4).hex()}.tmp")
    try:
        with open(temporary, "xb", opener=_private) as out:
            yield out
        os.replace(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def is_replaceable(path: str | os.PathLike[str]) -> bool:
    """Return whether *path* is a file, or nothing yet."""
    # Of the path as it is given: what /dev/stdout and <(...) lead to, a pipe, can be
    # opened by it, but its real path names nothing.
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return True
    return stat.S_ISREG(mode)


__all__ = ["is_replaceable", "replacing"]
