"""What commands that read have in common, before, beside and after the reading."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from tokenpak.cli.display import visible
from tokenpak.telemetry.read import MalformedLine
from tokenpak.telemetry.settings import resolve_settings
from tokenpak.telemetry.store.places import readable_spool_directories

if TYPE_CHECKING:
    from tokenpak.telemetry.read import Damage


def tell_damage(damage: Damage) -> None:
    """Say on stderr what was skipped, and where."""
    if isinstance(damage, MalformedLine):
        text = (
            f"Skipped: {damage.file}, byte {damage.offset:,}, "
            f"length {damage.length:,}: {damage.reason}."
        )
    else:
        text = f"Not read, or not to the end: {damage.file} ({damage.reason})."
    click.echo(visible(text), err=True)


def recover_quietly(log_dir: str) -> None:
    """Append what dead processes had accepted, where that is allowed."""
    settings = resolve_settings({"log_dir": log_dir})
    places = readable_spool_directories(settings.log_dir, settings.spool_dir)
    if not any(map(os.path.isdir, places)):
        return
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


__all__ = ["let_go_of_stdout", "recover_quietly", "tell_damage"]
