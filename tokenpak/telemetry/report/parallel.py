"""
Blocks of lines are counted by several processes, and what they count is added up.

The one that reads keeps the files open and hands blocks over through pipes (so that
reading is as safe as ever while others archive, S4); what the pipe has no room for, it
counts itself.  Nobody waits for anybody until the end.

The workers are forked, so only where nothing else runs: one thread, those counted that
Python does not list (a logger's writer is one), and not where fork is not to be had.
A worker that dies ends the report with an error, and not with figures that lack
something.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
from typing import TYPE_CHECKING, Any, Final, Protocol

from tokenpak.telemetry.read.helper import fork_deaf, is_alone
from tokenpak.telemetry.read.lines import Block
from tokenpak.telemetry.read.logs import pass_over
from tokenpak.telemetry.store.names import list_log_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tokenpak.telemetry.read.filter import Query

WORTH_BYTES: Final = 16 * 1024 * 1024
"""Of log files: less than that is read before a second process is of use."""
_MOST: Final = 4
_PIPE_BYTES: Final = 1024 * 1024
_SET_SIZE: Final = 1031  # F_SETPIPE_SZ
_DIED: Final = "a process that counted records has died"
_DONE: Final = b"\nthat is all\n"
"""Behind an answer: one that was killed while it wrote has not said all."""
_PACKED: Final = 8
"""How much more an archive holds than its bytes."""


class Helper(Protocol):
    """What a worker has."""

    result: Any
    """What it sends back at the end."""

    def do(self, path: str, block: Block) -> None:
        """Work on a block of the file *path*."""


def workers_for(log_dir: str, query: Query, wanted: int | None) -> int:
    """Return how many processes to use: *wanted*, or as many as are of use."""
    if not hasattr(os, "fork") or not is_alone():
        return 1
    if wanted is not None:
        return max(1, min(wanted, _MOST))
    size = 0
    for file in list_log_files(log_dir, f"{query.stream}-", pass_over):
        if query.covers(file.day):
            with contextlib.suppress(OSError):
                size += os.stat(file.path).st_size * (_PACKED if file.compressed else 1)
    return 1 if size < WORTH_BYTES else min(_MOST, _processors())


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Worker:
    """One forked process, seen by the one that has it."""

    def __init__(self, helper: Callable[[], Helper], others: list[_Worker]) -> None:
        ends: list[int] = []
        try:
            ends += os.pipe()
            ends += os.pipe()
            for stream in (sys.stdout, sys.stderr):
                # None, or closed: what there is to write is not the worker's to lose.
                with contextlib.suppress(AttributeError, ValueError):
                    stream.flush()
            self.pid = fork_deaf()
        except BaseException:
            for end in ends:
                os.close(end)
            raise
        inbox, self._in, self._out, outbox = ends
        if self.pid == 0:
            os.close(self._in)
            os.close(self._out)
            for other in others:
                other.let_go()
            _work(helper, inbox, outbox)
        os.close(inbox)
        os.close(outbox)
        os.set_blocking(self._in, False)
        with contextlib.suppress(ImportError, OSError):
            import fcntl  # noqa: PLC0415  (not on Windows)

            fcntl.fcntl(self._in, _SET_SIZE, _PIPE_BYTES)
        self._left = memoryview(b"")
        self._open = [self._in, self._out]

    def take(self, path: str, block: Block) -> bool:
        """Return whether it has taken the block: it has not, while it is behind."""
        if not self._push():
            return False
        data = b"\n".join(block.lines)
        head = pickle.dumps((path, block.offset, block.end, len(data)))
        self._left = memoryview(len(head).to_bytes(4, "big") + head + data)
        self._push()
        return True

    def _push(self) -> bool:
        """Write on; return whether nothing is left."""
        while self._left:
            try:
                self._left = self._left[os.write(self._in, self._left) :]
            except BlockingIOError:
                return False
            except BrokenPipeError:
                raise ChildProcessError(_DIED) from None
        return True

    def finish(self) -> Any:
        """Return its result."""
        os.set_blocking(self._in, True)
        self._push()
        os.close(self._in)
        self._open.remove(self._in)
        with open(self._out, "rb", closefd=False) as file:
            answer = file.read()
        if not answer.endswith(_DONE):
            raise ChildProcessError(_DIED)
        return pickle.loads(answer)  # noqa: S301  (our own child's)

    def let_go(self) -> None:
        """Close the pipes."""
        while self._open:
            os.close(self._open.pop())

    def close(self) -> None:
        """End it."""
        self.let_go()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


class Crew:
    """
    Some workers.

    Args:
        number: how many.
        helper: makes what each works with, in the worker.

    """

    def __init__(self, number: int, helper: Callable[[], Helper]) -> None:
        self._workers: list[_Worker] = []
        for _ in range(number):
            try:
                self._workers.append(_Worker(helper, self._workers))
            except OSError:  # no more processes, memory or descriptors
                break
            except BaseException:  # Ctrl-C
                self.close()
                raise

    def take(self, path: str, block: Block) -> bool:
        """
        Hand *block* to a worker; return False if none has room.

        Raises:
            ChildProcessError: one has died.

        """
        return any(worker.take(path, block) for worker in self._workers)

    def finish(self) -> Iterator[Any]:
        """
        Yield the result of each worker.

        Raises:
            ChildProcessError: one has died.

        """
        for worker in self._workers:
            yield worker.finish()

    def close(self) -> None:
        """Wait for all to end."""
        for worker in self._workers:
            worker.close()


def _work(helper: Callable[[], Helper], inbox: int, outbox: int) -> None:
    """Be a worker; does not return."""
    status = 1
    try:
        work = helper()
        with open(inbox, "rb") as file:
            while size := file.read(4):
                head = file.read(int.from_bytes(size, "big"))
                path, offset, end, length = pickle.loads(head)  # noqa: S301
                data = file.read(length)
                if len(data) < length:
                    break  # the parent has given up
                work.do(path, Block(offset, data.split(b"\n"), end))
            else:
                with open(outbox, "wb") as out:
                    pickle.dump(work.result, out, protocol=5)
                    out.write(_DONE)
                status = 0
    except BaseException:  # noqa: S110  memory: the parent misses the answer
        pass
    finally:
        os._exit(status)


__all__ = ["WORTH_BYTES", "Crew", "Helper", "workers_for"]
