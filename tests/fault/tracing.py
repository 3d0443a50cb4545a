"""
Kill a worker at its Nth system call of one kind, with strace.

strace attaches after the worker has started and imported everything, so the calls that
are counted are those of the logger.  The signal is delivered as the call is entered:
all before it has happened, and it has not.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fault.nursery import Forked

STRACE = shutil.which("strace")
PATIENCE = 60.0
"""Seconds for it to attach."""


def why_it_cannot_attach(*command: str) -> str:
    """
    Return why *command*, strace, can't do what the tests ask of it, or an empty string.

    It may be there and be refused: in a container by seccomp, by Yama, which lets only
    a parent trace its child, or where the tests themselves are traced.
    """
    with (
        subprocess.Popen(("cat",), stdin=subprocess.PIPE) as it,
        subprocess.Popen(
            [
                *(*command, "-f", "-qq", "-o", os.devnull, "-p", str(it.pid)),
                *("-e", "trace=getppid", "-e", "inject=getppid:signal=KILL:when=1"),
            ],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as tracer,
    ):
        # This is asked when the tests are collected, where nothing else has an end.
        until = time.monotonic() + PATIENCE
        attached = False
        while not attached and tracer.poll() is None and time.monotonic() < until:
            signal.sigtimedwait([], 0.002)
            attached = _is_traced_by(tracer.pid, it.pid)
        silent = "it ends at once"
        if not attached and tracer.poll() is None:
            silent = "it does not attach"
            tracer.kill()
        it.kill()
        said = tracer.communicate()[1].splitlines() or [silent]
    return "" if attached else said[-1]


def _is_traced_by(tracer: int, pid: int) -> bool:
    return f"TracerPid:\t{tracer}\n" in Path(f"/proc/{pid}/status").read_text()


_REFUSED = why_it_cannot_attach(STRACE) if STRACE else "it is not installed"
needs_strace = pytest.mark.skipif(bool(_REFUSED), reason=f"no strace: {_REFUSED}")


def start_waiting(
    log_dir: Path, ledger: Path, name: str, *extra: str
) -> subprocess.Popen[str]:
    """Start a worker that waits for a line before its first record."""
    worker = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.fault.worker",
            str(log_dir),
            str(ledger),
            name,
            *extra,
            "--wait",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n"
    return worker


def run_traced(worker: subprocess.Popen[str] | Forked, injection: str) -> int:
    """
    Let *worker* go on under strace with *injection*; return its exit status.

    The status is ``-SIGKILL`` if the injection killed it.
    """
    assert STRACE is not None
    call = injection.split(":", 1)[0]
    tracer = subprocess.Popen(
        [
            *(STRACE, "-f", "-qq", "-o", "/dev/null", "-p", str(worker.pid)),
            *("-e", f"trace={call}", "-e", f"inject={injection}"),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until_traced(worker.pid)
        worker.communicate("go\n", timeout=60)
    finally:
        worker.kill()
        worker.wait()
        tracer.wait(timeout=60)
        assert tracer.stderr is not None
        tracer.stderr.close()
    assert worker.returncode is not None
    return worker.returncode


def wait_until_traced(pid: int) -> None:
    """Return when all threads of *pid* are traced."""
    for _ in range(100_000):
        if all(_is_traced(task) for task in Path(f"/proc/{pid}/task").iterdir()):
            return
        signal.sigtimedwait([], 0.002)
    raise AssertionError("strace did not attach")


def _is_traced(task: Path) -> bool:
    try:
        return "TracerPid:\t0\n" not in (task / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True  # a thread that has ended meanwhile
