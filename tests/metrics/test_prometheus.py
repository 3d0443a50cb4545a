"""The counts in registries, web applications and a text file."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Gauge, generate_latest

from tests.docs.pages import ROOT
from tests.metrics.logs import append, line
from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.metrics.exposition import CONTENT_TYPES, Exposition
from tokenpak.telemetry.metrics.machine import MachineCounts
from tokenpak.telemetry.metrics.prometheus import (
    asgi_app,
    form_for,
    register,
    write_textfile,
    wsgi_app,
)
from tokenpak.telemetry.metrics.server import MetricsServer, serving

ONE = b'tokenpak_errors_total{error_type="ValueError",provider="openai",'
OPEN = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


def test_m1_one_call_adds_the_counts_to_the_registry(log_dir: Path) -> None:
    """A second one changes nothing, or each worker would have to know of the first."""
    append(log_dir, line(1))
    registry = CollectorRegistry()

    register(registry, log_dir)
    collector = register(registry, log_dir)
    shown = generate_latest(registry)
    registry.unregister(collector)
    register(registry, log_dir)

    assert shown.count(b"# TYPE tokenpak_errors_total counter") == 1
    assert b'kind="",model="gpt-4",provider="openai"} 1.0' in shown


def test_m1_the_registry_is_the_clients_own_unless_another_is_named(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the directory that of the settings."""
    monkeypatch.setenv("TOKENPAK_LOG_DIR", str(log_dir))
    append(log_dir, line(1))

    collector = register()
    try:
        assert b"tokenpak_errors_total{" in generate_latest(REGISTRY)
        assert collector.log_dir == str(log_dir)
    finally:
        REGISTRY.unregister(collector)


def test_m1_a_gauge_of_the_same_name_is_not_hidden(log_dir: Path) -> None:
    """The registry says so; with a registry of its own, each has its place."""
    registry = CollectorRegistry()
    Gauge("tokenpak_errors_total", "by hand", ["error_type"], registry=registry)

    with pytest.raises(ValueError, match="tokenpak_errors"):
        register(registry, log_dir)


def test_m1_a_bound_that_is_none_is_refused(log_dir: Path) -> None:
    """When it is said, not when it is scraped."""
    for make in (wsgi_app, asgi_app):
        with pytest.raises(SettingError, match="max_label_sets"):
            make(log_dir, max_label_sets=0)


def test_m1_a_process_shows_its_own_figures_if_its_logger_is_named(
    log_dir: Path, make_logger: Any
) -> None:
    """Under its pid, so that they are not taken for those of another worker."""
    logger = make_logger(sample=0)
    logger.log_event("done")
    logger.log_error("r", ValueError())
    assert logger.flush(60)
    registry = CollectorRegistry()

    register(registry, log_dir, logger=logger)
    shown = generate_latest(registry).decode()
    plain = ask_wsgi(wsgi_app(log_dir), "")[2]
    ours = ask_wsgi(wsgi_app(log_dir, logger=logger), "")[2].decode()

    pid = os.getpid()
    assert f'tokenpak_telemetry_process_batches_total{{pid="{pid}"}} 1.0\n' in shown
    assert f'tokenpak_telemetry_process_write_errors_total{{pid="{pid}"}} 0\n' in ours
    given_up = "tokenpak_telemetry_process_given_up_records_total"
    assert f'{given_up}{{pid="{pid}",reason="sampled"}} 1\n' in ours
    assert b"pid=" not in plain


def ask_wsgi(app: Any, accept: str, method: str = "GET") -> tuple[str, Any, bytes]:
    environ: dict[str, Any] = {"HTTP_ACCEPT": accept, "REQUEST_METHOD": method}
    setup_testing_defaults(environ)
    answers: list[Any] = []
    body = b"".join(app(environ, lambda *answer: answers.append(answer)))
    status, headers = answers[0]
    return status, dict(headers), body


@pytest.mark.parametrize("accept", ["", OPEN])
def test_m1_a_wsgi_application_answers_in_the_format_that_is_asked_for(
    log_dir: Path, accept: str
) -> None:
    """With its length, also to HEAD."""
    append(log_dir, line(1))
    app = wsgi_app(log_dir)

    status, headers, body = ask_wsgi(app, accept)
    head = ask_wsgi(app, accept, "HEAD")

    assert status == "200 OK"
    assert headers["Content-Type"] == CONTENT_TYPES[form_for(accept)]
    assert int(headers["Content-Length"]) == len(body)
    assert ONE in body
    assert body.endswith(b"# EOF\n") == bool(accept)
    assert head[2] == b""


def ask_asgi(app: Any, scope: dict[str, Any], *received: str) -> list[Any]:
    sent: list[Any] = []
    messages = iter([{"type": kind} for kind in received])

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_m1_an_asgi_application_answers_too(log_dir: Path, method: str) -> None:
    """In a thread, so that the loop goes on."""
    append(log_dir, line(1))
    scope = {
        "type": "http",
        "method": method,
        "headers": [(b"accept", OPEN.encode())],
    }

    start, body = ask_asgi(asgi_app(log_dir), scope)

    assert start["status"] == 200
    assert dict(start["headers"])[b"content-type"].startswith(
        b"application/openmetrics"
    )
    assert (ONE in body["body"]) == (method == "GET")


def test_m1_an_asgi_application_takes_its_life_from_the_server(log_dir: Path) -> None:
    """Starts, ends, and refuses what is no HTTP."""
    app = asgi_app(log_dir)
    life = ("lifespan.startup", "lifespan.shutdown")

    sent = ask_asgi(app, {"type": "lifespan"}, *life)

    assert [message["type"] for message in sent] == [
        f"{kind}.complete" for kind in life
    ]
    with pytest.raises(TypeError, match="not websocket"):
        ask_asgi(app, {"type": "websocket"})


def test_m1_a_text_file_is_renamed_into_place(log_dir: Path, tmp_path: Path) -> None:
    """Readable for node exporter; nothing else is left beside it."""
    append(log_dir, line(1))
    target = tmp_path / "out" / "tokenpak.prom"
    target.parent.mkdir()
    target.write_text("before")
    umask = os.umask(0o077)
    try:
        write_textfile(target, log_dir)
    finally:
        os.umask(umask)

    assert ONE in target.read_bytes()
    assert target.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in target.parent.iterdir()] == ["tokenpak.prom"]


def test_m1_a_text_file_replaces_neither_link_nor_device(
    log_dir: Path, tmp_path: Path
) -> None:
    """Or root would have a file in the place of /dev/null."""
    append(log_dir, line(1))
    (tmp_path / "link").symlink_to("real")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    write_textfile(tmp_path / "link", log_dir)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_textfile(pipe, log_dir)
        piped = os.read(reader, 1_000_000)
    finally:
        os.close(reader)

    assert (tmp_path / "link").readlink() == Path("real")
    assert ONE in (tmp_path / "real").read_bytes()
    assert ONE in piped
    assert pipe.is_fifo()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_m1_a_text_file_that_cannot_be_written_is_left_as_it_was(
    log_dir: Path, tmp_path: Path
) -> None:
    """And no temporary file stays."""
    append(log_dir, line(1))
    (tmp_path / "taken").mkdir()

    with pytest.raises(OSError, match="taken"):
        write_textfile(tmp_path / "taken", log_dir)

    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def get(url: str, accept: str = "", method: str = "GET") -> tuple[int, bytes]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, headers={"Accept": accept}, method=method)
    try:
        with opener.open(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_m1_the_server_answers_and_ends(log_dir: Path) -> None:
    """At /metrics; what is elsewhere is not found."""
    append(log_dir, line(1))
    exposition = Exposition(MachineCounts(str(log_dir)))

    with serving(exposition, ("127.0.0.1", 0)) as url:
        plain = get(url)
        strict = get(url + "?name[]=x", OPEN)
        head = get(url, method="HEAD")
        index = get(url.removesuffix("metrics"))
        nowhere = get(url + "/more")
        refused = get(url, method="POST")

    assert (plain[0], ONE in plain[1]) == (200, True)
    assert strict[1].endswith(b"# EOF\n")
    assert head == (200, b"")
    assert index == (200, b"The metrics of tokenpak telemetry are at /metrics.\n")
    assert nowhere[0] == 404
    assert refused[0] == 501


def test_m1_a_client_that_goes_away_ends_nothing(
    log_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor does one that talks nonsense; nobody is told."""
    import socket

    append(log_dir, line(1))
    exposition = Exposition(MachineCounts(str(log_dir)))

    with serving(exposition, ("127.0.0.1", 0)) as url:
        host, port = url.split("/")[2].split(":")
        for said in (b"", b"GET /metrics HTTP/1.0\r\n\r\n", b"\0\xff nonsense\r\n\r\n"):
            with socket.create_connection((host, int(port))) as client:
                client.sendall(said)
        status, _ = get(url)

    assert status == 200
    assert capsys.readouterr() == ("", "")


def test_m1_a_taken_address_is_an_error(log_dir: Path) -> None:
    """Which the command tells."""
    exposition = Exposition(MachineCounts(str(log_dir)))
    with (
        MetricsServer(("127.0.0.1", 0), exposition) as first,
        pytest.raises(OSError, match="in use"),
    ):
        MetricsServer(("127.0.0.1", first.server_port), exposition)


def test_x1_logging_loads_neither_prometheus_nor_the_reader() -> None:
    """Nor does get_metrics() of a process; that of the machine loads no Prometheus."""
    program = (
        "import sys\n"
        "from tokenpak.telemetry.error_logger import ErrorLogger\n"
        "ErrorLogger(sys.argv[1]).get_metrics()\n"
        "names = ('prometheus_client', 'tokenpak.telemetry.read', 'click')\n"
        "print([name for name in names if name in sys.modules])\n"
        "ErrorLogger(sys.argv[1]).get_metrics(scope='machine')\n"
        "print('prometheus_client' in sys.modules)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, "/nonexistent/logs"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )

    assert done.stdout == "[]\nFalse\n"


def test_m1_the_client_is_one_of_those_that_are_promised() -> None:
    """The oldest is 0.20."""
    version = importlib.metadata.version("prometheus_client").split(".")

    assert (int(version[0]), int(version[1])) >= (0, 20)
