"""
``tokenpak telemetry archive``: compress finished days into ``archive/``, now.

Processes that log do so by themselves, slowly and after the days of a setting; this is
for who wants it sooner, faster, or from cron.  What dead processes had accepted is
appended first, since it belongs into the files that are archived.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

import click

from tokenpak.cli.interrupt import interruptible
from tokenpak.cli.options import (
    HELP,
    as_age,
    existing_log_dir,
    in_bytes,
    log_dir_option,
)
from tokenpak.telemetry.errors import SettingError

if TYPE_CHECKING:
    from tokenpak.telemetry.store.archive import Archived


class _Progress(Protocol):
    def __call__(self, done: int, total: int, /) -> None: ...


@click.command(
    context_settings=HELP,
    epilog="""
\b
Examples:
  tokenpak telemetry archive
  tokenpak telemetry archive --older-than 1d --dry-run

It may run at any time, also while processes log, read and archive.  A day's file that
another process is working with is left for later, and stderr says so.

Exit status: 0 archived, or nothing was to do; 1 a file could not be archived, or the
command was stopped; 2 wrong usage.
""",
)
@click.option(
    "--older-than",
    callback=as_age,
    metavar="AGE",
    help="Only days that have been over for so long: 30d, 12h, 2w.  "
    "[default: the setting archive_after_days, 7]",
)
@click.option(
    "--dry-run", is_flag=True, help="Only say what would be archived; change nothing."
)
@log_dir_option
def archive(log_dir: str | None, older_than: timedelta | None, dry_run: bool) -> None:
    """
    Compress the files of finished days into archive/.

    Records stay readable at every moment, and export reads them from the archive.
    What another process began and did not finish is finished, whatever its age.
    """
    # Imported here: --help needs not load it.
    from tokenpak.telemetry.store.manage import archive_days  # noqa: PLC0415

    place = existing_log_dir(log_dir)
    if not dry_run:
        _recover(place)
    try:
        with interruptible() as stop, _bar(hidden=dry_run) as progress:
            result = archive_days(
                place,
                age=older_than,
                dry_run=dry_run,
                on_progress=progress,
                stop=stop,
            )
    except SettingError:
        raise click.UsageError(
            "The setting archive_after_days is 0, never: say which days with "
            "--older-than, for example --older-than 30d."
        ) from None
    except OSError as e:
        raise click.ClickException(
            f"Nothing can be archived: {e.filename or place}: {e.strerror or e}."
        ) from None
    _report(result, dry_run=dry_run)
    stop.end()


def _recover(log_dir: str) -> None:
    """Append what dead processes had accepted, where that is allowed."""
    from tokenpak.telemetry.queue.recovery import recover  # noqa: PLC0415

    try:
        recover(log_dir)
    except OSError as e:
        # Their files are put off, the others are archived.
        click.echo(
            f"Records of dead processes could not be appended ({e.strerror or e}).",
            err=True,
        )


@contextmanager
def _bar(*, hidden: bool) -> Iterator[_Progress]:
    """Show how far it is, if stderr is a terminal."""
    if hidden or not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    with click.progressbar(length=1, label="Archiving", file=sys.stderr) as bar:

        def show(done: int, total: int) -> None:
            bar.length = max(total, 1)
            bar.update(done - bar.pos)

        yield show


def _report(result: Archived, *, dry_run: bool) -> None:
    for path in result.files:
        click.echo(f"{'Would archive' if dry_run else 'Archived'} {path}")
    for path in result.empty:
        click.echo(f"{'Would delete' if dry_run else 'Deleted'} {path}, which is empty")
    for path, reason in result.put_off:
        click.echo(f"Not yet: {path}: {reason}. Try again later.", err=True)
    for path, reason in result.failed:
        click.echo(f"Failed: {path}: {reason}.", err=True)
    count = len(result.files)
    files = f"{count:,} file{'' if count == 1 else 's'}"
    before = in_bytes(result.plain_bytes)
    if dry_run:
        click.echo(f"{files}, {before}, would be archived.")
    elif count:
        folder = os.path.dirname(result.files[0])
        after = in_bytes(result.archive_bytes)
        click.echo(f"{files}, {before}, became {after} in {folder}.")
    else:
        click.echo("Nothing was archived.")
    if result.failed:
        raise click.exceptions.Exit(1)


__all__ = ["archive"]
