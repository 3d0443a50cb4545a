"""log_exception is in no way: nothing is replaced, kept, or made to wait."""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tokenpak.telemetry.error_logger import log_exception

from .callables import KINDS, run
from .failures import (
    FailureError,
    HostileError,
    Make,
    passing,
    throw,
)
from .rig import records_of


def test_c1_an_exception_that_objects_to_everything_passes(make_logger: Make) -> None:
    """It is recorded, and it is itself that comes out."""
    logger = make_logger()
    error = HostileError("x")

    for _ in range(2):
        caught = []
        try:
            log_exception("r", logger=logger)(throw)(error)
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
