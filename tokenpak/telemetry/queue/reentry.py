"""
Whether this thread may wait for room in the queue.

Back-pressure is a setting.  But the writer must not wait for itself, and code that runs
in the middle of something else must not wait at all: a signal handler or a finalizer
may have interrupted whoever would have to make room.
"""

from __future__ import annotations

import signal
import sys
from types import CodeType, FrameType

_writers: set[int] = set()


def register_writer(ident: int) -> None:
    """Remember that the thread *ident* is a writer."""
    _writers.add(ident)


def unregister_writer(ident: int) -> None:
    """Forget it: thread identifiers are used again."""
    _writers.discard(ident)


def is_writer(ident: int) -> bool:
    """Return whether the thread *ident* is a writer."""
    return ident in _writers


def may_wait(ident: int) -> bool:
    """Return whether the current thread, *ident*, may wait.  Off the hot path."""
    if ident in _writers:
        return False
    handlers = _signal_handlers()
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  (to look at callers)
    while frame is not None:
        if frame.f_code in handlers or frame.f_code.co_name == "__del__":
            return False
        frame = frame.f_back
    return True


def _signal_handlers() -> set[CodeType]:
    codes = set()
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        function = getattr(handler, "__func__", handler)
        code = getattr(function, "__code__", None)
        if isinstance(code, CodeType):
            codes.add(code)
    return codes


__all__ = ["is_writer", "may_wait", "register_writer", "unregister_writer"]
