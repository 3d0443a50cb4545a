"""Options that several commands share: where the logs are, which records."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem

from tokenpak.cli.display import visible
from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.read import (
    MOST_LAST,
    QUERY_STREAMS,
    Query,
    parse_when,
    parse_where,
)
from tokenpak.telemetry.settings import LOG_DIR_VARIABLE, default_log_dir
from tokenpak.telemetry.store.names import ERRORS

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from tokenpak.telemetry.read import Condition

HELP: Final = {"help_option_names": ["-h", "--help"]}
"""For each command: click takes it over from the group only if it runs in one."""

_F = TypeVar("_F", bound="Callable[..., Any]")


_NOW: Final = "tokenpak.now"


def _when(
    ctx: click.Context, _param: click.Parameter, value: str | None
) -> date | None:
    # One moment for all options of a command: "--since 2h --until 2h" is no mistake.
    now = ctx.meta.setdefault(_NOW, datetime.now(UTC))
    try:
        return None if value is None else parse_when(value, now=now)
    except SettingError as e:
        raise click.BadParameter(f"{value!r} is not {e.expected}.") from None


def _where(
    _ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]
) -> tuple[Condition, ...]:
    try:
        return tuple(parse_where(value) for value in values)
    except SettingError as e:
        raise click.BadParameter(f"{e.value!r}: expected {e.expected}.") from None


_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600}
_HOURS: Final = {"h": 1, "d": 24, "w": 7 * 24}
_BYTES: Final[dict[str, int]] = {
    "": 1,
    "B": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate("kMGT", 1)},
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGT", 1)},
}


def as_age(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> timedelta | None:
    """Return the span of time that an option says: ``30d``, ``12h``, ``2w``."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d{1,6})([hdw])", value.strip(), re.ASCII)
    if match is None:
        raise click.BadParameter(
            f"{value!r} is not an age like 30d (days), 12h (hours) or 2w (weeks)."
        )
    return timedelta(hours=int(match[1]) * _HOURS[match[2]])


def as_span(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> float | None:
    """Return the seconds that an option says: ``30s``, ``5m``, ``1h``, ``1d``."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d{1,6})([smhd])", value.strip(), re.ASCII)
    if match is None:
        raise click.BadParameter(
            f"{value!r} is not a span of time like 30s, 5m (minutes), 1h or 1d (days)."
        )
    return float(int(match[1]) * _SECONDS[match[2]])


def as_size(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> int | None:
    """Return the bytes that an option says: ``10GiB``, ``500MB``, ``1048576``."""
    if value is None:
        return None
    match = re.fullmatch(
        r"(\d{1,15})(\.\d{1,6})? ?([A-Za-z]*)", value.strip(), re.ASCII
    )
    unit = None if match is None else _BYTES.get(match[3])
    if match is None or unit is None:
        raise click.BadParameter(
            f"{value!r} is not a size like 10GiB, 500MB or 1048576 (bytes)."
        )
    return int(match[1]) * unit + int(float(match[2] or "0") * unit)


def in_bytes(size: int) -> str:
    """Return *size* as a person reads it: ``1.5 MiB``."""
    amount, unit = float(size), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{size:,} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"


_QUERY_OPTIONS: Final = (
    click.option(
        "--since",
        callback=_when,
        metavar="WHEN",
        help="Only records from then on: a UTC day (2026-03-24) or instant "
        "(2026-03-24T17:35:22Z), how long ago (30m, 2h, 7d), yesterday, today.",
    ),
    click.option(
        "--until",
        callback=_when,
        metavar="WHEN",
        help="Only records up to then; a day is meant as a whole.",
    ),
    click.option(
        "--provider", metavar="P", help="Only records whose context names it."
    ),
    click.option("--model", metavar="M", help="Only records whose context names it."),
    click.option("--error-type", metavar="NAME", help="Only errors of this class."),
    click.option("--request-id", metavar="ID", help="Only records of this request."),
    click.option(
        "--where",
        callback=_where,
        multiple=True,
        metavar="CONDITION",
        help="Only records for whose context it holds: KEY=VALUE, KEY!=VALUE, "
        "KEY>NUMBER, >=, <, <=; a.b for nested keys. May be repeated: all must hold.",
    ),
    click.option(
        "--grep",
        metavar="TEXT",
        help="Only records that hold this text, as it stands: in the message, the "
        "stack trace or any other text.",
    ),
    click.option(
        "--stream",
        type=click.Choice(QUERY_STREAMS),
        default=ERRORS,
        show_default=True,
        help="Which series of files.",
    ),
    click.option(
        "--limit",
        type=click.IntRange(min=0),
        metavar="N",
        help="At most N records, the first in time.",
    ),
    click.option(
        "--last",
        type=click.IntRange(0, MOST_LAST),
        metavar="N",
        help="The last N records in time.",
    ),
)


def query_options(command: _F) -> _F:
    """Add the options that make a Query to *command*."""
    for option in reversed(_QUERY_OPTIONS):
        command = option(command)
    return command


def filter_options(command: _F) -> _F:
    """Add those of them that say which records, not how many, to *command*."""
    for option in reversed(_QUERY_OPTIONS[:-2]):
        command = option(command)
    return command


def time_options(command: _F) -> _F:
    """Add ``--since`` and ``--until``, the first of those options, to *command*."""
    for option in reversed(_QUERY_OPTIONS[:2]):
        command = option(command)
    return command


def make_query(**wanted: Any) -> Query:
    """Return the Query of the options; one that makes no sense is a usage error."""
    try:
        return Query(**wanted)
    except SettingError as e:
        name = e.setting.replace("_", "-")
        raise click.UsageError(f"--{name}: expected {e.expected}.") from None


def complete_directory(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Let the shell complete the name of a directory."""
    return [CompletionItem(incomplete, type="dir")]


def complete_file(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Let the shell complete the name of a file."""
    return [CompletionItem(incomplete, type="file")]


def log_dir_option(command: _F) -> _F:
    """Add ``--log-dir`` to *command*."""
    return click.option(
        "--log-dir",
        metavar="DIR",
        shell_complete=complete_directory,
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
        f"The log directory {visible(log_dir)} {what}. If your application logs "
        f"elsewhere, name the place with --log-dir DIR or ${LOG_DIR_VARIABLE}; if it "
        "has not logged anything yet, there is nothing to read."
    )


__all__ = [
    "as_age",
    "as_size",
    "as_span",
    "complete_directory",
    "complete_file",
    "existing_log_dir",
    "filter_options",
    "in_bytes",
    "log_dir_option",
    "make_query",
    "query_options",
    "time_options",
]
