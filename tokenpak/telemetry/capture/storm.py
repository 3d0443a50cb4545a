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
    shape_in,
    stack_of,
)
from tokenpak.telemetry.capture.index import find
from tokenpak.telemetry.capture.interrupt import is_interrupt
from tokenpak.telemetry.capture.mark import mark, plain_attributes
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
        "cls",
        "entry",
        "fingerprint",
        "frames",
        "free",
        "last",
        "left",
        "message",
        "plain_attributes",
        "teller",
    )

    def __init__(
        self,
        fingerprint: Fingerprint,
        now: int,
        first: int,
        every: int,
    ) -> None:
        self.fingerprint = fingerprint
        self.entry = entry = fingerprint.entry
        self.cls = None if entry is None else fingerprint.cls
        """None: it is not to be found by its frames."""
        self.frames = () if entry is None else entry.frames
        self.plain_attributes = plain_attributes(fingerprint.cls)
        """Whether the mark may be set as any attribute is."""
        self._first, self._every = first, every
        self._count = Counter()
        self.beyond = self._count.add
        """Count a failure beyond the first of a window."""
        self.message, self.last = "", now
        """Of the one that was held back last."""
        self.left = False
        """Whether it is followed no longer.  Set before it is told of once more, and
        looked at when a failure is counted: so one of the two sees the other."""
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
        self._shapes: dict[bytes, _Storm] = {}
        """By that message, of whatever stack: faster still."""
        self._messages: dict[str, _Storm] = {}
        """By message, for one that never changes."""
        self.held = Counter()
        """How many were held back."""
        self.reset()

    def reset(self) -> None:
        """Begin anew: in a forked child, whose parent tells of what it held back."""
        self._storms: dict[tuple[type, int, str], _Storm] = {}
        self._forget()
        self._held_before = self.held.value
        # No longer followed, but a call may have been on its way to count.
        self._leaving: deque[_Storm] = deque()
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
        known_message, known_shape = self._messages.get, self._shapes.get
        look_up, clock, again = self._look_up, self._clock, self._again
        held, window = self.held.add, self._window
        # What is left over when the next one is recorded; never -1.
        every, last = (self._every, self._every - 1) if self._every < NEVER else (1, -1)

        def log_error(request_id: Any, error: Any, context: Any = None) -> None:
            try:
                message, cls = str(error), type(error)
                if type(message) is not str:  # it has methods of its own
                    raise TypeError
                storm: Any = known_message(message)
                try:
                    if storm is None:
                        storm = known_shape(message.encode().translate(_SAME))
                    # As index.find() does, but there is one stack that it may be.
                    tb = error.__traceback__
                    for code, instruction in storm.frames:
                        if tb.tb_frame.f_code is not code or tb.tb_lasti != instruction:
                            raise LookupError
                        tb = tb.tb_next
                    if tb is not None or storm.cls is not cls:
                        raise LookupError
                except (AttributeError, LookupError, UnicodeError):
                    # No storm, or another stack's.
                    storm = look_up(error, message)
                    # Those that are known are shorter, see there.
                    message = message[:_KEPT]
                now = clock()
                # A clock that was set back ends it, too.
                if not 0 <= now - storm.began < window:
                    # Threads that come together may each begin it: a few records more.
                    storm.begin(now)
                if storm.free:
                    storm.free.pop()  # if another thread was faster: an IndexError
                elif storm.beyond() % every != last:
                    storm.message, storm.last = message, now
                    if storm.left:
                        again(storm)
                    try:
                        counts[cls]()
                    except Exception:
                        count_new(cls)
                    held()
                    # Or the next layer that it passes would count it again.
                    try:
                        if storm.plain_attributes:
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

    def _look_up(self, error: BaseException, message: str) -> _Storm:
        """Find *error* by its stack, and its message with all digits the same."""
        kind = self._kinds.get(type(error))
        entry = kind and find(kind.stacks, error.__traceback__)
        if entry is not None:
            key = id(entry), _shape(message)
            storm = self._known.get(key)
            # An address may be another entry's, if the stacks were forgotten.
            if storm is not None and storm.entry is entry:
                return storm
        return self._follow(error, message)

    def _follow(self, error: BaseException, message: str) -> _Storm:
        cls, entry = type(error), stack_of(self._stacks, error)
        fingerprint = Fingerprint(cls, entry, shape_in(self._stacks, message))
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
        if entry is not None and len(message) <= LONGEST:
            if len(self._known) >= MOST_MESSAGES:
                self._forget()
            shape = _shape(message)
            self._known[id(entry), shape] = self._shapes[shape] = storm
            self._messages[message] = storm
        return storm

    def _forget(self) -> None:
        self._known.clear()
        self._shapes.clear()
        self._messages.clear()

    def _pop(self, key: tuple[type, int, str]) -> _Storm | None:
        storm = self._storms.pop(key, None)
        if storm is not None:
            storm.left = True
            self._forget()
        return storm

    def _leave(self, key: tuple[type, int, str]) -> None:
        storm = self._pop(key)
        if storm is not None:
            self._leaving.append(storm)

    def _give_way(self) -> None:
        """Follow the oldest no longer; what it held back is told at once."""
        storm = self._pop(next(iter(self._storms)))
        if storm is not None and not storm.quiet:
            self._leaving.append(storm)
            self._due = 0.0

    def _again(self, storm: _Storm) -> None:
        """Tell of *storm* once more: a call was on its way when it left."""
        # It may have been found for the first time after that, and be found ever since.
        self._forget()
        self._leaving.append(storm)
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


def _shape(message: str) -> bytes:
    """Return *message* with all digits the same, as bytes."""
    try:
        return message.encode().translate(_SAME)
    except UnicodeEncodeError:  # a lone surrogate
        return message.encode(errors="surrogatepass").translate(_SAME)


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
