"""log_exception: which values it records, of which exceptions, of which blocks."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from tokenpak.telemetry.error_logger import log_exception

from .callables import run
from .failures import (
    FailureError,
    Make,
    call,
    passing,
)
from .rig import records_of

# -- request id and context -------------------------------------------------------


def test_request_id_and_context_are_computed_from_the_arguments(
    make_logger: Make,
) -> None:
    """Of the call that failed, given in whatever way."""
    logger = make_logger()

    class Client:
        name = "a"

        @log_exception(
            request_id=lambda self, request, **_: request["id"],
            context=lambda self, request, *, model="m": {"of": self.name, "m": model},
            logger=logger,
        )
        def call(self, request: dict[str, str], *, model: str = "m") -> None:
            raise FailureError

    call(Client().call, {"id": "r1"})
    with passing(FailureError):
        Client().call({"id": "r2"}, model="n")

    assert [(r["request_id"], r["context"]) for r in records_of(logger)] == [
        ("r1", {"of": "a", "m": "m"}),
        ("r2", {"of": "a", "m": "n"}),
    ]


def test_for_a_block_they_are_called_without_arguments(make_logger: Make) -> None:
    """There is no call that could have some."""
    logger = make_logger()

    with (
        passing(FailureError),
        log_exception(request_id=lambda: "r", context=lambda: {"a": 1}, logger=logger),
    ):
        raise FailureError

    (record,) = records_of(logger)
    assert (record["request_id"], record["context"]) == ("r", {"a": 1})


@pytest.mark.parametrize("reason", [KeyError, GeneratorExit, RecursionError])
def test_c1_one_that_raises_costs_the_value_and_the_record_says_so(
    reason: type[BaseException], make_logger: Make
) -> None:
    """Not the record, and not the exception that the caller waits for."""
    logger = make_logger()

    def broken(*_: object) -> Any:
        raise reason("why")

    @log_exception(request_id=broken, context={"a": 1}, logger=logger)
    def first(_: int) -> None:
        raise FailureError("first")

    @log_exception("r", broken, logger=logger)
    def second(_: int) -> None:
        raise FailureError("second")

    for function in (first, second):
        with passing(FailureError):
            function(1)

    name = reason.__name__
    text = str(reason("why"))
    assert [(r["request_id"], r["context"]) for r in records_of(logger)] == [
        (None, {"a": 1, "request_id_failed": f"{name}: {text}"}),
        ("r", {"context_failed": f"{name}: {text}"}),
    ]


@pytest.mark.parametrize("reason", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_passes_and_the_record_is_made(
    reason: type[BaseException], make_logger: Make
) -> None:
    """A signal handler may have raised it while the context was computed."""
    logger = make_logger()

    def interrupted() -> Any:
        raise reason

    @log_exception("r", interrupted, logger=logger)
    def function() -> None:
        raise FailureError

    with passing(reason):
        function()

    assert [r["error_type"] for r in records_of(logger)] == ["FailureError"]


def test_c1_whatever_they_return_is_recorded_as_well_as_can_be(
    make_logger: Make,
) -> None:
    """As it is by log_error()."""
    logger = make_logger()

    @log_exception(request_id=lambda: 5, context=lambda: ["x"], logger=logger)  # type: ignore[arg-type, return-value]
    def function() -> None:
        raise FailureError

    call(function)

    (record,) = records_of(logger)
    assert (record["request_id"], record["context"]) == ("5", {"value": ["x"]})


def test_c2_a_context_is_a_snapshot_of_the_moment_of_the_failure(
    make_logger: Make,
) -> None:
    """Not of the decoration, and not of later."""
    logger = make_logger()
    context = {"attempt": 0}

    @log_exception("r", context, logger=logger)
    def function() -> None:
        raise FailureError

    for attempt in (1, 2):
        context["attempt"] = attempt
        call(function)
    context["attempt"] = 3

    assert [r["context"]["attempt"] for r in records_of(logger)] == [1, 2]


# -- which classes -----------------------------------------------------------------


def test_which_classes_are_recorded_is_an_argument(make_logger: Make) -> None:
    """One, or several; all else passes."""
    logger = make_logger()

    for exceptions in (ValueError, (ValueError, KeyboardInterrupt), ()):

        @log_exception(str(exceptions), exceptions=exceptions, logger=logger)
        def function(error: BaseException) -> None:
            raise error

        for cls in (ValueError, KeyError, KeyboardInterrupt):
            with passing(cls):
                function(cls())

    assert [r["error_type"] for r in records_of(logger)] == [
        "ValueError",
        "ValueError",
        "KeyboardInterrupt",
    ]


@pytest.mark.parametrize("exceptions", ["ValueError", ValueError(), (int,), [KeyError]])
def test_what_is_no_exception_class_is_refused_at_once(exceptions: Any) -> None:
    """Not when the first call fails."""
    with pytest.raises(TypeError, match="no exception class"):
        log_exception(exceptions=exceptions)


def test_the_end_of_an_iteration_is_no_failure(make_logger: Make) -> None:
    """Also where it is an exception that a method raises; elsewhere it is one."""
    logger = make_logger()

    class Chunks:
        @log_exception(logger=logger)
        def __iter__(self) -> Iterator[int]:
            yield 1

        @log_exception(logger=logger)
        def __next__(self) -> int:
            raise StopIteration

        @log_exception(logger=logger)
        async def __anext__(self) -> int:
            raise StopAsyncIteration

        @log_exception("asked", exceptions=StopIteration, logger=logger)
        def send(self, _: object) -> int:
            raise StopIteration

        @log_exception("a mistake", logger=logger)
        def first(self) -> int:
            return next(iter([]))

    chunks = Chunks()
    assert list(Chunks.__iter__(chunks)) == [1]
    with passing(StopIteration):
        next(chunks)
    with passing(StopAsyncIteration):
        run(chunks.__anext__())
    with passing(StopIteration):
        chunks.send(None)
    with passing(StopIteration):
        chunks.first()

    assert [r["request_id"] for r in records_of(logger)] == ["asked", "a mistake"]


# -- blocks ----------------------------------------------------------------------------


def test_one_scope_serves_many_blocks_at_the_same_time(make_logger: Make) -> None:
    """Nested, in threads, and in generators that are closed in another context."""
    logger = make_logger()
    scope = log_exception("r", logger=logger)
    barrier = threading.Barrier(4)

    def block(number: int) -> None:
        with passing(FailureError), scope:
            barrier.wait(100)
            with scope:
                barrier.wait(100)
                raise FailureError(number)

    threads = [threading.Thread(target=block, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    def generator() -> Generator[int, None, None]:
        with scope:
            yield 1

    started = [generator() for _ in range(200)]
    assert [next(each) for each in started] == [1] * 200

    def close() -> None:
        for each in started:
            each.close()

    thread = threading.Thread(target=close)
    thread.start()
    thread.join()
    with passing(FailureError), scope:
        raise FailureError("last")

    messages = [r["message"] for r in records_of(logger)]
    assert sorted(messages[:4]) == ["0", "1", "2", "3"]
    assert messages[4:] == ["last"]


def test_each_block_knows_when_it_began(make_logger: Make) -> None:
    """Also if others of its scope and of another one begin in it, and end or do not."""
    logger = make_logger()
    scope = log_exception("again", logger=logger)

    def generator() -> Generator[int, None, None]:
        with log_exception("other", logger=logger):
            yield 1

    def logged() -> FailureError:
        error = FailureError()
        logger.log_error("once", error)
        return error

    with passing(FailureError), scope:
        error = logged()
        with scope:
            pass
        raise error
    with passing(FailureError), scope:
        error = logged()
        suspended = generator()
        next(suspended)
        raise error
    suspended.close()

    assert [r["request_id"] for r in records_of(logger)] == ["once"] * 2


def test_a_block_swallows_nothing_and_returns_its_scope(make_logger: Make) -> None:
    """Also where nothing fails."""
    logger = make_logger()
    scope = log_exception("r", logger=logger)

    with scope as entered:
        pass

    assert entered is scope
    assert records_of(logger) == []
