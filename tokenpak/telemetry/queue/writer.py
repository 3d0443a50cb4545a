"""
The writer: one thread of each process, from its first record on.

It drains the chains, links segments ahead of the producers, recovers what dead
processes left, and tells of drops and troubles.  It lingers a little to batch, and
sleeps without waking while there is nothing to do.

Waking it must be safe inside a signal handler, so it waits on a ``SimpleQueue``, whose
``put`` may interrupt itself (``threading.Event.set`` takes a lock that its own
interrupted call may hold); and the thread is started without ``threading.Thread``,
whose ``start`` holds a global lock and waits.  A flag keeps producers from waking it
when it does not sleep.

Nothing here waits for the lock of a day file: an attempt that fails is made again a
little later, so a stuck lock holder keeps nobody from anything but the file (Q6).
"""

from __future__ import annotations

import _thread
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Final, Protocol

from tokenpak.telemetry.queue.drain import Drain
from tokenpak.telemetry.queue.reentry import register_writer, unregister_writer
from tokenpak.telemetry.store.append import Contended

LOCK_RETRY: Final = (0.0005, 0.004)
"""Seconds between attempts at a lock, drawn anew each time."""
DISK_RETRY: Final = (0.05, 0.25)
"""Seconds between attempts after an error of the disk."""
PRESSED_AT: Final = 3
"""Segments by which the writer is behind when producers begin to let it have the GIL.

Eight threads in a tight loop fill a segment in some 10 ms, but a thread that waits for
the GIL among them gets it after 40 ms at best, and seconds were seen on a machine with
other work.  The queue would fill up, and records be dropped, for no other reason.  So
producers then sleep a moment with each call, until the writer has caught up.  Not while
it waits for a lock or a disk: that would help nobody."""
YIELD: Final = 50e-6
"""Seconds for which a producer lets go of the GIL then."""
START_RETRY: Final = 1.0
"""Seconds between attempts to start the thread, where the system has none left."""


class Chores(Protocol):
    """What else is to be done; see Housekeeping.  Writer thread only."""

    def before_drain(self) -> None:
        """Tell troubles, exchange spools that are gone."""

    def after_drain(self, *, worked: bool) -> float:
        """Do what is due; return in how many seconds something is due again."""

    def failed(self, error: OSError) -> None:
        """Tell of an error while draining."""

    def broken(self, error: Exception) -> None:
        """Tell of an error that must not be."""


@dataclass(slots=True)
class _Flush:
    targets: list[tuple[Drain, tuple[int, int]]]
    reply: SimpleQueue[bool] = field(default_factory=SimpleQueue)


@dataclass(slots=True)
class _Stop:
    deadline: float
    reply: SimpleQueue[bool] = field(default_factory=SimpleQueue)


Token = _Flush | _Stop | None


class Writer:
    """
    The thread, and how others reach it.  It is the chains' Bell.

    Args:
        linger: seconds to collect a batch.

    """

    def __init__(self, linger: float) -> None:
        self._linger = linger
        self.rings = True
        """Asleep or pressed: one look for the producers' hot path."""
        self._drains: Sequence[Drain] = ()
        self._chores: Chores | None = None
        self.reset()

    def attach(self, drains: Sequence[Drain], chores: Chores) -> None:
        """Say what is to be drained.  Once, before the first record."""
        self._drains = drains
        self._chores = chores

    def reset(self) -> None:
        """Forget the thread: in a forked child, which doesn't have it."""
        self._tokens: SimpleQueue[Token] = SimpleQueue()
        # Who pops the permit is the writer, or starts the thread that is.
        self._permit = [True]
        self._start_failed = -START_RETRY
        self._flushes: list[_Flush] = []
        self._stop: _Stop | None = None
        self._asleep = True  # set by the writer, unset by both
        self._pressed = False  # set by producers, unset by the writer
        self._blocked = False  # by a lock or the disk; writer thread only
        self.rings = True

    # -- any thread -------------------------------------------------------------

    def answer(self) -> None:
        """Wake the writer, or let it have the GIL.  Safe in a signal handler."""
        if self._asleep:
            self._wake()
        elif self._pressed:
            # Not sleep(0), which gives the GIL up and takes it back before the writer
            # has noticed.
            time.sleep(YIELD)

    def _wake(self) -> None:
        if self._permit and not self._start():
            return
        # The token last: the writer looks at everything anew when it gets one.
        self._asleep = False
        self.rings = self._pressed
        self._tokens.put(None)

    def hurry(self, behind: int) -> None:
        """End the writer's lingering; press if it is far *behind* (segments)."""
        self._tokens.put(None)
        if behind >= PRESSED_AT and not self._blocked:
            self._pressed = True
            self.rings = True

    def _start(self) -> bool:
        now = time.monotonic()
        if now - self._start_failed < START_RETRY:
            return False
        try:
            self._permit.pop()
        except IndexError:
            return True  # another thread was faster
        try:
            _thread.start_new_thread(self._run, ())
        except RuntimeError:
            # No thread left, or the interpreter is ending: what is accepted stays in
            # the spool, for a later attempt or for the next process.
            self._start_failed = now
            self._permit.append(True)
            return False
        return True

    def flush(self, timeout: float | None) -> bool:
        """Wait until all that was accepted before is in the log."""
        flush = _Flush(
            [
                (drain, target)
                for drain in self._drains
                if (target := drain.chain.position()) is not None
            ]
        )
        return not flush.targets or self._ask(flush, timeout)

    def stop(self, timeout: float | None) -> bool:
        """Drain what is left, and end the thread."""
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        return self._ask(_Stop(deadline), None if timeout is None else timeout + 1)

    def _ask(self, token: _Flush | _Stop, timeout: float | None) -> bool:
        self._tokens.put(token)
        self._start_failed = -START_RETRY
        self._wake()
        if self._permit:
            return self._work_here(token, timeout)
        try:
            return token.reply.get(timeout=timeout)
        except Empty:
            return False

    def _work_here(self, token: _Flush | _Stop, timeout: float | None) -> bool:
        """Be the writer for a while: there is no thread to be had."""
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        try:
            self._permit.pop()
        except IndexError:
            return False
        try:
            while token.reply.empty() and time.monotonic() < deadline:
                if self._pass() is None:
                    break
                self._take_tokens(0.001)
            return not token.reply.empty() and token.reply.get()
        finally:
            self._permit.append(True)

    # -- the thread -------------------------------------------------------------

    def _run(self) -> None:
        ident = _thread.get_ident()
        register_writer(ident)
        try:
            while (wait := self._pass()) is not None:
                self._sleep(wait)
        finally:
            unregister_writer(ident)

    def _sleep(self, wait: float) -> None:
        idle = wait > self._linger
        if idle:
            # First the flag, then the look: a producer puts first, then looks at the
            # flag.  One of the two sees the other.
            self._asleep = True
            self.rings = True
            if not all(drain.empty() for drain in self._drains):
                wait = self._linger
        self._take_tokens(wait)
        self._asleep = False
        self.rings = self._pressed

    def _take_tokens(self, wait: float) -> None:
        try:
            token = self._tokens.get(timeout=wait)
            while True:
                if isinstance(token, _Flush):
                    self._flushes.append(token)
                elif isinstance(token, _Stop):
                    self._stop = token
                token = self._tokens.get_nowait()
        except Empty:
            pass

    def _pass(self) -> float | None:
        """Do what there is to do; return how long to wait, None to end."""
        try:
            return self._one_pass()
        except OSError as error:
            assert self._chores is not None
            self._chores.failed(error)
            return self._retry(DISK_RETRY)
        except Contended:
            return self._retry(LOCK_RETRY)
        except Exception as error:  # a bug of ours must not end the thread
            assert self._chores is not None
            self._chores.broken(error)
            return self._retry(DISK_RETRY)

    def _one_pass(self) -> float | None:
        assert self._chores is not None
        self._chores.before_drain()
        worked = False
        self._blocked = False
        held: Contended | OSError | None = None
        for drain in self._drains:
            try:
                worked = drain.step() or worked
            except (Contended, OSError) as error:  # the other stream goes on
                held = held or error
        self._answer_flushes()
        self._pressed = False
        self.rings = self._asleep
        if held is not None:
            self._blocked = True
            raise held
        due = self._chores.after_drain(worked=worked)
        if self._stop is not None and self._stopped():
            return None
        if self._flushes or self._stop is not None:
            return 0.0
        return self._linger if worked else max(0.0, due)

    def _retry(self, bounds: tuple[float, float]) -> float | None:
        if self._stop is not None and self._stopped():
            return None
        return random.uniform(*bounds)  # noqa: S311

    def _answer_flushes(self) -> None:
        left = []
        for flush in self._flushes:
            if all(drain.caught_up(target) for drain, target in flush.targets):
                flush.reply.put(True)
            else:
                left.append(flush)
        self._flushes = left

    def _stopped(self) -> bool:
        assert self._stop is not None
        empty = True
        for drain in self._drains:
            drain.chain.seal_all()
            empty = drain.empty() and empty
        if not empty and time.monotonic() < self._stop.deadline:
            return False
        for drain in self._drains:
            drain.end()
        self._answer_flushes()
        self._stop.reply.put(empty)
        return True


__all__ = ["Chores", "Writer"]
