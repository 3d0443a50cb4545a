"""
Whether anything was put into a spool since it was looked at, for some microseconds.

A look (see peek) costs a quarter of a millisecond, too much to do four times a second
for each of many idle processes.  A producer changes one byte that is known beforehand:
the first one behind the last line, or, if that line's segment is full or sealed, the
first one of a later segment.  Whoever drains changes the head.  So to read these bytes
and the head is enough.

R1  No lock is taken, and nothing is written.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tokenpak.telemetry.store.files import READ_FLAGS
from tokenpak.telemetry.store.peek import HEAD_SIZE, without_counts

if TYPE_CHECKING:
    from collections.abc import Sequence


class SpoolGlance:
    """
    One spool, looked at again and again.

    Args:
        path: of the spool.
        keep_open: whether its descriptor is kept, which is quicker.

    """

    def __init__(self, path: str, *, keep_open: bool = True) -> None:
        self._path = path
        self._keep_open = keep_open
        self._fd = -1
        self._head: bytes | None = None
        self._places: Sequence[int] = ()

    def changed(self) -> bool:
        """
        Return whether it must be looked at: it never was, or something has changed.

        Call it before the look: what changes between the two is then seen next time.

        Raises:
            OSError: it cannot be opened or read; FileNotFoundError: it is gone.

        """
        fd = self._fd if self._fd >= 0 else os.open(self._path, READ_FLAGS)
        try:
            before, self._head = self._head, os.pread(fd, HEAD_SIZE, 0)
            return (
                before is None
                or without_counts(before) != without_counts(self._head)
                or any(os.pread(fd, 1, place) != b"\0" for place in self._places)
            )
        finally:
            if self._keep_open:
                self._fd = fd
            else:
                os.close(fd)

    def remember(self, places: Sequence[int]) -> None:
        """Take *places*, of SpoolView.places_behind(), for all that was seen."""
        self._places = places

    def look_again(self) -> None:
        """Let the next call of changed() be true: the look has failed."""
        self._head = None

    def close(self) -> None:
        """Let go of the file.  Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


__all__ = ["SpoolGlance"]
