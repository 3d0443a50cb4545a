"""``tokenpak telemetry lnav``: the format by which lnav reads the files."""

from __future__ import annotations

import os

import click

from tokenpak.cli.options import HELP


@click.command(
    context_settings=HELP,
    epilog="""
\b
Examples:
  tokenpak telemetry lnav > tokenpak.json && lnav -i tokenpak.json
  lnav ~/.tokenpak/logs ~/.tokenpak/logs/archive

lnav is a viewer of log files for the terminal: https://lnav.org.

Exit status: 0 printed; 1 the output cannot be written; 2 wrong usage.
""",
)
def lnav() -> None:
    """
    Print the format file by which lnav reads errors and events.

    Then it shows them in one timeline, with stack traces, filters and SQL; archives,
    too.
    """
    path = os.path.join(os.path.dirname(__file__), "lnav.json")
    with open(path, encoding="utf-8") as file:
        click.echo(file.read(), nl=False)


__all__ = ["lnav"]
