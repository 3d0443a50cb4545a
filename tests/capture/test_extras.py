"""The fields behind the context: process, host, thread, task, fingerprint, trace."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.capture.strict_line import ERROR_FIELDS, EVENT_FIELDS, raising
from tests.capture.verbose_rig import asking, caught, error_of, event_of
from tests.scope.rig import in_log, run_program
from tokenpak.telemetry.capture.extras import ROOM, Extras
from tokenpak.telemetry.capture.privacy.redactor import Redactor
from tokenpak.telemetry.capture.stack import StackCache
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.options import FIELDS


def test_fields_stand_behind_the_context_in_their_order() -> None:
    """Whatever order they are asked for in; what there is none of is left out."""
    encoder = asking(fields=FIELDS)
    there = ["process", "host", "thread"]

    error = error_of(encoder, raising(ValueError("x")), {"a": 1})
    event = event_of(encoder, {"a": 1})

    assert list(error) == [*ERROR_FIELDS, *there, "fingerprint"]
    assert list(event) == [*EVENT_FIELDS, *there]
    backwards = asking(fields=tuple(reversed(FIELDS)))
    assert list(event_of(backwards)) == list(event)


@pytest.mark.parametrize("name", ["process", "host", "thread", "fingerprint"])
def test_a_field_may_be_asked_for_alone(name: str) -> None:
    """And then no other is there."""
    record = error_of(asking(fields=(name,)), raising(ValueError("x")))

    assert list(record) == [*ERROR_FIELDS, name]


def test_the_process_is_told_by_pid_start_and_name() -> None:
    """The start is before now, and the same each time."""
    encoder = asking(fields=("process",))

    first, second = event_of(encoder)["process"], event_of(encoder)["process"]

    assert first == second
    assert list(first) == ["pid", "start", "name"]
    assert first["pid"] == os.getpid()
    began = dt.datetime.fromisoformat(first["start"])
    now = dt.datetime.now(dt.UTC)
    assert now - dt.timedelta(days=1) < began < now
    assert first["name"]


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")
def test_the_start_of_a_process_is_when_it_was_started() -> None:
    """And not when the first record was made."""
    program = (
        "import time; from tests.capture.verbose_rig import asking, event_of;"
        "time.sleep(0.3); print(event_of(asking(fields=('process',)))"
        "['process']['start'], time.time_ns())"
    )
    before = time.time()
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    stamp, asked = done.stdout.split()
    began = dt.datetime.fromisoformat(stamp).timestamp()

    assert before - 0.2 <= began < int(asked) / 1e9 - 0.2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_q5_in_a_forked_child_the_process_is_the_child(tmp_path: Path) -> None:
    """Also when the parent has logged before, and in the child's own children."""
    logger = ErrorLogger(tmp_path, fields="process")
    logger.log_event("parent")
    children = []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            try:
                logger.log_event("child", None, {"pid": os.getpid()})
                logger.flush(100)
            finally:
                os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    logger.log_event("parent", None, {"pid": os.getpid()})
    logger.close(100)

    records = in_log(tmp_path, "events")
    assert {r["process"]["pid"] for r in records} == {os.getpid(), *children}
    for record in records:
        if record["context"]:
            assert record["process"]["pid"] == record["context"]["pid"]
    assert len({r["process"]["start"] for r in records}) >= 2


def test_q5_the_process_has_the_name_that_multiprocessing_gave(tmp_path: Path) -> None:
    """Whatever the start method; the main one has the program's."""
    status, printed, records = run_program(
        """
import multiprocessing
from tokenpak.telemetry.error_logger import ErrorLogger

logger = ErrorLogger(fields=["process"])

def work():
    logger.log_error("child", ValueError("x"))

if __name__ == "__main__":
    logger.log_error("main", ValueError("x"))
    for method in ("fork", "spawn"):
        process = multiprocessing.get_context(method).Process(
            target=work, name=f"by {method}"
        )
        process.start()
        process.join()
""",
        tmp_path,
        recovered=True,
    )

    assert status == 0, printed
    names = sorted(record["process"]["name"] for record in records)
    assert names == ["by fork", "by spawn", "program.py"]


def test_the_thread_is_named_also_where_it_is_not_pythons_own() -> None:
    """And it is not entered among the threads by that."""
    import _thread

    encoder = asking(fields=("thread",))
    found: list[str] = []
    end = threading.Event()

    def work() -> None:
        found.append(event_of(encoder)["thread"])
        end.set()

    threads = set(threading.enumerate())
    _thread.start_new_thread(work, ())
    assert end.wait(100)
    own = threading.Thread(target=work, name="worker 7")
    own.start()
    own.join()

    assert found[0].startswith("thread ")
    assert found[1] == "worker 7"
    assert set(threading.enumerate()) <= threads
    assert event_of(encoder)["thread"] == threading.current_thread().name


def test_the_task_is_named_where_there_is_one() -> None:
    """In a callback of the loop there is none, as outside of it."""
    encoder = asking(fields=("task",))
    found: list[Any] = []

    async def main() -> None:
        task = asyncio.create_task(work(), name="answer 5")
        asyncio.get_running_loop().call_soon(
            lambda: found.append(event_of(encoder).get("task"))
        )
        await task

    async def work() -> None:
        await asyncio.sleep(0)
        found.append(event_of(encoder).get("task"))

    asyncio.run(main())

    assert set(found) == {None, "answer 5"}
    assert "task" not in event_of(encoder)


def test_names_are_redacted_and_bounded() -> None:
    """They are the application's own."""
    encoder = asking(fields=("thread",))
    secret = "ghp_" + "aB3dE5gH7jK9" * 3
    lengths = {}

    def work() -> None:
        lengths[threading.current_thread().name] = event_of(encoder)["thread"]

    for name in (f"for {secret}", "long" * 1_000, "\x01" * 500, "lone \ud800"):
        thread = threading.Thread(target=work, name=name)
        thread.start()
        thread.join()

    text = json.dumps(list(lengths.values()))
    assert secret not in text
    assert "[redacted:" in text
    assert all(len(json.dumps(name)) <= ROOM["thread"] for name in lengths.values())
    assert len(lengths) == 4


def test_the_fingerprint_is_the_same_for_failures_that_are_alike() -> None:
    """As storm control has them alike, and it is what its summaries say."""
    encoder = asking(fields=("fingerprint",))

    def fail(text: str) -> None:
        raise ValueError(text)

    def fail_otherwise(text: str) -> None:
        raise ValueError(text)

    def of(error: BaseException) -> str:
        value: str = error_of(encoder, error)["fingerprint"]
        return value

    same = {of(caught(fail, f"order {n} failed")) for n in (1, 22, 333)}
    others = {
        of(caught(fail, "no order")),
        of(caught(fail_otherwise, "order 1 failed")),
        of(KeyError("order 1 failed")),
    }

    assert len(same) == 1
    assert len(others) == 3
    assert not same & others
    assert all(len(digest) == 16 for digest in same | others)
    assert "fingerprint" not in error_of(encoder, "no exception")


def test_the_summary_of_a_storm_names_the_fingerprint_of_its_records(
    tmp_path: Path,
) -> None:
    """So that one finds them."""
    logger = ErrorLogger(tmp_path, storm_first=2, fields="process,fingerprint")

    def fail(number: int) -> None:
        raise ValueError(f"order {number}")

    for number in range(10):
        logger.log_error("r", caught(fail, number))
    logger.close(100)

    *records, summary = in_log(tmp_path)
    assert len(records) == 2
    (digest,) = {record["fingerprint"] for record in records}
    assert summary["context"]["storm"]["fingerprint"] == digest
    assert summary["process"]["pid"] == os.getpid()
    assert logger.get_metrics() == {"ValueError": 10}


def test_the_ids_of_the_active_span_are_fields_of_their_own() -> None:
    """Where opentelemetry is imported and a span is active."""
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.trace import TracerProvider

    encoder = asking(fields=("trace",))
    assert "trace_id" not in event_of(encoder)
    with TracerProvider().get_tracer("t").start_as_current_span("s") as span:
        error = error_of(encoder, raising(ValueError("x")))
        event = event_of(encoder)
    known = span.get_span_context()

    assert list(event)[-2:] == ["trace_id", "span_id"]
    for record in (error, event):
        assert record["trace_id"] == f"{known.trace_id:032x}"
        assert record["span_id"] == f"{known.span_id:016x}"


def test_x1_no_module_is_imported_for_a_field(tmp_path: Path) -> None:
    """Where asyncio and opentelemetry are not used, they are not loaded."""
    status, printed, records = run_program(
        """
import sys
from tokenpak.telemetry.error_logger import ErrorLogger

logger = ErrorLogger(fields="process,host,thread,task,fingerprint,trace")
logger.log_error("r", ValueError("x"))
loaded = {"asyncio", "opentelemetry", "multiprocessing", "socket"} & set(sys.modules)
assert not loaded, loaded
""",
        tmp_path,
        recovered=True,
    )

    assert status == 0, printed
    assert list(records[0])[6:] == ["process", "host", "thread", "fingerprint"]


def test_c1_a_field_that_cannot_be_had_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The others are there."""

    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("tokenpak.telemetry.capture.extras._host_name", fail)
    monkeypatch.setattr(threading.current_thread(), "_name", 5)

    assert list(event_of(asking(fields=FIELDS)))[4:] == ["process"]


def test_the_room_of_each_field_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line is no longer than its bound, whatever the names are."""
    long = "\x01" * 5_000
    where = "tokenpak.telemetry.capture.extras"
    for name in ("_host_name", "_process_name"):
        monkeypatch.setattr(f"{where}.{name}", lambda: long)
    monkeypatch.setattr(threading.current_thread(), "_name", long)
    redactor = Redactor()
    stacks = StackCache(redactor)

    async def check() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.set_name(long)
        for name in FIELDS:
            made = b"".join(
                Extras([name], redactor, stacks).fields(raising(ValueError()))
            )
            assert len(made) <= ROOM[name]
            assert made or name == "trace"

    asyncio.run(check())
