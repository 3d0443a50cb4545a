"""The pages about reports: units that systemd takes, pictures that are there."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.report.browser import find_browser

from .pages import DOCS, blocks_of

if TYPE_CHECKING:
    from pathlib import Path

DAILY = DOCS / "how-to" / "daily-report.md"


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """Both files, as ``systemd-analyze verify`` reads them."""
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("no systemd-analyze")
    units = []
    for block in blocks_of(DAILY):
        if block.marks.get("file", "").startswith("tokenpak-report."):
            unit = tmp_path / block.marks["file"]
            unit.write_text(block.text)
            units.append(str(unit))
    assert len(units) == 2

    done = subprocess.run(
        [tool, "verify", "--man=no", *units],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )

    told = [line for line in done.stderr.splitlines() if "tokenpak-report" in line]
    assert told == []


def test_the_pictures_can_be_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the script, in a real browser; and those of the page are pictures."""
    if find_browser() is None:
        pytest.skip("no Chromium: apt-get install chromium")
    spec = importlib.util.spec_from_file_location("pictures", DOCS / "pictures.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "PICTURES", tmp_path)

    assert module.main() == 0

    for name in ("report-light.png", "report-dark.png"):
        for folder in (tmp_path, DOCS / "pictures"):
            head = (folder / name).read_bytes()[:24]
            assert head.startswith(b"\x89PNG")
            size = (
                int.from_bytes(head[16:20], "big"),
                int.from_bytes(head[20:24], "big"),
            )
            assert size == (module.WIDTH, module.HEIGHT)
