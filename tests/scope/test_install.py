"""install: what nobody caught is in the log when the process is gone, and once."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import multiprocessing.process
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tokenpak.telemetry.error_logger import (
    ErrorLogger,
    bind,
    install,
    uninstall,
)

from .rig import records_of, run_program

Make = Callable[..., ErrorLogger]
Replace = Callable[[Any, str, Any], None]
PLACES: tuple[tuple[Any, str], ...] = (
    (sys, "excepthook"),
    (threading, "excepthook"),
    (sys, "unraisablehook"),
    (asyncio.BaseEventLoop, "call_exception_handler"),
    (multiprocessing.process.BaseProcess, "run"),
)
START = """
import asyncio, gc, multiprocessing, os, sys, threading
from tokenpak.telemetry.error_logger import *

def fail(*args):
    raise ValueError("nobody caught this", *args)

"""


def hooks() -> list[object]:
    """Return what is in place."""
    return [getattr(owner, name) for owner, name in PLACES]


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Fail a test that leaves a hook of ours behind."""
    before = hooks()
    yield
    uninstall()
    assert hooks() == before


@pytest.fixture
def replace() -> Iterator[Replace]:
    """Put something in the place of a hook, for this test."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch.setattr


def lost(records: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Return message and context of each record."""
    return [(record["message"], record["context"]) for record in records]


# -- programs that die ---------------------------------------------------------------


def test_q1_the_exception_that_ends_the_program_is_in_the_log(tmp_path: Path) -> None:
    """And is printed as ever."""
    status, printed, records = run_program(START + "install()\nfail()\n", tmp_path)

    assert status == 1
    assert printed.endswith("ValueError: nobody caught this\n")
    assert lost(records) == [("nobody caught this", {"uncaught": "program"})]
    assert records[0]["stack_trace"] == printed


def test_q1_it_is_recorded_before_the_process_ends(tmp_path: Path) -> None:
    """Nothing that comes after the hook is needed, not even an orderly exit."""
    program = START + "sys.excepthook = lambda *_: os._exit(7)\ninstall()\nfail()\n"

    status, _, records = run_program(program, tmp_path, recovered=True)

    assert status == 7
    assert lost(records) == [("nobody caught this", {"uncaught": "program"})]


def test_the_hooks_know_what_was_bound_where_it_came_from(tmp_path: Path) -> None:
    """Though the block has been left when they are called."""
    _, _, records = run_program(
        START + "install()\nwith bind('r', a=1):\n    fail()\n", tmp_path
    )

    assert [r["request_id"] for r in records] == ["r"]
    assert records[0]["context"] == {"a": 1, "uncaught": "program"}


def test_exceptions_of_threads_are_recorded(tmp_path: Path) -> None:
    """Those of threading, and of the module below it."""
    _, printed, records = run_program(
        START + "install()\n"
        "thread = threading.Thread(target=fail, name='worker')\n"
        "thread.start(); thread.join()\n"
        "import _thread, time\n"
        "done = threading.Event()\n"
        "before = sys.unraisablehook\n"
        "def told(args): before(args); done.set()\n"
        "sys.unraisablehook = told\n"
        "_thread.start_new_thread(fail, (1,))\n"
        "assert done.wait(200)\n",
        tmp_path,
    )

    first, second = lost(records)
    context = {"uncaught": "thread", "thread": "worker"}
    assert first == ("nobody caught this", context)
    assert second[0] == "('nobody caught this', 1)"
    assert second[1]["uncaught"] == "finalizer"
    assert "fail" in second[1]["during"]
    assert printed.count("ValueError: ") == 2


def test_q6_exceptions_of_finalizers_are_recorded(tmp_path: Path) -> None:
    """Also at the very end; with nothing that is bound where they happen to run."""
    _, printed, records = run_program(
        START + "install()\n"
        "class Client:\n    __del__ = fail\n"
        "with bind('innocent'):\n    Client()\n"
        "    cycle = Client(); cycle.itself = cycle; del cycle; gc.collect()\n"
        "kept = Client()\n",
        tmp_path,
        recovered=True,
    )

    assert [r["request_id"] for r in records] == [None] * 3
    assert all("fail" in r["context"]["during"] for r in records)
    assert printed.count("ValueError: ") == 3


@pytest.mark.parametrize("late", [False, True], ids=["new loop", "running loop"])
def test_a_task_whose_exception_nobody_asked_for_is_recorded(
    late: bool, tmp_path: Path
) -> None:
    """With the name of the task; in loops that are made later, and that run already."""
    _, printed, records = run_program(
        START + ("" if late else "install()\n") + "async def work(): fail()\n"
        "async def main():\n"
        + ("    install()\n" if late else "")
        + "    loop = asyncio.get_running_loop()\n"
        "    with bind('r', a=1):\n"
        "        task = asyncio.create_task(work(), name='reader')\n"
        "    with bind('innocent'):\n"
        "        loop.call_soon(fail)\n"
        "        await asyncio.wait([task])\n"
        "        del task; gc.collect()\n"
        "asyncio.run(main())\n",
        tmp_path,
    )

    by_name = {record["context"].get("task"): record for record in records}
    assert len(records) == 2
    assert by_name["reader"]["context"]["uncaught"] == "asyncio"
    assert "never retrieved" in by_name["reader"]["context"]["during"]
    assert "Exception in callback fail" in by_name[None]["context"]["during"]
    if sys.version_info >= (3, 12):  # before, a task does not tell its context
        assert by_name["reader"]["request_id"] == "r"
    assert by_name["reader"]["request_id"] != "innocent"
    assert printed.count("ValueError: nobody caught this") == 2


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_what_ends_a_process_of_multiprocessing_is_recorded(
    method: str, tmp_path: Path
) -> None:
    """Spawned ones import the program, and install for themselves."""
    _, printed, records = run_program(
        START + "install()\n"
        "if __name__ == '__main__':\n"
        f"    context = multiprocessing.get_context('{method}')\n"
        "    child = context.Process(target=fail, name='child')\n"
        "    child.start(); child.join(200)\n"
        "    assert child.exitcode == 1, child.exitcode\n",
        tmp_path,
    )

    expected = ("nobody caught this", {"uncaught": "process", "process": "child"})
    assert lost(records) == [expected]
    assert "Process child:" in printed


def test_a_process_that_runs_its_own_way_is_not_seen(tmp_path: Path) -> None:
    """A class with its own run() decorates it, as the page says."""
    _, _, records = run_program(
        START + "install()\n"
        "class Own(multiprocessing.get_context('fork').Process):\n"
        "    def run(self): fail('unseen')\n"
        "class Decorated(multiprocessing.get_context('fork').Process):\n"
        "    @log_exception()\n"
        "    def run(self): fail('seen')\n"
        "for child in Own(), Decorated():\n"
        "    child.start(); child.join(200)\n",
        tmp_path,
    )

    assert [r["message"] for r in records] == ["('nobody caught this', 'seen')"]


@pytest.mark.parametrize(
    "end", ["sys.exit('text')", "raise KeyboardInterrupt", "raise SystemExit(3)"]
)
def test_what_is_no_failure_is_not_recorded(end: str, tmp_path: Path) -> None:
    """In the program and in a thread."""
    _, _, records = run_program(
        START + "install()\n"
        f"def end():\n    {end}\n"
        "thread = threading.Thread(target=end)\nthread.start(); thread.join()\n"
        "end()\n",
        tmp_path,
    )

    assert records == []


def test_what_was_recorded_is_not_recorded_again(tmp_path: Path) -> None:
    """By a decorator, by log_error, or by two of the hooks."""
    _, _, records = run_program(
        START + "install()\n"
        "@log_exception('decorated')\n"
        "def decorated(): fail(1)\n"
        "def logged():\n"
        "    try: fail(2)\n"
        "    except ValueError as error:\n"
        "        log_error('logged', error)\n"
        "        raise\n"
        "for target in decorated, logged:\n"
        "    thread = threading.Thread(target=target)\n"
        "    thread.start(); thread.join()\n"
        "decorated()\n",
        tmp_path,
    )

    ids = [r["request_id"] for r in records]
    assert ids == ["decorated", "logged", "decorated"]


# -- hooks in chains ------------------------------------------------------------------


def test_what_was_there_is_called_as_before(
    make_logger: Make, replace: Replace
) -> None:
    """With the same arguments, once, and also if the logger is broken."""

    class Broken:
        def log_error(self, *_: object, **__: object) -> None:
            raise RuntimeError

    told: list[tuple[object, ...]] = []
    for logger in (make_logger(), Broken()):
        told.clear()
        replace(sys, "excepthook", lambda *args: told.append(args))
        error = ValueError("x")

        with install(logger=logger):
            sys.excepthook(ValueError, error, None)

        assert told == [(ValueError, error, None)]


def test_a_hook_can_be_called_by_the_names_of_its_arguments(
    make_logger: Make,
) -> None:
    """As that of event loops may be."""
    logger = make_logger()
    told: list[object] = []
    with install(logger=logger), contextlib.closing(asyncio.new_event_loop()) as loop:
        loop.set_exception_handler(lambda _loop, context: told.append(context))
        context = {"message": "by name", "exception": ValueError("x")}
        loop.call_exception_handler(context=context)

    assert told == [context]
    assert len(records_of(logger)) == 1


def test_installed_twice_is_installed_once(make_logger: Make) -> None:
    """And taken out by the first time that it is taken out."""
    logger, before = make_logger(), hooks()

    first = install(logger=logger)
    second = install()
    now = hooks()
    install(logger=logger)

    assert first is second
    assert hooks() == now
    assert all(one is not other for one, other in zip(now, before, strict=True))
    uninstall()
    uninstall()
    first.uninstall()
    assert hooks() == before


@pytest.mark.parametrize("number", range(len(PLACES)), ids=[name for _, name in PLACES])
def test_below_somebody_elses_hook_it_becomes_a_pass_through(
    number: int, make_logger: Make, replace: Replace
) -> None:
    """Taken out while theirs is on top: theirs stays, and the one below is called."""
    owner, name = PLACES[number]
    told: list[str] = []
    replace(owner, name, lambda *_: told.append("below"))
    logger = make_logger()

    installed = install(logger=logger)
    ours = getattr(owner, name)

    def theirs(*args: Any) -> None:
        told.append("above")
        ours(*args)

    setattr(owner, name, theirs)
    installed.uninstall()
    getattr(owner, name)(*_arguments(number))

    assert told == ["above", "below"]
    assert getattr(owner, name) is theirs
    assert records_of(logger) == []
    with install(logger=logger):
        getattr(owner, name)(*_arguments(number))
    assert told == ["above", "below"] * 2
    expected = [] if name == "run" else ["ValueError"]
    assert [r["error_type"] for r in records_of(logger)] == expected


def test_below_somebody_elses_run_it_records_nothing_any_more(
    make_logger: Make, replace: Replace
) -> None:
    """What the process raises passes, as before and after."""
    process: Any = multiprocessing.process.BaseProcess

    def failing(self: object) -> None:
        raise ValueError("x")

    replace(process, "run", failing)
    logger = make_logger()
    installed = install(logger=logger)
    ours = process.run
    process.run = functools.partialmethod(ours)
    itself = SimpleNamespace(name="child")

    for uninstalled in (False, True):
        if uninstalled:
            installed.uninstall()
        with pytest.raises(ValueError, match="x"):
            process.run(itself)

    found = [record["context"] for record in records_of(logger)]
    assert found == [{"uncaught": "process", "process": "child"}]


def _arguments(number: int) -> tuple[Any, ...]:
    error = ValueError("x")
    every: tuple[tuple[Any, ...], ...] = (
        (ValueError, error, None),
        (_Arguments(error),),
        (_Arguments(error),),
        (None, {"message": "m", "exception": error}),
        (None,),
    )
    return every[number]


class _Arguments:
    """What threading and finalizers hand to their hooks."""

    def __init__(self, error: BaseException) -> None:
        self.exc_value = error
        self.exc_type = type(error)
        self.thread = threading.current_thread()
        self.object = self.err_msg = None


def test_a_loop_that_is_not_asyncios_own_is_watched(make_logger: Make) -> None:
    """As long as the hooks are in; its handler is called as before."""
    logger = make_logger()
    told: list[object] = []

    class Loop:
        """Has of a loop what is needed."""

        handler: Any = None

        def get_exception_handler(self) -> Any:
            return self.handler

        def set_exception_handler(self, handler: Any) -> None:
            self.handler = handler

        def default_exception_handler(self, context: object) -> None:
            told.append(context)

    loop: Any = Loop()
    context = {"message": "m", "exception": ValueError("x")}
    with install(logger=logger) as installed:
        installed.watch(loop)
        loop.handler(loop, context)
        loop.handler(loop, {"message": "without an exception"})

    assert told == [context, {"message": "without an exception"}]
    assert loop.handler is None
    assert [r["error_type"] for r in records_of(logger)] == ["ValueError"]


def test_q6_what_finalizers_raise_while_another_is_recorded(
    make_logger: Make, replace: Replace
) -> None:
    """A hook that runs in the middle of a hook; neither waits for the other."""
    logger = make_logger()
    replace(sys, "unraisablehook", lambda _: None)

    class Client:
        def __del__(self) -> None:
            raise KeyError("inner")

    class OddError(ValueError):
        def __str__(self) -> str:
            Client()
            return "outer"

    with install(logger=logger), bind("r"):
        hook: Any = sys.unraisablehook
        hook(_Arguments(OddError()))
        gc.collect()

    found = [r["message"] for r in records_of(logger)]
    assert "outer" in found
    assert found.count("'inner'") == len(found) - 1 >= 1
