"""What commands print: lines that any terminal takes, and progress bars."""

from __future__ import annotations

import codecs
import errno
import io
import sys
import time
from typing import IO, TYPE_CHECKING, Any, Final, Literal, Self, cast

import click

from tokenpak.cli.display import visible
from tokenpak.telemetry.read.visible import shown
from tokenpak.telemetry.store.whole import WholeRaw

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

LARGE: Final = 64 * 1024 * 1024
"""Bytes to be read from which on there is a progress bar: it takes some seconds."""

_PATIENCE: Final = 1.0
"""Seconds of work before a line says how far it is."""
_EVERY: Final = 0.1
_WIDTH: Final = 20


def on_terminal(stream: Any) -> bool:
    """Return whether people see *stream*; None is one that was closed at the start."""
    return stream is not None and stream.isatty()


def say(text: str) -> None:
    """Print *text*, one line, and a newline to stdout."""
    if on_terminal(sys.stderr) and on_terminal(sys.stdout):
        click.echo("\r\x1b[K", nl=False, err=True)  # the line of a progress bar
    # A file's name may be anybody's, and hold what acts on a terminal, or bytes that
    # are not UTF-8, which none takes.
    click.echo(visible(text))


Escapes = Literal["json", "text"]


class _Terminal:
    """A terminal that gets nothing that acts on it; see visible.  Write, flush."""

    def __init__(self, out: IO[bytes], *, json: bool) -> None:
        self._out = out
        self._json = json
        # What is written may end in the middle of a letter.
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def write(self, data: bytes) -> int:
        text = shown(self._decoder.decode(data), json=self._json)
        self._out.write(text.encode())
        return len(data)

    def flush(self) -> None:
        self._out.flush()


def stdout_bytes(escapes: Escapes | None = None) -> IO[bytes]:
    """
    Return stdout, to write bytes to.

    A pipe or a file gets the data as it is.  On a terminal, controls and the like are
    shown as escapes: a message is what somebody else has written.

    Args:
        escapes: what is written: JSON, whose escapes are its own, or other text, both
            in UTF-8; None: what has escapes already.

    Raises:
        OSError: it was closed when the program began.

    """
    if sys.stdout is None:
        raise OSError(errno.EBADF, "stdout is closed")
    out: Any = sys.stdout.buffer
    # With PYTHONUNBUFFERED it writes as much as there is room for, and says no more.
    if isinstance(out, io.FileIO):
        out = WholeRaw(out.fileno())
    if escapes is not None and sys.stdout.isatty():
        out = _Terminal(out, json=escapes == "json")
    return cast("IO[bytes]", out)


def progress_bar(stack: ExitStack, size: int, label: str) -> Any:
    """
    Return a bar on stderr, or None: it is no terminal, or there is little to do.

    Args:
        stack: at whose end the bar ends.
        size: bytes.
        label: what is going on.

    """
    if size < LARGE or not on_terminal(sys.stderr):
        return None
    bar: Any = click.progressbar(length=size, label=label, file=sys.stderr)
    return stack.enter_context(bar)


class Progress:
    """
    A line on stderr that says how far a long reading is.

    It appears if stderr is a terminal and the work takes more than a second.  A context
    manager: the line is taken away at its end.

    Args:
        size: what returns the bytes there are to read; asked once, when it is shown.

    """

    def __init__(self, size: Callable[[], int]) -> None:
        self.wanted = on_terminal(sys.stderr)
        self._size = size
        self._total: int | None = None
        self._done = 0
        self._started = time.monotonic()
        self._next = self._started + _PATIENCE
        self._shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def __call__(self, size: int) -> None:
        """Note that *size* more bytes were read."""
        self._done += size
        now = time.monotonic()
        if now < self._next or not self.wanted:
            return
        self._next = now + _EVERY
        if self._total is None:
            self._total = self._size()
        self._shown = True
        line = progress_line(self._done, self._total, now - self._started)
        sys.stderr.write(f"\r{line}\x1b[K")
        sys.stderr.flush()


def progress_line(done: int, total: int, seconds: float) -> str:
    """Return what is said when *done* of *total* bytes took so many *seconds*."""
    done = min(done, total)
    share = done / total if total else 1.0
    filled = int(share * _WIDTH)
    rate = done / seconds if seconds > 0 else 0.0
    left = f", {(total - done) / rate:,.0f} s left" if rate else ""
    return (
        f"[{'#' * filled}{'-' * (_WIDTH - filled)}] {share:4.0%}  "
        f"{done / 1e6:,.0f} of {total / 1e6:,.0f} MB, {rate / 1e6:,.0f} MB/s{left}"
    )


def plural(count: int) -> str:
    """Return the ending of a noun that *count* stands before."""
    return "s"[: count != 1]


__all__ = [
    "LARGE",
    "Progress",
    "on_terminal",
    "plural",
    "progress_bar",
    "progress_line",
    "say",
    "stdout_bytes",
]
