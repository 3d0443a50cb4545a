"""carry: threads and processes of a pool get what was bound where work came from."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import pickle
import threading
from collections.abc import Generator

import pytest

from tokenpak.telemetry.error_logger import bind, bound, carry


def stream() -> Generator[int, None, None]:
    """Yield."""
    yield 1


def report(*args: object) -> tuple[object, ...]:
    """Return the arguments and what is bound."""
    return (*args, bound())


def test_threads_of_a_pool_get_what_was_bound_where_the_work_came_from() -> None:
    """By submit and by map, several at once; and nothing of it stays."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        with bind("r", a=1):
            future = pool.submit(carry(report), 5)
            mapped = pool.map(carry(report), range(3))
        with bind("other"):
            nothing = pool.submit(report)
        unbound = pool.submit(carry(report))

        assert future.result(200) == (5, {"request_id": "r", "a": 1})
        assert list(mapped) == [(n, {"request_id": "r", "a": 1}) for n in range(3)]
        assert nothing.result(200) == ({},)
        assert unbound.result(200) == ({},)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_of_a_pool_get_it_too(method: str) -> None:
    """As plain data: what cannot be pickled goes as it would be recorded."""
    context = multiprocessing.get_context(method)
    with (
        bind("r", a=1, lock=threading.Lock(), nested={"odd": {1, 2}}),
        concurrent.futures.ProcessPoolExecutor(1, context) as pool,
    ):
        number, there = pool.submit(carry(report), 5).result(200)

    assert number == 5
    assert isinstance(there, dict)
    assert (there["request_id"], there["a"]) == ("r", 1)
    assert there["lock"].startswith("<unlocked _thread.lock")
    assert there["nested"] == {"odd": [1, 2]}


def test_what_carries_is_like_the_function_and_can_be_pickled() -> None:
    """With nothing bound, too."""
    for carried in (carry(report), bind("r", a=1)(lambda: carry(report))()):
        again = pickle.loads(pickle.dumps(carried))
        assert again(1) == carried(1)
        assert (carried.__name__, carried.__doc__) == ("report", report.__doc__)


def test_what_runs_later_by_itself_is_not_carried() -> None:
    """It would be bound only while it is created."""

    async def coroutine() -> None:
        pass

    for function in (coroutine, stream):
        with pytest.raises(TypeError, match="decorate it with bind"):
            carry(function)
