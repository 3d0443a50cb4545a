"""The real Prometheus and Alertmanager, on loopback, with directories of their own."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PROMETHEUS = shutil.which("prometheus")
ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
SECONDS = 60.0
"""After which a server that does not answer has failed; far more than any needs."""

needs_prometheus = pytest.mark.skipif(
    PROMETHEUS is None, reason="prometheus (Debian: prometheus) is not installed"
)
needs_alertmanager = pytest.mark.skipif(
    ALERTMANAGER is None,
    reason="Alertmanager (Debian: prometheus-alertmanager) is not installed",
)
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ask(address: str, **parameters: str) -> Any:
    """Return what JSON *address* answers."""
    if parameters:
        address = f"{address}?{urllib.parse.urlencode(parameters)}"
    with _OPENER.open(address, timeout=SECONDS) as answer:
        return json.load(answer)


def evaluations(server: str) -> int:
    """Return how often the Prometheus at *server* has evaluated a group of rules."""
    with _OPENER.open(f"{server}/metrics", timeout=SECONDS) as answer:
        text = answer.read().decode()
    numbers = re.findall(
        r"^prometheus_rule_group_iterations_total\{.*\} (\S+)$", text, re.MULTILINE
    )
    return max(int(float(number)) for number in numbers)


@contextmanager
def running(command: list[str], port: int, log: Path) -> Iterator[str]:
    """Run a server until it is not needed any more; return its address."""
    address = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + SECONDS
        while True:
            assert server.poll() is None, log.read_text()
            try:
                with _OPENER.open(f"{address}/-/ready", timeout=5):
                    break
            except OSError:
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
        yield address
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def prometheus(
    directory: Path, target: str, *, rules: str = "", alertmanager: str = ""
) -> Iterator[str]:
    """Run Prometheus, which scrapes *target* (HOST:PORT) every second."""
    assert PROMETHEUS is not None
    directory.mkdir()
    config = (
        "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
        "scrape_configs:\n"
        f"  - {{job_name: app, static_configs: [{{targets: ['{target}']}}]}}\n"
    )
    if rules:
        (directory / "rules.yml").write_text(rules)
        config += "rule_files: [rules.yml]\n"
    if alertmanager:
        host = alertmanager.removeprefix("http://")
        config += (
            "alerting:\n  alertmanagers:\n"
            f"    - {{static_configs: [{{targets: ['{host}']}}]}}\n"
        )
    (directory / "prometheus.yml").write_text(config)
    port = free_port()
    command = [
        PROMETHEUS,
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with running(command, port, directory / "log") as address:
        yield address


@contextmanager
def alertmanager(directory: Path, webhook: str) -> Iterator[str]:
    """Run Alertmanager, which tells *webhook* at once."""
    assert ALERTMANAGER is not None
    directory.mkdir()
    (directory / "alertmanager.yml").write_text(
        "route: {receiver: hook, group_by: ['...'], group_wait: 0s, "
        "group_interval: 1s, repeat_interval: 1h}\n"
        "receivers:\n"
        f"  - {{name: hook, webhook_configs: [{{url: '{webhook}'}}]}}\n"
    )
    port = free_port()
    command = [
        ALERTMANAGER,
        f"--config.file={directory / 'alertmanager.yml'}",
        f"--storage.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with running(command, port, directory / "log") as address:
        yield address


__all__ = [
    "alertmanager",
    "ask",
    "evaluations",
    "needs_alertmanager",
    "needs_prometheus",
    "prometheus",
]
