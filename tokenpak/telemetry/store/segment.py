"""
One link of the chain: a range of memory that lines are put into, once.

It is the zero-filled range of a slot of the spool's file (see spool) under a mapping of
its own.  Lines hold no NUL byte (JSON escapes it), so the end of what a segment holds
is its first zero.

The pages of the mapping belong to the kernel: what was stored stays when the process
dies at any instruction (Q1).  A death inside a store leaves a last line with zeros in
it, at its end or, since copying may begin there, in front of it.  It was not accepted,
and whoever recovers tells it by the zeros.
"""

from __future__ import annotations

import mmap
import os
import sys
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tokenpak.telemetry.store.spool import SpoolFile

_LOOK: Final = 64 * 1024
_POPULATE_WRITE: Final = 23  # MADV_POPULATE_WRITE, Linux 5.14; mmap has no name for it


class Segment(mmap.mmap):
    """
    One link of the chain.  ``write(line)`` copies the line and moves the position.

    mmap's own ``write`` does both in one C call, under the GIL, so producers need no
    lock.  It raises ValueError when the line does not fit.  Sealing is ``seek`` to the
    end: no line fits any more.  A segment is written once: its slot is used again under
    a new mapping, and the position of this one stays at its end.
    """

    __slots__ = ("generation", "index", "next", "sequence", "spool", "warm")

    spool: SpoolFile
    index: int
    sequence: int
    next: Segment | None
    generation: int
    warm: bool
    """Whether its pages were brought into the page table."""

    def seal(self) -> None:
        """Refuse further lines.  Idempotent; any thread."""
        self.seek(0, os.SEEK_END)

    @property
    def sealed(self) -> bool:
        """Whether the segment refuses further lines."""
        return self.tell() == len(self)

    def renew(self) -> None:
        """Take lines again, from the start on.  Only if it is unshared and zeroed."""
        self.next = None
        self.seek(0)

    def end(self) -> int:
        """Return where the lines that were accepted so far end."""
        position = self.tell()
        if position < len(self):
            # The position moves after the copy, in the same C call.
            return position
        # Sealed, so nothing comes any more: the end is behind the last newline.  What
        # is free is usually less than a line.
        stop = len(self)
        while stop > 0:
            start = max(0, stop - _LOOK)
            found = self[start:stop].rfind(b"\n")
            if found >= 0:
                return start + found + 1
            stop = start
        return 0


class LockedSegment(Segment):
    """A Segment for builds without the GIL, where ``write`` needs a lock of ours."""

    __slots__ = ("lock",)

    lock: threading.RLock

    def write(self, line: bytes) -> int:  # type: ignore[override]
        """Copy *line* and move the position."""
        # Reentrant for signal handlers; they cannot come inside the C call itself.
        with self.lock:
            return super().write(line)

    def seal(self) -> None:
        """Refuse further lines.  Idempotent; any thread."""
        with self.lock:
            super().seal()

    def tell(self) -> int:
        """Return the position."""
        with self.lock:
            return super().tell()


def has_gil() -> bool:
    """Return whether this interpreter runs one thread at a time."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


def _first_count(things: Iterable[object]) -> int:
    # In C alone: in a variable of a frame it would have references that come and go
    # with tracing, debuggers and compilers, and with the version of Python.
    return next(map(sys.getrefcount, things))


_UNSHARED: Final = _first_count([object()])


def is_first_unshared(segments: Iterable[Segment]) -> bool:
    """
    Return whether *segments* alone, a container, refers to the first of them.

    Nobody can come to refer to it, then: there is nowhere to find it.  With the GIL
    that is certain; without, it is never said.
    """
    return has_gil() and _first_count(segments) <= _UNSHARED


def warm(segment: Segment) -> None:
    """Bring the pages of *segment* into the page table, out of a producer's way."""
    if segment.warm or sys.platform != "linux":
        return
    segment.warm = True
    try:
        segment.madvise(_POPULATE_WRITE)
    except OSError:  # an older kernel: the first store into each page faults
        pass


def chill(segment: Segment) -> None:
    """Take the pages of *segment* out of the page table; what they hold stays."""
    segment.warm = False
    if sys.platform == "linux":
        try:
            # The mapping is a shared one: they are the file's pages.
            segment.madvise(mmap.MADV_DONTNEED)
        except OSError:  # the application has locked all its memory (mlockall)
            pass


__all__ = ["LockedSegment", "Segment", "chill", "has_gil", "is_first_unshared", "warm"]
