"""``tokenpak telemetry rules``: alert rules for Prometheus, and their tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from tokenpak.cli.options import HELP, as_span
from tokenpak.telemetry.alerts.thresholds import Thresholds
from tokenpak.telemetry.errors import SettingError

_DEFAULTS: Final = Thresholds()
_F = TypeVar("_F", bound=Callable[..., Any])


def _time(name: str, default: str, text: str) -> Callable[[_F], _F]:
    return click.option(
        f"--{name}",
        default=default,
        show_default=True,
        callback=as_span,
        metavar="T",
        help=text,
    )


def _number(name: str, kind: type, text: str) -> Callable[[_F], _F]:
    return click.option(
        f"--{name}",
        type=kind,
        default=getattr(_DEFAULTS, name.replace("-", "_")),
        show_default=True,
        metavar="N" if kind is int else "X",
        help=text,
    )


@click.command(
    context_settings=HELP,
    epilog="""
\b
Examples:
  tokenpak telemetry rules -o tokenpak-rules.yml
  promtool check rules tokenpak-rules.yml
  tokenpak telemetry rules --tests tokenpak-rules.yml -o tokenpak-tests.yml
  promtool test rules tokenpak-tests.yml

Then name tokenpak-rules.yml under rule_files in prometheus.yml.  Times are like 30s,
5m, 1h or 1d.  With other thresholds, give the same ones for the tests.

Exit status: 0 written; 1 it could not be; 2 wrong usage.
""",
)
@click.option(
    "--tests",
    metavar="FILE",
    help="Write the unit tests of the rules that are in FILE instead.",
)
@click.option("--output", "-o", metavar="FILE", help="Write to FILE, not to stdout.")
@click.option(
    "--job", default="", metavar="JOB", help="Only of this job of Prometheus."
)
@_time("window", "5m", "Errors of so long are counted together.")
@_time("usual", "1d", "A spike is compared with so long before it.")
@_number("spike-factor", float, "A spike has so many times the usual.")
@_number("spike-count", int, "A spike has at least so many errors.")
@_time("new-for", "15m", "A new error type is told of for so long.")
@click.option(
    "--critical",
    multiple=True,
    default=_DEFAULTS.critical,
    show_default=True,
    metavar="TYPE",
    help="An error type (* and ? match any) that is told at once.  Can be given "
    "several times, in place of the default.",
)
@_number("auth-count", int, "Refused keys or tokens in a window.")
@_number("budget", float, "Dollars a day that failed calls may cost.")
@_number("burn", float, "How many times too fast it may be spent.")
@_number("pending-bytes", int, "That may wait to be written.")
@_time("stuck", "2m", "Something waits, and for so long nothing was written.")
@_time("no-writer", "10m", "For so long no process need log.")
@_time("hold", "0s", "For how long a condition must hold before it is told.")
@_time("interval", "30s", "Between two evaluations.")
def rules(*, tests: str | None, output: str | None, **wanted: Any) -> None:
    """
    Write alert rules for Prometheus, with runbook texts.

    They are about the metrics of `tokenpak telemetry metrics`: a spike against the
    usual, an error type that is new, a provider that fails, critical types, refused
    keys, the cost of failed calls, dropped records, disk trouble, and nobody logging.
    """
    from tokenpak.telemetry.alerts.rule_tests import tests_yaml  # noqa: PLC0415
    from tokenpak.telemetry.alerts.rules import rules_yaml  # noqa: PLC0415

    values: dict[str, Any] = {
        name: int(value) if name in _TIMES else value for name, value in wanted.items()
    }
    try:
        limits = Thresholds(**values)
    except SettingError as e:
        option = e.setting.replace("_", "-")
        raise click.UsageError(f"--{option}: expected {e.expected}.") from None
    write_text(tests_yaml(limits, tests) if tests else rules_yaml(limits), output)


_TIMES: Final = ("window", "usual", "new_for", "stuck", "no_writer", "hold", "interval")


def write_text(text: str, output: str | None) -> None:
    """Write *text* to the file *output*, all or nothing, or to stdout."""
    if output is None or output == "-":
        click.echo(text, nl=False)
        return
    from tokenpak.telemetry.metrics.textfile import replace_file  # noqa: PLC0415

    try:
        replace_file(output, text.encode())
    except OSError as e:
        raise click.ClickException(
            f"{output} cannot be written: {e.strerror or e}."
        ) from None


__all__ = ["rules", "write_text"]
