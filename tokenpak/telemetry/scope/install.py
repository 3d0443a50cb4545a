"""
``install``: what nobody caught is recorded before the process, thread or task is gone.

Each hook of ours first records, then calls what was there before.  When it is taken
out while somebody else has chained on top of it, it stays in their chain and passes
through.

What cannot be reached: exceptions that somebody catches, as pools and most frameworks
do; processes that end without an exception; event loops that are not asyncio's own (see
Hooks.watch); and interactive shells, which print exceptions themselves.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, Self

from tokenpak.telemetry.capture.mark import recorded
from tokenpak.telemetry.capture.sanitise import safe_str
from tokenpak.telemetry.scope.exceptions import ExceptionScope
from tokenpak.telemetry.scope.left import record
from tokenpak.telemetry.scope.target import Logger, target

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

_PASSING: Final = (KeyboardInterrupt, SystemExit, GeneratorExit)
"""Not recorded: they are no failures."""
_LONGEST: Final = 200


class Hooks:
    """
    What ``install()`` returns: the hooks that are in place.

    Also a context manager, which uninstalls at its end.
    """

    def __init__(self, logger: Logger | None) -> None:
        self._logger = logger
        self._undo: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.uninstall()

    def uninstall(self) -> None:
        """Take the hooks out.  Idempotent."""
        if _installed.get("it") is self:
            del _installed["it"]
        while self._undo:
            self._undo.pop()()

    def watch(self, loop: AbstractEventLoop) -> None:
        """
        Record what the handler of an event loop is told.

        Args:
            loop: one whose class is not derived from asyncio's, such as uvloop's.

        """
        before = loop.get_exception_handler()

        def handler(loop: AbstractEventLoop, context: dict[str, Any]) -> None:
            if active:
                _quietly(self._of_loop, loop, context)
            if before is None:
                loop.default_exception_handler(context)
            else:
                before(loop, context)

        def undo() -> None:
            active.clear()
            if loop.get_exception_handler() is handler:
                loop.set_exception_handler(before)

        active = [True]
        loop.set_exception_handler(handler)
        self._undo.append(undo)

    def _install(self) -> None:
        self._chain(sys, "excepthook", self._of_program)
        self._chain(threading, "excepthook", self._of_thread)
        self._chain(sys, "unraisablehook", self._of_finalizer)
        # Imported by whoever installs, and not with the package (X1).
        import asyncio  # noqa: PLC0415
        import multiprocessing.process  # noqa: PLC0415

        self._chain(asyncio.BaseEventLoop, "call_exception_handler", self._of_loop)
        self._wrap_run(multiprocessing.process.BaseProcess)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if not isinstance(loop, asyncio.BaseEventLoop):
            self.watch(loop)

    def _chain(self, owner: Any, name: str, see: Callable[..., None]) -> None:
        before = getattr(owner, name)
        active = [True]

        def hook(*args: Any, **named: Any) -> Any:
            if active:
                _quietly(see, *args, **named)
            return before(*args, **named) if callable(before) else None

        def undo() -> None:
            active.clear()
            if getattr(owner, name) is hook:
                setattr(owner, name, before)

        setattr(owner, name, hook)
        self._undo.append(undo)

    def _wrap_run(self, process: Any) -> None:
        # A process of multiprocessing catches what its run() raises, prints it and
        # exits: no hook is called.  So run() itself tells; subclasses with one of their
        # own decorate it.
        before = process.run
        scope = ExceptionScope(None, _name_of_process, Exception, self._logger, False)
        logged = scope(before)
        active = [True]

        def run(self: Any) -> None:
            (logged if active else before)(self)

        def undo() -> None:
            active.clear()
            if process.run is run:
                process.run = before

        process.run = run
        self._undo.append(undo)

    def _of_program(self, _cls: object, error: object, _traceback: object) -> None:
        self._record(error, {"uncaught": "program"})

    def _of_thread(self, args: Any) -> None:
        name = getattr(args.thread, "name", None)
        self._record(args.exc_value, {"uncaught": "thread", "thread": name})

    def _of_finalizer(self, args: Any) -> None:
        during = getattr(args.object, "__qualname__", None) or args.err_msg
        context = {"uncaught": "finalizer", "during": safe_str(during, _LONGEST)}
        # Whoever happens to collect garbage here has nothing to do with it.
        Context().run(self._record, args.exc_value, context)

    def _of_loop(self, _loop: object, context: dict[str, Any]) -> None:
        sources = (context.get(key) for key in ("task", "future", "handle"))
        source = next((one for one in sources if one is not None), None)
        found: dict[str, Any] = {
            "uncaught": "asyncio",
            "during": context.get("message"),
        }
        name = getattr(source, "get_name", None)
        if name is not None:
            found["task"] = name()
        get_context = getattr(source, "get_context", None)  # from Python 3.12 on
        own = Context() if get_context is None else get_context().copy()
        own.run(self._record, context.get("exception"), found)

    def _record(self, error: Any, context: dict[str, Any]) -> None:
        if (
            issubclass(type(error), BaseException)
            and not issubclass(type(error), _PASSING)
            and not recorded(error)
        ):
            record(target(self._logger), None, error, context)


def _name_of_process(process: Any) -> dict[str, Any]:
    return {"uncaught": "process", "process": process.name}


def _quietly(see: Callable[..., None], *args: Any, **named: Any) -> None:
    try:
        see(*args, **named)
    except Exception:  # noqa: S110  the hook that was there is called all the same
        pass


_installed: dict[str, Hooks] = {}


def install(*, logger: Logger | None = None) -> Hooks:
    """
    Record what nobody catches: in the program, threads, finalizers, asyncio, processes.

    Sets ``sys.excepthook``, ``threading.excepthook`` and ``sys.unraisablehook``, and
    wraps ``asyncio.BaseEventLoop.call_exception_handler`` and
    ``multiprocessing.Process.run``.  What was there is called as before.  To install
    twice is the same as once.  ``KeyboardInterrupt`` and ``SystemExit`` are not
    recorded, and neither is what was recorded already.

    Args:
        logger: which ErrorLogger; default that of the process.

    """
    hooks = _installed.get("it")
    if hooks is None:
        hooks = Hooks(logger)
        # One step, so that of two threads one installs.
        if _installed.setdefault("it", hooks) is hooks:
            hooks._install()  # noqa: SLF001  (this module's own class)
    return _installed.get("it", hooks)


def uninstall() -> None:
    """Take out what ``install()`` has put in.  Idempotent."""
    hooks = _installed.get("it")
    if hooks is not None:
        hooks.uninstall()


__all__ = ["Hooks", "install", "uninstall"]
