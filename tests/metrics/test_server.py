"""Clients that do not ask, and those that do."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tokenpak.telemetry.metrics import server
from tokenpak.telemetry.metrics.exposition import Exposition
from tokenpak.telemetry.metrics.machine import machine_counts
from tokenpak.telemetry.metrics.server import (
    MOST_CONNECTIONS,
    MetricsServer,
    serving,
)

SECONDS = 60.0
"""After which a test has failed; none of them takes a twentieth of it."""
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def connected(url: str) -> socket.socket:
    parts = urlsplit(url)
    made = socket.create_connection((parts.hostname, parts.port), timeout=SECONDS)
    made.settimeout(SECONDS)
    return made


def scrape(url: str) -> bytes:
    with _OPENER.open(url, timeout=SECONDS) as answer:
        return bytes(answer.read())


def ended(client: socket.socket) -> bool:
    """Return whether the server has closed the connection, or closes it soon."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


@contextlib.contextmanager
def served(log_dir: Path, patience: float) -> Iterator[str]:
    log_dir.mkdir(exist_ok=True)
    exposition = Exposition(machine_counts(str(log_dir)))
    with serving(exposition, ("127.0.0.1", 0), patience) as url:
        yield url


def test_m1_200_clients_that_do_not_ask_keep_nobody_from_scraping(
    log_dir: Path,
) -> None:
    """The one that has waited longest gives way, and threads are bounded."""
    before = threading.active_count()
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(served(log_dir, patience=1_000.0))
        idle = []
        for _ in range(4):
            idle += [stack.enter_context(connected(url)) for _ in range(50)]
            # All before it were taken: more than the system keeps waiting may be taken
            # in another order.
            assert b"tokenpak_" in scrape(url)

        # 136 of the idle ones had to give way for the others, and one for the scrape.
        assert all(ended(client) for client in idle[: 200 - MOST_CONNECTIONS + 1])
        deadline = time.monotonic() + SECONDS
        while threading.active_count() > before + MOST_CONNECTIONS + 1:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        # The youngest is served still.
        idle[-1].sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert b"/metrics" in idle[-1].makefile("rb").read()


@pytest.mark.parametrize("dribbles", [False, True])
def test_m1_a_client_that_does_not_ask_is_cut_off(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch, *, dribbles: bool
) -> None:
    """Also if it sends a byte now and then."""
    made: list[MetricsServer] = []

    class Made(MetricsServer):
        def server_activate(self) -> None:
            made.append(self)
            super().server_activate()

    monkeypatch.setattr(server, "MetricsServer", Made)
    with served(log_dir, patience=0.5) as url, connected(url) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\nX: ")
        if dribbles:
            client.settimeout(0.05)
        for _ in range(int(SECONDS / 0.05)):
            try:
                assert client.recv(1) == b""
                break
            except TimeoutError:
                with contextlib.suppress(OSError):
                    client.sendall(b"x")
            except ConnectionResetError:
                break
        else:
            pytest.fail("it is served for ever")
        # On a busy machine one who does ask may take longer than that to do it.
        made[0].patience = SECONDS
        assert b"tokenpak_" in scrape(url)


def test_m1_a_server_that_ends_leaves_no_client_and_no_thread(log_dir: Path) -> None:
    """Nobody would cut off those that have not asked, afterwards."""
    before = threading.active_count()
    with contextlib.ExitStack() as stack:
        with served(log_dir, patience=1_000.0) as url:
            idle = [stack.enter_context(connected(url)) for _ in range(5)]
            assert b"tokenpak_" in scrape(url)  # all before it were taken

        assert all(ended(client) for client in idle)
        deadline = time.monotonic() + SECONDS
        while threading.active_count() > before:
            assert time.monotonic() < deadline
            time.sleep(0.01)
