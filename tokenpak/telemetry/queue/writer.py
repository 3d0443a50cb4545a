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
import time
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Final, Protocol

from tokenpak.telemetry.queue.drain import Drain
from tokenpak.telemetry.queue.jitter import jittered
from tokenpak.telemetry.queue.reentry import (
    is_writer,
    register_writer,
    unregister_writer,
)
from tokenpak.telemetry.store.dayfiles import Contended

LOCK_RETRY: Final = (0.0005, 0.004)
"""Seconds between attempts at a lock, drawn anew each time."""
DISK_RETRY: Final = (0.05, 0.5)
"""Seconds between attempts after an error of the disk, drawn from a growing range."""
PRESSED_AT: Final = 3
"""Segments by which the writer is behind when producers begin to let it have the GIL.

Eight threads in a tight loop fill a segment in some 10 ms, but a thread that waits for
the GIL among them gets it after 40 ms at best, and seconds were seen on a machine with
other work.  The queue would fill up, and records be dropped, for no other reason.  So
producers then sleep a moment with each call, until the writer is about to append, which
it does without the GIL.  Not while it waits for a lock or a disk: that would help
nobody."""
SHORT_AT: Final = 2
"""Segments left to be filled when they do so, too: the writer must link more."""
YIELD: Final = 50e-6
"""Seconds for which a producer lets go of the GIL then."""
_FOREVER: Final = float("inf")
START_RETRY: Final = 1.0
"""Seconds between attempts to start the thread, where the system has none left."""
BIRTH_LOOK: Final = 0.01
"""Seconds between looks whether a thread that was started has begun."""


class Chores(Protocol):
    """What else is to be done; see Housekeeping.  Writer thread only."""

    def before_drain(self) -> None:
        """Tell troubles, exchange spools that are gone."""

    def after_drain(self, *, worked: bool, held: bool) -> float:
        """
        Do what is due; return in how many seconds something is due again.

        *worked*: something was appended.  *held*: something could not be.
        """

    def failed(self, error: OSError) -> None:
        """Tell of an error while draining."""

    def before_end(self) -> None:
        """Do what is to be in the log when the thread ends."""

    def after_end(self) -> None:
        """Tell what the end has lost."""

    def contended(self) -> None:
        """Tell if another process has held a lock for long."""

    def broken(self, error: Exception) -> None:
        """Tell of an error that must not be."""


class _Flush:
    def __init__(self, targets: list[tuple[Drain, tuple[int, int]]]) -> None:
        self.targets = targets
        self.reply: SimpleQueue[bool] = SimpleQueue()

    def reached(self) -> bool:
        return all(drain.caught_up(target) for drain, target in self.targets)


class _Stop:
    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.reply: SimpleQueue[bool] = SimpleQueue()


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
        # Who pops the birth is the thread that was started, or whoever declares it
        # dead: where memory is short, a thread may end before its first line.
        self._birth: list[float] = []
        self._start_failed = -START_RETRY
        # Writer thread only:
        self._flushes: list[_Flush] = []
        self._stops: list[_Stop] = []
        self._blocked = False  # by a lock or the disk
        self._failures = 0  # of the disk, one after the other
        # Set by the writer, unset by both:
        self._asleep = True
        self._lingering = False
        self._pressed = False  # set by producers, unset by the writer
        self.ended = False  # set by the writer, for good
        self.rings = True

    # -- any thread -------------------------------------------------------------

    def answer(self) -> None:
        """Wake the writer, or let it have the GIL.  Safe in a signal handler."""
        if self._asleep:
            self._wake()
            return
        if self._birth:
            self._check_birth()
        if self._pressed:
            # Not sleep(0), which gives the GIL up and takes it back before the writer
            # has noticed.
            time.sleep(YIELD)

    def _wake(self) -> None:
        if self._permit and not self._start():
            return
        # The token last: the writer looks at everything anew when it gets one.
        self._asleep = False
        self.rings = self._pressed or bool(self._birth)
        self._tokens.put(None)

    def hurry(self, behind: int, ahead: int) -> None:
        """End the writer's lingering; press if it is far behind.  See WriterBell."""
        if self._lingering:
            self._lingering = False
            self._tokens.put(None)
        if (behind >= PRESSED_AT or ahead <= SHORT_AT) and not self._blocked:
            self._pressed = True
            self.rings = True

    def ease(self) -> None:
        """Press no longer, until it is far behind again.  Writer thread only."""
        self._pressed = False
        self.rings = self._asleep

    def _start(self) -> bool:
        now = time.monotonic()
        if now - self._start_failed < START_RETRY:
            return False
        try:
            self._permit.pop()
        except IndexError:
            return True  # another thread was faster
        birth = self._birth = [now]
        try:
            _thread.start_new_thread(self._run, (birth,))
        except (RuntimeError, MemoryError):
            # No thread left, or the interpreter is ending: what is accepted stays in
            # the spool, for a later attempt or for the next process.
            # No call of ours from here on: this may be the end of the stack, and the
            # permit must be there again.
            self._start_failed = now
            birth.clear()
            self._permit.append(True)
            # Whoever came meanwhile believed that there is a writer: ring again.
            self._asleep = True
            self.rings = True
            return False
        return True

    def _check_birth(self) -> None:
        """Declare the thread dead that has not begun for long."""
        try:
            if time.monotonic() - self._birth[0] < START_RETRY:
                return
            self._birth.pop()
        except IndexError:
            return  # it has begun, or another thread was faster
        # As in _start(): no call of ours from here on.
        self._permit.append(True)
        self._asleep = True
        self.rings = True

    def flush(self, timeout: float | None) -> bool:
        """Wait until all that was accepted before is in the log."""
        targets = [
            (drain, target)
            for drain in self._drains
            if (target := drain.chain.position()) is not None
        ]
        flush = _Flush(targets)
        if flush.reached():
            return True
        if is_writer(_thread.get_ident()):
            return False  # a logging handler that flushes: it would wait for itself
        return self._ask(flush, timeout)

    def stop(self, timeout: float | None) -> bool:
        """Drain what is left, and end the thread."""
        deadline = _FOREVER if timeout is None else time.monotonic() + timeout
        return self._ask(_Stop(deadline), None if timeout is None else timeout + 1)

    def _ask(self, token: _Flush | _Stop, timeout: float | None) -> bool:
        self._tokens.put(token)
        self._start_failed = -START_RETRY
        self._wake()
        if self._permit:
            return self._work_here(token, timeout)
        if self.ended:
            self._refuse_tokens()
        deadline = _FOREVER if timeout is None else time.monotonic() + timeout
        while True:
            left = max(0.0, deadline - time.monotonic())
            # Looked at anew now and then: a thread that is being born may be dead, and
            # one that lives may end, with what a logging handler raises.
            look = BIRTH_LOOK if self._birth else START_RETRY
            try:
                return token.reply.get(timeout=min(left, look))
            except Empty:
                if left == 0:
                    return False
            if self._birth:
                self._check_birth()
            if self._permit:
                self._wake()
            if self._permit:
                left = max(0.0, deadline - time.monotonic())
                return self._work_here(token, None if timeout is None else left)

    def _work_here(self, token: _Flush | _Stop, timeout: float | None) -> bool:
        """Be the writer for a while: there is no thread to be had."""
        deadline = _FOREVER if timeout is None else time.monotonic() + timeout
        try:
            self._permit.pop()
        except IndexError:
            return False
        ident = _thread.get_ident()
        register_writer(ident)
        try:
            while token.reply.empty() and time.monotonic() < deadline:
                wait = self._pass()
                if wait is None:
                    break
                self._take_tokens(min(wait, 0.01))
            return not token.reply.empty() and token.reply.get()
        finally:
            unregister_writer(ident)
            self._give_up()

    # -- the thread -------------------------------------------------------------

    def _run(self, birth: list[float]) -> None:
        try:
            birth.pop()
        except IndexError:
            return  # declared dead: another one is the writer, or will be
        ident = _thread.get_ident()
        register_writer(ident)
        try:
            while (wait := self._pass()) is not None:
                if self._blocked:
                    self._pause(wait)
                else:
                    self._sleep(wait)
        finally:
            unregister_writer(ident)
            self._give_up()

    def _give_up(self) -> None:
        if self.ended:
            # A token that is put after this finds the end by itself; see _ask().
            self._refuse_tokens()
        else:
            # Something that is no Exception got out (a logging handler may call
            # sys.exit): the next record starts another thread.
            self._asleep = True
            self.rings = True
            self._permit.append(True)

    def _sleep(self, wait: float) -> None:
        if wait > self._linger:
            # First the flag, then the look: a producer puts first, then looks at the
            # flag.  One of the two sees the other.
            self._asleep = True
            self.rings = True
            if not all(drain.empty() for drain in self._drains):
                wait = self._linger
        else:
            self._lingering = True
        self._take_tokens(wait)
        self._lingering = False
        self._asleep = False
        self.rings = self._pressed

    def _pause(self, wait: float) -> None:
        """Wait all of *wait*: who hurries us can't make a lock or a disk come free."""
        end = time.monotonic() + wait
        while wait > 0:
            self._take_tokens(wait)
            wait = end - time.monotonic()

    def _take_tokens(self, wait: float) -> None:
        try:
            token = self._tokens.get(timeout=wait)
            while True:
                if isinstance(token, _Flush):
                    self._flushes.append(token)
                elif isinstance(token, _Stop):
                    self._stops.append(token)
                token = self._tokens.get_nowait()
        except Empty:
            pass

    def _pass(self) -> float | None:
        """Do what there is to do; return how long to wait, None to end."""
        assert self._chores is not None
        self._blocked = False
        try:
            due = self._one_pass(self._chores)
            self._failures = 0
        except Contended:
            self._blocked = True
            self._chores.contended()
            due = jittered(*LOCK_RETRY)
        except Exception as error:
            self._blocked = True
            if isinstance(error, OSError):
                self._chores.failed(error)
            else:  # a bug of ours must not end the thread
                self._chores.broken(error)
            self._failures += 1
            longest = min(DISK_RETRY[1], DISK_RETRY[0] * 2**self._failures)
            due = jittered(DISK_RETRY[0], longest)
        if self._stops and self._stopped():
            return None
        return due

    def _one_pass(self, chores: Chores) -> float:
        chores.before_drain()
        worked = False
        held: Contended | OSError | None = None
        for drain in self._drains:
            try:
                worked = drain.step() or worked
            except (Contended, OSError) as error:  # the other stream goes on
                held = held or error
        self._answer_flushes()
        self._pressed = False
        self.rings = self._asleep
        due = chores.after_drain(worked=worked, held=held is not None)
        if held is not None:
            raise held
        if self._flushes or self._stops:
            return 0.0
        return self._linger if worked else max(0.0, due)

    def _answer_flushes(self) -> None:
        left = []
        for flush in self._flushes:
            if flush.reached():
                flush.reply.put(True)
            else:
                left.append(flush)
        self._flushes = left

    def _stopped(self) -> bool:
        """End, if all is written or nobody wants to wait any longer."""
        for drain in self._drains:
            drain.chain.seal_all()
        empty = all(drain.empty() for drain in self._drains)
        if not empty and time.monotonic() < max(s.deadline for s in self._stops):
            return False
        self._answer_flushes()
        assert self._chores is not None
        leaves: BaseException | None = None
        for step in (
            self._chores.before_end,
            *(drain.end for drain in self._drains),
            self._chores.after_end,
        ):
            # All of them, whatever comes: another thread would meet it again, for ever.
            try:
                try:
                    step()
                except Exception as error:
                    self._chores.broken(error)
            except BaseException as reason:  # a logging handler may call sys.exit
                leaves = reason
        self.ended = True
        replies = [*(f.reply for f in self._flushes), *(s.reply for s in self._stops)]
        for reply in replies:
            reply.put(empty)
        if leaves is not None:
            raise leaves
        return True

    def _refuse_tokens(self) -> None:
        """Answer whoever came too late, so that nobody waits for ever."""
        try:
            while True:
                token = self._tokens.get_nowait()
                if token is not None:
                    token.reply.put(all(drain.left == 0 for drain in self._drains))
        except Empty:
            pass


__all__ = ["Chores", "Writer"]
