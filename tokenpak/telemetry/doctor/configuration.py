"""The settings in force here, and which environment variables are wrong."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Final

from tokenpak.telemetry.doctor.finding import CheckResult, Level
from tokenpak.telemetry.settings import (
    LOG_DIR_VARIABLE,
    OPTIONS,
    Option,
    Settings,
    resolve_settings,
)

_PREFIX: Final = "TOKENPAK_"
_NO_SETTINGS: Final = ("TOKENPAK_WATCH_", "TOKENPAK_ALERT_")
"""Of `tokenpak telemetry watch`, not of a logger."""


def settings_in_force(log_dir: str | None, environ: Mapping[str, str]) -> Settings:
    """
    Return what a logger of *log_dir* without further arguments would use.

    Without the warnings that it would log: check_settings() tells.

    Args:
        log_dir: None: from the environment, or the default.
        environ: the environment.

    """
    right = {
        option.variable: environ[option.variable]
        for option in OPTIONS
        if environ.get(option.variable) and is_usable(option, environ[option.variable])
    }
    return resolve_settings({} if log_dir is None else {"log_dir": log_dir}, right)


def is_usable(option: Option, text: str) -> bool:
    """Return whether the *text* of an environment variable is a value of *option*."""
    try:
        value = option.parse(text)
    except ValueError:
        return False
    return value is not None and option.accepts(value)


def check_settings(
    settings: Settings, environ: Mapping[str, str]
) -> Iterator[CheckResult]:
    """Tell which variables are wrong, unknown, or change something."""
    known = {option.variable: option for option in OPTIONS}
    wrong = False
    for name in sorted(environ):
        if not name.startswith(_PREFIX) or not environ[name]:
            continue
        if name.startswith(_NO_SETTINGS):
            continue
        if name not in known:
            wrong = True
            close = difflib.get_close_matches(name, known, 1)
            yield CheckResult(
                "settings",
                Level.WARNING,
                f"{name} is no setting of this version",
                "It has no effect.",
                f"Did you mean {close[0]}?" if close else "See `settings` in the docs.",
            )
        elif not is_usable(known[name], environ[name]):
            wrong = True
            option = known[name]
            yield CheckResult(
                "settings",
                Level.WARNING,
                f"{name}={environ[name]!r} cannot be used: expected {option.expected}",
                f"The default is used instead, {option.default!r}.",
                f"Correct {name}, where the application is started, too.",
            )
    if not wrong:
        changed = [
            f"{option.name}={getattr(settings, option.name)!r}"
            for option in OPTIONS
            if option.variable != LOG_DIR_VARIABLE
            and getattr(settings, option.name) != option.default
        ]
        yield CheckResult("settings", Level.OK, ", ".join(changed) or "the defaults")


__all__ = ["check_settings", "is_usable", "settings_in_force"]
