"""Write to a descriptor all that there is, however long that takes."""

from __future__ import annotations

import io
import os
import select
from typing import Any


def write_all(fd: int, data: bytes | memoryview) -> None:
    """
    Write all of *data* to *fd*; a pipe that does not wait is waited for.

    Raises:
        OSError: it cannot be written.

    """
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:
            if not hasattr(select, "poll"):
                raise
            poller = select.poll()
            poller.register(fd, select.POLLOUT)
            poller.poll()


class WholeRaw(io.RawIOBase):
    """
    A descriptor, of which each write writes all; it is not closed.

    Args:
        fd: the descriptor.

    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.dead = False
        """Whether what is still written is of no use: it was told that it fails."""

    def writable(self) -> bool:
        """Return whether one can write to it."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return os.isatty(self._fd)

    def write(self, data: Any, /) -> int:
        """
        Write all of *data*, and return its length.

        Raises:
            OSError: it cannot be written.

        """
        with memoryview(data).cast("B") as view:
            if not self.dead:
                write_all(self._fd, view)
            return len(view)


__all__ = ["WholeRaw", "write_all"]
