"""``tokenpak telemetry doctor``: what survives here, and what to mend."""

from __future__ import annotations

import os
import shutil
import sys

import click

from tokenpak.cli.options import HELP, log_dir_option
from tokenpak.cli.output import on_terminal
from tokenpak.telemetry.errors import SettingError


@click.command(
    context_settings=HELP,
    epilog="""
\b
Examples:
  tokenpak telemetry doctor
  tokenpak telemetry doctor --log-dir /var/log/app
  tokenpak telemetry doctor --format json | jq '.findings[] | .what'

Run it as the user that logs, with its environment; then all can be checked.

Exit status: 0 nothing needs to be done, notes do not count; 1 there are warnings
or problems; 2 wrong usage.
""",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="For people, or for programs.",
)
@log_dir_option
def doctor(form: str, log_dir: str | None) -> None:
    """
    Check this machine and the log directory; say what survives which death here.

    Looks at the file system, locks, reserved space, permissions, free space, the
    clock, spools left behind, settings and Python.  Changes nothing: spools are
    looked at, not recovered, and a temporary file is removed at once.
    """
    # Imported here: it asks multiprocessing, which other commands need not load.
    from tokenpak.telemetry.doctor import examine  # noqa: PLC0415
    from tokenpak.telemetry.doctor.report import (  # noqa: PLC0415
        format_json,
        format_text,
    )

    try:
        diagnosis = examine(log_dir)
    except SettingError as e:
        raise click.UsageError(f"--log-dir: expected {e.expected}.") from None
    if form == "json":
        click.echo(format_json(diagnosis), nl=False)
    else:
        coloured = on_terminal(sys.stdout) and not os.environ.get("NO_COLOR")
        text = format_text(
            diagnosis,
            columns=min(80, shutil.get_terminal_size().columns),
            paint=_paint if coloured else _plain,
        )
        click.echo(text, nl=False)
    if not diagnosis.fine:
        raise click.exceptions.Exit(1)


def _paint(text: str, colour: str) -> str:
    return click.style(text, fg=colour, bold=colour == "red" or None)


def _plain(text: str, _colour: str) -> str:
    return text


__all__ = ["doctor"]
