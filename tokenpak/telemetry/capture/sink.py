"""
Where a line goes, as far as the hot path of capture needs to know it.

Capture knows no queue: it is handed a Sink, and does the steps itself that a call of
the queue's put() would do.  That call is a tenth of what an event costs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol


class Target(Protocol):
    """What a line can be written to."""

    def write(self, line: bytes, /) -> object:
        """Take *line*; ValueError: not here, ask ``Sink.refused``."""


class Bell(Protocol):
    """What somebody wants of those who put lines."""

    rings: bool
    """Whether there is anything that they want."""

    def answer(self) -> None:
        """Do it."""


class Sink(NamedTuple):
    """
    Where a line goes, taken apart: the hot path does the steps itself.

    A line is written to the first of *targets*, and then *counted* is called.
    """

    targets: Sequence[Target]
    counted: Callable[[], object]
    refused: Callable[[Target, bytes], object]
    """Called with target and line if the target has refused the line."""
    unmade: Callable[[], object]
    """Called if no line could be made or put; must be written in C, as the stack may
    have no room for another frame."""
    bell: Bell


class Catch:
    """A sink for one line."""

    rings = False

    def __init__(self) -> None:
        self.line = b""
        self.sink = Sink([self], int, self.refuse, int, self)

    def write(self, line: bytes, /) -> None:
        """Keep *line*."""
        self.line = line

    def refuse(self, target: Target, line: bytes) -> None:
        """Is never called, since nothing is refused."""

    def answer(self) -> None:
        """Is never called, since nothing rings."""


__all__ = ["Bell", "Catch", "Sink", "Target"]
