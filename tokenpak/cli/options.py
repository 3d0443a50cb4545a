"""Options that several commands share: where the logs are, which records."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.read import Query, parse_when
from tokenpak.telemetry.settings import LOG_DIR_VARIABLE, default_log_dir
from tokenpak.telemetry.store.names import ERRORS, STREAMS

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

HELP: Final = {"help_option_names": ["-h", "--help"]}
"""For each command: click takes it over from the group only if it runs in one."""

_F = TypeVar("_F", bound="Callable[..., Any]")


def _when(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> date | None:
    try:
        return None if value is None else parse_when(value)
    except SettingError as e:
        raise click.BadParameter(f"{value!r} is not {e.expected}.") from None


def query_options(command: _F) -> _F:
    """Add the options that make a Query to *command*."""
    for option in (
        click.option(
            "--stream",
            type=click.Choice(STREAMS),
            default=ERRORS,
            show_default=True,
            help="Which series of files.",
        ),
        click.option(
            "--provider",
            metavar="P",
            help="Only records whose context names this provider.",
        ),
        click.option(
            "--until",
            callback=_when,
            metavar="D",
            help="Only records of this day (all of it) or instant, and before.",
        ),
        click.option(
            "--since",
            callback=_when,
            metavar="D",
            help="Only records of this UTC day or instant, and after: 2026-03-24, "
            "2026-03-24T17:35:22Z.",
        ),
    ):
        command = option(command)
    return command


def make_query(**wanted: Any) -> Query:
    """Return the Query of the options; one that makes no sense is a usage error."""
    try:
        return Query(**wanted)
    except SettingError as e:
        raise click.UsageError(f"--{e.setting}: expected {e.expected}.") from None


def log_dir_option(command: _F) -> _F:
    """Add ``--log-dir`` to *command*."""
    return click.option(
        "--log-dir",
        metavar="DIR",
        help=f"Where the daily files are.  [default: ${LOG_DIR_VARIABLE}, "
        "else ~/.tokenpak/logs]",
    )(command)


def existing_log_dir(given: str | None) -> str:
    """Return the log directory; if there is none, say so and end."""
    log_dir = default_log_dir() if given is None else given
    if os.path.isdir(log_dir):
        return log_dir
    what = "is not a directory" if os.path.exists(log_dir) else "does not exist"
    raise click.ClickException(
        f"The log directory {log_dir} {what}. If your application logs elsewhere, "
        f"name the place with --log-dir DIR or ${LOG_DIR_VARIABLE}; if it has not "
        "logged anything yet, there is nothing to read."
    )


__all__ = ["existing_log_dir", "log_dir_option", "make_query", "query_options"]
