"""A command loads what it needs, and nothing of the others."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from tokenpak import cli


def loaded_by(*words: str) -> set[str]:
    code = (
        "import sys\n"
        "from tokenpak.cli import main\n"
        f"main({list(words)}, standalone_mode=False)\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    return set(done.stderr.split())


def test_x1_an_export_loads_no_other_command() -> None:
    """Nor what only some exports need."""
    loaded = loaded_by("telemetry", "export", "--help")

    others = {f"tokenpak.cli.{name}" for name in cli.COMMANDS} - {"tokenpak.cli.export"}
    assert "tokenpak.cli.export" in loaded
    assert loaded & others == set()
    seldom = {"ctypes", "isal", "subprocess", "duckdb", "tempfile", "pickle"}
    assert loaded & seldom == set()


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_each_command_is_there_under_its_name(name: str) -> None:
    """And in the list."""
    context = click.Context(cli.telemetry)

    command = cli.telemetry.get_command(context, name)

    assert command is not None
    assert command.name == name
    assert name in cli.telemetry.list_commands(context)


def test_a_command_that_is_not_there_is_wrong_usage() -> None:
    """Also one that is called like a module."""
    for name in ("nothing", "options", "telemetry"):
        result = CliRunner().invoke(cli.main, ["telemetry", name])

        assert result.exit_code == 2
        assert "No such command" in result.stderr
