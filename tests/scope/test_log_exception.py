"""log_exception: what it records, how often, and that it never gets in the way."""

from __future__ import annotations

import concurrent.futures
import contextlib
import copy
import gc
import inspect
import multiprocessing
import pickle
import threading
import time
import traceback
import types
import weakref
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tokenpak.telemetry.capture.mark import MARK
from tokenpak.telemetry.error_logger import ErrorLogger, log_exception

from .callables import KINDS, run
from .rig import records_of

Make = Callable[..., ErrorLogger]


class FailureError(Exception):
    """One that weak references can be made to."""


@dataclass(frozen=True)
class FrozenError(Exception):
    """Refuses to have any attribute set."""

    code: int = 5


class SlottedError(Exception):
    """Has slots of its own."""

    __slots__ = ("code",)


class RefusingError(Exception):
    """Refuses to have any attribute set, also while it is unpickled."""

    __slots__ = ("__weakref__",)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


class HostileError(Exception):
    """Raises whatever is done to it."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __setattr__(self, name: str, value: object) -> None:
        raise RuntimeError(name)


def passing(
    cls: type[BaseException],
) -> contextlib.AbstractContextManager[object, bool]:
    """Catch *cls*, which must come."""
    return pytest.raises(cls)


def call(function: Callable[..., Any], *args: Any) -> None:
    """Call *function*, which fails."""
    try:
        function(*args)
    except Exception:
        return
    pytest.fail("it did not fail")


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


# -- once ----------------------------------------------------------------------------


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


def _raise(error: BaseException) -> None:
    raise error


def test_an_exception_from_another_machine_is_recorded_here(
    make_logger: Make,
) -> None:
    """Its mark is of a time that has not come, or is no time at all."""
    logger = make_logger()

    for mark in (time.time_ns() + 10**12, "text", None):
        error = FailureError()
        error._tokenpak_recorded = mark  # type: ignore[attr-defined]
        call(log_exception("r", logger=logger)(_raise), error)

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
            pool.submit(_in_pool, str(logger.settings.log_dir)).result(timeout=60)

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
            pool.submit(work).result(timeout=60)

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


# -- blocks ----------------------------------------------------------------------------


def test_one_scope_serves_many_blocks_at_the_same_time(make_logger: Make) -> None:
    """Nested, in threads, and in generators that are closed in another context."""
    logger = make_logger()
    scope = log_exception("r", logger=logger)
    barrier = threading.Barrier(4)

    def block(number: int) -> None:
        with passing(FailureError), scope:
            barrier.wait(30)
            with scope:
                barrier.wait(30)
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


# -- C1, C2: nothing is in the way ---------------------------------------------------


def test_c1_an_exception_that_objects_to_everything_passes(make_logger: Make) -> None:
    """It is recorded, and it is itself that comes out."""
    logger = make_logger()
    error = HostileError("x")

    for _ in range(2):
        caught = []
        try:
            log_exception("r", logger=logger)(_raise)(error)
        except HostileError as raised:
            caught.append(raised)
        try:
            with log_exception("r", logger=logger):
                raise error
        except HostileError as raised:
            caught.append(raised)
        assert [id(each) for each in caught] == [id(error)] * 2

    assert len(records_of(logger)) == 4


@pytest.mark.parametrize("name", KINDS)
def test_c2_no_exception_is_kept(name: str, make_logger: Make) -> None:
    """However it came about.  (The frames of the test hold it until they are gone.)"""
    logger = make_logger()
    kind = KINDS[name]
    scope = log_exception("r", lambda *_, **__: {"a": 1}, logger=logger)
    function = kind.make(scope, (scope, scope), [])

    for way in kind.drives.keys() & {"raises", "thrown into"}:
        error = FailureError("x")
        gone = weakref.ref(error)
        with contextlib.suppress(FailureError):
            kind.drives[way](function, error)
        del error
        gc.collect()
        assert gone() is None

    assert len(records_of(logger)) == len(
        kind.drives.keys() & {"raises", "thrown into"}
    )


def test_c2_no_cycle_is_made_that_only_a_collection_ends(make_logger: Make) -> None:
    """The frames of the wrappers do not hold what has passed them."""
    scope = log_exception("r", logger=make_logger())
    made: list[weakref.ref[BaseException]] = []

    class NotedError(Exception):
        def __init__(self) -> None:
            made.append(weakref.ref(self))

    @scope
    def function() -> None:
        raise NotedError

    @scope
    async def coroutine() -> None:
        raise NotedError

    @scope
    def generator() -> Iterator[int]:
        yield 1
        raise NotedError

    @scope
    async def async_generator() -> AsyncIterator[int]:
        yield 1
        raise NotedError

    async def drain() -> None:
        async for _ in async_generator():
            pass

    async def throw() -> None:
        started: Any = async_generator()
        await anext(started)
        await started.athrow(NotedError())

    gc.collect()
    gc.disable()
    try:
        for fail in (
            function,
            lambda: run(coroutine()),
            lambda: list(generator()),
            lambda: run(drain()),
            lambda: run(throw()),
        ):
            with contextlib.suppress(NotedError):
                fail()
        assert [ref() for ref in made] == [None] * 5
    finally:
        gc.enable()


def test_c1_at_the_end_of_the_stack_the_exception_is_the_callers(
    make_logger: Make,
) -> None:
    """And in the log once, if only as what has room there."""
    logger = make_logger()
    raised: list[BaseException] = []

    @log_exception("r", logger=logger)
    def deeper(left: int) -> None:
        if left == 0:
            raise RecursionError("the end")
        deeper(left - 1)

    @log_exception("endless", logger=logger)
    def endless() -> None:
        endless()

    with passing(RecursionError):
        deeper(0)  # what is done once needs more frames
    try:
        endless()
    except RecursionError as error:
        raised.append(error)

    found = records_of(logger)
    assert [type(error) for error in raised] == [RecursionError]
    assert [r["error_type"] for r in found] == ["RecursionError"] * 2


# -- recognisable -----------------------------------------------------------------

CHECKS = (
    inspect.iscoroutinefunction,
    inspect.isgeneratorfunction,
    inspect.isasyncgenfunction,
)


def test_a_decorated_function_is_what_it_was_to_inspect() -> None:
    """Kind, signature, name and text."""

    def function(a: int, *, b: str = "x") -> int:
        """Text."""
        return a

    async def coroutine(a: int) -> int:
        return a

    def generator(a: int) -> Iterator[int]:
        yield a

    async def async_generator(a: int) -> AsyncIterator[int]:
        yield a

    @types.coroutine
    def awaitable(a: int) -> Any:
        yield a

    for each in (function, coroutine, generator, async_generator, awaitable):
        for wrapped in (log_exception("r")(each), log_exception(each)):
            assert [check(wrapped) for check in CHECKS] == [c(each) for c in CHECKS]
            assert inspect.signature(wrapped) == inspect.signature(each)
            assert wrapped.__name__ == each.__name__
            assert wrapped.__qualname__ == each.__qualname__
            assert wrapped.__doc__ == each.__doc__
            assert inspect.unwrap(wrapped) is each
    assert inspect.isawaitable(log_exception(awaitable)(1))


def test_without_parentheses_the_function_is_decorated(
    make_logger: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Class- and static methods, too; the logger is that of the process."""
    from tokenpak.telemetry import error_logger

    logger = make_logger()
    monkeypatch.setattr(error_logger, "_shared", {"it": logger})

    class Client:
        @log_exception
        def method(self) -> None:
            raise FailureError("method")

        @log_exception
        @classmethod
        def on_class(cls) -> None:
            raise FailureError("class")

        @log_exception
        @staticmethod
        def static() -> None:
            raise FailureError("static")

    for function in (Client().method, Client.on_class, Client().static):
        call(function)

    messages = [r["message"] for r in records_of(logger)]
    assert messages == ["method", "class", "static"]


ANYTHING: Any = log_exception


@pytest.mark.parametrize(
    "decorate",
    [
        lambda: ANYTHING()(FailureError),
        lambda: ANYTHING(FailureError),
        lambda: ANYTHING()(property(len)),
        lambda: ANYTHING()(5),
        lambda: ANYTHING(lambda request: request.id),
    ],
)
def test_what_cannot_be_decorated_is_refused_at_once(decorate: Any) -> None:
    """A class would become a function, and a lambda is meant as a request id."""
    with pytest.raises(TypeError, match="decorate"):
        decorate()


def test_a_decorated_function_can_be_pickled() -> None:
    """As any function of a module can, for pools."""
    assert pickle.loads(pickle.dumps(decorated)) is decorated


@log_exception("r")
def decorated() -> None:
    """Do nothing."""


def test_what_leaves_no_trace_is_not_in_the_log(make_logger: Make) -> None:
    """A call that does not fail makes no record, and gives what it gives."""
    logger = make_logger()

    @log_exception("r", logger=logger)
    def double(number: int) -> int:
        return number * 2

    assert [double(number) for number in range(3)] == [0, 2, 4]
    assert records_of(logger) == []
