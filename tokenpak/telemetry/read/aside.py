"""
Calls into a library that takes long, in a thread of their own.

Python handles a signal when the main thread comes back to it.  DuckDB does not, for as
long as one of its functions works on one value: a SIGTERM was answered minutes later,
or never.  So the call is made by another thread, and the one that waits for it can be
interrupted at any time: the library is asked to end, again and again (it may be on its
way to begin), and if it does not in some seconds, it is left where it is.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE: Final = 2.0
"""Seconds that an interrupted call has to end."""
_STEP: Final = 0.05
_WAIT: Final = 3600.0
"""Seconds: on some systems, a wait without an end is not interrupted."""


class Call:
    """A call that is under way."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.function: Callable[..., Any] | None = function
        self.args = args
        self.value: Any = None
        self.error: BaseException | None = None
        self.ended = threading.Event()
        self.abandoned = False

    def make(self) -> None:
        """Make the call, and keep what comes of it; once, and not if it is given up."""
        function, args = self.function, self.args
        self.function, self.args = None, ()
        try:
            if function is not None and not self.abandoned:
                self.value = function(*args)
        except BaseException as e:
            self.error = e
        finally:
            self.ended.set()


class Aside:
    """
    A thread that makes calls, one at a time.  It is used by one other thread.

    Args:
        interrupt: asks the call that is under way to end; may be called at any time.
        patience: seconds that it has to do so.

    Attributes:
        stuck: whether a call was left where it is; nothing more can be called then, and
            the process should be ended by os._exit(): the library's own end would meet
            a thread that is at work in it.

    """

    def __init__(
        self, interrupt: Callable[[], object], patience: float = PATIENCE
    ) -> None:
        self.stuck = False
        self._interrupt = interrupt
        self._patience = patience
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._open: list[Call] = []
        """Calls that were begun, and whose result nobody has taken."""
        self._thread: threading.Thread | None = None

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Make a call, and return or raise what it does."""
        return self.result(self.begin(function, *args))

    def begin(self, function: Callable[..., Any], *args: Any) -> Call:
        """Begin a call, which result() ends; they are made one after the other."""
        if self._thread is None:
            # A daemon: one that is stuck does not keep the interpreter from its end.
            thread = threading.Thread(
                target=_make, args=(self._calls,), name="tokenpak-sql", daemon=True
            )
            thread.start()
            self._thread = thread
        call = Call(function, args)
        # Before it is made: what a signal raises may come between any two steps, and
        # whoever is interrupted in here has no call that he could abandon.
        self._open.append(call)
        self._calls.put(call)
        return call

    def result(self, call: Call) -> Any:
        """
        Wait for *call*, and return or raise what it does.

        Whatever interrupts the wait (KeyboardInterrupt, what a signal handler raises)
        interrupts the call, and is raised when that has ended, or is left.
        """
        try:
            while not call.ended.wait(_WAIT):
                pass
        except BaseException:
            self.abandon(call)
            raise
        self._open.remove(call)
        if call.error is not None:
            raise call.error
        return call.value

    def abandon(self, call: Call) -> None:
        """Let *call* end without a result, or leave it where it is."""
        self.stuck = True  # a second signal may end the wait
        call.abandoned = True
        self._calls.put(call)  # if it is there already, it is passed over
        until = time.monotonic() + self._patience
        while not call.ended.is_set() and time.monotonic() < until:
            self._interrupt()
            call.ended.wait(_STEP)
        self.stuck = not call.ended.is_set()
        if not self.stuck and call in self._open:
            self._open.remove(call)

    def abandon_all(self) -> None:
        """Abandon the calls that were begun, and whose result nobody has taken."""
        while self._open and not self.stuck:
            self.abandon(self._open[0])

    def close(self) -> None:
        """Abandon what goes on, and end the thread, if it is not stuck.  Idempotent."""
        self.abandon_all()
        if self._thread is not None and not self.stuck:
            self._calls.put(None)
            self._thread.join()
            self._thread = None


def _make(calls: queue.SimpleQueue[Call | None]) -> None:
    while (call := calls.get()) is not None:
        call.make()
        del call  # its result is not kept until the next one comes


__all__ = ["PATIENCE", "Aside", "Call"]
