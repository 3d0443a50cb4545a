"""
What a scenario is made of: jobs that measure, figures, and rows that judge them.

A scenario lists *measurements*, functions from a Job to Figures.  The harness runs
each in a process of its own, once a round, and hands the figures of all rounds to the
scenario's ``judge``, which makes the rows of the table from them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from bench.quantiles import Spread

T = TypeVar("T")

Figures = dict[str, float]
"""What one measurement found in one round, by name."""

Samples = Mapping[str, Sequence[Figures]]
"""The figures of all rounds, by measurement; position is the number of the round."""


class PeerMissingError(Exception):
    """The logger to measure is not installed; its rows say so."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much work a run is worth: it scales counts, never what is measured."""

    name: str
    scale: float
    max_rounds: int
    at_once: int = 1
    """How many peers are measured side by side, where a scenario allows it."""
    patience: float = 1.0
    """What a scenario's *patience* is multiplied by."""
    caveat: str = ""
    """What whoever reads its figures has to know; nothing of a full run."""

    def count(self, full: int, least: int = 1) -> int:
        """Return *full*, scaled down by this effort but not below *least*."""
        return max(least, int(full * self.scale))

    def choose(self, full: T, less: T) -> T:
        """Return *full* in a full run, *less* in any that is rough anyway."""
        return full if self.scale >= 1 else less


FULL = Effort("full", 1.0, 100)
QUICK = Effort(
    "quick",
    0.1,
    1,
    at_once=4,
    patience=0.5,
    caveat="a tenth of the work or less, in one round: its figures are rough",
)
SMOKE = Effort("smoke", 0.02, 1, at_once=4, caveat="its times mean nothing")
EFFORTS = {effort.name: effort for effort in (FULL, QUICK, SMOKE)}


@dataclass(frozen=True, slots=True)
class Job:
    """What a measurement is given."""

    directory: str
    """Empty, on the file system under test, removed afterwards by the harness."""
    effort: Effort
    seed: int
    """Other in each round; reported, so that a round can be repeated."""
    shared: str
    """A directory for what all rounds of the scenario use: what takes long to make, and
    is only read.  Removed when the scenario ends."""


@dataclass(frozen=True, slots=True)
class Target:
    """A limit, and on which side of it a value has to be."""

    limit: float
    at_most: bool

    def met_by(self, value: float) -> bool:
        """Return whether *value* is on the right side; NaN never is."""
        return value <= self.limit if self.at_most else value >= self.limit


def at_most(limit: float) -> Target:
    """Return the target ``value <= limit``."""
    return Target(limit, at_most=True)


def at_least(limit: float) -> Target:
    """Return the target ``value >= limit``."""
    return Target(limit, at_most=False)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a value, its spread over the rounds, its target."""

    label: str
    value: Spread | None
    """None: not measured, *note* says why."""
    unit: str
    target: Target | None = None
    note: str = ""
    sources: tuple[str, ...] = ()
    """The measurements that it is made from, to say why one is missing."""

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None where there is no target or value."""
        if self.target is None or self.value is None:
            return None
        return self.target.met_by(self.value.median)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the table of loggers: a figure of each measurement."""

    label: str
    figure: str
    unit: str = ""
    factor: float = 1.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """One question, how it is measured, and how the answer is judged."""

    name: str
    title: str
    how: str
    """For the reader of the page: what is timed or counted, and under what load."""
    rounds: int
    measurements: Mapping[str, Callable[[Job], Figures]]
    judge: Callable[[Samples], list[Row]]
    timeout: float = 300.0
    """Seconds that one measurement may take before it is killed and reported."""
    columns: Sequence[Column] = ()
    """For a table with a line for each measurement, beside the rows."""
    read: str = ""
    """For the reader of the page: how to read it, and what it does not say."""
    may_fail: frozenset[str] = frozenset()
    """Measurements of others: one that hangs or crashes is a note in the tables."""
    patience: float = 60.0
    """Seconds for each of those, instead of *timeout*."""
    side_by_side: bool = False
    """No time is measured: in a run that is rough anyway, those that may fail are run
    several at once, since most of what they take is waiting for what hangs."""
    megabytes: int = 0
    """Of memory that are touched before each measurement (of a peer, a quarter); see
    bench.pages."""


__all__ = [
    "EFFORTS",
    "FULL",
    "QUICK",
    "SMOKE",
    "Column",
    "Effort",
    "Figures",
    "Job",
    "PeerMissingError",
    "Row",
    "Samples",
    "Scenario",
    "Target",
    "at_least",
    "at_most",
]
