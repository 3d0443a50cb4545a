"""``tokenpak telemetry doctor``: output, exit status, colours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.doctor.places import make_healthy, on_file_system
from tokenpak.cli import main


def run(*args: str | Path, env: dict[str, str] | None = None) -> Result:
    words = ["telemetry", "doctor", *map(str, args)]
    return CliRunner().invoke(main, words, env=env, prog_name="tokenpak")


@pytest.fixture
def healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with which all is well, on ext4."""
    on_file_system(monkeypatch, "ext4")
    return make_healthy(tmp_path / "logs")


def test_the_status_is_0_if_nothing_needs_to_be_done(healthy: Path) -> None:
    """And the last line says so."""
    result = run("--log-dir", healthy)

    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"Log directory: {healthy}\n")
    assert result.output.endswith("\nAll is well.\n")
    assert result.stderr == ""


def test_the_status_is_1_if_a_person_should_look(healthy: Path) -> None:
    """A warning is enough, so that a job can tell by it."""
    (healthy / "errors-2026-03-24.jsonl").chmod(0o644)
    result = run("--log-dir", healthy, env={"TOKENPAK_FSYNC": "sometimes"})

    assert result.exit_code == 1
    assert result.output.endswith(
        "\n2 warnings: see the lines above that begin with ->.\n"
    )
    assert "TOKENPAK_FSYNC='sometimes'" in result.output


@pytest.mark.parametrize(
    "words", [["--format", "xml"], ["--log-dir", ""], ["--log-dir", "a\0b"], ["there"]]
)
def test_the_status_is_2_for_wrong_usage(words: list[str]) -> None:
    """With a sentence, not a traceback."""
    result = run(*words)

    assert result.exit_code == 2
    assert "Error: " in result.stderr


def test_a_missing_directory_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first record it is missing on every machine."""
    on_file_system(monkeypatch, "ext4")
    result = run(env={"TOKENPAK_LOG_DIR": str(tmp_path / "logs")})

    assert result.exit_code == 0, result.output
    assert "does not exist yet" in result.output
    assert list(tmp_path.iterdir()) == []


def test_json_is_one_object(healthy: Path) -> None:
    """For programs; the status is the same."""
    (healthy / "errors-2026-03-24.jsonl").chmod(0o644)
    result = run("--log-dir", healthy, "--format", "json")
    said = json.loads(result.output)

    assert result.exit_code == 1
    assert said["fine"] is False
    assert said["worst"] == "warning"


def test_a_pipe_gets_no_colours(healthy: Path) -> None:
    """Plain ASCII, for logs and tickets."""
    done = subprocess.run(
        [sys.executable, "-m", "tokenpak", "telemetry", "doctor"],
        capture_output=True,
        env={"TOKENPAK_LOG_DIR": str(healthy), "TERM": "xterm-256color", "HOME": "/"},
        check=False,
        timeout=60,
    )

    assert done.returncode in {0, 1}
    assert done.stderr == b""
    assert b"\x1b" not in done.stdout
    assert done.stdout.isascii()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("plain", ["", "1"])
def test_a_terminal_gets_colours_unless_it_says_no(healthy: Path, plain: str) -> None:
    """``NO_COLOR`` says no."""
    import pty

    status: list[int] = []
    parts: list[bytes] = []
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "tokenpak", "telemetry", "doctor"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={
            "TOKENPAK_LOG_DIR": str(healthy),
            "TERM": "xterm",
            "HOME": "/",
            "NO_COLOR": plain,
        },
    ) as process:
        import os

        os.close(slave)
        while True:
            try:
                part = os.read(master, 65_536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            parts.append(part)
        status.append(process.wait(60))
        os.close(master)
    shown = b"".join(parts)

    assert status[0] in {0, 1}, shown
    assert (b"\x1b[32mok" in shown) == (not plain)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("command", ["archive", "doctor", "verify"])
def test_output_that_cannot_be_written_is_told_in_a_sentence(
    healthy: Path, command: str
) -> None:
    """The disk is full, of all places where the log is to be looked at."""
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tokenpak", "telemetry", command),
                *("--log-dir", str(healthy)),
            ],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )

    assert done.returncode != 0
    assert done.stderr.startswith("Error: the output cannot be written: No space left")
    assert "Traceback" not in done.stderr


def test_the_help_says_what_the_status_means() -> None:
    """And shows examples, as they are written."""
    result = run("--help")

    assert result.exit_code == 0
    assert "\n    tokenpak telemetry doctor --log-dir /var/log/app\n" in result.output
    assert "Exit status: 0 nothing needs to be done" in result.output
