"""What the demo says one could try next can be tried as it stands."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.demo.test_demo import GOOD
from tokenpak.demo.report import format_result


@pytest.mark.parametrize("on_path", [True, False])
def test_the_commands_to_try_are_called_as_the_demo_was(
    on_path: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in README: from a virtual environment that is not activated."""
    program = tmp_path / "a venv" / "tokenpak"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "argv", [str(program), "telemetry", "demo"])
    monkeypatch.setenv("PATH", str(program.parent) if on_path else "/nonexistent")

    text = format_result(GOOD)

    called = "tokenpak" if on_path else f"'{program}'"
    assert f"\n  {called} telemetry report --log-dir" in text
    assert text.count("tokenpak telemetry" if on_path else called) == 3


def test_no_command_to_try_fills_the_terminal() -> None:
    """The log of a demo has some 25,000 records."""
    (line,) = [line for line in format_result(GOOD).splitlines() if " export " in line]

    assert "--output" in line
