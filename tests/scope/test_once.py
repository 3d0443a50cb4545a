"""An exception is recorded once, however many layers it passes, and each time."""

from __future__ import annotations

import concurrent.futures
import copy
import multiprocessing
import pickle
import time
import traceback
from pathlib import Path
from typing import Any

import pytest

from tokenpak.telemetry.capture.mark import MARK
from tokenpak.telemetry.error_logger import ErrorLogger, bind, log_exception

from .failures import (
    FailureError,
    FrozenError,
    Make,
    RefusingError,
    SlottedError,
    call,
    passing,
    throw,
)
from .rig import records_of


def test_an_exception_that_log_error_has_recorded_is_not_recorded_again(
    make_logger: Make,
) -> None:
    """And an explicit call always records."""
    logger = make_logger()

    @log_exception("outer", logger=logger)
    def outer(error: Exception) -> None:
        with log_exception("block", logger=logger):
            try:
                raise error
            except Exception as caught:
                logger.log_error("first", caught)
                logger.log_error("second", caught)
                raise

    for error in (ValueError("x"), FrozenError(), SlottedError("x"), KeyError("x")):
        call(outer, error)

    ids = [r["request_id"] for r in records_of(logger)]
    assert ids == ["first", "second"] * 4


def test_a_layer_can_be_told_to_record_in_any_case(make_logger: Make) -> None:
    """Then it does so with its own context."""
    logger = make_logger()

    @log_exception("outer", {"layer": 3}, logger=logger)
    @log_exception("middle", {"layer": 2}, each_layer=True, logger=logger)
    @log_exception("inner", {"layer": 1}, logger=logger)
    def function() -> None:
        raise FailureError

    call(function)

    found = [(r["request_id"], r["context"]["layer"]) for r in records_of(logger)]
    assert found == [("inner", 1), ("middle", 2)]


@pytest.mark.parametrize("error", [ValueError("x"), FrozenError(), SlottedError()])
@pytest.mark.parametrize("cleared", [False, True])
def test_one_object_that_is_raised_again_and_again_is_recorded_each_time(
    error: Exception, cleared: bool, make_logger: Make
) -> None:
    """Once for each time, through two layers, whatever its traceback holds."""
    logger = make_logger()

    @log_exception("outer", logger=logger)
    def outer() -> None:
        inner()

    @log_exception("inner", logger=logger)
    def inner() -> None:
        raise error.with_traceback(None) if cleared else error

    for _ in range(3):
        call(outer)
        with passing(type(error)), log_exception("block", logger=logger):
            raise error

    ids = [r["request_id"] for r in records_of(logger)]
    assert ids == ["inner", "block"] * 3


def test_a_recursive_function_records_once(make_logger: Make) -> None:
    """However many of its layers the exception passes."""
    logger = make_logger()

    @log_exception(request_id=str, logger=logger)
    def function(left: int) -> None:
        if left == 0:
            raise FailureError
        function(left - 1)

    call(function, 20)

    assert [r["request_id"] for r in records_of(logger)] == ["0"]


def test_a_group_of_recorded_exceptions_is_recorded_already(make_logger: Make) -> None:
    """One that holds another exception, too, is not."""
    logger = make_logger()

    @log_exception("part", logger=logger)
    def part() -> None:
        raise FailureError

    @log_exception("whole", logger=logger)
    def whole(*others: Exception) -> None:
        errors: list[Exception] = list(others)
        for _ in range(2):
            try:
                part()
            except FailureError as error:
                errors.append(error)
        raise ExceptionGroup("both", [ExceptionGroup("nested", errors)])

    call(whole)
    call(whole, KeyError("new"))

    ids = [r["request_id"] for r in records_of(logger)]
    assert ids == ["part"] * 4 + ["whole"]


def test_another_exception_is_recorded_with_its_cause(make_logger: Make) -> None:
    """It is another failure, of another type."""
    logger = make_logger()

    @log_exception("inner", logger=logger)
    def inner() -> None:
        raise FailureError("the reason")

    @log_exception("outer", logger=logger)
    def outer() -> None:
        try:
            inner()
        except FailureError as error:
            raise KeyError("a name") from error

    call(outer)

    first, second = records_of(logger)
    assert (first["request_id"], second["request_id"]) == ("inner", "outer")
    assert "FailureError: the reason" in second["stack_trace"]


@pytest.mark.parametrize(
    "error", [ValueError("x"), RefusingError("x"), FailureError("x")]
)
def test_the_mark_of_an_exception_does_no_harm(
    error: Exception, make_logger: Make
) -> None:
    """It is pickled and copied with it, and no traceback shows it."""
    logger = make_logger()
    before = str(error), repr(error), error.args

    @log_exception("not again", logger=logger)
    def function() -> None:
        logger.log_error("r", error)
        raise error

    call(function)

    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (type(twin), str(twin), repr(twin), twin.args) == (type(error), *before)
    assert MARK not in "".join(traceback.format_exception(error))
    assert [r["request_id"] for r in records_of(logger)] == ["r"]


def test_an_exception_can_be_sent_to_who_does_not_have_this_package(
    make_logger: Make,
) -> None:
    """Such as the client of a task queue."""

    @log_exception(logger=make_logger())
    @bind("r", client=object())
    def function() -> None:
        raise ValueError("x")

    with pytest.raises(ValueError) as raised:
        function()

    assert b"tokenpak." not in pickle.dumps(raised.value)
    for twin in (
        pickle.loads(pickle.dumps(raised.value)),
        copy.deepcopy(raised.value),
    ):
        assert vars(twin)["_tokenpak_bound"] is None


def test_an_exception_from_another_machine_is_recorded_here(
    make_logger: Make,
) -> None:
    """Its mark is of a time that has not come, or is no time at all."""
    logger = make_logger()

    for mark in (time.time_ns() + 10**12, "text", None):
        error = FailureError()
        error._tokenpak_recorded = mark  # type: ignore[attr-defined]
        call(log_exception("r", logger=logger)(throw), error)

    assert len(records_of(logger)) == 3


def _in_pool(log_dir: str) -> None:
    logger = ErrorLogger(log_dir)
    try:
        with log_exception("child", logger=logger):
            raise FailureError("in a child")
    finally:
        logger.close(timeout=30)


def test_what_a_process_of_a_pool_has_recorded_is_not_recorded_by_its_parent(
    make_logger: Make,
) -> None:
    """The mark comes along with the exception."""
    logger = make_logger()

    @log_exception("parent", logger=logger)
    def parent() -> None:
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
            pool.submit(_in_pool, str(logger.settings.log_dir)).result(timeout=250)

    call(parent)

    assert [r["request_id"] for r in records_of(logger)] == ["child"]


def test_what_a_thread_of_a_pool_has_recorded_is_not_recorded_again(
    make_logger: Make,
) -> None:
    """Though the future raises it in another thread."""
    logger = make_logger()

    @log_exception("thread", logger=logger)
    def work() -> None:
        raise FailureError

    @log_exception("main", logger=logger)
    def main() -> None:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            pool.submit(work).result(timeout=250)

    call(main)

    assert [r["request_id"] for r in records_of(logger)] == ["thread"]


def test_a_logger_of_ones_own_class_is_asked_once(log_dir: Path) -> None:
    """It has its own log_error(), and leaves the rest to that of ErrorLogger."""
    told: list[object] = []

    class Own(ErrorLogger):
        def log_error(self, request_id: Any, error: Any, context: Any = None) -> None:
            told.append(request_id)
            super().log_error(request_id, error, context)

    logger = Own(log_dir)

    @log_exception("outer", logger=logger)
    @log_exception("inner", logger=logger)
    def function() -> None:
        raise FailureError

    call(function)

    assert told == ["inner"]
    assert logger.close(timeout=30)
