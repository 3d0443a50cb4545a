"""
gunicorn: what becomes of workers is recorded, as errors with their pid.

    connect(globals())      as the last line of gunicorn.conf.py

- A worker that gunicorn aborts, since it did not answer for longer than ``timeout``: a
  ``WorkerTimeout``, by the worker itself, with the stack at which it was, and the
  request id that was bound there.  Where other threads run, theirs are in the context.
- Any other worker that died by a signal or left with another status than 0: a
  ``WorkerDied``, by the main process.  It is too late for a stack.
- An exception that ended a worker, such as one of the application's import: itself, by
  the worker.  (With ``--preload`` the main process imports it: use install() there.)

Orders to leave (SIGTERM, SIGINT, SIGQUIT) and workers that are recycled are no
failures.  Hooks that are in the file already are called after these.  C1: whatever goes
wrong here, gunicorn does not see it.
"""

from __future__ import annotations

import mmap
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, MutableMapping
from types import FrameType, TracebackType
from typing import Any, Final

from tokenpak.telemetry.capture.mark import recorded
from tokenpak.telemetry.error_logger import ErrorLogger, get_error_logger

_ORDERS: Final = (signal.SIGTERM, signal.SIGINT, getattr(signal, "SIGQUIT", 0))
_MOST_THREADS: Final = 20
_MOST_FRAMES: Final = 10
"""Of another thread: the innermost."""
_OWN: Final = "tokenpak.telemetry.queue."
_TOLD: Final = "_tokenpak_told"
"""The attribute of a worker with a byte that it shares with the main process: whether
it has recorded why it ends."""
_LOOKS: Final = 10
"""Callers among which gunicorn's own is sought."""


class WorkerTimeout(Exception):  # noqa: N818  (its name is the record's error_type)
    """A worker did not answer, and was told to abort."""


class WorkerDied(Exception):  # noqa: N818
    """A worker ended by a signal, or with a status that says that it failed."""


class _Watch:
    """What gunicorn calls."""

    def __init__(self, logger: ErrorLogger | None) -> None:
        self._logger = logger

    def pre_fork(self, _server: Any, worker: Any) -> None:
        """In the main process, before a worker is forked."""
        setattr(worker, _TOLD, mmap.mmap(-1, 1))

    def worker_abort(self, worker: Any) -> None:
        """In the worker, in its handler of SIGABRT."""
        seconds = getattr(getattr(worker, "cfg", None), "timeout", None)
        error = WorkerTimeout(
            f"worker {os.getpid()} was aborted: most often because it did not answer "
            f"for longer than the timeout of {seconds} s"
        )
        error.__traceback__ = _stack_of(_interrupted())
        context = {"pid": os.getpid(), "timeout": seconds}
        others = _other_threads()
        if others:
            context["threads"] = others
        self._log().log_error(None, error, context)
        told = getattr(worker, _TOLD, None)
        if told is not None:
            told[0] = 1

    def worker_exit(self, _server: Any, _worker: Any) -> None:
        """In the worker, at its end."""
        leaving = sys.exception()
        error = getattr(leaving, "__context__", None)
        tb = getattr(error, "__traceback__", None)
        # gunicorn caught it where workers begin, and leaves because of it.  What the
        # application was handling when it was told to leave was caught elsewhere.
        if (
            isinstance(leaving, SystemExit)
            and isinstance(error, Exception)
            and tb is not None
            and tb.tb_frame.f_code.co_name == "spawn_worker"
            and not recorded(error)
        ):
            self._log().log_error(None, error, {"uncaught": "worker"})

    def child_exit(self, _server: Any, worker: Any) -> None:
        """In the main process, when a worker is gone."""
        status = _status()
        if status is None:
            return
        pid, timed_out = worker.pid, bool(getattr(worker, "aborted", False))
        told = getattr(worker, _TOLD, None)
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
        if code == 0 or number in _ORDERS or (told is not None and told[0]):
            return  # the last has recorded its WorkerTimeout, and may be killed then
        how = f"was killed by {_name(number)}" if number else f"left with status {code}"
        why = ""
        if timed_out:
            why = ", as it had not answered for longer than the timeout"
        elif number == getattr(signal, "SIGKILL", 0):
            why = ": by somebody, or for want of memory"
        context: dict[str, Any] = {"pid": pid, "timed_out": timed_out}
        if number:
            context["signal"] = _name(number)
        else:
            context["exit_code"] = code
        self._log().log_error(None, WorkerDied(f"worker {pid} {how}{why}"), context)

    def _log(self) -> ErrorLogger:
        return self._logger or get_error_logger()


def connect(
    settings: MutableMapping[str, Any], logger: ErrorLogger | None = None
) -> None:
    """
    Put the hooks into *settings*.  Idempotent.

    Args:
        settings: ``globals()`` of gunicorn.conf.py, in its last line.
        logger: default: that of the process.

    """
    watch = _Watch(logger)
    for name, see in (
        ("pre_fork", watch.pre_fork),
        ("worker_abort", watch.worker_abort),
        ("worker_exit", watch.worker_exit),
        ("child_exit", watch.child_exit),
    ):
        before = settings.get(name)
        if not isinstance(getattr(before, "__self__", None), _Chained):
            settings[name] = _Chained(see, before).hooks[name]


class _Chained:
    """A hook of ours, and the one that was there."""

    def __init__(self, see: Callable[..., None], before: Any) -> None:
        self._see = see
        self._before = before
        # gunicorn counts the arguments that a hook takes.
        self.hooks = {
            "pre_fork": self.of_both,
            "worker_abort": self.of_worker,
            "worker_exit": self.of_both,
            "child_exit": self.of_both,
        }

    def of_worker(self, worker: Any) -> None:
        """For hooks that are given the worker."""
        self._call(worker)

    def of_both(self, server: Any, worker: Any) -> None:
        """For hooks that are given the server and the worker."""
        self._call(server, worker)

    def _call(self, *args: Any) -> None:
        try:
            self._see(*args)
        except Exception:  # noqa: S110  (C1)
            pass
        if callable(self._before):
            self._before(*args)


def _caller(name: str) -> FrameType | None:
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  (no other way)
    for _ in range(_LOOKS):
        if frame is None or frame.f_code.co_name == name:
            return frame
        frame = frame.f_back
    return None


def _interrupted() -> FrameType | None:
    """Return the frame that was interrupted by the signal."""
    handler = _caller("handle_abort")
    return sys._getframe(1) if handler is None else handler.f_back  # noqa: SLF001


def _status() -> int | None:
    """Return what waitpid() said of the worker: gunicorn tells its hook no more."""
    frame = _caller("reap_workers")
    status = None if frame is None else frame.f_locals.get("status")
    return status if type(status) is int else None


def _stack_of(frame: FrameType | None) -> TracebackType | None:
    """Return a traceback that ends in *frame*, as if an exception came from there."""
    tb = None
    while frame is not None:
        tb = TracebackType(tb, frame, frame.f_lasti, frame.f_lineno or 1)
        frame = frame.f_back
    return tb


def _other_threads() -> dict[str, str]:
    # Not by threading.enumerate(): it takes a lock, which the code that the signal has
    # interrupted may hold.
    threads = dict(getattr(threading, "_active", {}))
    found = {}
    for ident, frame in sys._current_frames().items():  # noqa: SLF001
        if ident == threading.get_ident() or _is_own(frame):
            continue
        thread = threads.get(ident)
        name = f"thread {ident}" if thread is None else thread.name
        found[name] = "".join(traceback.format_stack(frame, -_MOST_FRAMES))
        if len(found) >= _MOST_THREADS:
            break
    return found


def _is_own(frame: FrameType) -> bool:
    """Return whether *frame* is of a thread of the logger's."""
    outermost = frame
    while outermost.f_back is not None:
        outermost = outermost.f_back
    return str(outermost.f_globals.get("__name__", "")).startswith(_OWN)


def _name(number: int | None) -> str:
    try:
        return signal.Signals(number or 0).name
    except ValueError:
        return f"signal {number}"


__all__ = ["connect"]
