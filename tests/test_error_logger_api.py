"""The public API: what the documentation shows works as it stands."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tokenpak.telemetry import error_logger
from tokenpak.telemetry.error_logger import (
    ErrorLogger,
    Stats,
    get_error_logger,
    log_error,
    log_event,
    log_exception,
)

MakeLogger = Callable[..., ErrorLogger]


def records_in(directory: Path, stream: str = "errors") -> list[dict[str, Any]]:
    """Return the records in the day files of *directory*."""
    return [
        json.loads(line)
        for path in sorted(directory.glob(f"{stream}-*.jsonl"))
        for line in path.read_text().splitlines()
    ]


def home_logs() -> Path:
    """Where a logger without settings writes to."""
    return Path(os.environ["HOME"], ".tokenpak", "logs")


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The test has the logger of the process to itself, and it is closed after it."""
    monkeypatch.setattr(error_logger, "_shared", {})
    yield
    get_error_logger().close(timeout=60)


QUICK_START = """
from tokenpak.telemetry.error_logger import get_error_logger

logger = get_error_logger()

try:
    result = call_llm(model="gpt-4")
except Exception as e:
    logger.log_error(
        request_id="req-123",
        error=e,
        context={
            "model": "gpt-4",
            "provider": "openai",
            "input_size": 1024,
            "cost_estimate": 0.045,
            "duration_ms": 2350
        }
    )
"""

DECORATOR = """
from tokenpak.telemetry.error_logger import log_exception

@log_exception(
    request_id="req-456",
    context={"model": "gpt-4", "provider": "openai"}
)
def call_model():
    return openai.ChatCompletion.create(...)
"""

METRICS = """
from tokenpak.telemetry.error_logger import get_error_logger

logger = get_error_logger()
metrics = logger.get_metrics()
"""

GAUGE = """
from prometheus_client import Gauge

error_gauge = Gauge('tokenpak_errors_total', 'Total errors by type', ['error_type'])

metrics = logger.get_metrics()
for error_type, count in metrics.items():
    error_gauge.labels(error_type=error_type).set(count)
"""

THREADS = """
import threading
from tokenpak.telemetry.error_logger import get_error_logger

logger = get_error_logger()

def worker():
    try:
        do_work()
    except Exception as e:
        logger.log_error(f"req-{threading.current_thread().name}", e)

threads = [threading.Thread(target=worker) for _ in range(10)]
for t in threads:
    t.start()
for t in threads:
    t.join()
"""


def failing(*_: object, **__: object) -> None:
    """Fail as a provider does."""
    raise ValueError("Invalid model parameter")


class FakeOpenAI:
    """Stands for the module."""

    class ChatCompletion:
        """Stands for its class."""

        create = staticmethod(failing)


@pytest.mark.usefixtures("shared")
def test_the_quick_start_works_as_it_stands() -> None:
    """And the record is the one that the documentation shows."""
    exec(QUICK_START, {"call_llm": failing})
    assert get_error_logger().flush(timeout=60)

    (record,) = records_in(home_logs())
    assert list(record) == [
        "timestamp",
        "request_id",
        "error_type",
        "message",
        "stack_trace",
        "context",
    ]
    assert record["request_id"] == "req-123"
    assert record["error_type"] == "ValueError"
    assert record["message"] == "Invalid model parameter"
    assert record["stack_trace"].startswith("Traceback (most recent call last):\n  ")
    assert record["context"] == {
        "model": "gpt-4",
        "provider": "openai",
        "input_size": 1024,
        "cost_estimate": 0.045,
        "duration_ms": 2350,
    }


@pytest.mark.usefixtures("shared")
def test_the_decorator_works_as_it_stands() -> None:
    """The exception is logged, and raised again."""
    names: dict[str, Any] = {"openai": FakeOpenAI}
    exec(DECORATOR, names)

    with pytest.raises(ValueError, match="Invalid model"):
        names["call_model"]()
    assert get_error_logger().flush(timeout=60)

    (record,) = records_in(home_logs())
    assert record["request_id"] == "req-456"
    assert record["context"] == {"model": "gpt-4", "provider": "openai"}
    assert "in call_model" in record["stack_trace"]


@pytest.mark.usefixtures("shared")
def test_the_metrics_work_as_they_stand() -> None:
    """Also for prometheus_client."""
    prometheus = pytest.importorskip("prometheus_client")
    for error in (ValueError(), ValueError(), TimeoutError()):
        log_error("r", error)
    names: dict[str, Any] = {}
    exec(METRICS, names)
    try:
        exec(GAUGE, names)
        shown = prometheus.generate_latest().decode()
    finally:
        prometheus.REGISTRY.unregister(names["error_gauge"])

    assert names["metrics"] == {"ValueError": 2, "TimeoutError": 1}
    assert 'tokenpak_errors_total{error_type="ValueError"} 2.0' in shown


@pytest.mark.usefixtures("shared")
def test_the_threads_work_as_they_stand() -> None:
    """Ten threads, ten records."""
    exec(THREADS, {"do_work": failing})
    assert get_error_logger().flush(timeout=60)

    found = {record["request_id"] for record in records_in(home_logs())}
    assert len(found) == 10
    assert all(request_id.startswith("req-Thread-") for request_id in found)


@pytest.mark.usefixtures("shared")
def test_there_is_one_logger_in_a_process() -> None:
    """Also when many threads ask for it first."""
    barrier = threading.Barrier(8)
    found: list[ErrorLogger] = []

    def ask() -> None:
        barrier.wait()
        found.append(get_error_logger())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {id(logger) for logger in found} == {id(get_error_logger())}
    assert len(found) == 8


@pytest.mark.usefixtures("shared")
def test_the_log_directory_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``TOKENPAK_LOG_DIR`` for the module's functions and for a logger of one's own."""
    monkeypatch.setenv("TOKENPAK_LOG_DIR", str(tmp_path / "elsewhere"))

    log_error("r", ValueError("x"), {"a": 1})
    log_event("call_completed", "r", {"b": 2})
    assert get_error_logger().flush(timeout=60)

    (error,) = records_in(tmp_path / "elsewhere")
    (event,) = records_in(tmp_path / "elsewhere", "events")
    assert (error["request_id"], error["context"]) == ("r", {"a": 1})
    assert list(event) == ["timestamp", "request_id", "event", "context"]
    assert (event["event"], event["context"]) == ("call_completed", {"b": 2})
    assert ErrorLogger().settings.log_dir == str(tmp_path / "elsewhere")
    assert not home_logs().exists()


def test_arguments_go_by_position_and_by_name(
    make_logger: MakeLogger, log_dir: Path
) -> None:
    """In the order of the documentation."""
    logger = make_logger()

    logger.log_error("1", ValueError("x"))
    logger.log_error("2", ValueError("x"), {"a": 1})
    logger.log_error(context={"a": 1}, error=ValueError("x"), request_id="3")
    logger.log_error(None, ValueError("x"), None)
    logger.log_event("one")
    logger.log_event("two", "5", {"a": 1})
    logger.log_event(context={"a": 1}, request_id="6", event="three")
    assert logger.flush(timeout=60)

    errors, events = records_in(log_dir), records_in(log_dir, "events")
    assert [(r["request_id"], r["context"]) for r in errors] == [
        ("1", {}),
        ("2", {"a": 1}),
        ("3", {"a": 1}),
        (None, {}),
    ]
    assert [(r["event"], r["request_id"], r["context"]) for r in events] == [
        ("one", None, {}),
        ("two", "5", {"a": 1}),
        ("three", "6", {"a": 1}),
    ]


def test_an_error_is_logged_outside_of_its_except_block(
    make_logger: MakeLogger, log_dir: Path
) -> None:
    """The traceback is the exception's own, not that of the moment."""
    logger = make_logger()
    try:
        failing()
    except ValueError as error:
        kept = error

    logger.log_error("r", kept)
    try:
        raise KeyError("another")
    except KeyError:
        logger.log_error("r", kept)
    assert logger.flush(timeout=60)

    first, second = records_in(log_dir)
    assert first["stack_trace"] == second["stack_trace"]
    assert "in failing" in first["stack_trace"]
    assert "another" not in second["stack_trace"]


@pytest.mark.usefixtures("shared")
def test_the_decorator_leaves_a_function_what_it_is() -> None:
    """Name, arguments and result; what is no failure passes unlogged."""

    @log_exception()
    def add(a: int, b: int = 2) -> int:
        """Add."""
        return a + b

    @log_exception("r")
    def leave(error: BaseException) -> None:
        raise error

    assert (add.__name__, add.__doc__, add(1), add(1, b=5)) == ("add", "Add.", 3, 6)
    for error in (KeyboardInterrupt(), SystemExit(), GeneratorExit()):
        with pytest.raises(type(error)):
            leave(error)
    thrown = KeyError("x")
    with pytest.raises(KeyError) as caught:
        leave(thrown)
    assert caught.value is thrown
    assert get_error_logger().get_metrics() == {"KeyError": 1}


def test_close_is_idempotent_and_logging_goes_on_without_harm(
    make_logger: MakeLogger, log_dir: Path
) -> None:
    """What comes too late is counted, and never raises."""
    logger = make_logger()
    logger.log_error("r", ValueError("in time"))

    closed = [logger.close(timeout=60), logger.close(timeout=60), logger.close()]
    logger.log_error("r", ValueError("late"))
    logger.log_event("late")

    stats = logger.stats()
    assert closed == [True, True, True]
    assert [record["message"] for record in records_in(log_dir)] == ["in time"]
    assert (stats.accepted, stats.written, stats.pending_records) == (1, 1, 0)
    assert stats.dropped == {"closed": 2}
    assert logger.flush(timeout=60)


def test_a_logger_that_was_never_used_leaves_nothing(
    make_logger: MakeLogger, log_dir: Path
) -> None:
    """No directory, file or thread, whatever is asked of it."""
    threads = set(sys._current_frames())

    logger = make_logger()
    flushed = logger.flush(timeout=60)
    stats = logger.stats()
    metrics = logger.get_metrics()
    closed = logger.close(timeout=60)

    assert (flushed, closed, metrics) == (True, True, {})
    assert (stats.accepted, stats.written, stats.dropped) == (0, 0, {})
    assert not log_dir.exists()
    # Of those from before, one may just have ended: the writer of another test.
    assert set(sys._current_frames()) <= threads


def test_stats_are_a_frozen_mapping(make_logger: MakeLogger, log_dir: Path) -> None:
    """By attribute and by name; a snapshot that does not change."""
    logger = make_logger()
    logger.log_error("r", ValueError("x"))
    logger.log_event("e")
    assert logger.flush(timeout=60)

    stats = logger.stats()
    logger.log_error("r", ValueError("y"))

    assert isinstance(stats, Stats)
    assert isinstance(stats, Mapping)
    assert (stats.accepted, stats["accepted"], stats.get("written")) == (2, 2, 2)
    size = sum(path.stat().st_size for path in log_dir.glob("*-*.jsonl"))
    assert logger.flush(timeout=60)
    assert 0 < stats.written_bytes <= size
    assert (stats.pending_records, stats.pending_bytes) == (0, 0)
    assert dict(stats) == {name: getattr(stats, name) for name in stats}
    assert len(stats) == len(dict(stats))
    with pytest.raises(AttributeError):
        stats.accepted = 5
    with pytest.raises(KeyError):
        stats["no such count"]
    with pytest.raises(KeyError):
        stats["__len__"]


def test_q3_the_counts_add_up(make_logger: MakeLogger, log_dir: Path) -> None:
    """What was passed in is written, pending, or dropped under a reason."""
    logger = make_logger()
    odd: list[Any] = [ValueError("x"), "text", None, ValueError, KeyError("\udc80")]

    for number in range(500):
        logger.log_error("r", odd[number % 5], {"number": number})
    stats = logger.stats()
    assert stats.accepted == stats.written + stats.pending_records == 500
    assert logger.flush(timeout=60)

    assert logger.stats().written == 500
    found = [record["context"]["number"] for record in records_in(log_dir)]
    assert found == list(range(500))


def at_depth(left: int, call: Callable[[], object]) -> None:
    """Call *call*, *left* frames further down."""
    if left:
        at_depth(left - 1, call)
    else:
        call()


def test_c1_a_call_at_the_end_of_the_stack_makes_a_record(
    make_logger: MakeLogger, log_dir: Path
) -> None:
    """Where an endless recursion is caught, hardly a frame is left to log it."""
    logger = make_logger()
    logger.log_event("first")  # what is done once needs more frames
    logger.log_error("first", RecursionError())
    made: list[int] = []
    odd = {"slow": 2**70}

    def call() -> None:
        made.append(len(made))
        logger.log_error(f"error {made[-1]}", RecursionError("x"), odd)
        logger.log_event("event", f"event {made[-1]}", odd)

    deepest = 100
    with pytest.raises(RecursionError):
        while True:
            at_depth(deepest + 1, int)
            deepest += 1
    for room in range(10, 80):
        at_depth(deepest - room, call)
    assert logger.flush(timeout=60)

    errors, events = records_in(log_dir)[1:], records_in(log_dir, "events")[1:]
    assert len(made) == len(errors) == len(events) == 70
    assert {record["error_type"] for record in errors} == {"RecursionError"}
    assert errors[-1]["context"] == events[-1]["context"] == {"slow": str(2**70)}
    assert logger.stats().dropped == {}
