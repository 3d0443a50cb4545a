"""
Q1, Q5: under real servers, whose workers are killed with -9 and recycled.

Each request whose handler has logged, or whose exception has been recorded, is
acknowledged in a file before it is answered.  Each acknowledged request has exactly one
record in the end, and no other request has more than one.
"""

from __future__ import annotations

import contextlib
import http.client
import inspect
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
import uvicorn

from tests.docs.pages import ROOT
from tests.integrations.acks import VARIABLE, acknowledged
from tests.integrations.logs import records_after
from tests.integrations.processes import TELLS, end, kill
from tests.queue.logs import eventually
from tokenpak.telemetry.queue.recovery import recover

pytestmark = [
    pytest.mark.fault,
    pytest.mark.skipif(
        not os.path.isdir("/proc/self"), reason="workers are found by /proc"
    ),
]

# Their own patience with workers that begin on a busy machine is longer than usual:
# who they kill is nobody that the tests have counted.
GUNICORN = [sys.executable, "-m", "gunicorn", "--max-requests", "50"]
GUNICORN += ["--timeout", "120"]
GUNICORN += ["--log-level", "critical", "tests.integrations.flask_server:application"]
UVICORN = [sys.executable, "-m", "uvicorn", "--limit-max-requests", "50"]
UVICORN += ["--log-level", "critical", "tests.integrations.fastapi_server:application"]
if "timeout_worker_healthcheck" in inspect.signature(uvicorn.Config).parameters:
    UVICORN += ["--timeout-worker-healthcheck", "30"]
SERVERS = {
    "gunicorn sync": [*GUNICORN, "--bind", "fd://{fd}"],
    "gunicorn gthread": [*GUNICORN, "--bind", "fd://{fd}", "--threads", "4"],
    "gunicorn preload": [*GUNICORN, "--bind", "fd://{fd}", "--preload"],
    "uvicorn": [*UVICORN, "--fd", "{fd}"],
}
CLIENTS = 4
TIMEOUT = 120.0


@contextlib.contextmanager
def serving(
    name: str, workers: int, home: Path
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run the server; yield it and its port.  It ends as one ends servers: SIGTERM."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        port = listener.getsockname()[1]
        command = [part.format(fd=listener.fileno()) for part in SERVERS[name]]
        environment = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]),
            "TOKENPAK_LOG_DIR": str(home / "logs"),
            # Far more often than the default: dead workers are recovered under way.
            "TOKENPAK_RECOVERY_INTERVAL": "0.5",
            VARIABLE: str(home / "acks"),
            **TELLS,
            **({"LOG_AT_IMPORT": "yes"} if "preload" in name else {}),
        }
        with open(home / "output", "wb") as output:
            server = subprocess.Popen(
                [*command, "--workers", str(workers)],
                cwd=home,
                env=environment,
                pass_fds=[listener.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
    try:
        yield server, port
        assert end(server, TIMEOUT), (home / "output").read_text()
    finally:
        kill(server)  # with its workers, whatever happened


def is_worker(pid: int, server: int) -> bool:
    """Return whether *pid* is still a child of *server*."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return int(stat.rpartition(")")[2].split()[1]) == server


class Clients:
    """Threads that send requests, each once, and kill a worker now and then."""

    def __init__(self, port: int, server: int, requests: int, kill_every: int) -> None:
        self._port = port
        self._server = server
        self._kill_every = kill_every
        self._numbers = iter(range(requests))
        self._answers = count(1)  # next() is one step
        self._lock = threading.Lock()
        self.sent: list[str] = []
        self.answered: list[str] = []
        self.killed = 0

    def run(self) -> None:
        """Send all of them."""
        threads = [threading.Thread(target=self._work) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _next(self) -> int | None:
        with self._lock:
            return next(self._numbers, None)

    def _work(self) -> None:
        while (number := self._next()) is not None:
            request_id = f"req-{number}"
            self.sent.append(request_id)
            kind = "fail" if number % 2 else "logged"
            connection = http.client.HTTPConnection("127.0.0.1", self._port)
            connection.timeout = TIMEOUT
            try:
                connection.request(
                    "GET", f"/{kind}/{number}", headers={"X-Request-ID": request_id}
                )
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                continue  # its worker was killed
            finally:
                connection.close()
            self.answered.append(request_id)
            if next(self._answers) % self._kill_every == 0:
                self._kill(int(answer.headers["X-Pid"]))

    def _kill(self, pid: int) -> None:
        if is_worker(pid, self._server):
            with contextlib.suppress(ProcessLookupError), self._lock:
                os.kill(pid, signal.SIGKILL)
                self.killed += 1


def check(
    name: str, home: Path, *, workers: int, requests: int, kill_every: int
) -> None:
    with serving(name, workers, home) as (server, port):
        clients = Clients(port, server.pid, requests, kill_every)
        clients.run()
    output = (home / "output").read_text()
    recover(str(home / "logs"))
    # A worker of uvicorn's that has left raises the signal that told it to, and dies of
    # that, wherever the logger's thread is.
    left = workers if name == "uvicorn" else 0
    logged = records_after(clients.killed + left, home / "logs")
    found = Counter(str(record["request_id"]) for record in logged)
    acks = acknowledged(home / "acks")

    if "preload" in name:
        assert found.pop("import") == 1, output
    assert {request for request, times in found.items() if times > 1} == set()
    assert set(acks) - set(found) == set(), output
    assert set(found) <= set(clients.sent)
    assert len(acks) == len(set(acks))
    assert set(clients.answered) <= set(acks)
    # It was a real test.
    assert len(clients.sent) == requests
    assert len(clients.answered) > requests // 2, output
    assert clients.killed >= requests // kill_every // 4, output


@pytest.mark.slow
@pytest.mark.parametrize("name", SERVERS)
def test_q1_each_request_has_one_record_though_workers_are_killed(
    name: str, tmp_path: Path
) -> None:
    """A few hundred requests, a worker killed every 30."""
    check(name, tmp_path, workers=2, requests=200, kill_every=30)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gunicorn sync", "gunicorn gthread", "uvicorn"])
def test_a_client_that_goes_away_in_the_middle_of_a_stream_is_no_error(
    name: str, tmp_path: Path
) -> None:
    """The stream is closed, and nothing is recorded; what fails later is."""
    acks = tmp_path / "acks"
    acks.touch()  # it is looked into before the first is there
    with serving(name, 1, tmp_path) as (_, port):
        for _ in range(3):
            request = b"GET /stream HTTP/1.1\r\nHost: x\r\nX-Request-ID: r\r\n\r\n"
            with socket.create_connection(("127.0.0.1", port), TIMEOUT) as client:
                client.sendall(request)
                assert client.recv(100)
        assert eventually(lambda: acks.read_text().count("closed") == 3)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        connection.request("GET", "/fail/1", headers={"X-Request-ID": "later"})
        assert connection.getresponse().status == 500
        connection.close()
    recover(str(tmp_path / "logs"))

    found = records_after(0, tmp_path / "logs")
    assert [record["request_id"] for record in found] == ["later"]


@pytest.mark.heavy
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", SERVERS)
def test_q1_each_of_2000_requests_has_one_record_though_workers_are_killed(
    name: str, tmp_path: Path
) -> None:
    """Three workers, a worker killed every 60 requests."""
    check(name, tmp_path, workers=3, requests=2_000, kill_every=60)
