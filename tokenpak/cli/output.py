"""What commands print: lines that any terminal takes, and progress bars."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from tokenpak.telemetry.read import MalformedLine

if TYPE_CHECKING:
    from contextlib import ExitStack

    from tokenpak.telemetry.read import Damage

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


def tell_damage(damage: Damage) -> None:
    """Say on stderr what was skipped, and where."""
    if isinstance(damage, MalformedLine):
        text = (
            f"Skipped: {damage.file}, byte {damage.offset:,}, "
            f"length {damage.length:,}: {damage.reason}."
        )
    else:
        text = f"Not read, or not to the end: {damage.file} ({damage.reason})."
    click.echo(text.encode("utf-8", "backslashreplace").decode(), err=True)


def recover_quietly(log_dir: str) -> None:
    """Append what dead processes had accepted, where that is allowed."""
    # Imported here: the writing half of the package, which --help needs not load.
    from tokenpak.telemetry.queue.recovery import recover  # noqa: PLC0415

    try:
        recover(log_dir)
    except OSError:
        # Who may only read, or has a full disk, is shown the records where they lie:
        # all that cannot be read there is reported with the rest.
        pass


def let_go_of_stdout() -> None:
    """Let the last flush of stdout succeed: ``| head`` has what it wants."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.close(devnull)


__all__ = [
    "LARGE",
    "let_go_of_stdout",
    "plural",
    "progress_bar",
    "recover_quietly",
    "say",
    "tell_damage",
]
