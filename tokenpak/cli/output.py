"""What commands print: lines that any terminal takes, and progress bars."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from contextlib import ExitStack

LARGE: Final = 64 * 1024 * 1024
"""Bytes to be read from which on there is a progress bar: it takes some seconds."""


def say(text: str) -> None:
    """Print *text* and a newline to stdout."""
    if sys.stderr.isatty() and sys.stdout.isatty():
        click.echo("\r\x1b[K", nl=False, err=True)  # the line of a progress bar
    # A file's name may hold bytes that are not UTF-8, which no terminal takes.
    click.echo(text.encode("utf-8", "backslashreplace").decode())


def progress_bar(stack: ExitStack, size: int, label: str) -> Any:
    """
    Return a bar on stderr, or None: it is no terminal, or there is little to do.

    Args:
        stack: at whose end the bar ends.
        size: bytes.
        label: what is going on.

    """
    if size < LARGE or not sys.stderr.isatty():
        return None
    bar: Any = click.progressbar(length=size, label=label, file=sys.stderr)
    return stack.enter_context(bar)


def plural(count: int) -> str:
    """Return the ending of a noun that *count* stands before."""
    return "s"[: count != 1]


__all__ = ["LARGE", "plural", "progress_bar", "say"]
