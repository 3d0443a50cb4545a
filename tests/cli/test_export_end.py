"""``tokenpak telemetry export``: how far it is, where it writes to, how it is ended."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.cli.test_export_command import log_dir
from tokenpak.cli import output
from tokenpak.cli.output import progress_line

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["log_dir"]  # a fixture, which pytest finds by its name


def test_how_far_it_is_is_said_in_bytes_with_rate_and_time_left() -> None:
    """Never over a hundred per cent, nor before anything is done."""
    assert progress_line(250_000_000, 1_000_000_000, 2.0) == (
        "[#####---------------]  25%  250 of 1,000 MB, 125 MB/s, 6 s left"
    )
    assert "100%" in progress_line(11, 10, 1.0)
    assert "left" not in progress_line(0, 10, 0.0)


class Terminal(io.StringIO):
    """Says that it is one."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("patience", "shown"), [(0.0, True), (1000.0, False)])
def test_a_long_export_says_how_far_it_is_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, patience: float, shown: bool
) -> None:
    """Not a short one; and the line is taken away."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(output, "_PATIENCE", patience)

    with output.Progress(lambda: 1000) as progress:
        progress(500)

    assert ("50%" in terminal.getvalue()) == shown
    assert terminal.getvalue().endswith("\r\x1b[K") == shown


def test_nothing_is_said_where_stderr_is_a_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The size of the log is not asked for either."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())

    assert not output.Progress(lambda: 1 // 0).wanted


@pytest.mark.skipif(os.name != "posix", reason="a shell closes it")
def test_without_a_stdout_the_message_is_a_sentence(log_dir: Path) -> None:
    """Closed by who started the command; a file can be exported to all the same."""
    command = f"{sys.executable} -m tokenpak telemetry export --log-dir {log_dir}"

    done = subprocess.run(
        f"{command} >&-", shell=True, capture_output=True, text=True, check=False
    )
    to_file = subprocess.run(
        f"{command} -o {log_dir}/out.json >&-", shell=True, check=False
    )

    assert done.returncode == 1
    assert done.stderr == "Error: The export failed: the output: stdout is closed.\n"
    assert to_file.returncode == 0
    assert len(json.loads((log_dir / "out.json").read_text())) == 6


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_leaves_no_temporary_file(
    log_dir: Path, tmp_path: Path, name: str
) -> None:
    """Nor another than the old one, at the last moment before the new one is there."""
    number = int(signal.Signals[name])
    target = tmp_path / "out.json"
    target.write_text("old")
    program = (
        "import os, signal, sys\n"
        "from tokenpak.cli import main\n"
        f"os.replace = lambda *_: os.kill(os.getpid(), {number})\n"
        f"signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "main(['telemetry', 'export', *sys.argv[1:]])\n"
    )
    options = ["--log-dir", str(log_dir), "--output", str(target)]

    done = subprocess.run(
        [sys.executable, "-c", program, *options], capture_output=True, check=False
    )

    assert done.returncode == (1 if name == "SIGINT" else 128 + number)
    assert b"Traceback" not in done.stderr
    assert target.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["logs", "out.json"]
