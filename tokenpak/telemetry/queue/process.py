"""
What a process goes through: fork and exit (Q5).

Hooks are registered with the first record, not at import (X1), once for all queues of
the process.  None of them waits before a fork, whatever other threads are doing.

Exit.  ``atexit`` does not run in the fork children of ``multiprocessing`` up to Python
3.12, so its own finalizers are used there, registered in the process that logs.  What
no hook sees (``os._exit``, signals) is what recovery is for.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from typing import Any, Protocol


class Participant(Protocol):
    """Something that holds state of the process."""

    def before_fork(self) -> object:
        """Prepare; what is returned is handed to after_fork_in_parent()."""

    def after_fork_in_parent(self, token: Any) -> None:
        """Undo the preparation."""

    def after_fork_in_child(self) -> None:
        """Start empty."""

    def before_exit(self) -> None:
        """Bring what is pending into the log, within a bounded time."""


# Changed in single steps only: a fork or a signal may come at any moment.
_participants: list[Participant] = []
_under_way: dict[int, list[list[tuple[Participant, object]]]] = {}
"""For each thread the forks it is in: a signal handler may fork within a fork."""
_hooked: list[str] = []
_finalizers: dict[int, object] = {}


def register(participant: Participant) -> None:
    """Let *participant* know of forks and of the exit.  Idempotent."""
    if participant not in _participants:
        _participants.append(participant)
    if not _hooked:
        # Two threads may both come here, and the hooks are then called twice, which
        # they allow; not marked first, or one of the two might fork without them.
        atexit.register(_exit)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=_before, after_in_parent=_parent, after_in_child=_child
            )
        _hooked.append("fork and exit")
    # Not there while another thread is importing it: this is then no process that it
    # has made, and atexit runs.
    finalize: Any = getattr(sys.modules.get("multiprocessing.util"), "Finalize", None)
    if finalize is not None and os.getpid() not in _finalizers:
        # Higher priorities run first; the pool's and the queues' own are at most 15.
        _finalizers[os.getpid()] = finalize(None, _exit, exitpriority=5)


def unregister(participant: Participant) -> None:
    """Forget *participant*."""
    try:
        _participants.remove(participant)
    except ValueError:
        pass


def _before() -> None:
    guards: list[tuple[Participant, object]] = []
    _under_way.setdefault(threading.get_ident(), []).append(guards)
    guards.extend((p, p.before_fork()) for p in tuple(_participants))


def _parent() -> None:
    forks = _under_way.get(threading.get_ident())
    if not forks:
        return
    for participant, token in forks.pop():
        participant.after_fork_in_parent(token)
    if not forks:
        _under_way.pop(threading.get_ident(), None)


def _child() -> None:
    _under_way.clear()
    for participant in tuple(_participants):
        participant.after_fork_in_child()


def _exit() -> None:
    for participant in tuple(_participants):
        participant.before_exit()


__all__ = ["Participant", "register", "unregister"]
