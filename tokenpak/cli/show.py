"""
``tokenpak telemetry show``: everything of one request, in order.

Errors and events of all days, also what waits in spools.
"""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Any

import click

from tokenpak.cli.display import Display, use_color, visible
from tokenpak.cli.options import (
    HELP,
    existing_log_dir,
    log_dir_option,
    make_query,
    time_options,
)
from tokenpak.cli.output import stdout_bytes
from tokenpak.cli.reading import (
    let_go_of_stdout,
    need_stdout,
    recover_quietly,
    tell_damage,
)
from tokenpak.cli.tail import color_option
from tokenpak.telemetry.read.strict import encode
from tokenpak.telemetry.store.names import STREAMS

if TYPE_CHECKING:
    from tokenpak.telemetry.read import Query
    from tokenpak.telemetry.read.records import Found


@click.command(
    context_settings=HELP,
    epilog="""
\b
Examples:
  tokenpak telemetry show req-7f3a
  tokenpak telemetry show req-7f3a --since 2026-03-24 --until 2026-03-24
  tokenpak telemetry show req-7f3a --format jsonl | jq .context

All files are read, unless --since or --until say which days.  Control characters are
shown as escapes.

Exit status: 0 shown; 1 there is no record of the request, or the log directory cannot
be read; 2 wrong usage.
""",
)
@click.argument("request_id")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "jsonl"]),
    default="text",
    show_default=True,
    help="For people, or a JSON object a line.",
)
@color_option
@time_options
@log_dir_option
def show(
    log_dir: str | None, request_id: str, form: str, color: str, **wanted: Any
) -> None:
    """
    Show everything of the request REQUEST_ID: errors and events, in time order.

    In full, with contexts and stack traces.
    """
    query = make_query(request_id=request_id, **wanted)
    need_stdout()
    place = existing_log_dir(log_dir)
    recover_quietly(place)
    try:
        found = _find(place, query)
    except OSError as e:
        raise click.ClickException(
            f"The log cannot be read: {e.filename}: {e.strerror or e}."
        ) from None
    if not found:
        raise click.ClickException(
            f"There is no record of the request {visible(request_id)}"
            f"{' in that time' if wanted['since'] or wanted['until'] else ''}. "
            "The id must be the whole one, as it was logged."
        )
    display = Display(color=use_color(color), full=True, columns=None)
    out = stdout_bytes("json") if form == "jsonl" else sys.stdout.buffer
    try:
        for record, line, *_ in found:
            if form == "jsonl":
                data = (encode(record) if line is None else line) + b"\n"
            else:
                encoding = sys.stdout.encoding or "utf-8"
                data = display.text(record).encode(encoding, "backslashreplace")
            out.write(data)
        out.flush()
    except BrokenPipeError:
        let_go_of_stdout()


def _find(log_dir: str, query: Query) -> list[Found]:
    """Return the records of both streams, those of one request only, by time."""
    from tokenpak.telemetry.read.reader import read_entries  # noqa: PLC0415

    found: list[Found] = []
    for stream in STREAMS:
        wanted = dataclasses.replace(query, stream=stream)
        for item in read_entries(log_dir, wanted, pending=True):
            if isinstance(item, tuple):
                found.append(item)
            else:
                tell_damage(item)
    # Stable: what has the same time stays as it stands in the log.
    found.sort(key=lambda item: str(item[0].get("timestamp")))
    return found


__all__ = ["show"]
