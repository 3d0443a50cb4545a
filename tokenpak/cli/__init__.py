"""
The command ``tokenpak``: groups, and the commands that are registered in them.

Thin: a command turns its options into one call of the library, and what comes back into
a message and an exit status.  Each is a module here; to add one, add it to COMMANDS.

Exit status: 0 done, also if damage was skipped and reported; 1 it could not be done,
or a person should look; 2 wrong usage.
"""

from __future__ import annotations

from typing import Any, Final

import click

import tokenpak
from tokenpak.cli.archive import archive
from tokenpak.cli.completion import completion
from tokenpak.cli.dashboard import dashboard
from tokenpak.cli.demo import demo
from tokenpak.cli.doctor import doctor
from tokenpak.cli.export import export
from tokenpak.cli.lnav import lnav
from tokenpak.cli.metrics import metrics
from tokenpak.cli.options import HELP
from tokenpak.cli.prune import prune
from tokenpak.cli.repair import repair
from tokenpak.cli.report import report
from tokenpak.cli.rules import rules
from tokenpak.cli.show import show
from tokenpak.cli.sql import sql
from tokenpak.cli.tail import tail
from tokenpak.cli.verify import verify
from tokenpak.cli.watch import watch

COMMANDS: Final[tuple[click.Command, ...]] = (
    archive,
    dashboard,
    demo,
    doctor,
    export,
    lnav,
    metrics,
    prune,
    repair,
    report,
    rules,
    show,
    sql,
    tail,
    verify,
    watch,
)
"""The commands of ``tokenpak telemetry``."""


class _Commands(click.Group):
    """Commands whose output may not find its place: a disk is full."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what it cannot print is told in a sentence."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # | head: it has what it wants; click ends quietly
            raise
        except OSError as e:
            what = e.filename or "the output cannot be written"
            raise click.ClickException(f"{what}: {e.strerror or e}.") from None


@click.group(
    cls=_Commands,
    context_settings=HELP,
    epilog="""
\b
Examples:
  tokenpak telemetry tail -f
  tokenpak telemetry --help
  eval "$(tokenpak completion bash)"

Exit status: that of the command; 2 wrong usage.
""",
)
@click.version_option(tokenpak.__version__, prog_name="tokenpak")
def main() -> None:
    """Tools for applications that call LLMs."""


@main.group(
    cls=_Commands,
    epilog="""
\b
Examples:
  tokenpak telemetry tail -f
  tokenpak telemetry export --since 2026-03-24 --format csv --output errors.csv
  tokenpak telemetry sql "SELECT kind, count(*) FROM errors GROUP BY ALL"
  tokenpak telemetry doctor

Exit status: 0 done, also if damage was skipped and told of; 1 it could not be done, or
a person should look; 2 wrong usage.  Each command's --help says more.
""",
)
def telemetry() -> None:
    """Work with the crash-safe log of errors and events."""


main.add_command(completion)
for _command in COMMANDS:
    telemetry.add_command(_command)

__all__ = ["COMMANDS", "main", "telemetry"]
