"""
Celery: failed tasks, with real workers that are killed and recycled.

Celery's worker may hang as it ends, without us.  With a broker that has no event loop,
as the file system, processes of the pool that replace others are started by a thread,
and killed by its end (``PR_SET_PDEATHSIG``), which is when the pool is told to close.
If one of them has the lock of the pool's queue at that moment, nobody releases it, and
the main process waits for it at its exit (billiard's ``_help_stuff_finish``).

So a worker that does not end is killed, and the log must be whole all the same; where a
stack of the logger's is found among those that it leaves, the logger was to blame.

With such a broker Celery may also be late to say that a task was lost.  It looks for
those of a process when that has ended, and knows them if the word that they were begun
has come through by then.  Else it finds them when another process ends.  So where
nothing comes for a while, processes are given what they need to come to their ends.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import ROOT
from tests.integrations.logs import Make, records, records_after
from tests.integrations.processes import TELLS, end, kill, ours
from tests.queue.logs import eventually
from tokenpak.telemetry import error_logger
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.integrations._request import bound, current_request_id
from tokenpak.telemetry.queue.recovery import recover

pytest.importorskip("celery")

SECONDS = 200.0
"""Far more than any of it takes, on a busy machine too."""
QUIET = 30.0
"""So long nothing comes only if a lost task is not seen: it is given up after 10 s."""
PROCESSES = 2
"""Of a pool."""
RECYCLED_AFTER = 20
"""Tasks."""


@pytest.fixture
def logger(make_logger: Make, monkeypatch: pytest.MonkeyPatch) -> ErrorLogger:
    """The logger of this process, which is what tasks that run here use."""
    made = make_logger()
    monkeypatch.setitem(error_logger._shared, "it", made)
    return made


def test_a_task_that_fails_is_recorded_with_name_id_and_retries(
    logger: ErrorLogger,
) -> None:
    """Once, when it has failed for good; each retry before is an event."""
    from tests.integrations.celery_tasks import fail

    result = fail.apply((3,), task_id="task-3")
    assert result.failed()

    (found,) = records(logger)
    assert found["error_type"] == "ValueError"
    assert found["request_id"] == "task-3"
    assert found["context"] == {
        "task": "tests.integrations.celery_tasks.fail",
        "task_id": "task-3",
        "retries": 1,
    }
    assert ", in fail\n" in found["stack_trace"]
    (event,) = records(logger, "events")
    assert event["event"] == "task_retried"
    assert event["context"]["error_type"] == "KeyError"
    assert event["context"]["message"] == "3"
    assert event["context"]["retries"] == 0
    assert current_request_id() is None


def test_a_task_that_works_is_not_recorded(logger: ErrorLogger) -> None:
    """Nothing is logged for it."""
    from tests.integrations.celery_tasks import work

    assert work.apply((3,)).get() == 3
    assert not logger.stats().accepted


def test_an_exception_that_cannot_be_pickled_is_recorded_as_what_it_is(
    logger: ErrorLogger,
) -> None:
    """Not as the wrapper in which Celery hands it on."""
    from tests.integrations.celery_tasks import unpicklable

    assert unpicklable.apply().failed()
    assert [r["error_type"] for r in records(logger)] == ["UnpicklableError"]


def test_what_was_bound_where_the_task_failed_is_recorded(logger: ErrorLogger) -> None:
    """As with the middlewares, and the decorator."""
    from tests.integrations.celery_tasks import fail_in_a_block

    assert fail_in_a_block.apply(task_id="task-1").failed()

    (found,) = records(logger)
    assert found["request_id"] == "task-1"
    assert found["context"]["model"] == "gpt-4"
    assert found["context"]["task_id"] == "task-1"


def test_one_id_that_is_at_work_twice_is_told_apart(logger: ErrorLogger) -> None:
    """The outer task is still known when the inner one is done, and nothing is left."""
    from tests.integrations.celery_tasks import fail_around

    assert fail_around.apply(task_id="task-1").failed()

    (found,) = records(logger)  # by the task itself
    assert (found["request_id"], found["context"]) == ("task-1", {"bound": "task-1"})
    assert current_request_id() is None


def test_connecting_twice_makes_one_record(logger: ErrorLogger) -> None:
    """As two modules of an application may."""
    from tests.integrations.celery_tasks import fail
    from tokenpak.telemetry.integrations.celery_signals import connect

    connect()
    fail.apply((1,))

    assert len(records(logger)) == 1


@contextlib.contextmanager
def broker(kind: str, home: Path) -> Iterator[str]:
    """Yield the URL of a broker."""
    if kind == "filesystem":
        yield "filesystem://"
        return
    # No port, which somebody else might take before the server does.  Not below home:
    # the path of a socket is a hundred bytes at most.
    with (
        tempfile.TemporaryDirectory(prefix="redis-", dir="/tmp") as place,
        open(home / "redis", "wb") as output,
    ):
        path = os.path.join(place, "socket")
        server = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", path, "--save", ""],
            cwd=home,
            stdout=output,
            stderr=output,
        )
        try:
            assert eventually(lambda: _answers(path) or server.poll() is not None)
            assert server.poll() is None, (home / "redis").read_text()
            yield f"redis+socket://{path}"
        finally:
            server.kill()
            server.wait()


def _answers(path: str) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        return True
    return False


@contextlib.contextmanager
def workers(
    home: Path, variables: dict[str, str], output: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run Celery's worker with its processes."""
    command = [sys.executable, "-m", "celery", "-A", "tests.integrations.celery_tasks"]
    options = ["--concurrency", str(PROCESSES), "--max-tasks-per-child"]
    options += [str(RECYCLED_AFTER)]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    with open(output, "wb") as file:
        worker = subprocess.Popen(
            [*command, "worker", "--loglevel", "CRITICAL", *options, *quiet],
            cwd=home,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        yield worker
    finally:
        kill(worker)


def environment(home: Path, url: str, die_at: int) -> dict[str, str]:
    return {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]),
        "TOKENPAK_LOG_DIR": str(home / "logs"),
        "TOKENPAK_RECOVERY_INTERVAL": "0.5",
        "BROKER": url,
        "BROKER_FOLDER": str(home / "broker"),
        "PIPE": str(home / "pipe"),
        "DIE_AT": str(die_at),
        **TELLS,
    }


SEND = """
import sys
from tests.integrations.celery_tasks import fail
from tokenpak.telemetry.integrations._request import bound

for number in range(int(sys.argv[1])):
    with bound(f"req-{number}"):
        fail.apply_async((number,), task_id=f"task-{number}")
"""
SEND_WORK = """
import sys
from tests.integrations.celery_tasks import work

for number in range(int(sys.argv[1])):
    work.apply_async((number,))
"""


class Acks:
    """A pipe by which the workers tell which records they have made."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        # Both ends, so that it never ends.
        self._fd = os.open(path, os.O_RDWR)
        self._rest = b""

    def lines(self) -> Iterator[tuple[str, str] | None]:
        """Yield task and error; None whenever nothing has come for a while."""
        while True:
            if not select.select([self._fd], [], [], QUIET)[0]:
                yield None
                continue
            *whole, self._rest = (self._rest + os.read(self._fd, 65536)).split(b"\n")
            for line in whole:
                task, error = line.decode().split()
                yield task, error

    def close(self) -> None:
        os.close(self._fd)


def send(program: str, tasks: int, variables: dict[str, str]) -> None:
    """Send so many tasks."""
    subprocess.run(
        [sys.executable, "-c", program, str(tasks)],
        env=variables,
        cwd=variables["HOME"],
        check=True,
        timeout=SECONDS,
    )


def check(kind: str, home: Path, tasks: int, die_at: int) -> None:
    (home / "broker").mkdir()
    output, acks = home / "output", Acks(home / "pipe")
    expected = {(f"task-{number}", "ValueError") for number in range(tasks)}
    lost = {(f"task-{n}", "WorkerLostError") for n in range(0, tasks, die_at)}
    expected |= lost
    left = set(expected)
    with broker(kind, home) as url:
        variables = environment(home, url, die_at)
        # Before the workers begin: two that make the folder of a broker at a time may
        # each find what the other has begun to write.
        send(SEND, tasks, variables)
        patience = SECONDS / QUIET
        with workers(home, variables, output) as worker:
            for told in acks.lines():
                if told is not None:
                    left.discard(told)
                elif patience > 0:
                    patience -= 1
                    send(SEND_WORK, PROCESSES * RECYCLED_AFTER, variables)
                if not left or patience <= 0:
                    break
            # If some are left, where everybody is tells more than how they end.
            ended = end(worker, 0 if left else SECONDS)
    acks.close()
    recover(str(home / "logs"))

    text = output.read_text()
    assert left == set(), text
    assert ended or not ours(text), text
    found = Counter[tuple[str, str]]()
    # At the end the processes of the pool may be killed, and the main one as well.
    for record in records_after(len(lost) + PROCESSES + 1, home / "logs"):
        context: Any = record["context"]
        found[context["task_id"], str(record["error_type"])] += 1
        assert record["request_id"] == context["task_id"].replace("task", "req")
    assert found == Counter(expected)


BROKERS = [
    "filesystem",
    pytest.param(
        "redis",
        marks=pytest.mark.skipif(
            shutil.which("redis-server") is None, reason="there is no redis-server"
        ),
    ),
]


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.parametrize("kind", BROKERS)
def test_q1_each_task_has_one_record_though_workers_are_killed(
    kind: str, tmp_path: Path
) -> None:
    """
    Each task has one record of its failure, with the id of its request.

    A process that was killed after that has lost the task for Celery, whose main
    process says so in a second record, of another error.
    """
    # The last one dies, too: Celery waits for seconds before it says so, and meanwhile
    # the others come to their ends, so that none of them is lost by the worker's.
    check(kind, tmp_path, tasks=61, die_at=30)


@pytest.mark.fault
@pytest.mark.heavy
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", BROKERS[1:])
def test_q1_each_of_2000_tasks_has_one_record_though_workers_are_killed(
    kind: str, tmp_path: Path
) -> None:
    """The same for longer; only where it does not take minutes."""
    check(kind, tmp_path, tasks=2_041, die_at=60)


def test_the_id_that_is_bound_goes_with_the_task(logger: ErrorLogger) -> None:
    """In a header of its message, beside Celery's own."""
    from tests.integrations.celery_tasks import app, fail
    from tokenpak.telemetry.integrations.celery_signals import HEADER

    with app.connection_for_write() as connection, connection.channel() as channel:
        with bound("req-1"):
            fail.apply_async((1,), connection=connection)
        message = channel.basic_get("celery", no_ack=True)

    assert message.headers[HEADER] == "req-1"
    assert not logger.stats().accepted
