"""What the pages show is taken by the programs that it is for."""

from __future__ import annotations

import configparser
import shlex
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.docs.pages import DOCS, blocks_of
from tokenpak.cli import main
from tokenpak.telemetry.alerts.rules import alert_rules
from tokenpak.telemetry.alerts.thresholds import Thresholds

HOW_TO = DOCS / "how-to"
PROMTOOL = shutil.which("promtool")
AMTOOL = shutil.which("amtool")


def example(page: str, name: str) -> str:
    (text,) = [
        block.text
        for block in blocks_of(HOW_TO / page)
        if block.marks.get("example") == name
    ]
    return text


def run(command: str, log_dir: Path) -> tuple[int, str]:
    """Run the tokenpak that a page names, for a log of this test."""
    words = shlex.split(command)
    assert words[0].endswith("/tokenpak")
    words = [str(log_dir) if word == "/var/log/app" else word for word in words[1:]]
    result = CliRunner().invoke(main, [*words, "--once"])
    return result.exit_code, result.output


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
def test_watch_prometheus_takes_the_configuration_of_the_page(tmp_path: Path) -> None:
    """With the rules beside it."""
    rules = tmp_path / "tokenpak-rules.yml"
    CliRunner().invoke(main, ["telemetry", "rules", "-o", str(rules)])
    config = tmp_path / "prometheus.yml"
    config.write_text(example("alert-with-prometheus.md", "prometheus"))

    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, "check", "config", str(config)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "SUCCESS: 1 rule files found" in done.stdout


@pytest.mark.skipif(AMTOOL is None, reason="amtool is not installed")
def test_watch_alertmanager_takes_the_configuration_of_the_page(tmp_path: Path) -> None:
    """As its own tool reads it."""
    config = tmp_path / "alertmanager.yml"
    config.write_text(example("alert-with-prometheus.md", "alertmanager"))

    assert AMTOOL is not None
    done = subprocess.run(
        [AMTOOL, "check-config", str(config)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_watch_the_page_lists_all_rules() -> None:
    """In their order."""
    page = (HOW_TO / "alert-with-prometheus.md").read_text(encoding="utf-8")
    listed = [line.split("`")[1] for line in page.splitlines() if "| `Tokenpak" in line]

    assert listed == [rule.name for rule in alert_rules(Thresholds())]


def test_watch_the_unit_and_the_line_for_cron_do_what_they_should(
    log_dir: Path,
) -> None:
    """What they start finds an alert, with the words of the page."""
    page = "alert-without-prometheus.md"
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(example(page, "systemd"))
    minute, *_, command = example(page, "cron").strip().split(" ", 5)
    log_dir.mkdir()
    now = datetime.now(UTC)
    (log_dir / f"errors-{now:%Y-%m-%d}.jsonl").write_text(
        f'{{"timestamp":"{now:%Y-%m-%dT%H:%M:%S.%f}Z","error_type":"MemoryError"}}\n'
    )

    status, output = run(command, log_dir)
    again, silence = run(unit["Service"]["ExecStart"], log_dir)

    assert minute == "*/5"
    assert (status, "FIRING CriticalError" in output) == (1, True)
    assert (again, silence) == (0, "")
