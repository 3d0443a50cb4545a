"""
Whether what came out of the application's own code is an interruption of the program.

What an object raises when it is looked at is caught (C1).  But a signal may arrive
while it is looked at, and what its handler raises (Ctrl-C) must end the program, or
whatever it is meant to end.  Asked only after something was raised.
"""

from __future__ import annotations

from types import CodeType, TracebackType


def is_interrupt(reason: BaseException) -> bool:
    """
    Return whether a signal handler raised *reason*.  For who has just caught it.

    What Python's own handler raises inside of a method that is written in Python cannot
    be told from what the method itself raises: that is not called an interruption.
    """
    tb = reason.__traceback__
    if isinstance(reason, Exception) or tb is None:
        return False
    if tb.tb_next is None:  # raised by no Python code
        return type(reason) is KeyboardInterrupt
    handlers = _signal_handlers()
    link: TracebackType | None = tb
    while link is not None:
        if link.tb_frame.f_code in handlers:
            return True
        link = link.tb_next
    return False


def _signal_handlers() -> set[CodeType]:
    import signal  # noqa: PLC0415  (seldom needed)

    codes = set()
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        code = getattr(getattr(handler, "__func__", handler), "__code__", None)
        if isinstance(code, CodeType):
            codes.add(code)
    return codes


__all__ = ["is_interrupt"]
