"""``tokenpak telemetry metrics``: formats, files, a server, messages, exit status."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.metrics.logs import append, line
from tests.metrics.test_prometheus import get
from tests.queue.logs import held_locks
from tokenpak.cli import main
from tokenpak.telemetry.error_logger import ErrorLogger


def run(log_dir: Path, *args: str) -> Result:
    words = ["telemetry", "metrics", "--log-dir", str(log_dir), *args]
    return CliRunner().invoke(main, words, prog_name="tokenpak")


def test_the_metrics_are_printed(log_dir: Path) -> None:
    """In each format."""
    append(log_dir, line(1))

    plain = run(log_dir)
    strict = run(log_dir, "--format", "openmetrics")
    as_json = run(log_dir, "--format", "json")

    assert {r.exit_code for r in (plain, strict, as_json)} == {0}
    assert "# TYPE tokenpak_errors_total counter\n" in plain.stdout
    assert 'request_id="req-1"' in strict.stdout
    metrics = json.loads(as_json.stdout)["metrics"]
    assert metrics["tokenpak_errors_total"][0]["value"] == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_m1_what_dead_processes_left_is_counted(log_dir: Path) -> None:
    """It is appended first."""
    logger = ErrorLogger(log_dir)
    with held_locks(log_dir):
        pid = os.fork()
        if pid == 0:  # pragma: no cover  (another process)
            logger.log_event("of a dead one")
            os._exit(0)
        os.waitpid(pid, 0)

    result = run(log_dir)

    shown = 'tokenpak_events_total{event="of a dead one",provider="",model=""} 1\n'
    assert shown in result.stdout
    assert 'tokenpak_telemetry_orphans{stream="events"} 0\n' in result.stdout


def test_the_metrics_are_written_to_a_file(log_dir: Path, tmp_path: Path) -> None:
    """Nothing is printed; a file that cannot be written is told."""
    append(log_dir, line(1))
    target = tmp_path / "tokenpak.prom"

    done = run(log_dir, "--output", str(target))
    failed = run(log_dir, "--output", str(tmp_path / "nowhere" / "tokenpak.prom"))

    assert (done.exit_code, done.output) == (0, "")
    assert "tokenpak_errors_total{" in target.read_text()
    assert failed.exit_code == 1
    assert "nowhere" in failed.output
    assert "No such file" in failed.output


def test_label_sets_are_bounded_by_an_option(log_dir: Path) -> None:
    """What is left out is counted as other."""
    append(log_dir, b"".join(line(n, error_type=f"E{n}") for n in range(9)))

    result = run(log_dir, "--max-label-sets", "4")

    assert result.stdout.count("tokenpak_errors_total{") == 5
    assert 'tokenpak_errors_total{error_type="other",' in result.stdout


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--serve", "host:port"], "is not an address like"),
        (["--serve", "127.0.0.1:70000"], "is not an address like"),
        (["--serve", "--output", "x"], "--serve goes with neither"),
        (["--serve", "1", "--format", "json"], "--serve goes with neither"),
        (["--max-label-sets", "0"], "max-label-sets"),
    ],
)
def test_wrong_usage_is_told(log_dir: Path, args: list[str], says: str) -> None:
    """With exit status 2."""
    append(log_dir, line(1))

    result = run(log_dir, *args)

    assert result.exit_code == 2
    assert says in result.output


def test_a_directory_that_is_not_there_is_told(log_dir: Path) -> None:
    """And where to say another."""
    result = run(log_dir)

    assert result.exit_code == 1
    assert "does not exist" in result.output


def test_a_taken_port_is_told(log_dir: Path) -> None:
    """And what to do."""
    append(log_dir, line(1))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        result = run(log_dir, "--serve", f"127.0.0.1:{port}")

    assert result.exit_code == 1
    assert f"127.0.0.1:{port} is taken" in result.output
    assert "--serve 127.0.0.1:PORT" in result.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_server_keeps_up_and_ends_quietly(
    log_dir: Path, number: signal.Signals
) -> None:
    """From before there is a log, over days and archives."""
    command = [sys.executable, "-m", "tokenpak", "telemetry", "metrics"]
    command += ["--log-dir", str(log_dir), "--serve", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        assert server.stdout is not None
        said = server.stdout.readline()
        match = re.search(r"http://127\.0\.0\.1:\d+/metrics", said)
        assert match is not None, said
        bodies = [get(match[0])[1]]
        for count in (1, 2):
            append(log_dir, line(count))
            bodies.append(get(match[0])[1])
        server.send_signal(number)
        rest = server.stdout.read()

    found = [
        re.findall(rb"^tokenpak_errors_total.* (\d+)$", b, re.MULTILINE) for b in bodies
    ]
    assert found == [[], [b"1"], [b"2"]]
    assert server.returncode == 0
    assert rest == ""
