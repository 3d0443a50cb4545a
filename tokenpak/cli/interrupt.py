"""
Ctrl-C as a question that is asked between two steps, not an exception anywhere.

KeyboardInterrupt comes between any two instructions, also between the making of a
temporary file and the note that it is there.  A command that must leave nothing
half-done asks, and ends at a place that it knows.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

import click

_SIGNALS: Final = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)
)


class Interrupt:
    """Whether somebody wants the command to end."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self) -> bool:
        """Return whether to stop."""
        return self.number != 0

    def note(self, number: int, _frame: FrameType | None) -> None:
        """Take the signal; the second one does what it always does."""
        self.number = number
        if number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)
        else:
            signal.signal(number, signal.SIG_DFL)

    def end(self) -> None:
        """End the command with exit status 1, if that was wanted."""
        if self.number:
            click.echo(
                "Stopped. What was done stays done, and nothing is half-done.", err=True
            )
            raise click.exceptions.Exit(1)


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """
    Turn the first Ctrl-C, SIGTERM or SIGHUP within into an answer of Interrupt.

    Interrupt.end() then ends the command, when it has said what it has done.
    """
    interrupt = Interrupt()
    before = {}
    try:
        for number in _SIGNALS:
            handler = signal.getsignal(number)
            # What is ignored (nohup) or somebody else's stays so.
            if handler in {signal.default_int_handler, signal.SIG_DFL}:
                before[number] = signal.signal(number, interrupt.note)
    except ValueError:  # not the main thread: a program that calls the command
        pass
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def tidy_end() -> Iterator[None]:
    """
    Let SIGTERM and SIGHUP within end the command as Ctrl-C does: by an exception.

    So what is temporary is taken away.  For a command that does nothing by halves
    wherever it ends; the exit status is that of the signal, to a shell.
    """
    before = {}
    came: list[int] = []

    def leave(number: int, _frame: FrameType | None) -> NoReturn:
        came.append(number)
        raise _end_of(number)

    try:
        for number in _SIGNALS:
            handler = signal.getsignal(number)
            if handler in {signal.SIG_DFL, signal.default_int_handler}:
                before[number] = signal.signal(number, leave)
    except ValueError:  # not the main thread: a program that calls the command
        pass
    try:
        yield
    except BaseException:
        # A library that was in the middle of something may make an error of its own
        # of what is raised there, as DuckDB does: that the query was interrupted.
        if came:
            raise _end_of(came[0]) from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_of(number: int) -> BaseException:
    if number == signal.SIGINT:
        return KeyboardInterrupt()
    return SystemExit(128 + number)


__all__ = ["Interrupt", "interruptible", "tidy_end"]
