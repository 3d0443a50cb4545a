"""
``tokenpak telemetry prune``: delete archives by age, by size, or both.

Only finished archives of the logger's own are ever deleted, the oldest first.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from tokenpak.cli.interrupt import interruptible
from tokenpak.cli.options import (
    HELP,
    as_age,
    as_size,
    existing_log_dir,
    in_bytes,
    log_dir_option,
)

if TYPE_CHECKING:
    from tokenpak.telemetry.store.retention import Pruned


@click.command(
    context_settings=HELP,
    epilog="""
\b
Examples:
  tokenpak telemetry prune --older-than 90d --dry-run
  tokenpak telemetry prune --older-than 52w --max-size 10GiB

A day that is not archived is never deleted; archive it first.  Nor is anything else in
the directory that the logger has not made.  The clock is believed: use --dry-run.

Exit status: 0 deleted, or nothing was to do; 1 an archive could not be deleted, or the
command was stopped; 2 wrong usage.
""",
)
@click.option(
    "--older-than",
    callback=as_age,
    metavar="AGE",
    help="Delete archives of days that have been over for so long: 90d, 12h, 52w.",
)
@click.option(
    "--max-size",
    callback=as_size,
    metavar="SIZE",
    help="Delete the oldest until archive/ takes no more: 10GiB, 500MB.",
)
@click.option(
    "--dry-run", is_flag=True, help="Only say what would be deleted; change nothing."
)
@log_dir_option
def prune(
    log_dir: str | None,
    older_than: timedelta | None,
    max_size: int | None,
    dry_run: bool,
) -> None:
    """
    Delete archives of finished days, the oldest first.

    One bound must be given; with both, what is past one of them goes.  What is deleted
    cannot be had back.
    """
    # Imported here: --help needs not load it.
    from tokenpak.telemetry.store.manage import prune_archives  # noqa: PLC0415

    if older_than is None and max_size is None:
        raise click.UsageError(
            "Nothing says what to delete: give --older-than AGE (90d), --max-size SIZE "
            "(10GiB), or both."
        )
    place = existing_log_dir(log_dir)
    try:
        with interruptible() as stop:
            result = prune_archives(
                place, age=older_than, max_bytes=max_size, dry_run=dry_run, stop=stop
            )
    except OSError as e:
        raise click.ClickException(
            f"Nothing can be pruned: {e.filename or place}: {e.strerror or e}."
        ) from None
    _report(result, dry_run=dry_run)
    stop.end()


def _report(result: Pruned, *, dry_run: bool) -> None:
    for path in result.files:
        click.echo(f"{'Would delete' if dry_run else 'Deleted'} {path}")
    for path, reason in result.failed:
        click.echo(f"Failed: {path}: {reason}.", err=True)
    count = len(result.files)
    what = f"{count:,} archive{'' if count == 1 else 's'}, {in_bytes(result.bytes)}"
    left = f"{result.left:,} would be" if dry_run else f"{result.left:,} are"
    done = "would be deleted" if dry_run else "deleted"
    click.echo(f"{what}, {done}; {left} left, {in_bytes(result.left_bytes)}.")
    if result.failed:
        raise click.exceptions.Exit(1)


__all__ = ["prune"]
