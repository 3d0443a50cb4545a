"""
What is counted while records are read: one entry for each kind of failure and place.

A *place* is what the context says of provider, model and kind.  All else of a report is
added up from the entries when all is read: a record costs one look into one table.

R2  Memory is bounded, whatever is logged: so many entries, so many characters of each
    name, so many numbers (see quantiles).  What finds no room is counted as of other
    messages, then at other places, then as of another type.

Tallies of parts of a log add up to the tally of all of it, in any order.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tokenpak.telemetry.read.summary import BEFORE_LAST, held_back
from tokenpak.telemetry.report.kinds import Frames, shape_of
from tokenpak.telemetry.report.quantiles import MOST, Values
from tokenpak.telemetry.report.window import (
    BEFORE,
    HISTORY,
    OUTSIDE,
    Slots,
    is_canonical,
    iso_of_text,
)

if TYPE_CHECKING:
    from tokenpak.telemetry.report.window import Window

MOST_ENTRIES: Final = 10_000
KNOWN: Final = 2 * MOST_ENTRIES
"""Ways to find them that are remembered."""
MOST_PLACES: Final = 100
"""Pairs of provider and model whose costs and durations are told apart."""
LONGEST: Final = 200
"""Characters of a name, and of an example of a message."""
OTHER: Final = "(other)"
NONE: Final = "(none)"
"""The name of what a record does not say."""
NOTICE: Final = "RecordsDropped"
"""The type of a record that says how many were dropped, as the queue writes it."""
MOST_TOLD: Final = 10**12
"""What a notice can tell of; more is no count of a process."""
REST: Final = "0"
"""The shape of messages that find no room: no message has it, its digits are gone."""


class Key(NamedTuple):
    """What records have in common that are counted together."""

    error_type: str
    frames: str
    shape: str
    provider: str
    model: str
    kind: str


class Group:
    """Durations and costs of one provider's model, in one window."""

    __slots__ = ("cost", "duration")

    def __init__(self) -> None:
        self.duration = Values()
        """Milliseconds."""
        self.cost = Values()

    def fold(self) -> None:
        """See Values."""
        self.duration.fold()
        self.cost.fold()


class Entry:
    """What is known of the records of one key."""

    __slots__ = (
        "before",
        "counts",
        "first",
        "held_before",
        "held_now",
        "last",
        "message",
        "now",
        "request_id",
    )

    def __init__(self, slots: int, now: Group, before: Group) -> None:
        self.counts = [0] * slots
        """By slot."""
        self.now, self.before = now, before
        self.first, self.last = "\uffff", ""
        """Timestamps in the window."""
        self.message, self.request_id = "", ""
        """Of the first."""
        self.held_now = self.held_before = 0

    def see(self, stamp: str, record: dict[str, Any]) -> None:
        """Take *record*, the earliest so far, as the example."""
        self.first = stamp
        message = record.get("message")
        self.message = message[:LONGEST] if isinstance(message, str) else ""
        self.request_id = _name(record.get("request_id"))


@dataclass(slots=True)
class Dropped:
    """Records that were given up, as the notices in the log say, by reason."""

    now: Counter[str] = field(default_factory=Counter)
    before: Counter[str] = field(default_factory=Counter)


class Tally:
    """
    Counts records.

    Args:
        window: which are counted.

    """

    def __init__(self, window: Window) -> None:
        self.window = window
        self.slots = Slots(window)
        self.frames = Frames()
        self._now = BEFORE + window.slots
        """The first slot of the window."""
        self.entries: dict[Key, Entry] = {}
        self.known: dict[tuple[Any, ...], Entry] = {}
        """The same by frames, the shape of the message (or the message with all digits
        alike), and what the record says of type and place: to find it faster."""
        self.groups: dict[tuple[str, str], tuple[Group, Group]] = {}
        """Of the window, and of the one before, by provider and model."""
        self.dropped = Dropped()
        self.read = 0
        """Records, of whatever time."""
        self.undated = 0
        """Records whose time cannot be read."""
        self.unusable: Counter[str] = Counter()
        """Values of the context that are no costs or durations, by key."""

    def note(self, record: dict[str, Any]) -> None:
        """Count *record*, whatever it is."""
        self.read += 1
        stamp, context = record.get("timestamp"), record.get("context")
        slot = self.slots.find(stamp) if isinstance(stamp, str) else None
        if slot is None or not isinstance(stamp, str):
            self.undated += 1
            return
        if slot == OUTSIDE:
            return
        context = context if isinstance(context, dict) else {}
        error_type, message = record.get("error_type"), record.get("message")
        if error_type is None:
            error_type = record.get("event")
        message = message if isinstance(message, str) else ""
        held = held_back(record) if "storm" in context else None
        if held is not None:
            last = message.partition(BEFORE_LAST)[2]
            self._hold(held, self._entry_of(record, error_type, last, context), slot)
            return
        if error_type == NOTICE and self._told(context, slot):
            return
        entry = self._entry_of(record, error_type, message, context)
        self.count(entry, slot, stamp, record, context)

    def count(
        self,
        entry: Entry,
        slot: int,
        stamp: str,
        record: dict[str, Any],
        context: dict[str, Any],
    ) -> None:
        """Count a record at its entry and slot."""
        entry.counts[slot] += 1
        if slot == HISTORY:
            return
        group = entry.before
        if slot >= self._now:
            group = entry.now
            if not is_canonical(stamp):
                stamp = iso_of_text(stamp)
            entry.last = max(entry.last, stamp)
            if stamp < entry.first:
                entry.see(stamp, record)
        for key, values in (
            ("duration_ms", group.duration),
            ("cost_estimate", group.cost),
        ):
            value = context.get(key)
            if value is not None:
                if type(value) in NUMBERS and 0 <= value <= MOST:
                    values.kept.append(value)
                else:
                    self.unusable[key] += 1

    def fold(self) -> None:
        """Bound the numbers that are kept; to be called now and then."""
        for now, before in self.groups.values():
            now.fold()
            before.fold()

    def add_all(self, other: Tally) -> None:
        """Count what *other*, of the same window, has counted."""
        for key, theirs in other.entries.items():
            entry = self._entry(key)
            entry.counts = [
                a + b for a, b in zip(entry.counts, theirs.counts, strict=True)
            ]
            entry.held_now += theirs.held_now
            entry.held_before += theirs.held_before
            entry.last = max(entry.last, theirs.last)
            if theirs.first < entry.first:
                entry.first, entry.message = theirs.first, theirs.message
                entry.request_id = theirs.request_id
        for pair, groups in other.groups.items():
            for group, theirs_too in zip(self._group(*pair), groups, strict=True):
                group.duration.add_all(theirs_too.duration)
                group.cost.add_all(theirs_too.cost)
        self.dropped.now.update(other.dropped.now)
        self.dropped.before.update(other.dropped.before)
        self.read += other.read
        self.undated += other.undated
        self.unusable.update(other.unusable)

    def _entry_of(
        self,
        record: dict[str, Any],
        error_type: Any,
        message: str,
        context: dict[str, Any],
    ) -> Entry:
        """Return the entry of a record, and know it the next time."""
        stack = record.get("stack_trace")
        frames = self.frames.find(stack, message) if isinstance(stack, str) else ""
        get = context.get
        said = (error_type, get("provider"), get("model"), get("kind"))
        names = tuple(map(_name, said))
        shape = shape_of(message)
        entry = self._entry(Key(names[0], frames, shape, *names[1:]))
        # One that is no text, or too long to be kept, is made a name each time.
        if error_type != NOTICE and all(
            a is None or a == b for a, b in zip(said, names, strict=True)
        ):
            if len(self.known) >= 2 * KNOWN:
                self.known.clear()
            self.known[frames, shape, said] = entry
        return entry

    def _entry(self, key: Key) -> Entry:
        """Return the entry of *key*; make it, or that of others, if there is none."""
        entry = self.entries.get(key)
        if entry is None and len(self.entries) >= MOST_ENTRIES:
            # So many messages do not take the place from the counts by name.
            others = (
                (key._replace(frames="", shape=REST), 1.1),
                (Key(key.error_type, "", REST, OTHER, OTHER, OTHER), 1.2),
                (Key(OTHER, "", REST, OTHER, OTHER, OTHER), math.inf),
            )
            key = next(
                other
                for other, more in others
                if other in self.entries or len(self.entries) < more * MOST_ENTRIES
            )
            entry = self.entries.get(key)
        if entry is None:
            entry = Entry(
                self._now + self.window.slots, *self._group(key.provider, key.model)
            )
            self.entries[key] = entry
        return entry

    def _group(self, provider: str, model: str) -> tuple[Group, Group]:
        pair = (provider, model)
        groups = self.groups.get(pair)
        if groups is None:
            if len(self.groups) >= MOST_PLACES:
                pair = (OTHER, OTHER)
                groups = self.groups.get(pair)
            if groups is None:
                groups = self.groups[pair] = (Group(), Group())
        return groups

    def _hold(self, number: int, entry: Entry, slot: int) -> None:
        """Count what the summary of a storm tells of."""
        if slot == HISTORY:
            entry.counts[slot] += 1
        elif slot >= self._now:
            entry.held_now += number
        else:
            entry.held_before += number

    def _told(self, context: dict[str, Any], slot: int) -> bool:
        """Return whether this tells of dropped records, and count them."""
        number, reason = context.get("dropped"), context.get("reason")
        if type(number) is not int or not 0 <= number <= MOST_TOLD:
            return False
        if slot != HISTORY:
            counts = self.dropped.now if slot >= self._now else self.dropped.before
            name = _name(reason)
            counts[name if name in counts or len(counts) < LONGEST else OTHER] += number
        return True


NUMBERS: Final = frozenset({int, float})


def _name(value: Any) -> str:
    """Return *value* as a name of bounded length; NONE if there is none."""
    if value is None or value == "":
        return NONE
    if isinstance(value, str):
        name = value
    else:
        try:
            name = json.dumps(value)
        except (ValueError, RecursionError):
            name = type(value).__name__
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "\u2026"


__all__ = [
    "KNOWN",
    "LONGEST",
    "MOST_ENTRIES",
    "MOST_PLACES",
    "NONE",
    "NOTICE",
    "NUMBERS",
    "OTHER",
    "REST",
    "Dropped",
    "Entry",
    "Group",
    "Key",
    "Tally",
]
