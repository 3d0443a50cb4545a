"""C1, Q3: a process is stopped while it holds the lock of the day's file."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fault.ledger import Ledger, audit, log_lines
from tests.fault.tracing import STRACE, needs_strace, start_waiting, wait_until_traced

fcntl = pytest.importorskip("fcntl")

pytestmark = [
    pytest.mark.fault,
    needs_strace,
]

HOLDER = """
import fcntl, os, signal, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_APPEND)
fcntl.flock(fd, fcntl.LOCK_EX)
print("locked", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
fcntl.flock(fd, fcntl.LOCK_UN)
"""

CALLER = """
import os, sys, time
from tokenpak.telemetry.error_logger import ErrorLogger

logger = ErrorLogger(sys.argv[1])
error = ValueError("x")

def log(name, count, pause):
    for number in range(count):
        logger.log_error(f"{name}-{number}", error, {"model": "gpt-4"})
        if pause:
            time.sleep(pause)

log("warm", 300, 0)
assert logger.flush(60)
print("ready", flush=True)
sys.stdin.readline()
os.access("/mark", os.R_OK)
log("paced", 500, 0.0005)
log("burst", 1500, 0)
os.access("/mark", os.R_OK)
print(logger.stats().pending_records, flush=True)
sys.stdin.readline()
print(logger.flush(60), logger.stats().dropped, logger.close(60), flush=True)
"""

PACED = """
import sys, time
from tokenpak.telemetry.error_logger import ErrorLogger

logger = ErrorLogger(sys.argv[1])
error = ValueError("x")
logger.log_error("first", error, {"model": "gpt-4"})
assert logger.flush(60)
print("ready", flush=True)
sys.stdin.readline()
took = []
end = time.monotonic() + 10
while time.monotonic() < end:
    begun = time.perf_counter()
    logger.log_error(f"r{len(took)}", error, {"model": "gpt-4"})
    took.append(time.perf_counter() - begun)
    time.sleep(0.001)
print(len(took), logger.stats().pending_records, flush=True)
sys.stdin.readline()
begun = time.monotonic()
flushed = logger.flush(60)
caught_up = time.monotonic() - begun
took.sort()
print(flushed, logger.stats().dropped, logger.close(60), flush=True)
p99, slowest = took[len(took) * 99 // 100] * 1e6, took[-1] * 1e3
print(f"p99 {p99:.0f} us, slowest {slowest:.2f} ms, {caught_up:.3f} s", flush=True)
"""

HARMLESS = {
    *("futex", "sched_yield"),  # for the GIL
    *("clock_nanosleep", "restart_syscall"),  # the caller's own pause
    *("brk", "munmap", "mremap", "madvise"),  # memory
    "clock_gettime",  # a system call where the clock is not one that user space reads
    *("getpid", "gettid", "rt_sigreturn"),
    *("clock_gettime", "gettimeofday"),  # where the machine's clock needs the kernel
}


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are killed after the test, if they still are there."""
    children: list[subprocess.Popen[str]] = []
    yield children
    for child in children:
        if child.poll() is None:
            child.kill()
        child.communicate()


def start(*command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def answer_of(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def tell(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("go\n")
    child.stdin.flush()


def test_c1_no_call_waits_for_a_stopped_lock_holder(
    log_dir: Path, tmp_path: Path, children: list[subprocess.Popen[str]]
) -> None:
    """
    The calling thread locks, writes, syncs, opens nothing: traced, call by call.  All
    is caught up when the holder goes on.
    """
    assert STRACE is not None
    caller = start(sys.executable, "-c", CALLER, str(log_dir))
    children.append(caller)
    assert answer_of(caller) == "ready"
    (path,) = log_dir.glob("errors-*.jsonl")
    holder = start(sys.executable, "-c", HOLDER, str(path))
    children.append(holder)
    assert answer_of(holder) == "locked"
    os.waitid(os.P_PID, holder.pid, os.WSTOPPED)
    trace = tmp_path / "trace"
    # Not -f, and so the main thread alone: the writer thread may do what it likes.
    tracer = start(STRACE, "-qq", "-o", str(trace), "-p", str(caller.pid))
    children.append(tracer)
    wait_until_main_thread_is_traced(caller.pid)
    tell(caller)
    pending = answer_of(caller)
    held = path.read_bytes().count(b"\n")
    holder.send_signal(signal.SIGCONT)
    tell(caller)
    said = answer_of(caller)
    caller.wait(60)
    tracer.wait(60)

    _, between, _ = trace.read_text().split('access("/mark", R_OK)')
    calls = {}
    for line in between.splitlines()[1:]:
        name = line.split("(", 1)[0]
        if re.fullmatch(r"\w+", name) and not (
            name == "mmap" and "MAP_ANONYMOUS" in line
        ):
            calls[name] = line
    ids = [json.loads(line)["request_id"] for line in log_lines(log_dir)]
    assert {n: call for n, call in calls.items() if n not in HARMLESS} == {}
    assert "clock_nanosleep" in calls, "the trace shows nothing"
    assert (pending, held) == ("2000", 300)
    assert said == "True {} True"
    assert ids == [
        f"{name}-{number}"
        for name, count in (("warm", 300), ("paced", 500), ("burst", 1_500))
        for number in range(count)
    ]


@pytest.mark.heavy
def test_q3_ten_seconds_of_a_stopped_lock_holder_are_caught_up(
    log_dir: Path, children: list[subprocess.Popen[str]]
) -> None:
    """
    Every record of them is kept, and written when the holder goes on.  (Times are
    printed, and measured in bench: they are the machine's as much as ours.)
    """
    caller = start(sys.executable, "-c", PACED, str(log_dir))
    children.append(caller)
    assert answer_of(caller) == "ready"
    (path,) = log_dir.glob("errors-*.jsonl")
    holder = start(sys.executable, "-c", HOLDER, str(path))
    children.append(holder)
    assert answer_of(holder) == "locked"
    os.waitid(os.P_PID, holder.pid, os.WSTOPPED)
    tell(caller)
    logged, pending = map(int, answer_of(caller).split())
    held = path.read_bytes().count(b"\n")
    holder.send_signal(signal.SIGCONT)
    tell(caller)
    said = answer_of(caller)
    print(answer_of(caller))
    caller.wait(60)

    ids = [json.loads(line)["request_id"] for line in log_lines(log_dir)]
    assert (pending, held) == (logged, 1)
    assert said == "True {} True"
    assert ids == ["first", *(f"r{number}" for number in range(logged))]


def wait_until_main_thread_is_traced(pid: int) -> None:
    for _ in range(30_000):
        if "TracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text():
            return
        signal.sigtimedwait([], 0.002)
    raise AssertionError("strace did not attach")


def test_q3_one_of_us_is_stopped_in_the_middle_of_an_append(
    log_dir: Path, tmp_path: Path, children: list[subprocess.Popen[str]]
) -> None:
    """
    Written, and not noted as done.  The others keep their records meanwhile, and when
    it goes on, its records and theirs are there, once.
    """
    assert STRACE is not None
    ledgers = {name: tmp_path / name for name in ("stopped", "other")}
    stopped = start_waiting(log_dir, ledgers["stopped"], "stopped", "2", "200")
    other = start_waiting(
        log_dir, ledgers["other"], "other", "2", "200", "--pause", "0.0005"
    )
    children += [stopped, other]
    tracer = start(
        *(STRACE, "-f", "-qq", "-o", os.devnull, "-p", str(stopped.pid)),
        *("-e", "trace=writev", "-e", "inject=writev:signal=STOP:when=1"),
    )
    children.append(tracer)
    wait_until_traced(stopped.pid)
    tell(stopped)
    # Who has the lock comes to the write, is stopped behind it, and keeps the lock.
    wait_until_locked(log_dir)
    tell(other)
    while sum(Ledger(ledgers["other"], 2).acknowledged()) < 400:
        assert other.poll() is None
        signal.sigtimedwait([], 0.005)
    meanwhile = written_by_now(log_dir)
    for _ in range(3_000):
        # Again, in case it has only just come to be stopped.
        stopped.send_signal(signal.SIGCONT)
        try:
            stopped.wait(0.02)
            break
        except subprocess.TimeoutExpired:
            pass
    for child in (stopped, other, tracer):
        child.communicate(timeout=60)

    acknowledged = {n: Ledger(path, 2).acknowledged() for n, path in ledgers.items()}
    verdict = audit(log_dir, acknowledged)
    whose = {json.loads(line)["request_id"].split("/")[0] for line in meanwhile}
    assert whose == {"stopped"}, "nobody else writes while it has the lock"
    assert verdict.clean, verdict
    assert verdict.malformed == 0
    assert verdict.accepted == 800
    assert (stopped.returncode, other.returncode) == (0, 0)


def written_by_now(log_dir: Path) -> list[bytes]:
    """Return the lines, once there are some."""
    for _ in range(30_000):
        lines = [line for line in log_lines(log_dir) if line]
        if lines:
            return lines
        signal.sigtimedwait([], 0.002)
    raise AssertionError("nothing is written")


def wait_until_locked(log_dir: Path) -> None:
    """Return when somebody has the lock of the day's file."""
    for _ in range(30_000):
        for path in log_dir.glob("errors-*.jsonl"):
            with path.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return
        signal.sigtimedwait([], 0.002)
    raise AssertionError("nobody has it")
