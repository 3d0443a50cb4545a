"""Tasks of real pools: recorded in the worker, with their name, and raised again."""

from __future__ import annotations

import functools
import multiprocessing
import os
import pickle
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, assert_type

import pytest

from tests.integrations.logs import records_after
from tokenpak.telemetry import error_logger
from tokenpak.telemetry.error_logger import get_error_logger
from tokenpak.telemetry.integrations._request import bound, current_request_id
from tokenpak.telemetry.integrations.pools import name_of, recorded
from tokenpak.telemetry.queue.recovery import recover

SECONDS = 250.0
"""Far more than any of it takes, on a busy machine too."""
METHODS = [
    method
    for method in ("fork", "spawn", "forkserver")
    if method in multiprocessing.get_all_start_methods()
]


def work(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} for {current_request_id()}")
    return number


@recorded
def decorated(number: int) -> int:
    """Work."""
    return work(number)


def die(number: int) -> None:
    get_error_logger().log_error("died", ValueError(number))
    os.kill(os.getpid(), signal.SIGKILL)


def log_to(directory: str) -> None:
    os.environ["TOKENPAK_LOG_DIR"] = directory


class Shop:
    @recorded
    def sell(self, number: int) -> int:
        return work(number)


@pytest.fixture
def log_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the loggers of this process and of its workers write."""
    monkeypatch.setenv("TOKENPAK_LOG_DIR", str(tmp_path / "logs"))
    monkeypatch.setattr(error_logger, "_shared", {})
    yield tmp_path / "logs"
    get_error_logger().close(SECONDS)


def found_in(log_dir: Path, deaths: int = 0) -> list[dict[str, Any]]:
    get_error_logger().flush(SECONDS)
    recover(str(log_dir))
    return records_after(deaths, log_dir)


def failing(numbers: int, request_id: str | None) -> Counter[str]:
    return Counter(f"{n} for {request_id}" for n in range(1, numbers, 2))


@pytest.mark.parametrize("method", METHODS)
def test_q5_what_fails_in_a_pool_is_recorded_once(method: str, log_dir: Path) -> None:
    """With the name of the task and the id that was bound where it was handed out."""
    with bound("req-1"):
        task = recorded(work)
    # A fork server may run already, with the environment of another test.
    context = multiprocessing.get_context(method)
    with context.Pool(2, log_to, (str(log_dir),)) as pool:
        results = [pool.apply_async(task, (n,)) for n in range(20)]
        for number, result in enumerate(results):
            if number % 2:
                with pytest.raises(ValueError, match=f"^{number} for req-1$"):
                    result.get(SECONDS)
            else:
                assert result.get(SECONDS) == number

    found = found_in(log_dir, deaths=2)  # a Pool ends its workers by a signal
    assert Counter(r["message"] for r in found) == failing(20, "req-1")
    for record in found:
        assert record["request_id"] == "req-1"
        assert record["context"] == {"task": f"{__name__}.work"}
        assert ", in work\n" in record["stack_trace"]


def executors() -> list[Any]:
    spawn = multiprocessing.get_context("spawn")
    return [
        pytest.param(lambda: ThreadPoolExecutor(2), id="threads"),
        pytest.param(lambda: ProcessPoolExecutor(2, mp_context=spawn), id="processes"),
    ]


@pytest.mark.parametrize("make", executors())
def test_q5_what_fails_in_an_executor_is_recorded_once(
    make: Any, log_dir: Path
) -> None:
    """Of threads or processes; also of a decorated function, and where nobody asks."""
    executor: Executor
    with make() as executor:
        for number in range(10):
            executor.submit(recorded(work, "own"), number)
            executor.submit(decorated, number)

    found = found_in(log_dir)
    assert Counter(r["message"] for r in found) == failing(10, "own") + failing(
        10, None
    )
    assert {(r["request_id"], r["context"]["task"]) for r in found} == {
        ("own", f"{__name__}.work"),
        (None, f"{__name__}.decorated"),
    }
    assert current_request_id() is None


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has none")
def test_q1_a_worker_that_is_killed_loses_nothing(log_dir: Path) -> None:
    """What it had recorded is there, and the pool says that it is broken."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        assert executor.submit(die, 5).exception(SECONDS) is not None

    assert [r["message"] for r in found_in(log_dir, deaths=1)] == ["5"]


def test_a_task_looks_like_its_function(log_dir: Path) -> None:
    """Its name and its docstring; a method is one."""
    assert decorated.__name__ == "decorated"  # type: ignore[attr-defined]
    assert decorated.__doc__ == "Work."
    assert Shop().sell(4) == 4
    with pytest.raises(ValueError):
        Shop().sell(5)

    (record,) = found_in(log_dir)
    assert record["context"]["task"] == f"{__name__}.Shop.sell"


def test_a_task_can_be_pickled_if_its_function_can() -> None:
    """By its name if it is a decorated one."""
    assert pickle.loads(pickle.dumps(decorated)) is decorated
    copy = pickle.loads(pickle.dumps(recorded(work, "req-1")))
    assert isinstance(copy, recorded)
    assert copy(4) == 4
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(recorded(lambda: None))


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (work, f"{__name__}.work"),
        (functools.partial(functools.partial(work, 1)), f"{__name__}.work"),
        (Shop().sell, f"{__name__}.Shop.sell"),
        (len, "builtins.len"),
        (Shop(), f"{__name__}.Shop"),
    ],
)
def test_a_task_is_named_after_what_it_calls(function: object, name: str) -> None:
    """Whatever can be called."""
    assert name_of(function) == name


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_what_ends_a_worker_is_not_recorded(
    error: type[BaseException], log_dir: Path
) -> None:
    """It is no failure of the task."""

    def end() -> None:
        raise error

    with pytest.raises(error):
        recorded(end)()
    assert not log_dir.exists()


class Typed:
    """Has a method that is a task."""

    @recorded
    def work(self, number: int) -> str:
        """Give a text."""
        return f"{number}"


def test_a_decorated_method_is_typed_as_it_is() -> None:
    """For mypy, which reads this; and it is a method."""
    assert_type(Typed().work(1), str)
    assert_type(recorded(len)([1]), int)
    assert Typed().work(1) == "1"
