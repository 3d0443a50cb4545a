"""Every command says in its help how it is used and how it ends."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from tokenpak.cli import main


def walk(
    command: click.Command, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from walk(child, (*words, name))


COMMANDS = dict(walk(main))
NAMES = [" ".join(("tokenpak", *words)) for words in COMMANDS]


def help_of(words: tuple[str, ...]) -> str:
    result = CliRunner().invoke(
        main, [*words, "--help"], prog_name="tokenpak", terminal_width=80
    )
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result.stdout


def examples_of(text: str) -> list[str]:
    """Return the command lines below "Examples:"."""
    block = text.split("Examples:\n", 1)[1].split("\n\n", 1)[0]
    return block.replace("\\\n", " ").splitlines()


@pytest.mark.parametrize("words", COMMANDS, ids=NAMES)
def test_help_has_examples_and_each_exit_status(words: tuple[str, ...]) -> None:
    """What could not be done, and wrong usage, are told apart."""
    text = help_of(words)
    assert examples_of(text)
    status = " ".join(text.split("Exit status:", 1)[1].split())
    assert re.search(r"; 1 |that of the command", status)
    assert "; 2 wrong usage" in status
    assert max(map(len, text.splitlines())) <= 88  # an example may be a long line


@pytest.mark.parametrize("words", COMMANDS, ids=NAMES)
def test_the_options_of_the_examples_are_there(words: tuple[str, ...]) -> None:
    """An example that has become wrong is worse than none."""
    for example in examples_of(help_of(words)):
        for part in re.split(r"[|;&]|\$\(", example):
            try:
                tokens = shlex.split(part.split(" #")[0].rstrip(')"'))
            except ValueError:  # a quote that the cut above has left open
                tokens = part.split()
            if tokens[:1] != ["tokenpak"]:
                continue
            path = tuple(tokens[1:3]) if tokens[1:2] == ["telemetry"] else (tokens[1],)
            command = COMMANDS.get(path)
            assert command is not None or path[-1].startswith("-"), example
            known = {"--help"}
            for param in command.params if command else []:
                known.update(param.opts)
            used = {t for t in tokens[len(path) + 1 :] if re.match(r"--?[a-z]", t)}
            assert used <= known, example


@pytest.mark.parametrize("words", COMMANDS, ids=NAMES)
def test_wrong_usage_is_status_2_everywhere(words: tuple[str, ...]) -> None:
    """And says what is wrong, without a traceback."""
    result = CliRunner().invoke(main, [*words, "--no-such-option"])
    assert result.exit_code == 2
    assert "No such option" in result.stderr


def test_each_command_says_in_a_line_what_it_does() -> None:
    """In the list of commands."""
    for words, command in COMMANDS.items():
        assert command.get_short_help_str(200).endswith("."), words


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["telemetry", "exprot"], "Did you mean 'export'?"),
        (["telemtry", "tail"], "Did you mean 'telemetry'?"),
        (["tail", "-f"], "Did you mean 'telemetry tail'?"),
        (["telemetry", "qqqq"], "'qqqq'."),
        (["telemetry", "\x1b[31m"], r"'\x1b[31m'."),
    ],
)
def test_a_misspelt_command_is_told_what_was_meant(
    words: list[str], meant: str
) -> None:
    """Also one that is loaded late, and without the word before it."""
    result = CliRunner().invoke(main, words)

    assert result.exit_code == 2
    assert result.stderr.endswith(f"{meant}\n")
    assert "No such command" in result.stderr
