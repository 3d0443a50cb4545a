"""Shells complete what there is: bash is really run."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.docs.pages import ROOT
from tokenpak.cli import main

SECONDS = 60.0


def bash_version() -> tuple[int, int]:
    bash = shutil.which("bash")
    if bash is None:
        return (0, 0)
    text = subprocess.run(
        [bash, "--norc", "-c", 'echo "${BASH_VERSINFO[0]}.${BASH_VERSINFO[1]}"'],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    major, _, minor = text.strip().partition(".")
    return int(major), int(minor)


needs_bash = pytest.mark.skipif(
    bash_version() < (4, 4), reason="bash 4.4 or later is not installed"
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory with the command, and one with a name to be completed."""
    tools = tmp_path / "tools"
    tools.mkdir()
    script = tools / "tokenpak"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tokenpak "$@"\n')
    script.chmod(0o755)
    (tmp_path / "logs-of-app").mkdir()
    return tmp_path


def environment(home: Path) -> dict[str, str]:
    return {
        "PYTHONPATH": str(ROOT),  # the code of this tree, installed or not
        "PATH": f"{home / 'tools'}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "TERM": "dumb",
        "PS1": "ready> ",
        "LC_ALL": "C",
    }


@needs_bash
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("tokenpak tele", {"telemetry"}),
        ("tokenpak telemetry ta", {"tail"}),
        ("tokenpak telemetry s", {"show", "sql"}),
        ("tokenpak telemetry tail --fo", {"--follow", "--format"}),
        ("tokenpak telemetry tail --format ", {"text", "jsonl"}),
        ("tokenpak telemetry tail --color a", {"auto", "always"}),
        ("tokenpak telemetry sql --format p", {"parquet"}),
        ("tokenpak completion ", {"bash", "zsh", "fish"}),
    ],
)
def test_bash_is_given_what_can_come(home: Path, line: str, expected: set[str]) -> None:
    """Commands, options and choices."""
    words = line.split(" ")
    program = (
        'eval "$(tokenpak completion bash)"\n'
        f"COMP_WORDS=({' '.join(words[:-1])} '{words[-1]}')\n"
        f"COMP_CWORD={len(words) - 1}\n"
        "_tokenpak_completion tokenpak 2>/dev/null\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", program],
        env=environment(home),
        cwd=home,
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
    )

    assert set(done.stdout.split()) == expected


@needs_bash
def test_the_tab_key_completes_commands_and_directories(home: Path) -> None:
    """In an interactive bash, as its user sees it."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(home)
        os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], environment(home))
    seen = b""

    def until(text: bytes) -> None:
        nonlocal seen
        end = time.monotonic() + SECONDS
        while text not in seen:
            left = end - time.monotonic()
            assert left > 0, seen
            if select.select([terminal], [], [], left)[0]:
                seen += os.read(terminal, 4096)
        seen = seen.rpartition(text)[2]

    try:
        os.write(terminal, b'eval "$(tokenpak completion bash)"; echo is""loaded\n')
        until(b"isloaded")
        os.write(terminal, b"tokenpak telemetry verif\t")
        until(b"verify ")
        os.write(terminal, b"--log-d\t")
        until(b"--log-dir ")
        os.write(terminal, b"logs-of\t")
        until(b"logs-of-app/")
    finally:
        os.close(terminal)  # which hangs up
        os.waitpid(pid, 0)


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script_too(shell: str) -> None:
    """Not run here, but where the shell is there, it takes it."""
    result = CliRunner().invoke(main, ["completion", shell], prog_name="tokenpak")
    assert result.exit_code == 0
    assert f"_TOKENPAK_COMPLETE={shell}_complete" in result.stdout
    if shutil.which(shell):
        subprocess.run(
            [shell, "-n"], input=result.stdout, text=True, check=True, timeout=SECONDS
        )


@needs_bash
def test_without_a_name_it_is_the_users_shell() -> None:
    """Of $SHELL; one that is not known is told of."""
    run = CliRunner().invoke
    named = run(main, ["completion", "bash"], prog_name="tokenpak")
    found = run(main, ["completion"], env={"SHELL": "/usr/bin/bash"})
    assert found.stdout == named.stdout != ""
    unknown = run(main, ["completion"], env={"SHELL": "/bin/tcsh"})
    assert unknown.exit_code == 1
    assert "tcsh" in unknown.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_script_that_cannot_be_written_is_told_of() -> None:
    """``tokenpak completion fish > FILE`` on a full disk."""
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "tokenpak", "completion", "zsh"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=SECONDS,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: the output cannot be written: ")
