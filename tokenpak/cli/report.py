"""
``tokenpak telemetry report``: what went wrong, against the window before.

On a terminal as tables with colours, where rich is installed; as plain text otherwise,
as JSON, or as a page of HTML.  What dead processes had accepted is appended first, as
for an export, so that it counts too.
"""

from __future__ import annotations

import io
import shutil
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from tokenpak.cli.options import (
    HELP,
    as_age,
    existing_log_dir,
    filter_options,
    log_dir_option,
    make_query,
)
from tokenpak.cli.output import stdout_bytes
from tokenpak.cli.reading import let_go_of_stdout, recover_quietly
from tokenpak.telemetry.errors import SettingError

if TYPE_CHECKING:
    from tokenpak.telemetry.read import Query
    from tokenpak.telemetry.report import Report

_EXTRA: Final = "pip install 'tokenpak-telemetry[report]'"
_WIDEST: Final = 140
"""Characters of a line; longer ones are hard to follow."""


@click.command(
    context_settings=HELP,
    epilog="""
\b
Examples:
  tokenpak telemetry report
  tokenpak telemetry report --since 2026-03-24 --until 2026-03-24
  tokenpak telemetry report --provider anthropic --format json | jq .total
  tokenpak telemetry report --html report.html
  tokenpak telemetry report --fail-on new || mail -s "new errors" ops

Without --until the window ends now, without --since it is 24 hours long.

Exit status: 0 reported, also if nothing matched or lines were skipped; 1 the log
directory cannot be read, the page not written, or what --fail-on asks for was found;
2 wrong usage. When the reader of a pipe has what it wants (| head), that is no error.
""",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(("text", "json")),
    default="text",
    show_default=True,
    help="Tables, or one JSON object.",
)
@click.option(
    "--html",
    metavar="FILE",
    help="Write a page with charts to FILE, instead; it needs nothing else.",
)
@click.option(
    "--history",
    callback=as_age,
    default="7d",
    show_default=True,
    metavar="AGE",
    help="How far back a failure must not have been seen to be new: 12h, 30d, 8w.",
)
@click.option(
    "--fail-on",
    type=click.Choice(("new", "rise")),
    multiple=True,
    help="Exit with status 1 if there are new kinds of failure, or some rose by more "
    "than chance. May be given twice.",
)
@filter_options
@log_dir_option
def report(
    form: str,
    html: str | None,
    history: timedelta,
    fail_on: tuple[str, ...],
    log_dir: str | None,
    **wanted: Any,
) -> None:
    """
    Say what went wrong, what is new and what rose.

    A window of time is compared with the one before it, of the same length: how many
    errors, of which types, at which providers and models; kinds of failure that were
    not seen before; what rose by more than chance; durations and costs.
    """
    query = make_query(**wanted)
    if html is None and sys.stdout is None:
        # Python has None for it if it is closed.
        raise click.ClickException("The output cannot be written: stdout is closed.")
    place = existing_log_dir(log_dir)
    recover_quietly(place)
    made = _make(place, query, history)
    if html is not None:
        _write_page(made, html)
    else:
        try:
            _print(made, form)
        except BrokenPipeError:  # | head; what --fail-on asks for is answered
            let_go_of_stdout()
    if ("new" in fail_on and made.new) or ("rise" in fail_on and made.rose):
        raise SystemExit(1)


def _make(place: str, query: Query, history: timedelta) -> Report:
    from tokenpak.telemetry.report import make_report  # noqa: PLC0415

    try:
        return make_report(place, query, history=history, pending=True, workers=None)
    except SettingError as e:
        raise click.UsageError(f"--{e.setting}: expected {e.expected}.") from None
    except OSError as e:
        what = e.filename or place
        raise click.ClickException(
            f"The report failed: {what}: {e.strerror or e}."
        ) from None


def _print(made: Report, form: str) -> None:
    out = sys.stdout
    if form == "json":
        from tokenpak.telemetry.report import as_json  # noqa: PLC0415

        data = stdout_bytes("json")
        data.write(as_json(made))
        data.flush()
        return
    width = min(shutil.get_terminal_size((100, 24)).columns, _WIDEST)
    if out.isatty():
        try:
            from rich.console import Console  # noqa: PLC0415

            from tokenpak.telemetry.report.tables import print_tables  # noqa: PLC0415
        except ImportError:
            pass
        else:
            if isinstance(out, io.TextIOWrapper):
                out.reconfigure(errors="replace")
            print_tables(made, Console(width=width, highlight=False))
            return
    from tokenpak.telemetry.report.text import as_text  # noqa: PLC0415

    # Whatever the encoding of the terminal is: the signs may not be in it.
    encoding = out.encoding or "utf-8"
    text = as_text(made, width).encode(encoding, "replace").decode(encoding)
    click.echo(text, nl=False)


def _write_page(made: Report, target: str) -> None:
    try:
        from tokenpak.telemetry.report.page import as_page, write_whole  # noqa: PLC0415
    except ImportError:
        raise click.ClickException(f"A page needs jinja2: {_EXTRA}.") from None
    try:
        write_whole(target, as_page(made))
    except SettingError as e:
        raise click.UsageError(f"--html: expected {e.expected}.") from None
    except OSError as e:
        raise click.ClickException(
            f"The page cannot be written: {e.filename or target}: {e.strerror or e}."
        ) from None
    click.echo(f"{target} is written.", err=True)


__all__ = ["report"]
