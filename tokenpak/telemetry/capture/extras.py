"""
What a record may have behind its context: the fields of the setting ``fields``.

    process      {"pid": …, "start": …, "name": …}
    host         the machine's name
    thread       the thread's name
    task         the name of the asyncio task; left out where there is none
    fingerprint  the same for failures that are alike, as storm control has it
    trace        trace_id and span_id of OpenTelemetry's active span, if there is one

Q5: in a forked child, the process is the child.  C1: a field that cannot be had is left
out.  Nothing is imported for them: where asyncio or OpenTelemetry is not imported,
there is no task and no span.  Names of threads and tasks are the application's, so they
are redacted and bounded.
"""

from __future__ import annotations

import os
import sys
import time
from _thread import get_ident
from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson

from tokenpak.telemetry.capture.fingerprint import Fingerprint, shape_in, stack_of
from tokenpak.telemetry.capture.interrupt import is_interrupt
from tokenpak.telemetry.capture.moment import iso
from tokenpak.telemetry.capture.privacy.redactor import Redactor
from tokenpak.telemetry.capture.sanitise import clean_text
from tokenpak.telemetry.capture.shorten import cut_middle
from tokenpak.telemetry.capture.stack import StackCache
from tokenpak.telemetry.options import FIELDS

MAX_NAME: Final = 120
"""Bytes of a name, encoded."""
ROOM: Final = {
    "process": 230,
    "host": 130,
    "thread": 132,
    "task": 130,
    "fingerprint": 34,
    "trace": 80,
}
"""Bytes of a line that each takes at most."""
_MOST_NAMES: Final = 1_000
_SECOND: Final = 1_000_000_000


class Extras:
    """
    Makes the fields.  Any thread; takes no lock.

    Args:
        names: which, of FIELDS.
        redactor: what is kept out of names.
        stacks: those that are known.

    """

    def __init__(
        self, names: Sequence[str], redactor: Redactor, stacks: StackCache
    ) -> None:
        self._redactor = redactor
        self._stacks = stacks
        self._names: dict[str, bytes] = {}
        """Of threads and tasks, encoded."""
        self._process: tuple[int, bytes] = (0, b"")
        """The pid, and what is written for it.  Replaced as a whole."""
        self._host = b""
        makers: dict[str, Callable[[object], bytes]] = {
            "process": self._of_process,
            "host": self._of_host,
            "thread": self._of_thread,
            "task": self._of_task,
            "fingerprint": self._of_failure,
            "trace": self._of_span,
        }
        self._makers = [makers[name] for name in FIELDS if name in names]
        self.room = sum(ROOM[name] for name in names)
        """Bytes that all of them take at most."""

    def fields(self, error: object) -> list[bytes]:
        """
        Return the fields as the end of a JSON object, each with a comma before it.

        Args:
            error: the exception; None for an event.

        """
        made = []
        for make in self._makers:
            try:
                made.append(make(error))
            except Exception:  # noqa: S112  of the application's own making
                continue
        return made

    def _name(self, name: object) -> bytes:
        if type(name) is not str:
            raise TypeError
        known = self._names.get(name)
        if known is None:
            text = clean_text(self._redactor.window(name, MAX_NAME), MAX_NAME)
            known = orjson.dumps(cut_middle(text, MAX_NAME))
            if len(self._names) >= _MOST_NAMES:  # a name for each request, say
                self._names.clear()
            self._names[name] = known
        return known

    def _of_process(self, _: object) -> bytes:
        pid, made = self._process
        if pid != os.getpid():
            pid = os.getpid()
            made = b',"process":{"pid":%d,"start":"%b","name":%b}' % (
                pid,
                iso(_process_start()).encode(),
                self._name(_process_name()),
            )
            self._process = pid, made
        return made

    def _of_host(self, _: object) -> bytes:
        if not self._host:
            self._host = b',"host":' + self._name(_host_name())
        return self._host

    def _of_thread(self, _: object) -> bytes:
        # Not by current_thread(): it takes a lock, and enters threads that are not
        # Python's own for ever.
        threads = getattr(sys.modules.get("threading"), "_active", {})
        thread = threads.get(get_ident())
        name = f"thread {get_ident()}" if thread is None else thread.name
        return b',"thread":' + self._name(name)

    def _of_task(self, _: object) -> bytes:
        asyncio: Any = sys.modules.get("asyncio")
        loop = None if asyncio is None else asyncio._get_running_loop()  # noqa: SLF001
        task = None if loop is None else asyncio.current_task(loop)
        return b"" if task is None else b',"task":' + self._name(task.get_name())

    def _of_failure(self, error: object) -> bytes:
        if not issubclass(type(error), BaseException):
            return b""
        assert isinstance(error, BaseException)
        try:
            message = str(error)
        except BaseException as reason:  # user code
            if is_interrupt(reason):
                raise
            message = ""
        entry, shape = stack_of(self._stacks, error), shape_in(self._stacks, message)
        digest = Fingerprint(type(error), entry, shape).digest()
        return b',"fingerprint":"%b"' % digest.encode()

    def _of_span(self, _: object) -> bytes:
        trace: Any = sys.modules.get("opentelemetry.trace")
        if trace is None:
            return b""
        span = trace.get_current_span().get_span_context()
        if not span.is_valid:
            return b""
        return b',"trace_id":"%032x","span_id":"%016x"' % (span.trace_id, span.span_id)


def _process_start() -> int:
    """Return when this process began, in nanoseconds since the epoch."""
    try:
        with open("/proc/self/stat", "rb") as file:
            # Behind the name, which may hold anything: the 22nd field of all.
            ticks = int(file.read().rpartition(b")")[2].split()[19])
        since_boot = ticks * _SECOND // os.sysconf("SC_CLK_TCK")
        boot = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        return boot + since_boot
    except (OSError, ValueError, IndexError, AttributeError):  # no Linux
        return time.time_ns()


def _process_name() -> str:
    """Return the name of multiprocessing, where it gave one; else the program's."""
    multiprocessing: Any = sys.modules.get("multiprocessing.process")
    if multiprocessing is not None:
        name = multiprocessing.current_process().name
        if type(name) is str and name != "MainProcess":
            return name
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    module = getattr(spec, "name", None)
    if type(module) is str:  # python -m gunicorn
        return module.removesuffix(".__main__")
    return os.path.basename(sys.argv[0]) if getattr(sys, "argv", None) else ""


def _host_name() -> str:
    if hasattr(os, "uname"):
        return os.uname().nodename
    import platform  # noqa: PLC0415  (Windows)

    return platform.node()


__all__ = ["MAX_NAME", "ROOM", "Extras"]
