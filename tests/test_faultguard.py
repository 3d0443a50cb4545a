"""A run in CI in which hardly any fault could be injected fails, and says why."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faultguard import LEAST

ROOT = Path(__file__).parents[1]
CONFTEST = """
from tests.faultguard import FaultGuard
def pytest_configure(config):
    config.pluginmanager.register(FaultGuard(config))
"""
INI = "[pytest]\ntestpaths = suite\nmarkers =\n    fault: x\n    heavy: x\n"


def run(place: Path, ran: int, skipped: int, *words: str, ci: str = "true") -> str:
    """Run a suite of so many fault tests; return its output, with the exit status."""
    suite = place / "suite"
    suite.mkdir()
    (place / "pytest.ini").write_text(INI)
    (place / "conftest.py").write_text(CONFTEST)
    (suite / "test_faults.py").write_text(
        "import pytest\n"
        "def test_ordinary(): ...\n"
        f"@pytest.mark.parametrize('n', range({ran}))\n"
        "@pytest.mark.fault\n"
        "def test_one(n): ...\n"
        f"@pytest.mark.parametrize('n', range({skipped}))\n"
        "@pytest.mark.fault\n"
        "@pytest.mark.skipif(True, reason='strace is not installed')\n"
        "def test_two(n): ...\n"
        "@pytest.mark.fault\n"
        "def test_three(): pytest.skip('no mount')\n"
    )
    environ = {k: v for k, v in os.environ.items() if k != "PYTEST_ADDOPTS"}
    environ |= {"CI": ci, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words],
        cwd=place,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,  # an interpreter starts, and loads the plugins
    )
    return f"{done.stdout}{done.stderr}\nstatus {done.returncode}"


def test_too_few_fault_tests_fail_a_run_in_ci(tmp_path: Path) -> None:
    """With the counts, each reason once, and what to do."""
    said = run(tmp_path, LEAST - 1, 7)

    assert "status 1" in said
    assert f"{LEAST - 1} ran, 8 were skipped" in said
    assert "7 skipped: strace is not installed" in said
    assert "1 skipped: no mount" in said
    assert f"fewer than {LEAST} fault tests ran" in said


def test_enough_fault_tests_pass_and_the_skips_are_told_all_the_same(
    tmp_path: Path,
) -> None:
    """Also where the heavy ones are left out."""
    said = run(tmp_path, LEAST, 2, "-m", "not heavy")

    assert "status 0" in said
    assert f"{LEAST} ran, 3 were skipped" in said
    assert "2 skipped: strace is not installed" in said


@pytest.mark.parametrize(
    ("words", "ci"),
    [
        (["suite/test_faults.py"], "true"),
        (["-k", "one"], "true"),
        (["-m", "fault"], "true"),
        ([], ""),
    ],
    ids=["a file", "a word", "a mark", "not in CI"],
)
def test_a_run_of_a_part_is_left_alone(
    tmp_path: Path, words: list[str], ci: str
) -> None:
    """It says nothing of the whole."""
    said = run(tmp_path, 2, 1, *words, ci=ci)

    assert "status 0" in said
    assert "fault tests" not in said
