"""
Which failures are recorded: first sampling, then storm control.  Both off by default.

Where neither is on there is no gate, and the hot path knows nothing of it.  What is not
recorded is counted all the same: as an error of its type, and as dropped, under
``sampled`` or ``storm``.  C1: whatever goes wrong here, the failure is recorded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import orjson

from tokenpak.telemetry.capture.encode import Encoder
from tokenpak.telemetry.capture.fingerprint import LONGEST
from tokenpak.telemetry.capture.mark import mark
from tokenpak.telemetry.capture.moment import iso
from tokenpak.telemetry.capture.sample import Sampler
from tokenpak.telemetry.capture.sanitise import class_name
from tokenpak.telemetry.capture.storm import Held, Storms
from tokenpak.telemetry.counter import Counter
from tokenpak.telemetry.settings import Sample

SAMPLED: Final = "sampled"
STORM: Final = "storm"

Record = Callable[..., None]


class ErrorTypes(Protocol):
    """Counts errors by their class."""

    @property
    def known(self) -> Mapping[type, Callable[[], object]]:
        """What counts an error of a class, if it is known."""

    def add(self, cls: type, /) -> object:
        """Count an error of class *cls*."""


class Gate:
    """
    Any thread; takes no lock.

    Args:
        encoder: whose stacks tell failures apart.
        sample: which errors are recorded; 1 is all.
        storm_first: how many of one fingerprint in a window; 0: no storm control.
        storm_every: of those after, each how manieth; 0: none.
        storm_window: seconds.
        counts: count an error that is not recorded, by its class.
        warn: told of what a callable did wrong.

    """

    def __init__(
        self,
        encoder: Encoder,
        sample: Sample,
        storm_first: int,
        storm_every: int,
        storm_window: float,
        counts: ErrorTypes,
        warn: Callable[[str], None],
    ) -> None:
        self._counts = counts
        self._redact = encoder.redact
        self._sampler = None if sample == 1 else Sampler(sample, warn)
        self._storms = None
        if storm_first:
            stacks = encoder.stacks
            self._storms = Storms(stacks, storm_first, storm_every, storm_window)
        self._describe: Record | None = None
        self.reset()

    def reset(self) -> None:
        """Begin anew: in a forked child."""
        self._sampled, self._summaries = Counter(), Counter()
        if self._sampler is not None:
            self._sampler.reset()
        if self._storms is not None:
            self._storms.reset()

    @property
    def open(self) -> bool:
        """Whether everything is recorded: nobody needs a gate then."""
        return self._sampler is None and self._storms is None

    def guard(
        self,
        record: Record,
        describe: Record,
        unmade: Callable[[], object],
        begin: Callable[[], object] = int,
    ) -> Record:
        """
        Return what calls *record*, if the error is to be recorded.

        Args:
            record: ``log_error(request_id, error, context)``.
            describe: records the summary of a storm; see Encoder.record_described().
            unmade: called if *record* cannot be: see Sink.
            begin: called with the first error that is sampled away: somebody must store
                how many there are.

        """
        self._describe = describe
        if self._storms is not None:
            counts = self._counts
            record = self._storms.guard(record, counts.known, counts.add, unmade)
        if self._sampler is not None:
            record = self._sampled_only(record, self._sampler, unmade, begin)
        return record

    def _sampled_only(
        self,
        record: Record,
        sampler: Sampler,
        unmade: Callable[[], object],
        begin: Callable[[], object],
    ) -> Record:
        def log_error(request_id: Any, error: Any, context: Any = None) -> None:
            try:
                taken = sampler.takes(error, context)
            except Exception:  # the end of the stack
                taken = True
            try:
                if taken:
                    record(request_id, error, context)
                    return
                self._counts.add(type(error))
                if not self._sampled.add():
                    begin()
                # Or the next layer that it passes would count it again.
                mark(error, time.time_ns())
            except Exception:
                # If it cannot be marked, it does.  Else this is the end of the stack.
                if taken:
                    unmade()

        return log_error

    def tell(self, *, last: bool = False) -> float:
        """
        Record the summaries of storms that are over.  Any thread.

        Args:
            last: of all storms: the process ends.

        Returns:
            In how many seconds the next may be.

        """
        if self._storms is None:
            return float("inf")
        return self._storms.tell(self._tell, last=last)

    def _tell(self, held: Held) -> None:
        if self._describe is None:
            return
        self._summaries.add()
        kind, entry = held.fingerprint, held.fingerprint.entry
        last = self._redact(held.message, LONGEST)
        message = f"{held.number:,} more like this were held back: {last}"
        stack = ""
        if entry is not None:
            frames = orjson.loads(b'"%b"' % entry.head)
            stack = f"{frames}: {last}\n"
        self._describe(
            class_name(kind.cls),
            message,
            stack,
            {
                "storm": {
                    "held_back": held.number,
                    "since": iso(held.since),
                    "until": iso(held.until),
                    "fingerprint": kind.digest(),
                }
            },
        )

    @property
    def dropped(self) -> dict[str, int]:
        """How many errors were not recorded, by reason."""
        held = 0 if self._storms is None else self._storms.held_back
        counts = {SAMPLED: self._sampled.value, STORM: held}
        return {reason: count for reason, count in counts.items() if count}

    @property
    def summaries(self) -> int:
        """How many records tell of what storms held back."""
        return self._summaries.value


__all__ = ["SAMPLED", "STORM", "Gate"]
