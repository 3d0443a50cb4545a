"""gunicorn: workers that hang, are killed or cannot start, with the real server."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import DOCS, ROOT, blocks_of
from tests.integrations.logs import records_after
from tests.integrations.processes import TELLS, end, kill
from tests.queue.logs import eventually
from tests.scope.rig import in_log
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.integrations.gunicorn_hooks import connect
from tokenpak.telemetry.queue.recovery import recover
from tokenpak.telemetry.read import iter_records

PAGE = DOCS / "how-to" / "watch-gunicorn-workers.md"
KINDS = {
    "sync": [],
    "gthread": ["--threads", "4"],
    "preload": ["--preload"],
    "gthread preload": ["--threads", "4", "--preload"],
}
TIMEOUT = 150.0
"""Far longer than gunicorn gives workers to leave: 30 s, and as long after SIGHUP."""
PATIENT = ("--timeout", "120")
"""Of a server that is to abort nobody, however long workers take to begin."""
HASTY = ("--timeout", "10")
"""Of one that is to abort who hangs: workers begin within it on a busy machine too."""
ENDS = {"WorkerDied", "WorkerTimeout"}
"""Records of workers that were killed, or are when they don't leave soon after."""

server_test = pytest.mark.skipif(
    not os.path.isdir("/proc/self"), reason="needs a real server on Linux"
)


def _files(home: Path, more: str = "") -> None:
    for block in blocks_of(PAGE):
        name = block.marks.get("file")
        if name in {"shop.py", "gunicorn.conf.py"}:
            (home / name).write_text(block.text)
    with open(home / "gunicorn.conf.py", "a") as file:
        file.write(more)


class Server:
    """A running gunicorn."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, home: Path) -> None:
        self.process = process
        self.port = port
        self._logs = home / "logs"

    def get(self, path: str, request_id: str) -> bytes:
        """Return what the server answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        try:
            connection.request("GET", path, headers={"X-Request-ID": request_id})
            return connection.getresponse().read()
        finally:
            connection.close()

    def hang(self, request_id: str) -> threading.Thread:
        """Let a worker hang; return the thread that waits for its answer."""

        def ask() -> None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                self.get("/pay", request_id)

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        return thread

    def records(self) -> list[dict[str, Any]]:
        """Return the errors that are in the log by now, or in a moment."""
        threading.Event().wait(0.05)  # whoever waits for more asks again and again
        if not self._logs.is_dir():
            return []
        recover(str(self._logs))
        # Where somebody is being killed, or is writing, there are torn lines.
        return [r for r in iter_records(self._logs) if isinstance(r, dict)]

    def comes(self, *types: str) -> list[dict[str, Any]]:
        """Wait for records of these types, in the order of these, and no others."""
        wanted = sorted(types)

        def there() -> bool:
            return sorted(r["error_type"] for r in self.records()) == wanted

        assert eventually(there), self.records()
        return sorted(self.records(), key=lambda r: types.index(r["error_type"]))

    def tells(self, told: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """
        Wait for a record that is *told*, and return all such.

        With a short timeout there may be others: a worker that begins on a busy machine
        may take longer than that, and is aborted as well.
        """
        assert eventually(lambda: any(map(told, self.records()))), self.records()
        return [record for record in self.records() if told(record)]


@contextlib.contextmanager
def serving(
    home: Path, *options: str, more: str = "", application: str = "shop:application"
) -> Iterator[Server]:
    """Run the program of the page."""
    _files(home, more)
    with (
        socket.create_server(("127.0.0.1", 0), backlog=64) as listener,
        open(home / "output", "wb") as output,
    ):
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "gunicorn", "--log-level", "critical"),
                *("--bind", f"fd://{listener.fileno()}"),
                *options,
                application,
            ],
            cwd=home,
            env={
                "HOME": str(home),
                "PATH": os.environ["PATH"],
                "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]),
                "TOKENPAK_LOG_DIR": str(home / "logs"),
                "TOKENPAK_RECOVERY_INTERVAL": "0.5",
                **TELLS,
            },
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        port = listener.getsockname()[1]
    try:
        server = Server(process, port, home)
        yield server
        assert end(process, TIMEOUT), (home / "output").read_text()
        died = [r for r in server.records() if r["error_type"] in ENDS]
        records_after(len(died), home / "logs")
    finally:
        kill(process)


@server_test
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_that_is_killed_is_recorded_with_its_pid(
    kind: str, tmp_path: Path
) -> None:
    """By the main process, and those that leave when they are told to are not."""
    options = (*KINDS[kind], *PATIENT, "--workers", "2")
    # A worker that has just been forked does not hear an order to leave: the handlers
    # are still those of the main process.  Half a minute later it is killed, which
    # would be recorded.  So orders are given when all have begun.
    begun = tmp_path / "begun"
    more = f"def post_worker_init(worker):\n    open({str(begun)!r}, 'a').write('.')\n"
    with serving(tmp_path, *options, more=more) as server:
        pid = int(server.get("/", "r"))
        os.kill(pid, signal.SIGKILL)
        (died,) = server.comes("WorkerDied")
        assert eventually(lambda: server.get("/", "r") not in {b"", b"%d" % pid})
        assert eventually(lambda: len(begun.read_text()) == 3)
        server.process.send_signal(signal.SIGHUP)  # all workers anew
        assert eventually(lambda: len(begun.read_text()) == 5)
        assert server.get("/", "r")

    assert died["context"] == {"pid": pid, "timed_out": False, "signal": "SIGKILL"}
    assert f"worker {pid} was killed by SIGKILL" in died["message"]
    assert [r["error_type"] for r in server.records()] == ["WorkerDied"]


@server_test
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sync", "preload"])
def test_a_worker_that_hangs_is_recorded_with_the_stack_at_which_it_was(
    kind: str, tmp_path: Path
) -> None:
    """With the request id that was bound there, once."""
    with serving(tmp_path, *KINDS[kind], *HASTY) as server:

        def told() -> bool:
            # Until one has told: gunicorn kills a second after it has aborted, or at
            # once if another worker has ended, and on a busy machine that may come
            # before the handler has run.
            server.hang("req-7").join(TIMEOUT)
            return any(r["request_id"] == "req-7" for r in server.records())

        assert eventually(told), server.records()
        timeout, *_ = server.tells(lambda r: r["request_id"] == "req-7")

    assert timeout["error_type"] == "WorkerTimeout"
    assert timeout["context"]["timeout"] == int(HASTY[1])
    *_, innermost = timeout["stack_trace"].split('  File "')
    assert "in wait_for_the_bank\n    time.sleep(60)\n" in innermost
    assert f"worker {timeout['context']['pid']} was aborted" in timeout["message"]
    assert "threads" not in timeout["context"]
    pid = timeout["context"]["pid"]
    assert [r for r in server.records() if r["context"].get("pid") == pid] == [timeout]


@server_test
@pytest.mark.slow
def test_a_worker_that_is_aborted_by_hand_shows_what_its_threads_do(
    tmp_path: Path,
) -> None:
    """gthread: the one that hangs is another than the one that is told."""
    hangs = tmp_path / "hangs"
    (tmp_path / "telling.py").write_text(
        "import time, types, shop\n"
        "from shop import application\n"
        "def sleep(seconds):\n"
        f"    open({str(hangs)!r}, 'w').close()\n"
        "    time.sleep(seconds)\n"
        "shop.time = types.SimpleNamespace(sleep=sleep)\n"
    )
    options = ("--threads", "4", "--workers", "1", *PATIENT)
    with serving(tmp_path, *options, application="telling:application") as server:
        pid = int(server.get("/", "r"))
        server.hang("req-7")
        assert eventually(hangs.exists)
        os.kill(pid, signal.SIGABRT)
        timeout, *_ = server.tells(lambda r: r["context"].get("pid") == pid)

    assert timeout["error_type"] == "WorkerTimeout"
    stacks = "".join(timeout["context"]["threads"].values())
    assert "in wait_for_the_bank" in stacks
    assert "tokenpak/telemetry/queue" not in stacks


@server_test
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sync", "gthread"])
def test_a_worker_that_cannot_even_be_aborted_is_recorded_when_it_is_killed(
    kind: str, tmp_path: Path
) -> None:
    """One that is stopped, as one that is stuck in the kernel would be."""
    options = (*KINDS[kind], *HASTY, "--workers", "1")
    with serving(tmp_path, *options) as server:
        pid = int(server.get("/", "r"))
        os.kill(pid, signal.SIGSTOP)
        (died,) = server.tells(lambda r: r["context"].get("pid") == pid)

    assert died["error_type"] == "WorkerDied"
    assert died["context"] == {"pid": pid, "timed_out": True, "signal": "SIGKILL"}
    assert "longer than the timeout" in died["message"]


@server_test
@pytest.mark.slow
def test_an_exception_that_ends_a_worker_is_recorded(tmp_path: Path) -> None:
    """That of an application that cannot be imported; gunicorn gives up then."""
    (tmp_path / "broken.py").write_text("raise RuntimeError('no licence')\n")
    with serving(tmp_path, *PATIENT, application="broken:application") as server:
        server.process.wait(TIMEOUT)

    for record in server.records():
        assert (record["error_type"], record["message"]) == (
            "RuntimeError",
            "no licence",
        )
        assert record["context"] == {"uncaught": "worker"}
        assert "broken.py" in record["stack_trace"]
    assert server.records()


@server_test
@pytest.mark.slow
def test_a_worker_that_leaves_with_a_status_is_recorded(tmp_path: Path) -> None:
    """As one does that calls os._exit; the hooks of the file itself are called, too."""
    (tmp_path / "leaving.py").write_text(
        "import os\ndef application(environ, start_response):\n    os._exit(7)\n"
    )
    conf = tmp_path / "own.py"
    _files(tmp_path)
    conf.write_text(
        "import os\n"
        "def child_exit(server, worker):\n"
        "    open('seen', 'a').write(f'{worker.pid}\\n')\n"
        + (tmp_path / "gunicorn.conf.py").read_text()
    )
    with serving(
        tmp_path, "--config", "own.py", *PATIENT, application="leaving:application"
    ) as server:
        server.hang("r").join(TIMEOUT)
        (died,) = server.comes("WorkerDied")

    pid = died["context"]["pid"]
    assert died["context"] == {"pid": pid, "timed_out": False, "exit_code": 7}
    assert str(pid) in (tmp_path / "seen").read_text().split()


def test_connecting_twice_is_connecting_once_and_keeps_what_was_there(
    tmp_path: Path,
) -> None:
    """Hooks that the file has are called, after ours."""
    seen: list[Any] = []
    logger = ErrorLogger(tmp_path)

    def worker_abort(worker: object) -> None:
        seen.append((worker, in_log_after_flush(logger)))

    settings: dict[str, Any] = {"worker_abort": worker_abort, "workers": 3}
    connect(settings, logger)
    once = dict(settings)
    connect(settings, logger)
    settings["worker_abort"]("the worker")

    assert settings == once
    assert settings["workers"] == 3
    assert set(settings) == {
        *("workers", "pre_fork", "worker_abort", "worker_exit", "child_exit")
    }
    assert seen == [("the worker", ["WorkerTimeout"])]
    logger.close(30)


def in_log_after_flush(logger: ErrorLogger) -> list[str]:
    """Return the types of the errors in the log."""
    assert logger.flush(30)
    return [record["error_type"] for record in in_log(Path(logger.settings.log_dir))]


@pytest.mark.parametrize(
    "name", ["pre_fork", "worker_abort", "worker_exit", "child_exit"]
)
def test_c1_what_goes_wrong_in_a_hook_is_not_seen_by_gunicorn(name: str) -> None:
    """And what the file's own hook raises is, as it would be without."""

    class Broken(ErrorLogger):
        def log_error(self, *_: Any) -> None:
            raise RuntimeError

    def call(hook: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        def reap_workers() -> None:
            status = 9
            hook(*arguments, *[None] * (status - 9))

        def spawn_worker() -> None:
            try:
                raise ValueError
            except ValueError:
                try:
                    sys.exit(1)
                finally:
                    reap_workers()

        with pytest.raises(SystemExit):
            spawn_worker()

    given: dict[str, Any] = {}
    connect(given, Broken())
    arguments = (None,) if name == "worker_abort" else (None, None)
    call(given[name], arguments)

    def own(*_: object) -> None:
        raise KeyError(name)

    theirs: dict[str, Any] = {name: own}
    connect(theirs, Broken())
    with pytest.raises(KeyError):
        theirs[name](*arguments)


def test_what_an_application_was_handling_is_not_what_ended_the_worker(
    tmp_path: Path,
) -> None:
    """An order to leave may arrive in the middle of an except block."""
    logger = ErrorLogger(tmp_path)
    given: dict[str, Any] = {}
    connect(given, logger)

    def application() -> None:
        try:
            raise ValueError("handled")
        except ValueError:
            sys.exit(0)

    def spawn_worker() -> None:
        try:
            application()
        finally:
            given["worker_exit"](None, None)

    with pytest.raises(SystemExit):
        spawn_worker()

    assert in_log_after_flush(logger) == []
    assert json.dumps(logger.get_metrics()) == "{}"
    logger.close(30)
