"""bind: what is bound is in the records made within, here and nowhere else."""

from __future__ import annotations

import asyncio
import contextvars
import json
import multiprocessing
import pickle
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tokenpak.telemetry.capture.bound import EVER_BOUND, Bound, current
from tokenpak.telemetry.error_logger import (
    ErrorLogger,
    bind,
    bound,
    log_exception,
)

from .rig import in_log, records_of

Make = Callable[..., ErrorLogger]


class OddMapping(Mapping[str, object]):
    """A mapping that is no dict, and that may be broken."""

    def __init__(self, items: dict[str, object], *, broken: bool) -> None:
        self._items = items
        self._broken = broken

    def __getitem__(self, key: str) -> object:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        if self._broken:
            raise RuntimeError
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


def pairs(records: list[dict[str, Any]]) -> list[tuple[object, object]]:
    """Return request id and context of each record."""
    return [(record["request_id"], record["context"]) for record in records]


def test_what_is_bound_is_in_errors_and_events(make_logger: Make) -> None:
    """Inner blocks add to outer ones; the call's own values win."""
    logger = make_logger()

    with bind(request_id="r1", provider="openai", attempt=1):
        logger.log_error(None, ValueError("x"))
        logger.log_event("e", None, {"provider": "own"})
        with bind(attempt=2):
            logger.log_error("own", ValueError("x"), {"a": 1})
            logger.log_event("e")
        with bind("r2"):
            logger.log_event("e", None, {})
        logger.log_event("e")
    logger.log_error(None, ValueError("x"))
    logger.log_event("e")

    assert pairs(records_of(logger)) == [
        ("r1", {"provider": "openai", "attempt": 1}),
        ("own", {"provider": "openai", "attempt": 2, "a": 1}),
        (None, {}),
    ]
    assert pairs(records_of(logger, "events")) == [
        ("r1", {"provider": "own", "attempt": 1}),
        ("r1", {"provider": "openai", "attempt": 2}),
        ("r2", {"provider": "openai", "attempt": 1}),
        ("r1", {"provider": "openai", "attempt": 1}),
        (None, {}),
    ]


def test_a_logger_that_was_in_use_before_anything_was_bound_asks_from_then_on(
    make_logger: Make,
) -> None:
    """The hot path asks nobody while there is nothing that could be bound."""
    logger = make_logger()
    EVER_BOUND.clear()
    logger.log_error(None, ValueError("x"))
    logger.log_event("e")
    assert not EVER_BOUND

    with bind("r1"):
        logger.log_error(None, ValueError("x"))
        logger.log_event("e")

    assert pairs(records_of(logger)) == [(None, {}), ("r1", {})]
    assert pairs(records_of(logger, "events")) == [(None, {}), ("r1", {})]


def test_what_was_bound_elsewhere_and_is_unpickled_here_is_asked_for() -> None:
    """A process of a pool may get it with its task, and bind nothing itself."""
    pickled = pickle.dumps(Bound("r1", {"a": 1}, None))
    EVER_BOUND.clear()

    assert pickle.loads(pickled).request_id == "r1"
    assert EVER_BOUND


def test_bound_shows_what_is_bound() -> None:
    """As a copy: to change it changes nothing."""
    assert bound() == {}
    with bind(request_id="r", provider="openai"), bind(self=1):
        shown = bound()
        assert shown == {"request_id": "r", "provider": "openai", "self": 1}
        shown.clear()
        assert bound() == {"request_id": "r", "provider": "openai", "self": 1}
    with bind(a=1):
        assert bound() == {"a": 1}
    assert bound() == {}


@pytest.mark.parametrize(
    ("context", "shown"),
    [
        ({"b": 2**70}, {"a": 1, "b": str(2**70)}),
        ({1: 2}, {"a": 1, "1": 2}),
        (OddMapping({"a": 5, "b": 2}, broken=False), {"a": 5, "b": 2}),
        ("text", {"a": 1, "value": "text"}),
        ([1], {"a": 1, "value": [1]}),
    ],
    ids=str,
)
def test_c1_whatever_the_context_is_the_bound_one_is_there_too(
    context: Any, shown: object, make_logger: Make
) -> None:
    """On the fast road and on the careful one, in both streams."""
    logger = make_logger()

    with bind("r", a=1):
        logger.log_error(None, ValueError("x"), context)
        logger.log_event("e", None, context)

    assert pairs(records_of(logger)) == [("r", shown)]
    assert pairs(records_of(logger, "events")) == [("r", shown)]


def test_c1_a_context_that_raises_does_not_cost_what_is_bound(
    make_logger: Make,
) -> None:
    """The record says what it was."""
    logger = make_logger()

    with bind("r", a=1):
        logger.log_error(None, ValueError("x"), OddMapping({}, broken=True))

    ((request_id, context),) = pairs(records_of(logger))
    assert request_id == "r"
    assert isinstance(context, dict)
    assert context["a"] == 1
    assert "raised RuntimeError" in context["value"]


def test_c1_what_is_bound_may_be_anything(make_logger: Make) -> None:
    """It is recorded as well as can be, like any context."""
    logger = make_logger()
    cycle: list[object] = []
    cycle.append(cycle)

    with bind(5, cycle=cycle, thing=object, text="\udc80"):  # type: ignore[arg-type]
        logger.log_error(None, ValueError("x"))

    ((request_id, context),) = pairs(records_of(logger))
    assert request_id == "5"
    assert isinstance(context, dict)
    assert context["text"] == "\\udc80"


def test_c2_what_is_bound_is_a_snapshot_of_the_moment_of_the_call(
    make_logger: Make,
) -> None:
    """What changes between two calls is in the second; what changes later in none."""
    logger = make_logger()
    steps = ["one"]

    with bind(steps=steps):
        logger.log_event("e")
        steps.append("two")
        logger.log_event("e")
        steps.append("three")

    assert [r["context"]["steps"] for r in records_of(logger, "events")] == [
        ["one"],
        ["one", "two"],
    ]


def test_each_thread_and_each_task_has_its_own(make_logger: Make) -> None:
    """A task begins with what was bound where it was created."""
    logger = make_logger()
    seen: list[object] = []

    with bind("main"):
        thread = threading.Thread(target=lambda: seen.append(bound()))
        thread.start()
        thread.join()

    async def work(number: int) -> None:
        with bind(number=number):
            await asyncio.sleep(0)
            logger.log_event("e")
            await asyncio.sleep(0)
            seen.append(bound())

    async def main() -> None:
        with bind("task"):
            tasks = [asyncio.create_task(work(number)) for number in range(3)]
        assert bound() == {}
        await asyncio.gather(*tasks)

    asyncio.run(main())

    assert seen == [{}] + [{"request_id": "task", "number": n} for n in range(3)]
    found = pairs(records_of(logger, "events"))
    assert found == [("task", {"number": number}) for number in range(3)]


def test_one_binding_serves_many_blocks_at_the_same_time() -> None:
    """Nested, as a decorator, and in threads."""
    binding = bind("r", a=1)
    barrier = threading.Barrier(4)
    seen: list[object] = []

    @binding
    def function() -> dict[str, Any]:
        return bound()

    def work(number: int) -> None:
        with bind(number=number), binding:
            barrier.wait(100)
            with binding:
                pass
            seen.append(bound()["number"])
            barrier.wait(100)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(map(str, seen)) == ["0", "1", "2", "3"]
    assert function() == {"request_id": "r", "a": 1}
    assert bound() == {}


def test_functions_and_coroutines_are_bound_while_they_run() -> None:
    """Also if they fail."""

    @bind("r", a=1)
    def function(*, fail: bool) -> dict[str, Any]:
        if fail:
            raise KeyError
        return bound()

    @bind("r", a=2)
    async def coroutine() -> dict[str, Any]:
        await asyncio.sleep(0)
        return bound()

    class Client:
        @bind(a=3)
        @classmethod
        def on_class(cls) -> dict[str, Any]:
            return bound()

        @bind(a=4)
        @staticmethod
        def static() -> dict[str, Any]:
            return bound()

    assert function(fail=False) == {"request_id": "r", "a": 1}
    with pytest.raises(KeyError):
        function(fail=True)
    assert asyncio.run(coroutine()) == {"request_id": "r", "a": 2}
    assert (Client.on_class(), Client.static()) == ({"a": 3}, {"a": 4})
    assert bound() == {}


def stream(seen: list[object]) -> Generator[int, None, None]:
    """Yield, with something bound in the middle of the frame."""
    with bind(stream=True):
        yield 1
        seen.append(bound())
        yield 2


def test_a_generator_that_outlives_the_block_around_it_brings_nothing_back() -> None:
    """In the thread that serves the next request nothing of the last one is bound."""
    seen: list[object] = []

    with bind("first"):
        generator = stream(seen)
        next(generator)
    assert bound() == {}
    with bind("second"):
        next(generator)
        generator.close()
        assert bound() == {"request_id": "second"}

    assert bound() == {}
    assert seen == [{"request_id": "second"}]


def test_generators_that_are_closed_elsewhere_leave_no_growing_chain() -> None:
    """What they leave bound where they began is one thing, however many there were."""

    def many() -> None:
        for _ in range(500):
            generator = stream([])
            next(generator)
            contextvars.Context().run(generator.close)
        depth, link = 0, current.get()
        while link is not None:
            depth, link = depth + 1, link.parent
        assert 0 < depth <= 64

    contextvars.copy_context().run(many)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_q5_a_forked_child_keeps_what_was_bound_at_the_fork(
    method: str, log_dir: Path
) -> None:
    """One that is spawned begins with nothing."""
    context: Any = multiprocessing.get_context(method)
    with bind("r", a=1):
        child = context.Process(target=log_one, args=(str(log_dir),))
        child.start()
    child.join(60)

    assert child.exitcode == 0
    expected = ("r", {"a": 1}) if method == "fork" else (None, {})
    assert pairs(in_log(log_dir, "events")) == [expected]


def log_one(log_dir: str) -> None:
    """Log an event, in a child."""
    logger = ErrorLogger(log_dir)
    logger.log_event("e")
    logger.close(timeout=30)


def test_decorated_exceptions_have_what_is_bound(make_logger: Make) -> None:
    """The decorator's own values win."""
    logger = make_logger()

    @bind("bound", a=1, b=1)
    @log_exception(context={"b": 2}, logger=logger)
    def function() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        function()

    assert pairs(records_of(logger)) == [("bound", {"a": 1, "b": 2})]


# -- what leaves a block ---------------------------------------------------------------


class OutsideError(Exception):
    """Leaves blocks."""


def test_a_decorator_outside_of_the_block_knows_what_was_bound(
    make_logger: Make,
) -> None:
    """All of it, with what is bound further out; its own values win."""
    logger = make_logger()

    @log_exception(context={"own": 1}, logger=logger)
    @bind(a=2)
    def function() -> None:
        with bind("inner", b=3, own=0), bind(c=4):
            raise OutsideError

    @log_exception(logger=logger)
    async def coroutine() -> None:
        async with bind("inner", b=3):
            await asyncio.sleep(0)
            raise OutsideError

    with bind("outer", a=1), pytest.raises(OutsideError):
        function()
    with pytest.raises(OutsideError), log_exception(logger=logger), bind("block"):
        raise OutsideError
    with pytest.raises(OutsideError):
        asyncio.run(coroutine())

    assert pairs(records_of(logger)) == [
        ("inner", {"a": 2, "b": 3, "own": 1, "c": 4}),
        ("block", {}),
        ("inner", {"b": 3}),
    ]
    assert bound() == {}


def test_what_was_bound_when_an_object_was_raised_earlier_is_not_used(
    make_logger: Make,
) -> None:
    """Not that of another request, and not that of a block that is left to no avail."""
    logger = make_logger()
    error = OutsideError()

    @log_exception(logger=logger)
    def function(request_id: str | None) -> None:
        with bind(request_id):
            try:
                with bind("handled", a=1):
                    raise KeyError
            except KeyError:
                pass
            raise error

    @log_exception(logger=logger)
    def unbound() -> None:
        raise error

    for request_id in (None, "r1", "r2"):
        with pytest.raises(OutsideError):
            function(request_id)
    with pytest.raises(OutsideError):
        unbound()
    with bind("r3"), pytest.raises(OutsideError):
        unbound()

    ids = [r["request_id"] for r in records_of(logger)]
    assert ids == [None, "r1", "r2", None, "r3"]


def test_what_an_exception_keeps_of_its_block_does_no_harm() -> None:
    """It is not pickled, and what cannot be is no obstacle; an odd one is let be."""

    class RefusingError(Exception):
        def __setattr__(self, name: str, value: object) -> None:
            raise RuntimeError(name)

    with pytest.raises(OutsideError) as caught, bind(lock=threading.Lock()):
        raise OutsideError("text")
    with pytest.raises(RefusingError) as refused, bind(a=1):
        raise RefusingError

    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), again.args) == (OutsideError, ("text",))
    assert not any(vars(again).values())
    assert vars(refused.value) == {}


def test_the_attributes_of_an_exception_can_be_encoded_as_json(
    make_logger: Make,
) -> None:
    """As error trackers do; what is noted there is a text and a number."""
    with pytest.raises(OutsideError) as caught, bind(request_id="r", a=1):
        raise OutsideError("x")
    make_logger().log_error("r", caught.value)

    found = json.loads(json.dumps(vars(caught.value)))

    assert found["_tokenpak_bound"] == ""
    assert type(found["_tokenpak_recorded"]) is int
