"""
``tokenpak telemetry export``: copy records out, as JSON, JSON Lines or CSV.

Records go to stdout or a file, what was skipped to stderr, so that the output of a pipe
is clean.  What dead processes had accepted is appended first, so that it is exported
too; where that is not possible, it is read from their spools, and comes at the end.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, cast

import click

from tokenpak.cli.options import (
    HELP,
    complete_file,
    existing_log_dir,
    log_dir_option,
    make_query,
    query_options,
)
from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.read import FORMATS, export_records, export_to_file

if TYPE_CHECKING:
    from tokenpak.telemetry.read import Exported, Format

_NAMED_FILES = 5
"""How many files a message names; there may be thousands."""


@click.command(
    context_settings=HELP,
    epilog="""
\b
Examples:
  tokenpak telemetry export > errors.json
  tokenpak telemetry export --format csv --output march.csv \\
      --since 2026-03-01 --until 2026-03-31
  tokenpak telemetry export --format jsonl --provider anthropic | jq .message
  tokenpak telemetry export --stream events --since 2026-03-24T17:00:00Z

Malformed lines are skipped; stderr says how many, and in which files.

Exit status: 0 exported, also if nothing matched or lines were skipped; 1 the log
directory cannot be read or the output not written; 2 wrong usage.
""",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="json",
    show_default=True,
    help="One JSON array, a JSON object a line, or a table.",
)
@query_options
@log_dir_option
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    shell_complete=complete_file,
    help="Write to FILE, all or nothing, instead of stdout.",
)
def export(form: str, log_dir: str | None, output: str | None, **wanted: Any) -> None:
    """
    Export errors, or events, as JSON, JSON Lines or CSV.

    Active and archived files are read, damaged ones too.  What comes out is strict
    UTF-8 JSON or CSV, day by day in the order of the files; at the end, what has been
    accepted and cannot be appended to them yet.
    """
    query = make_query(**wanted)
    place = existing_log_dir(log_dir)
    _recover(place)
    shape = cast("Format", form)
    try:
        if output is None or output == "-":
            out = sys.stdout.buffer
            exported = export_records(place, out, query=query, form=shape, pending=True)
            out.flush()
        else:
            exported = export_to_file(
                place, output, query=query, form=shape, pending=True
            )
    except BrokenPipeError:
        _let_go_of_stdout()
        return
    except SettingError as e:
        raise click.UsageError(f"--{e.setting}: expected {e.expected}.") from None
    except OSError as e:
        what = e.filename or output or "the output"
        raise click.ClickException(
            f"The export failed: {what}: {e.strerror or e}."
        ) from None
    _report(exported)


def _recover(log_dir: str) -> None:
    """Append what dead processes had accepted, where that is allowed."""
    # Imported here: the writing half of the package, which --help needs not load.
    from tokenpak.telemetry.queue.recovery import recover  # noqa: PLC0415

    try:
        recover(log_dir)
    except OSError:
        # Who may only read, or has a full disk, is shown the records where they lie:
        # all that cannot be read there is reported with the rest.
        pass


def _report(exported: Exported) -> None:
    if exported.malformed:
        total = sum(exported.malformed.values())
        files = _some([f"{n:,} in {file}" for file, n in exported.malformed.items()])
        _say(f"Skipped {total:,} malformed line{'s'[: total > 1]}: {files}.")
    if exported.unreadable:
        files = _some(
            [f"{damage.file} ({damage.reason})" for damage in exported.unreadable]
        )
        _say(f"Not read, or not to the end: {files}.")


def _some(parts: list[str]) -> str:
    more = len(parts) - _NAMED_FILES
    named = ", ".join(parts[:_NAMED_FILES])
    return f"{named} and {more:,} more files" if more > 0 else named


def _say(text: str) -> None:
    click.echo(text, err=True)


def _let_go_of_stdout() -> None:
    """Let the last flush of stdout succeed: ``| head`` has what it wants."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.close(devnull)


__all__ = ["export"]
