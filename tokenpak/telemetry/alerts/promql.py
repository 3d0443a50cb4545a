"""
The pieces that expressions are made of.

``increase()`` does not see the first sample of a series: a type of error that was never
seen before, and comes five hundred times before the next scrape, increases by nothing.
So a number of failures is a difference here: the sum now, less the sum then, which is
0 for what was not there.  An instance that was not scraped then is left out, or its
first scrape would be a spike of all that was ever counted.  A counter that begins anew
gives a negative difference, and no alert.
"""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_SPECIAL: Final = re.compile(r"([.+(){}\[\]|^$\\])")
INSTANCE: Final = "job, instance"
_LOOK_BACK: Final = "5m"
"""How old a sample may be: as Prometheus has it by default where no scrape failed."""


def span(seconds: int) -> str:
    """Return *seconds* as PromQL writes them: ``1d``, ``90s``, ``5m``."""
    for size, unit in _UNITS:
        if seconds % size == 0 and (seconds or size == 1):
            return f"{seconds // size}{unit}"
    raise AssertionError(seconds)


def string(text: str) -> str:
    """Return *text* as a PromQL string."""
    text = text.encode("utf-8", "replace").decode()
    escaped = "".join(
        c
        if c.isprintable() and c not in '"\\'
        else "\\n"
        if c == "\n"
        else f"\\{c}"
        if c in '"\\'
        else f"\\U{ord(c):08x}"
        for c in text
    )
    return f'"{escaped}"'


def pattern(globs: tuple[str, ...]) -> str:
    """Return a regular expression (RE2) for *globs*: ``*`` and ``?`` match any."""
    return "|".join(
        _SPECIAL.sub(r"\\\1", glob).replace("*", ".*").replace("?", ".")
        # Half a character is a "?" in the metrics, and here what matches one.
        for glob in (glob.encode("utf-8", "replace").decode() for glob in globs)
    )


class Series:
    """
    The sum of a metric, by labels.

    Args:
        name: of the metric.
        by: the labels that are kept, beside job and instance.
        where: matchers, as PromQL writes them.

    """

    def __init__(self, name: str, *where: str, by: str = "") -> None:
        self._name = name
        self._where = ", ".join(filter(None, where))
        self._by = f"{INSTANCE}, {by}" if by else INSTANCE

    def at(self, ago: int = 0) -> str:
        """Return the sum as it was *ago* seconds before."""
        chosen = f"{self._name}{{{self._where}}}" if self._where else self._name
        if ago:
            # A scrape that failed just then is no end of the series.
            chosen = f"last_over_time({chosen}[{_LOOK_BACK}] offset {span(ago)})"
        return f"sum by ({self._by}) ({chosen})"

    def rise(self, window: int, ago: int = 0) -> str:
        """Return by how much it rose in *window* seconds that ended *ago*."""
        nothing = f"0 * {self.at()}"
        end = f"({self.at(ago)} or {nothing})" if ago else self.at()
        return f"({end} - ({self.at(ago + window)} or {nothing}))"


__all__ = ["INSTANCE", "Series", "pattern", "span", "string"]
