"""
The logger's own troubles, told to a person (X2).

A warning on the standard logger ``tokenpak.telemetry``, with the path, the reason and
what to do; at most one a minute for each kind, with the number of those held back.  It
is given by the writer thread: what a handler does with it (waiting for a lock, writing
to a terminal) must not happen in a thread that logs (C1).
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from typing import Final

INTERVAL: Final = 60.0
LOGGER_NAME: Final = "tokenpak.telemetry"


class Trouble:
    """Warnings of one logger.  note(): any thread; the rest: the writer thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Begin anew: in a forked child."""
        self._noted: deque[tuple[str, str]] = deque(maxlen=32)
        self._last: dict[str, float] = {}
        self._held_back: dict[str, int] = {}
        self._since: float | None = None
        self.write_errors = 0
        """Failed attempts to write, so far."""

    def note(self, kind: str, text: str) -> None:
        """Have the writer warn of *text*."""
        self._noted.append((kind, text))

    def tell_noted(self) -> None:
        """Warn of what other threads noted."""
        while self._noted:
            self.warn(*self._noted.popleft())

    def write_failed(self, log_dir: str, error: OSError, held: str) -> None:
        """Warn that appending failed with *error*; *held* says what is kept where."""
        self.write_errors += 1
        if self._since is None:
            self._since = self._clock()
        path = error.filename or log_dir
        reason = error.strerror or str(error)
        advice = (
            f"Check that {log_dir} exists, is writable for user {_user()} and has free "
            f"space: ls -la {log_dir}; df -h {log_dir}"
        )
        if error.errno == errno.EMFILE:
            advice = (
                f"The process has no file descriptor left. What it has open: ls -l "
                f"/proc/{os.getpid()}/fd. The limit: ulimit -n"
            )
        self.warn(
            "write",
            f"Failed to write error log {path}: {reason}. {held} They are written as "
            f"soon as it is possible. {advice}",
        )

    def write_succeeded(self, log_dir: str) -> None:
        """Tell the end of an outage that was warned of."""
        if self._since is None:
            return
        lasted = self._clock() - self._since
        self._since = None
        self._tell(
            logging.INFO,
            f"Error log in {log_dir} is written again after {lasted:.1f} s",
        )

    def inform(self, text: str) -> None:
        """Tell *text*, which is no trouble."""
        self._tell(logging.INFO, text)

    def warn(self, kind: str, text: str) -> None:
        """Warn of *text*, unless *kind* was warned of within the interval."""
        now = self._clock()
        last = self._last.get(kind)
        if last is not None and now - last < INTERVAL:
            self._held_back[kind] = self._held_back.get(kind, 0) + 1
            return
        self._last[kind] = now
        held_back = self._held_back.pop(kind, 0)
        more = f" ({held_back:,} more such warnings held back)" if held_back else ""
        self._tell(logging.WARNING, text + more)

    def _tell(self, level: int, text: str) -> None:
        try:
            logging.getLogger(LOGGER_NAME).log(level, "%s", text)
        except Exception:  # noqa: S110  a handler's own trouble must not stop the writer
            pass


def _user() -> str:
    return (
        str(os.geteuid()) if hasattr(os, "geteuid") else os.environ.get("USERNAME", "?")
    )


__all__ = ["INTERVAL", "LOGGER_NAME", "Trouble"]
