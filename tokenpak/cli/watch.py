"""``tokenpak telemetry watch``: alerts from the log itself, without Prometheus."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Any, Final

import click

from tokenpak.cli.interrupt import Interrupt, interruptible
from tokenpak.cli.options import HELP, as_span, existing_log_dir, log_dir_option
from tokenpak.cli.output import say
from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.store.names import WATCH_DIR

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tokenpak.telemetry.watch import Alert, Target, Watcher

STATE_NAME: Final = "state.json"
_TRIES: Final = (0.0, 1.0, 2.0)
"""Seconds before each attempt to tell somebody, with --once."""
_STEP: Final = 0.2
"""Seconds after which it is looked whether somebody wants the watch to end."""


@click.command(
    context_settings=HELP,
    epilog="""
\b
Examples:
  tokenpak telemetry watch --slack https://hooks.slack.com/services/...
  tokenpak telemetry watch --alertmanager http://127.0.0.1:9093
  tokenpak telemetry watch --command 'sh /etc/tokenpak/page.sh'
  */5 * * * * tokenpak telemetry watch --once      (cron mails what it prints)

What it has told is remembered, so a restart repeats nothing.

Exit status: 0 ended by a signal, or with --once: nothing new fires and all who must
know were told; 1 with --once: something new fires (with --while-firing: anything), or
somebody could not be told; or the log directory cannot be read; 2 wrong usage.
""",
)
@click.option(
    "--once",
    is_flag=True,
    help="Look once and end, for cron; exit with 1 if something new fires.",
)
@click.option(
    "--while-firing",
    is_flag=True,
    help="With --once: exit with 1 as long as something fires.",
)
@click.option(
    "--interval",
    default="10s",
    show_default=True,
    callback=as_span,
    metavar="T",
    help="How long between two looks at the log.",
)
@click.option(
    "--window",
    default="5m",
    show_default=True,
    callback=as_span,
    metavar="T",
    help="Errors of so long are counted together; 30s to 1h.",
)
@click.option(
    "--spike-factor",
    type=float,
    default=2.0,
    show_default=True,
    metavar="X",
    help="A spike has at least so many times what is usual at that hour.",
)
@click.option(
    "--spike-count",
    type=int,
    default=10,
    show_default=True,
    metavar="N",
    help="A spike has at least so many errors.",
)
@click.option(
    "--critical",
    multiple=True,
    metavar="PATTERN",
    help="An error type (* and ? match any), or kind:K, that is told at once.  Can be "
    "given several times, in place of the default.  [default: AuthenticationError, "
    "PermissionDeniedError, MemoryError, RecordsDropped, kind:auth, kind:quota]",
)
@click.option(
    "--learning",
    default="1d",
    show_default=True,
    callback=as_span,
    metavar="T",
    help="Spikes and new types are told when the log goes back so far.",
)
@click.option(
    "--quiet",
    default="15m",
    show_default=True,
    callback=as_span,
    metavar="T",
    help="A new or critical type is over when it has not come for so long.",
)
@click.option(
    "--alertmanager",
    "alertmanagers",
    multiple=True,
    envvar="TOKENPAK_WATCH_ALERTMANAGER",
    metavar="URL",
    help="Post to this Alertmanager (API v2).  Can be given several times.",
)
@click.option(
    "--slack",
    "slacks",
    multiple=True,
    envvar="TOKENPAK_WATCH_SLACK",
    metavar="URL",
    help="Post to this incoming webhook of Slack.  Can be given several times.",
)
@click.option(
    "--webhook",
    "webhooks",
    multiple=True,
    envvar="TOKENPAK_WATCH_WEBHOOK",
    metavar="URL",
    help="Post what Alertmanager posts to webhooks.  Can be given several times.",
)
@click.option(
    "--command",
    "commands",
    multiple=True,
    metavar="CMD",
    help="Run this for each alert, without a shell: $TOKENPAK_ALERT_STATUS, _NAME, "
    "_SEVERITY, _ERROR_TYPE, _SUMMARY, and JSON on stdin.  Can be given several times.",
)
@click.option(
    "--state",
    metavar="FILE",
    help=f"What is remembered.  [default: {WATCH_DIR}/{STATE_NAME} in the log "
    "directory]",
)
@log_dir_option
def watch(
    *,
    once: bool,
    while_firing: bool,
    interval: float,
    log_dir: str | None,
    state: str | None,
    alertmanagers: tuple[str, ...],
    slacks: tuple[str, ...],
    webhooks: tuple[str, ...],
    commands: tuple[str, ...],
    **wanted: Any,
) -> None:
    """
    Follow the log, and tell when something is wrong.

    Tells of a spike against what is usual at that time of day, of an error type that
    was never seen before, and at once of critical types; and when each is over.
    Alerts are printed, and told to whom the options name; who cannot be reached is
    tried again.
    """
    from tokenpak.telemetry import watch as lib  # noqa: PLC0415  (--help needs it not)

    if interval < 1:
        raise click.UsageError("--interval: expected at least 1s.")
    if not wanted["critical"]:
        del wanted["critical"]
    try:
        rules = lib.Rules(**wanted)
        targets: list[Target] = [
            _Output(),
            *map(lib.alertmanager, alertmanagers),
            *map(lib.slack, slacks),
            *map(lib.webhook, webhooks),
            *map(lib.Command, commands),
        ]
    except SettingError as e:
        option = e.setting.replace("_", "-")
        raise click.UsageError(f"--{option}: expected {e.expected}.") from None
    place = existing_log_dir(log_dir)
    memory = lib.Memory(state or os.path.join(place, WATCH_DIR, STATE_NAME))
    with contextlib.ExitStack() as stack:
        try:
            alone = stack.enter_context(memory.locked())
        except OSError as e:
            raise click.ClickException(
                f"The state {memory.path} cannot be used: {e.strerror or e}. Name a "
                "place that this user can write to with --state FILE."
            ) from None
        if not alone:
            raise click.ClickException(
                f"Another watch has the state {memory.path}; to run several, give each "
                "its own with --state FILE."
            )
        interrupt = stack.enter_context(interruptible())
        watcher = lib.Watcher(place, rules, targets, memory, _complain, stop=interrupt)
        watcher.begin(time.time())
        if once:
            _look_once(watcher, interrupt, while_firing=while_firing)
        else:
            _look_on(watcher, interval, interrupt)


def _look_once(watcher: Watcher, interrupt: Interrupt, *, while_firing: bool) -> None:
    begun = watcher.look(time.time(), 0.0)
    elapsed = 0.0
    for pause in _TRIES[1:]:
        if not watcher.troubles or interrupt():
            break
        time.sleep(pause)
        elapsed += pause
        watcher.deliver(time.time(), elapsed)
    if interrupt():
        watcher.say_untold()
    firing = watcher.firing if while_firing else begun
    if firing or watcher.troubles or interrupt():
        raise click.exceptions.Exit(1)


def _look_on(watcher: Watcher, interval: float, interrupt: Interrupt) -> None:
    next_look = 0.0
    while not interrupt():
        elapsed = time.monotonic()
        if elapsed >= next_look:
            watcher.look(time.time(), elapsed)
            next_look = elapsed + interval
        else:
            watcher.deliver(time.time(), elapsed)
        # A signal does not cut a sleep short (PEP 475).
        time.sleep(_STEP)
    watcher.say_untold()


class _Output:
    """Standard output as one who is told."""

    name = "output"
    identity = "output"
    batch = 1_000
    repeat = 0.0

    def tell(
        self,
        alerts: Sequence[Alert],
        now: float,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        from tokenpak.telemetry.watch.forms import text_line  # noqa: PLC0415
        from tokenpak.telemetry.watch.targets import NotToldError  # noqa: PLC0415

        del now, stop
        try:
            for alert in alerts:
                say(text_line(alert))
        except BrokenPipeError:  # whoever reads it has gone, for good
            raise
        except OSError as e:  # its disk is full, which the others must be told
            raise NotToldError(e.strerror or str(e)) from None


def _complain(text: str) -> None:
    with contextlib.suppress(OSError):  # nobody can be told of that
        click.echo(text.encode("utf-8", "backslashreplace").decode(), err=True)


__all__ = ["STATE_NAME", "watch"]
