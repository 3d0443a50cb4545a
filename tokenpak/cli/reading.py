"""What commands that read have in common, before, beside and after the reading."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

import click

from tokenpak.cli.display import visible
from tokenpak.telemetry.read import MalformedLine
from tokenpak.telemetry.settings import resolve_settings
from tokenpak.telemetry.store.places import readable_spool_directories

if TYPE_CHECKING:
    from tokenpak.telemetry.read import Damage

PATIENCE: Final = 0.5
"""Seconds that a command which only reads waits for the lock of a day file."""


def tell_damage(damage: Damage) -> None:
    """Say on stderr what was skipped, and where."""
    if isinstance(damage, MalformedLine):
        text = (
            f"Skipped: {damage.file}, byte {damage.offset:,}, "
            f"length {damage.length:,}: {damage.reason}."
        )
    else:
        text = f"Not read, or not to the end: {damage.file} ({damage.reason})."
    # A spool's name is what another user of a shared directory has given it.
    click.echo(visible(text), err=True)


def recover_quietly(log_dir: str) -> bool:
    """
    Append what dead processes had accepted, where that is allowed.

    Returns:
        Whether there are spools, in which something may be pending.

    """
    settings = resolve_settings({"log_dir": log_dir})
    places = readable_spool_directories(settings.log_dir, settings.spool_dir)
    if not any(map(os.path.isdir, places)):
        return False
    # Imported here: the writing half of the package, which --help needs not load.
    from tokenpak.telemetry.queue.recovery import recover  # noqa: PLC0415

    try:
        recover(log_dir, patience=PATIENCE)
    except TimeoutError as e:
        # A process that is stopped, say.  Who asks what went wrong need not wait for
        # it: what it keeps out of the log is shown from where it lies.
        text = f"Not appended yet, and read from where it waits: {e}."
        click.echo(visible(text), err=True)
    except OSError:
        # Who may only read, or has a full disk, is shown the records where they lie:
        # all that cannot be read there is reported with the rest.
        pass
    return True


def need_stdout() -> None:
    """End with a sentence if stdout is closed: Python has None for it then."""
    if sys.stdout is None:
        raise click.ClickException("The output cannot be written: stdout is closed.")


def let_go_of_stdout() -> None:
    """Let the last flush of stdout succeed: ``| head`` has what it wants."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.close(devnull)


__all__ = [
    "PATIENCE",
    "let_go_of_stdout",
    "need_stdout",
    "recover_quietly",
    "tell_damage",
]
