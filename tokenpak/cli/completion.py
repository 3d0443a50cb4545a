"""``tokenpak completion``: what a shell needs to complete commands and options."""

from __future__ import annotations

import os

import click
from click.shell_completion import get_completion_class

from tokenpak.cli.options import HELP

_SHELLS = ("bash", "zsh", "fish")


@click.command(
    context_settings=HELP,
    epilog="""
\b
Examples:
  echo 'eval "$(tokenpak completion bash)"' >> ~/.bashrc
  echo 'eval "$(tokenpak completion zsh)"' >> ~/.zshrc
  tokenpak completion fish > ~/.config/fish/completions/tokenpak.fish

Completed are commands, options, choices, and files and directories where an option
takes one.  bash must be of version 4.4 or later.

Exit status: 0 printed; 1 the shell is not known or too old; 2 wrong usage.
""",
)
@click.argument("shell", type=click.Choice(_SHELLS), required=False)
@click.pass_context
def completion(ctx: click.Context, shell: str | None) -> None:
    """
    Print the completion script for SHELL: bash, zsh or fish.

    Without SHELL, for that of $SHELL.
    """
    if shell is None:
        shell = os.path.basename(os.environ.get("SHELL", ""))
    kind = get_completion_class(shell) if shell in _SHELLS else None
    if kind is None:
        raise click.ClickException(
            f"For the shell {shell or 'that you use'} there is no completion; name one "
            f"of {', '.join(_SHELLS)}."
        )
    root = ctx.find_root().command
    try:
        script = kind(root, {}, "tokenpak", "_TOKENPAK_COMPLETE").source()
    except RuntimeError as e:  # no such shell here, or one that is too old
        raise click.ClickException(f"{e}.") from None
    click.echo(script)


__all__ = ["completion"]
