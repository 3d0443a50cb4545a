"""
Programs that are to be killed, forked from a process that has imported everything.

    nursery.py        the server: for each request on its stdin, a socket, a child

A test that kills a program at each of its system calls runs it hundreds of times, and
an interpreter takes longer to start than all the rest of a case.  The server has one
thread and no logger, so its children are as good as fresh ones; they end by os._exit
behind the program's last line, so that no call of the interpreter's end is counted.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from typing import IO, Final

import tests.fault.worker  # noqa: F401  (for the children)
import tokenpak.telemetry.queue.recovery
import tokenpak.telemetry.store.manage  # noqa: F401

PATIENCE: Final = 100.0
"""Seconds that a child may take to end."""


class Forked:
    """
    A child that runs a program, with pipes for its stdin and stdout.

    What a test needs of subprocess.Popen, under the same names.
    """

    def __init__(self, channel: socket.socket, program: str, argv: list[str]) -> None:
        self._channel = channel
        their_in, our_in = os.pipe()
        our_out, their_out = os.pipe()
        request = json.dumps([program, argv]).encode()
        socket.send_fds(channel, [request], [their_in, their_out])
        os.close(their_in)
        os.close(their_out)
        self.stdin: IO[str] = os.fdopen(our_in, "w", encoding="utf-8")
        self.stdout: IO[str] = os.fdopen(our_out, encoding="utf-8")
        self.pid = int(channel.recv(100))
        self.returncode: int | None = None

    def communicate(self, text: str, timeout: float = PATIENCE) -> None:
        """Say *text*, and wait for the end."""
        with contextlib.suppress(BrokenPipeError):
            self.stdin.write(text)
            self.stdin.flush()
        self.wait(timeout)

    def wait(self, timeout: float = PATIENCE) -> int:
        """Return its exit status, negative if a signal has ended it."""
        if self.returncode is None:
            self._channel.settimeout(timeout)
            self.returncode = int(self._channel.recv(100))
            for pipe in (self.stdin, self.stdout):
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        return self.returncode

    def kill(self) -> None:
        """End it, if it has not ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


class Nursery:
    """The server, as its tests see it.  One child at a time."""

    def __init__(self) -> None:
        # Messages, not a stream: two of them never arrive as one.
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.fault.nursery"], stdin=theirs.fileno()
        )
        theirs.close()
        self._child: Forked | None = None

    def start(self, program: str, *argv: object) -> Forked:
        """Run *program*, source, with its arguments; it says "ready", and waits."""
        self._end_child()
        child = Forked(self._channel, program, [str(word) for word in argv])
        self._child = child
        said = child.stdout.readline()
        if said != "ready\n":
            child.kill()
            raise AssertionError(f"it said {said!r}, and ended by {child.wait()}")
        return child

    def close(self) -> None:
        """End the server."""
        self._end_child()
        self._channel.close()
        self._server.wait(PATIENCE)

    def _end_child(self) -> None:
        # Of a test that failed.  Else its status would be taken for the next one's
        # process, and -9, or 0, would be sent a signal.
        if self._child is not None:
            self._child.kill()
            self._child.wait()


@contextlib.contextmanager
def nursery() -> Iterator[Nursery]:
    """Run a server."""
    made = Nursery()
    try:
        yield made
    finally:
        made.close()


def run(program: str, argv: list[str], fds: list[int]) -> None:
    """Be the child."""
    status = 1
    try:
        for number, fd in enumerate(fds):
            os.dup2(fd, number)
            os.close(fd)
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.argv = ["program", *argv]
        exec(compile(program, "program", "exec"), {"__name__": "__main__"})
        sys.stdout.flush()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def main() -> None:
    channel = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    while True:
        request, fds, _, _ = socket.recv_fds(channel, 65_536, 2)
        if not request:
            return
        program, argv = json.loads(request)
        pid = os.fork()
        if pid == 0:
            channel.close()
            run(program, argv, fds)
        for fd in fds:
            os.close(fd)
        channel.send(b"%d" % pid)
        _, status = os.waitpid(pid, 0)
        channel.send(b"%d" % os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
