"""
``tokenpak telemetry export``: copy records out, as JSON, JSON Lines, CSV or Parquet.

Records go to stdout or a file, what was skipped to stderr, so that the output of a pipe
is clean.  What dead processes had accepted is appended first, so that it is exported
too; where that is not possible, it is read from their spools, and comes at the end.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

import click

from tokenpak.cli.display import visible
from tokenpak.cli.interrupt import tidy_end
from tokenpak.cli.memory import much_memory
from tokenpak.cli.options import (
    HELP,
    complete_file,
    existing_log_dir,
    log_dir_option,
    make_query,
    query_options,
)
from tokenpak.cli.output import Progress, on_terminal, stdout_bytes
from tokenpak.cli.reading import let_go_of_stdout, recover_quietly
from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.read import FORMATS, export_records, export_to_file
from tokenpak.telemetry.read.logs import sizes_of

if TYPE_CHECKING:
    from tokenpak.telemetry.read import Exported, Format

_NAMED_FILES = 5
"""How many files a message names; there may be thousands."""


def _names(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> list[str] | None:
    return None if value is None else [name.strip() for name in value.split(",")]


@click.command(
    context_settings=HELP,
    epilog="""
\b
Examples:
  tokenpak telemetry export > errors.json
  tokenpak telemetry export --format csv --output march.csv \\
      --since 2026-03-01 --until 2026-03-31
  tokenpak telemetry export --format jsonl --provider anthropic | jq .message
  tokenpak telemetry export --since 2h --where 'duration_ms>10000' --grep timed
  tokenpak telemetry export --format csv --fields timestamp,error_type,model
  tokenpak telemetry export --format parquet --since 7d -o week.parquet
  tokenpak telemetry export --stream all --since 2026-03-24T17:00:00Z --limit 100

Malformed lines are skipped; stderr says how many, and in which files. With a query,
these are the ones among the lines that could have matched: others are not decoded.

Cells of csv that a spreadsheet would run as formulas get an apostrophe in front.

On a terminal, control characters and marks of direction are shown as escapes, and
parquet is refused; a pipe or a file gets the data as it is.

Exit status: 0 exported, also if nothing matched or lines were skipped; 1 the log
directory cannot be read or the output not written; 2 wrong usage. When the reader of
a pipe has what it wants (| head), the export ends with 0.
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
@click.option(
    "--fields",
    metavar="A,B,...",
    callback=_names,
    help="Only these, in this order: fields of the record or keys of the context, "
    "a.b for nested keys.",
)
@click.option(
    "--raw", is_flag=True, help="Leave cells of csv that look like formulas as is."
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
@click.pass_obj
def export(
    own: object,
    /,
    form: str,
    fields: list[str] | None,
    *,
    raw: bool,
    log_dir: str | None,
    output: str | None,
    **wanted: Any,
) -> None:
    """
    Export errors, or events, as JSON, JSON Lines, CSV or Parquet.

    Active and archived files are read, damaged ones too.  What comes out is strict
    UTF-8, in time order; at the end, what has been accepted and cannot be appended to
    the files yet.
    """
    to_stdout = output is None or output == "-"
    if form == "parquet" and to_stdout and on_terminal(sys.stdout):
        raise click.UsageError("Parquet is no text: give --output FILE, or a pipe.")
    query = make_query(**wanted)
    place = existing_log_dir(log_dir)
    spools = recover_quietly(place)
    try:
        with (
            much_memory(own=own is True),
            tidy_end(),
            Progress(lambda: sizes_of(place, query)[0]) as progress,
        ):
            options: dict[str, Any] = {
                "query": query,
                "form": cast("Format", form),
                "pending": spools,
                "fields": fields,
                "raw": raw,
                "processes": None,
                "fork": True,
                "progress": progress if progress.wanted else None,
            }
            if to_stdout:
                out = stdout_bytes("text" if form == "csv" else "json")
                exported = export_records(place, out, **options)
                out.flush()
            else:
                exported = export_to_file(place, cast("str", output), **options)
    except BrokenPipeError:
        if not to_stdout:
            raise click.ClickException(
                f"The export failed: {output}: nobody reads it."
            ) from None
        let_go_of_stdout()
        return
    except SettingError as e:
        raise click.UsageError(f"--{e.setting}: expected {e.expected}.") from None
    except OSError as e:
        what = e.filename or output or "the output"
        raise click.ClickException(
            f"The export failed: {what}: {e.strerror or e}."
        ) from None
    _report(exported)


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
    click.echo(visible(text), err=True)


__all__ = ["export"]
