"""The real Prometheus and Alertmanager, on loopback, with directories of their own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PROMETHEUS = shutil.which("prometheus")
ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
SECONDS = 100.0
"""After which a server that does not answer has failed; far more than any needs."""

_NO_PROC = not os.path.isdir("/proc/self/fd")

needs_prometheus = pytest.mark.skipif(
    PROMETHEUS is None or _NO_PROC,
    reason="prometheus (Debian: prometheus) is not installed",
)
needs_alertmanager = pytest.mark.skipif(
    ALERTMANAGER is None or _NO_PROC,
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
    """Return how often the Prometheus at *server* has evaluated the group of rules."""
    with _OPENER.open(f"{server}/metrics", timeout=SECONDS) as answer:
        text = answer.read().decode()
    due, missed = (
        re.findall(rf"^prometheus_rule_group_{what}\{{.*\}} (\S+)$", text, re.MULTILINE)
        for what in ("iterations_total", "iterations_missed_total")
    )
    # Of those that were due, it leaves out what it is too late for.
    return int(sum(map(float, due)) - sum(map(float, missed)))


@contextlib.contextmanager
def running(command: list[str], log: Path) -> Iterator[str]:
    """
    Run a server until it is not needed any more; return its address.

    It takes a port that is free: one that was found to be free before it was started
    may be somebody else's by then, who would be asked in its place.
    """
    command = [*command, "--web.listen-address=127.0.0.1:0"]
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + SECONDS
        while True:
            assert server.poll() is None, log.read_text()
            try:
                address = f"http://127.0.0.1:{port_of(server.pid)}"
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


def port_of(pid: int) -> int:
    """
    Return the port of 127.0.0.1 that process *pid* listens on.

    Raises:
        OSError: it does not yet.

    """
    sockets = set()
    for opened in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            sockets.add(os.readlink(opened))
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, *more = line.split()
        host, _, port = local.partition(":")
        of_it = f"socket:[{more[5]}]" in sockets
        if of_it and (host, state) == ("0100007F", "0A"):
            return int(port, 16)
    raise ConnectionRefusedError


@contextlib.contextmanager
def prometheus(
    directory: Path,
    target: str,
    *options: str,
    rules: str = "",
    alertmanager: str = "",
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
    command = [
        PROMETHEUS,
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        *options,
    ]
    with running(command, directory / "log") as address:
        yield address


@contextlib.contextmanager
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
    command = [
        ALERTMANAGER,
        f"--config.file={directory / 'alertmanager.yml'}",
        f"--storage.path={directory / 'data'}",
        "--cluster.listen-address=",
    ]
    with running(command, directory / "log") as address:
        yield address


__all__ = [
    "SECONDS",
    "alertmanager",
    "ask",
    "evaluations",
    "needs_alertmanager",
    "needs_prometheus",
    "prometheus",
]
