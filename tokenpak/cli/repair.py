"""
``tokenpak telemetry repair``: copy the log without its damage.

What was done goes to stdout; the originals stay as they are.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from tokenpak.cli.options import (
    HELP,
    complete_directory,
    existing_log_dir,
    log_dir_option,
)
from tokenpak.cli.output import plural, progress_bar, say
from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.read import repair_log
from tokenpak.telemetry.store.names import list_log_files

if TYPE_CHECKING:
    from tokenpak.telemetry.read import Repaired

_NAMED_FILES = 5


@click.command(
    context_settings=HELP,
    epilog="""
\b
DIR gets
  errors-2026-03-24.jsonl  a copy of each file, with its valid lines only
  archive/                 copies of the archives
  quarantine.raw           the malformed lines as they were, one a line
  quarantine.index.jsonl   for each of them, file, offset, length and reason

\b
Examples:
  tokenpak telemetry repair --output repaired
  tokenpak telemetry verify --log-dir repaired
  tokenpak telemetry export --log-dir repaired > errors.json

Exit status: 0 copied, also if nothing was damaged or a file could not be read; 1 the
log directory cannot be read or the output not written; 2 wrong usage.
""",
)
@log_dir_option
@click.option(
    "--output",
    "-o",
    metavar="DIR",
    shell_complete=complete_directory,
    required=True,
    help="A directory that is empty or not there yet, outside of the log directory.",
)
def repair(log_dir: str | None, output: str) -> None:
    """
    Copy the log without its damage; the originals are not changed.

    Files without damage are copied as they are.  Of damaged ones, intact records are
    copied, and all else is kept in quarantine.  Records in the file of another day go
    into a file of their own day.
    """
    place = existing_log_dir(log_dir)
    try:
        with ExitStack() as stack:
            bar: Any = None
            size = 2 * sum(_size(file.path) for file in list_log_files(place))
            bar = progress_bar(stack, size, "Copying")
            repaired = repair_log(
                place, output, on_progress=None if bar is None else bar.update
            )
    except SettingError as e:
        raise click.UsageError(
            f"--output: expected {e.expected}, which {output} is not."
        ) from None
    except OSError as e:
        raise click.ClickException(
            f"The repair failed: {e.filename or output}: {e.strerror or e}.  Files in "
            f"{output} are complete, but not all are there: make room, delete it, and "
            "try again."
        ) from None
    _report(repaired, output)


def _report(done: Repaired, output: str) -> None:
    say(
        f"{done.files:,} file{plural(done.files)} with {done.records:,} "
        f"record{plural(done.records)} copied to {output}; {done.changed:,} "
        f"{'was' if done.changed == 1 else 'were'} damaged."
    )
    if done.quarantined:
        say(
            f"{done.quarantined:,} malformed line{plural(done.quarantined)} in "
            f"{os.path.join(output, 'quarantine.raw')}."
        )
    if done.moved:
        say(
            f"{done.moved:,} record{plural(done.moved)} of other days moved to files "
            "of their own."
        )
    for damage in done.unreadable[:_NAMED_FILES]:
        say(f"Not read, or not to the end: {damage.file} ({damage.reason}).")
    more = len(done.unreadable) - _NAMED_FILES
    if more > 0:
        say(f"{more:,} more file{plural(more)} could not be read.")


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0


__all__ = ["repair"]
