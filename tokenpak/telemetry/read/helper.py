"""
A helper process as its starter sees it: how it is started, told and heard.

It is a fresh interpreter that loads ``worker``, or, where the plan allows it and this
process has but one thread, a fork, which is there at once: an interpreter needs a tenth
of a second to load what this one has loaded already.

A fork has copies of all descriptors.  It closes those of the pipes of others, which
would else not end with their starter; it lets go of no lock, runs no handler of this
process, and ends by ``os._exit``.
"""

from __future__ import annotations

import io
import marshal
import os
import signal
import sys
from typing import IO, TYPE_CHECKING, Any, Final, NoReturn, Protocol

import tokenpak

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from tokenpak.telemetry.read.export import Plan

WORKER: Final = "tokenpak.telemetry.read.worker"
_TASKS: Final = "/proc/self/task"
_ENDING: Final = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)
)


class _Process(Protocol):
    @property
    def pid(self) -> int: ...
    def kill(self) -> None: ...
    def wait(self) -> object: ...


_Started = tuple[_Process, IO[bytes], IO[bytes]]


class Helper:
    """
    A process that reads days, see ``worker``.

    Args:
        plan: what is exported; says whether it may be a fork.
        fd: where to.
        others: that run already.

    """

    def __init__(self, plan: Plan, fd: int, others: Sequence[Helper] = ()) -> None:
        forked = _fork(plan, fd, others) if plan.fork and is_alone() else None
        self._process, self._input, self.output = forked or _spawn(plan, fd)
        self._buffer = b""
        self.alive = True
        self.ready = False
        self.day: date | None = None
        self.writing = False
        """Whether it may write."""
        self.began = False
        """Whether it has begun to: nobody can tell how far it is."""

    @property
    def free(self) -> bool:
        """Whether it can take a day."""
        return self.alive and self.ready and self.day is None

    def give(self, day: date) -> None:
        """Let it read *day*."""
        self.day = day
        self._send(day.toordinal())

    def write(self, *, first: bool) -> None:
        """Let it write the day: *first* if nothing is written yet."""
        self.writing = True
        self._send(first)

    def rest(self) -> None:
        """Note that it is done with its day."""
        self.day = None
        self.writing = self.began = False

    def _send(self, message: int) -> None:
        try:
            self._input.write(marshal.dumps(message))
            self._input.flush()
        except BrokenPipeError:
            pass  # its output ends too, and says so

    def messages(self) -> Iterator[tuple[str, Any]]:
        """Yield what it says; its output is ready to be read."""
        data = os.read(self.output.fileno(), 65_536)
        self.alive = bool(data)
        self._buffer += data
        while True:
            stream = io.BytesIO(self._buffer)
            try:
                kind, value = marshal.load(stream)  # noqa: S302  (of our own process)
            except EOFError:
                return
            self._buffer = self._buffer[stream.tell() :]
            if kind == "ready":
                self.ready = True
            else:
                yield kind, value

    def pipes(self) -> tuple[int, int]:
        """Return the descriptors of this end."""
        return self._input.fileno(), self.output.fileno()

    def end(self) -> None:
        """End it, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        try:
            self._input.close()
        except BrokenPipeError:
            pass
        self.output.close()


def _spawn(plan: Plan, fd: int) -> _Started:
    # Imported here: whoever forks needs neither.
    import pickle  # noqa: PLC0415
    import subprocess  # noqa: PLC0415

    root = os.path.dirname(next(iter(tokenpak.__path__)))
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    # -P: what lies in the working directory is nobody's module.
    process = subprocess.Popen(  # noqa: S603  (our own module)
        [sys.executable, "-P", "-m", WORKER, str(fd)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=(fd,),
        env={**os.environ, "PYTHONPATH": path},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        pickle.dump(plan, process.stdin)
        process.stdin.flush()
    except BrokenPipeError:
        pass  # its output ends too, and says so
    return process, process.stdin, process.stdout


class _Fork:
    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._ended = False

    def kill(self) -> None:
        # Looked at first: where SIGCHLD is ignored, or somebody waits for any child,
        # its number may be another's by now.
        self._wait(os.WNOHANG)
        if not self._ended:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> None:
        self._wait(0)

    def _wait(self, options: int) -> None:
        if not self._ended:
            try:
                pid, _ = os.waitpid(self.pid, options)
            except ChildProcessError:  # it has ended, and nobody can say how
                pid = self.pid
            self._ended = pid == self.pid


def is_alone() -> bool:
    """Whether this process has no other thread, not even one that Python knows not."""
    try:
        return len(os.listdir(_TASKS)) == 1
    except OSError:  # not Linux: libraries of the system may have threads, and mind
        return False


def fork_deaf() -> int:
    """
    Fork; the child runs no handler of this process, from its first moment on.

    What one raises there would go up through all that this process is at, and end that
    a second time.  Ctrl-C is this process's business.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            for number in (signal.SIGTERM, signal.SIGHUP):
                # Who is to outlive its terminal (nohup) has helpers that do.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, signal.SIG_DFL)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _fork(plan: Plan, fd: int, others: Sequence[Helper]) -> _Started:
    ends: list[int] = []
    try:
        ends += os.pipe()
        ends += os.pipe()
        asked, tells, hears, said = ends
        pid = fork_deaf()
        if pid == 0:
            _be_helper(plan, fd, asked, said, (tells, hears), others)
    except BaseException:
        for end in ends:  # if there is a helper already, that ends it
            os.close(end)
        raise
    os.close(asked)
    os.close(said)
    return _Fork(pid), open(tells, "wb"), open(hears, "rb")


def _be_helper(
    plan: Plan,
    fd: int,
    asked: int,
    said: int,
    pipes: tuple[int, ...],
    others: Sequence[Helper],
) -> NoReturn:
    status = 1
    try:
        for end in (*pipes, *(end for other in others for end in other.pipes())):
            os.close(end)
        # Imported here: whoever spawns does not need it.
        from tokenpak.telemetry.read.worker import work  # noqa: PLC0415

        with open(asked, "rb") as questions, open(said, "wb") as answers:
            work(plan, questions, answers, fd)
        status = 0
    finally:
        os._exit(status)


__all__ = ["WORKER", "Helper", "fork_deaf", "is_alone"]
