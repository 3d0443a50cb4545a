"""What Celery's workers run in test_celery.py."""

from __future__ import annotations

import os
import signal
import time
import uuid
from typing import Any

import celery
from celery import signals
from kombu.transport import filesystem
from kombu.utils.json import dumps

from tokenpak.telemetry.error_logger import bind, get_error_logger
from tokenpak.telemetry.integrations._request import current_request_id
from tokenpak.telemetry.integrations.celery_signals import connect

app = celery.Celery("tasks")
app.conf.update(
    broker_url=os.environ.get("BROKER", "memory://"),
    broker_transport_options={
        "data_folder_in": os.environ.get("BROKER_FOLDER"),
        "data_folder_out": os.environ.get("BROKER_FOLDER"),
        "control_folder": os.environ.get("BROKER_FOLDER"),
    },
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    task_ignore_result=True,
    # A new process is killed that has not begun by then, and there may be many at a
    # time on a busy machine.
    worker_proc_alive_timeout=60.0,
)
connect()


def put_whole(self: Any, queue: str, payload: Any, **_more: Any) -> None:
    """
    Make a message appear in the broker's folder as a whole.

    The transport's own method makes the file, and then writes it.  A worker that comes
    in between takes it away empty, and stops: JSONDecodeError (celery/kombu#1551).
    """
    made = f"{time.monotonic_ns() // 1_000_000}_{uuid.uuid4()}"
    part = os.path.join(self.data_folder_out, f"{made}.part")
    with open(part, "w", encoding="utf-8") as file:
        file.write(dumps(payload))  # type: ignore[no-untyped-call]
    os.rename(part, os.path.join(self.data_folder_out, f"{made}.{queue}.msg"))


filesystem.Channel._put = put_whole  # type: ignore[method-assign]


@app.task(bind=True, max_retries=1)  # type: ignore[untyped-decorator]
def fail(self: Any, number: int) -> None:
    if number % 3 == 0 and self.request.retries == 0:
        raise self.retry(exc=KeyError(number), countdown=0)
    raise ValueError(number)


@app.task(bind=True)  # type: ignore[untyped-decorator]
def fail_around(self: Any) -> None:
    """Apply another task under the same id, and then fail."""
    work.apply((1,), task_id=self.request.id)
    error = ValueError("after the other one")
    get_error_logger().log_error(None, error, {"bound": current_request_id()})
    raise error


@app.task  # type: ignore[untyped-decorator]
def fail_in_a_block() -> None:
    with bind(model="gpt-4"):
        raise ValueError("within")


@app.task  # type: ignore[untyped-decorator]
def work(number: int) -> int:
    return number


class UnpicklableError(Exception):
    """Holds something that cannot be sent to another process."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.function = lambda: None


@app.task  # type: ignore[untyped-decorator]
def unpicklable() -> None:
    raise UnpicklableError("no")


def acknowledge(
    task_id: str, exception: BaseException, args: Any, **_more: Any
) -> None:
    """
    Tell the test that the record of *task_id* was accepted; die of it now and then.

    A process of Celery's that is killed from outside may hold a lock of its pool, which
    hangs then.  Here it holds none.
    """
    if "PIPE" not in os.environ:
        return
    fd = os.open(os.environ["PIPE"], os.O_WRONLY)
    os.write(fd, f"{task_id} {type(exception).__name__}\n".encode())
    os.close(fd)
    if isinstance(exception, ValueError) and args[0] % int(os.environ["DIE_AT"]) == 0:
        os.kill(os.getpid(), signal.SIGKILL)


# Receivers are called in the order in which they were connected.
signals.task_failure.connect(acknowledge, weak=False)
