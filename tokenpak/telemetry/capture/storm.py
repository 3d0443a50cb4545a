"""
Storm control: a failure that repeats itself is recorded now and then, and counted.

In each window of time the first few failures of one fingerprint are recorded in full,
then every so many; after the window one record says how many more there were.  What is
new is never held back.  Off by default.

Memory is constant: so many fingerprints are followed; beyond that the oldest gives
way, and is new when it comes again.  A held-back call takes no lock and encodes
nothing.  It looks at the stack, and finds the message among those that were seen, or
makes its shape.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from tokenpak.telemetry.capture.fingerprint import (
    LONGEST,
    Fingerprint,
    shape_of,
    stack_of,
)
from tokenpak.telemetry.capture.index import find
from tokenpak.telemetry.capture.interrupt import is_interrupt
from tokenpak.telemetry.capture.mark import mark
from tokenpak.telemetry.capture.privacy.redactor import MARGIN
from tokenpak.telemetry.capture.stack import StackCache
from tokenpak.telemetry.counter import Counter

MOST: Final = 1_000
"""Fingerprints that are followed at the same time."""
SECOND: Final = 1_000_000_000
NEVER: Final = 2**63
MOST_MESSAGES: Final = 4 * MOST
"""Messages that are kept to know them again faster."""
_KEPT: Final = LONGEST + MARGIN + 1
"""Characters of a message that are kept to be told: it is redacted, and then cut."""
_SAME: Final = bytes.maketrans(b"123456789", b"000000000")


class Held(NamedTuple):
    """What was held back of one fingerprint since it was told of last."""

    fingerprint: Fingerprint
    number: int
    message: str
    """The last one: its beginning, with secrets; see Redactor.window()."""
    since: int
    """Nanoseconds since the epoch: none of these was held back before."""
    until: int
    """The last one."""


class _Storm:
    """One fingerprint, as far as it is followed."""

    __slots__ = (
        "_count",
        "_every",
        "_first",
        "_told",
        "_told_at",
        "began",
        "beyond",
        "entry",
        "fingerprint",
        "free",
        "last",
        "message",
        "teller",
    )

    def __init__(
        self, fingerprint: Fingerprint, now: int, first: int, every: int
    ) -> None:
        self.fingerprint = fingerprint
        self.entry = fingerprint.entry
        self._first, self._every = first, every
        self._count = Counter()
        self.beyond = self._count.add
        """Count a failure beyond the first of a window."""
        self.message, self.last = "", now
        """Of the one that was held back last."""
        self.teller = [True]
        """Who pops it tells."""
        self._told, self._told_at = 0, now
        self.begin(now)

    def begin(self, now: int) -> None:
        """Begin a window."""
        self.free = [True] * self._first
        """One for each failure that is still to be recorded, whatever else."""
        self.began = now

    def _held(self) -> int:
        beyond = self._count.value
        return beyond - beyond // self._every

    @property
    def quiet(self) -> bool:
        """Whether nothing was held back that is not told."""
        return self._held() == self._told

    def take(self, now: int) -> Held | None:
        """Return what was held back since the last time.  Who has popped *teller*."""
        total, since = self._held(), self._told_at
        number, self._told, self._told_at = total - self._told, total, now
        if number == 0:
            return None
        return Held(self.fingerprint, number, self.message, since, self.last)


class Storms:
    """
    Follows what repeats itself.  Any thread; takes no lock.

    Args:
        stacks: those that are known.
        first: how many of a fingerprint are recorded in a window, before any is held
            back.
        every: of those after, each how manieth is recorded; 0: none.
        window: seconds.
        clock: nanoseconds since the epoch.

    """

    def __init__(
        self,
        stacks: StackCache,
        first: int,
        every: int,
        window: float,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._stacks = stacks
        self._kinds = stacks.kinds
        self._first, self._every = first, every or NEVER
        self._window = int(window * SECOND)
        self._clock = clock
        self._known: dict[tuple[int, bytes], _Storm] = {}
        """By stack, and message with all digits the same: to find them faster."""
        self._messages: dict[str, _Storm] = {}
        """By message, of whatever stack: faster still, for one that never changes."""
        self.held = Counter()
        """How many were held back."""
        self.reset()

    def reset(self) -> None:
        """Begin anew: in a forked child, whose parent tells of what it held back."""
        self._storms: dict[tuple[type, int, str], _Storm] = {}
        self._forget()
        self._held_before = self.held.value
        # No longer followed, but a call may have been on its way to count.
        self._leaving: deque[_Storm] = deque(maxlen=2 * MOST)
        self._due: float = float("inf")
        """Nanoseconds since the epoch."""

    def guard(
        self,
        record: Callable[..., None],
        counts: Mapping[type, Callable[[], object]],
        count_new: Callable[[type], object],
        unmade: Callable[[], object] = int,
    ) -> Callable[..., None]:
        """
        Return ``log_error``, which calls *record* or counts what is held back.

        Args:
            record: ``log_error(request_id, error, context)``.
            counts: what to call for an error that is held back, by its class.
            count_new: called with the class if it is not in *counts*.
            unmade: called if *record* cannot be: see Sink.

        """
        # A closure, and all in one: it is to cost half of what it saves.
        known_kind, known_storm = self._kinds.get, self._known.get
        known_message, clock = self._messages.get, self._clock
        held, every, window = self.held.add, self._every, self._window

        def log_error(request_id: Any, error: Any, context: Any = None) -> None:
            try:
                message, cls = str(error), type(error)
                if type(message) is not str:  # it has methods of its own
                    raise TypeError
                kind = known_kind(cls)
                entry = kind and find(kind.stacks, error.__traceback__)
                storm = known_message(message)
                if storm is None or entry is None or storm.entry is not entry:
                    key = id(entry), message.encode().translate(_SAME)
                    storm = known_storm(key)
                    # An address may be another entry's, if the stacks were forgotten.
                    if storm is None or entry is None or storm.entry is not entry:
                        storm = self._follow(error, message)
                now = clock()
                # A clock that was set back ends it, too.
                if not 0 <= now - storm.began < window:
                    # Threads that come together may each begin it: a few records more.
                    storm.begin(now)
                if storm.free:
                    storm.free.pop()  # if another thread was faster: an IndexError
                elif (storm.beyond() + 1) % every:
                    if len(message) > _KEPT:
                        message = message[:_KEPT]
                    storm.message, storm.last = message, now
                    try:
                        counts[cls]()
                    except Exception:
                        count_new(cls)
                    held()
                    # Or the next layer that it passes would count it again.
                    try:
                        if kind and kind.plain_attributes:
                            error._tokenpak_recorded = now  # noqa: SLF001
                        else:
                            mark(error, now)
                    except Exception:  # noqa: S110  it does then
                        pass
                    return
            except Exception:  # noqa: S110  no exception, or the end of the stack
                pass
            except BaseException as reason:  # its __str__ is user code
                if is_interrupt(reason):
                    raise
            try:
                record(request_id, error, context)
            except Exception:
                unmade()  # the end of the stack

        return log_error

    def _follow(self, error: BaseException, message: str) -> _Storm:
        cls, entry = type(error), stack_of(self._stacks, error)
        fingerprint = Fingerprint(cls, entry, shape_of(message))
        key = (cls, id(entry), fingerprint.shape)
        storm = self._storms.get(key)
        if storm is None or storm.entry is not entry:
            if storm is not None:
                self._leave(key)
            while len(self._storms) >= MOST:
                if len(self._leaving) >= MOST:
                    # Nobody told of those yet.  This one is recorded and not followed.
                    raise LookupError
                self._give_way()
            now = self._clock()
            fresh = _Storm(fingerprint, now, self._first, self._every)
            storm = self._storms.setdefault(key, fresh)
            self._due = min(self._due, now + self._window)
        if len(message) <= LONGEST:
            if len(self._known) >= MOST_MESSAGES:
                self._forget()
            self._known[id(entry), message.encode().translate(_SAME)] = storm
            self._messages[message] = storm
        return storm

    def _forget(self) -> None:
        self._known.clear()
        self._messages.clear()

    def _leave(self, key: tuple[type, int, str]) -> None:
        storm = self._storms.pop(key, None)
        if storm is not None:
            self._leaving.append(storm)
            self._forget()

    def _give_way(self) -> None:
        """Follow the oldest no longer; what it held back is told at once."""
        key = next(iter(self._storms))
        if self._storms[key].quiet:
            self._storms.pop(key, None)
            self._forget()
        else:
            self._leave(key)
            self._due = 0.0

    @property
    def held_back(self) -> int:
        """How many were held back in this process."""
        return self.held.value - self._held_before

    def tell(self, put: Callable[[Held], None], *, last: bool = False) -> float:
        """
        Tell of what was held back in windows that are over.

        Args:
            put: is told of it.
            last: tell of those that are not over, too: the process ends.

        Returns:
            In how many seconds the next one is over.

        """
        now = self._clock()
        # Further off than a window: the clock was set back.
        if now < self._due <= now + self._window and not last:
            return (self._due - now) / SECOND
        wait: float = float("inf")
        self._due = wait  # lowered by who comes meanwhile
        for _ in range(len(self._leaving)):
            try:
                left_before = self._leaving.popleft()
            except IndexError:
                break  # another thread tells, too: the writer, and who closes
            _tell(left_before, put, now)
        # In one step: a finalizer may log at any allocation.
        for key, storm in self._storms.copy().items():
            left = storm.began + self._window - now
            over = not 0 < left <= self._window
            if last or over:
                _tell(storm, put, now)
            if over:
                # Once more after it has left: a call may be on its way to count.
                self._leave(key)
            wait = min(wait, self._window if over else left)
        self._due = min(self._due, now + wait)
        return wait / SECOND


def _tell(storm: _Storm, put: Callable[[Held], None], now: int) -> None:
    try:
        storm.teller.pop()
    except IndexError:
        return  # another thread does
    try:
        held = storm.take(now)
        if held is not None:
            put(held)
    finally:
        storm.teller.append(True)


__all__ = ["MOST", "MOST_MESSAGES", "Held", "Storms"]
