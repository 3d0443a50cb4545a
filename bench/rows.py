"""
From samples to rows: the three ways in which scenarios judge what was measured.

Each takes figures by ``(measurement, figure)``, and makes a row without a value where
a measurement is missing because its peer is not installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.adapters import OURS, PEERS
from bench.model import Row, Samples, Target
from bench.quantiles import Spread, ratios, spread

if TYPE_CHECKING:
    from collections.abc import Iterable

Key = tuple[str, str]
"""A measurement and one of its figures."""

NOT_MEASURED = "not measured: pip install -r bench/requirements.txt"


def value_row(
    samples: Samples,
    label: str,
    key: Key,
    unit: str,
    target: Target | None = None,
    *,
    factor: float = 1.0,
) -> Row:
    """Return the median over the rounds of a figure times *factor*."""
    values = _figures(samples, key)
    if values is None:
        return Row(label, None, unit, target, NOT_MEASURED, (key[0],))
    return Row(label, spread(value * factor for value in values), unit, target)


def ratio_row(
    samples: Samples,
    label: str,
    above: Key,
    below: Key,
    target: Target | None = None,
    *,
    percent: bool = False,
) -> Row:
    """Return the median over the rounds of ``above / below``, as factor or per cent."""
    unit = "%" if percent else "\N{MULTIPLICATION SIGN}"
    over, under = _figures(samples, above), _figures(samples, below)
    if over is None or under is None:
        sources = (above[0], below[0])
        return Row(label, None, unit, target, NOT_MEASURED, sources)
    factor = 100.0 if percent else 1.0
    found = spread(ratio * factor for ratio in ratios(over, under))
    return Row(label, found, unit, target)


def best(
    samples: Samples, figure: str, names: Iterable[str], *, highest: bool = False
) -> str | None:
    """Return which of the measurements *names* has the best median of *figure*."""
    found = {
        name: spread(values).median
        for name in names
        if (values := _figures(samples, (name, figure)))
    }
    if not found:
        return None
    return (max if highest else min)(found, key=lambda name: found[name])


def rival_row(
    samples: Samples,
    label: str,
    figure: str,
    target: Target | None = None,
    *,
    names: Iterable[str] = PEERS,
    highest: bool = False,
    suffix: str = "",
) -> Row:
    """
    Return how much better our *figure* is than that of the best peer, as a factor.

    The peer is the one with the best median over the rounds, and the label names it;
    then both are compared round by round.  Above 1 we are better, below 1 the peer is.

    Args:
        samples: the figures of the scenario.
        label: what the row says; ``{}`` in it is replaced by the name of the peer.
        figure: what is compared.
        target: of the factor.
        names: the peers that may be the best.
        highest: whether more is better.
        suffix: what follows each logger's name in the names of the measurements.

    """
    names = [name + suffix for name in names]
    rival = best(samples, figure, names, highest=highest)
    if rival is None:
        sources = tuple(names)
        unit = "\N{MULTIPLICATION SIGN}"
        return Row(label.format("the peer"), None, unit, target, NOT_MEASURED, sources)
    ours, theirs = (OURS + suffix, figure), (rival, figure)
    above, below = (ours, theirs) if highest else (theirs, ours)
    label = label.format(rival.removesuffix(suffix))
    return ratio_row(samples, label, above, below, target)


def difference_row(
    samples: Samples,
    label: str,
    key: Key,
    less: Key,
    unit: str,
    target: Target | None = None,
    *,
    factor: float = 1.0,
) -> Row:
    """Return the median over the rounds of ``key - less``, times *factor*."""
    values, base = _figures(samples, key), _figures(samples, less)
    if values is None or base is None:
        return Row(label, None, unit, target, NOT_MEASURED, (key[0], less[0]))
    found = [(a - b) * factor for a, b in zip(values, base, strict=True)]
    return Row(label, spread(found), unit, target)


def total_row(
    samples: Samples, label: str, keys: Iterable[Key], target: Target | None = None
) -> Row:
    """Return the sum of counts over all rounds: one lost record is too many."""
    keys = list(keys)
    if not any(samples.get(measurement) for measurement, _ in keys):
        sources = tuple(measurement for measurement, _ in keys)
        return Row(label, None, "", target, NOT_MEASURED, sources)
    total = sum(sum(_figures(samples, key) or ()) for key in keys)
    return Row(label, Spread(total, total, total), "", target)


def _figures(samples: Samples, key: Key) -> list[float] | None:
    measurement, figure = key
    rounds = samples.get(measurement)
    return [figures[figure] for figures in rounds] if rounds else None


__all__ = [
    "NOT_MEASURED",
    "Key",
    "best",
    "difference_row",
    "ratio_row",
    "rival_row",
    "total_row",
    "value_row",
]
