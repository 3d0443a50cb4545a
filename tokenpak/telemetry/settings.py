"""
Every option, once: its default, unit, environment variable and check.

A value given in code is checked at construction, and a wrong one raises
:class:`SettingError`.  A wrong value in the environment must not stop a program that
somebody else deploys: it is warned about, and the default is used.  Nothing is read
from the environment before a logger is constructed (X1).

Precedence: keyword argument, then environment variable, then default.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.options import (
    MIB,
    OPTIONS,
    SEGMENT_BYTES,
    Names,
    Option,
    RedactLevel,
    Sample,
    SyncPolicy,
)

LOG_DIR_VARIABLE: Final = "TOKENPAK_LOG_DIR"


class Settings(NamedTuple):
    """The checked options of one logger.  See OPTIONS for units and purposes."""

    log_dir: str
    max_line_bytes: int
    max_pending_bytes: int
    linger: float
    full_wait: float
    fsync: SyncPolicy
    fsync_interval: float
    recovery_interval: float
    exit_timeout: float
    spool_dir: str | None
    archive_after_days: int
    prune_after_days: int
    max_archive_bytes: int
    max_day_bytes: int
    max_dir_bytes: int
    group_access: bool
    sample: Sample
    storm_first: int
    storm_every: int
    storm_window: float
    exception_facts: bool
    redact: RedactLevel
    max_message_bytes: int
    max_stack_bytes: int
    max_context_bytes: int
    context_allow: tuple[str, ...]
    context_deny: tuple[str, ...]
    locals_frames: int
    fields: tuple[str, ...]


def default_log_dir(environ: Mapping[str, str] | None = None) -> str:
    """Return ``$TOKENPAK_LOG_DIR``, else ``~/.tokenpak/logs``, as an absolute path."""
    environ = os.environ if environ is None else environ
    return _absolute(environ.get(LOG_DIR_VARIABLE) or "~/.tokenpak/logs")


def resolve_settings(
    given: Mapping[str, object], environ: Mapping[str, str] | None = None
) -> Settings:
    """
    Check *given*, and fill in what is missing from the environment or the defaults.

    Args:
        given: option names and values; ``None`` means "not given".
        environ: instead of ``os.environ``.

    Raises:
        SettingError: a given name is no option, or its value cannot be used.

    """
    environ = os.environ if environ is None else environ
    unknown = set(given) - {option.name for option in OPTIONS}
    if unknown:
        name = min(unknown)
        known = ", ".join(option.name for option in OPTIONS)
        raise SettingError(name, given[name], f"one of the settings {known}")
    values: dict[str, Any] = {}
    for option in OPTIONS:
        value = given.get(option.name)
        if value is None:
            value = _from_environment(option, environ)
        elif not option.accepts(value):
            raise SettingError(option.name, value, option.expected)
        values[option.name] = option.normal(value)
    values["log_dir"] = _absolute(values["log_dir"])
    if values["spool_dir"] is not None:
        values["spool_dir"] = _absolute(values["spool_dir"])
    return Settings(**values)


def _from_environment(option: Option, environ: Mapping[str, str]) -> object:
    text = environ.get(option.variable)
    if not text:
        return option.default
    try:
        value = option.parse(text)
    except ValueError:
        value = None
    if value is not None and option.accepts(value):
        return value
    # Imported here: who only reads can do without, and seldom is there anything to say.
    import logging  # noqa: PLC0415

    logging.getLogger("tokenpak.telemetry").warning(
        "%s=%r is not usable: expected %s. Using the default, %r.",
        option.variable,
        text,
        option.expected,
        option.default,
    )
    return option.default


def _absolute(path: str | os.PathLike[str]) -> str:
    # Made absolute once: a later chdir() must not move the log.
    expanded = os.path.expanduser(os.fspath(path))
    try:
        return os.path.abspath(expanded)
    except FileNotFoundError:  # the current directory was removed
        return expanded


if set(Settings._fields) != {option.name for option in OPTIONS}:
    raise AssertionError("Settings and OPTIONS name different options")

__all__ = [
    "LOG_DIR_VARIABLE",
    "MIB",
    "OPTIONS",
    "SEGMENT_BYTES",
    "Names",
    "Option",
    "RedactLevel",
    "Sample",
    "Settings",
    "SyncPolicy",
    "default_log_dir",
    "resolve_settings",
]
