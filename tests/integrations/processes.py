"""Ends servers and workers that tests have started: all of a group, in any state."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
from pathlib import Path

from tests.queue.logs import eventually

TELLS = {"PYTHONFAULTHANDLER": "1"}
"""Variables with which a process prints the stacks of its threads when it is told to
die of it; see end()."""

_THREAD = re.compile(r"^(?:Current t|T)hread 0x", re.MULTILINE)
_FRAME = re.compile(r'^  File "(.*)", line \d+ in (.*)$', re.MULTILINE)


def alive(group: int) -> list[int]:
    """
    Return the processes of *group* that have not ended.

    A zombie has, if it is the last of its threads: one that dies later, since it is
    inside of a call that the disk keeps waiting, still holds all files.
    """
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                ended = fields[0] in "ZX" and int(fields[17]) <= 1
                if int(fields[2]) == group and not ended:
                    found.append(int(entry.name))
    return found


def end(leader: subprocess.Popen[bytes], patience: float) -> bool:
    """
    End *leader* as one ends servers, by SIGTERM, and what is left of its group.

    Who is still there after *patience* is killed by a signal for which TELLS makes it
    print first where each of its threads is: the children first, which the end of
    their parent may be the end of.  SIGFPE, because no server has a handler for it.
    All are stopped before: the end of one may be what another has waited for, who
    would go on, and be found where it did not hang.

    Args:
        leader: of a session of its own.
        patience: seconds; 0: it is not told to end, but killed at once.

    Returns:
        Whether it ended when it was told to.

    """
    if patience:
        leader.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            leader.wait(patience)
            kill(leader)
            return True
    found = sorted(alive(leader.pid), key=leader.pid.__eq__)  # it last
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    for pid in found:
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            _tell(pid, signal.SIGFPE)
            os.kill(pid, signal.SIGCONT)
        eventually(lambda pid=pid: pid not in alive(leader.pid))  # type: ignore[misc]
    kill(leader)
    return False


def _tell(pid: int, number: signal.Signals) -> None:
    """
    Send a signal to the first thread of *pid*, and to no other.

    Whichever thread goes on first takes one that is sent to a stopped process, and
    while that prints where all are, the first one goes on from what it has waited for.
    """
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    if state == "Z":  # its first thread is gone
        os.kill(pid, number)
    elif ctypes.CDLL(None, use_errno=True).tgkill(pid, pid, int(number)):
        raise OSError(ctypes.get_errno(), "tgkill")


def kill(leader: subprocess.Popen[bytes]) -> None:
    """Kill all of the group, and wait until none of it holds a file any more."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader.pid, signal.SIGKILL)
    leader.wait()
    # Recovery takes what the dead have left, and dying takes time: a process may be
    # another's child by now, so it cannot be waited for.
    assert eventually(lambda: not alive(leader.pid)), alive(leader.pid)


def ours(output: str) -> list[str]:
    """Return the stacks in *output* with a frame of the logger in them."""
    _, *stacks = _THREAD.split(output)
    return [stack for stack in stacks if _is_ours(_FRAME.findall(stack))]


def _is_ours(frames: list[tuple[str, str]]) -> bool:
    # The writer's thread is always somewhere, and nobody's end waits for it without a
    # frame of the logger in a stack of his own.
    if frames and frames[-1][1] == "_run" and frames[-1][0].endswith("queue/writer.py"):
        return False
    return any("/tokenpak/telemetry/" in file for file, _ in frames)


__all__ = ["TELLS", "alive", "end", "kill", "ours"]
