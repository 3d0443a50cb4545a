"""S5: where the state of a watch cannot be, nothing is put aside or replaced."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.read.log_making import as_lines, make_record, write_log
from tokenpak.cli import main


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes")
@pytest.mark.parametrize("kind", ["pipe", "directory", "link"])
def test_s5_what_is_no_file_is_not_put_aside(tmp_path: Path, kind: str) -> None:
    """A pipe here; root's ``--state /dev/null`` left a machine without it."""
    log_dir = tmp_path / "logs"
    write_log(log_dir, as_lines([make_record()]))
    place = tmp_path / "places"
    place.mkdir()
    state = place / "state"
    if kind == "pipe":
        os.mkfifo(state)
    elif kind == "directory":
        state.mkdir()
    else:
        state.symlink_to(log_dir / "errors-2026-03-24.jsonl")
    before = os.lstat(state)

    words = ["telemetry", "watch", "--once", "--log-dir", str(log_dir)]
    result = CliRunner().invoke(main, [*words, "--state", str(state)])

    assert result.exit_code == 1
    assert "not a regular file" in result.stderr
    assert os.lstat(state).st_ino == before.st_ino
    assert os.listdir(place) == ["state"]
