"""
What a command writes to stdout is written whole, or the command says that it is not.

A write to a file descriptor may take less than it is given: the disk is full, a signal
came, the pipe does not wait and has no room.  Python's buffers see to the rest, but
with PYTHONUNBUFFERED there are none, and what was left over was lost without a word; a
pipe that does not wait was an error even with them.  And what the last flush could not
write was told of by the interpreter as it ended, with a status of its own.
"""

from __future__ import annotations

import io
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tokenpak.telemetry.store.whole import WholeRaw

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def whole_stdout() -> Iterator[None]:
    """
    Let sys.stdout, within, write all that it is given; flush it at the end.

    Only if it is a stream of the system's.  That nobody reads any more what is left for
    the end (``| head``) is no error.

    Raises:
        OSError: it cannot be written.

    """
    before: Any = sys.stdout
    raw = _raw_of(before)
    if raw is None:
        yield
        return
    before.flush()
    out = WholeRaw(raw.fileno())
    buffer: Any = out if raw is before.buffer else io.BufferedWriter(out)
    now = io.TextIOWrapper(
        buffer,
        before.encoding,
        before.errors,
        line_buffering=before.line_buffering,
        write_through=before.write_through,
    )
    sys.stdout = now
    try:
        yield
    finally:
        sys.stdout = before
        try:
            now.flush()
        except BaseException as e:
            out.dead = True  # or the end of the stream would try once more
            if not isinstance(e, BrokenPipeError):
                raise


@contextmanager
def unheld_stderr() -> Iterator[None]:
    """
    Let sys.stderr, within, keep nothing back of what could not be written.

    Its buffer would: the interpreter tries again as it ends, and makes 120 of the exit
    status.  Only if it is a stream of the system's that has a buffer.
    """
    before: Any = sys.stderr
    raw = _raw_of(before)
    if raw is None or raw is before.buffer:
        yield
        return
    before.flush()
    sys.stderr = io.TextIOWrapper(
        WholeRaw(raw.fileno()),
        before.encoding,
        before.errors,
        line_buffering=True,
        write_through=True,
    )
    try:
        yield
    finally:
        sys.stderr = before


def _raw_of(stream: Any) -> io.FileIO | None:
    """Return what *stream* writes to in the end, if that is a descriptor."""
    buffer = stream.buffer if isinstance(stream, io.TextIOWrapper) else None
    raw = getattr(buffer, "raw", buffer)
    return raw if isinstance(raw, io.FileIO) and not stream.closed else None


__all__ = ["unheld_stderr", "whole_stdout"]
