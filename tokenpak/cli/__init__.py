"""
The command ``tokenpak``: groups, and the commands that are in them.

Thin: a command turns its options into one call of the library, and what comes back
into a message and an exit status.  Each is a module here, loaded when it is asked for;
to add one, add it to COMMANDS.

Exit status: 0 done, also if damage was skipped and reported; 1 it could not be done,
or a person should look; 2 wrong usage.
"""

from __future__ import annotations

import gc
import importlib
from typing import Any, Final

import click

import tokenpak
from tokenpak.cli.whole import unheld_stderr, whole_stdout

_HELP: Final = {"help_option_names": ["-h", "--help"]}
"""As ``options.HELP``, which is loaded with the commands."""

COMMANDS: Final = (
    "archive",
    "dashboard",
    "demo",
    "doctor",
    "export",
    "lnav",
    "metrics",
    "prune",
    "repair",
    "report",
    "rules",
    "show",
    "sql",
    "tail",
    "verify",
    "watch",
)
"""The commands of ``tokenpak telemetry``: each is called like its module here."""


class _Commands(click.Group):
    """
    Commands whose output may not find its place: a disk is full.

    Args:
        modules: commands that are loaded when they are asked for: to load all of them
            takes longer than most take for their work.

    """

    def __init__(self, *args: Any, modules: tuple[str, ...] = (), **kw: Any) -> None:
        super().__init__(*args, **kw)
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in order."""
        return sorted({*super().list_commands(ctx), *self._modules})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name; None: there is none."""
        if cmd_name in self._modules:
            collecting = gc.isenabled()
            gc.disable()  # what is loaded stays: there is nothing to be found in it
            try:
                module = importlib.import_module(f"{__name__}.{cmd_name}")
            finally:
                if collecting:
                    gc.enable()
            command: click.Command = getattr(module, cmd_name)
            return command
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return name, command and the rest of *args*; tell what may be meant."""
        name = args[0]
        known = self.get_command(ctx, name) is not None
        if known or name.startswith("-") or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        # Imported here: only for who is mistaken.
        from difflib import get_close_matches  # noqa: PLC0415

        names = {each: each for each in self.list_commands(ctx)}
        if "telemetry" in names:
            names = {each: f"telemetry {each}" for each in COMMANDS} | names
        hint = "".join(
            f" Did you mean {names[each]!r}?"
            for each in get_close_matches(name, names, n=1)
        )
        raise click.UsageError(f"No such command {name!r}.{hint}", ctx)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """
        Run the command, and tell of what went wrong, as long as it can be told.

        What the commands get as *obj* is whether the process is the command's own: with
        no arguments but those, and ended by it.
        """
        given = args[0] if args else kwargs.get("args")
        own = given is None and kwargs.get("standalone_mode", True)
        kwargs.setdefault("obj", own)
        with unheld_stderr():
            return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what it cannot print is told in a sentence."""
        try:
            with whole_stdout():
                return super().invoke(ctx)
        except BrokenPipeError:  # | head: it has what it wants; click ends quietly
            raise
        except OSError as e:
            what = e.filename or "the output cannot be written"
            raise click.ClickException(f"{what}: {e.strerror or e}.") from None


@click.group(
    cls=_Commands,
    modules=("completion",),
    context_settings=_HELP,
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
    modules=COMMANDS,
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


__all__ = ["COMMANDS", "main", "telemetry"]
