"""
From samples to rows: the three ways in which scenarios judge what was measured.

Each takes figures by ``(measurement, figure)``, and makes a row without a value where
a measurement is missing because its peer is not installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
        return Row(label, None, unit, target, NOT_MEASURED)
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
        return Row(label, None, unit, target, NOT_MEASURED)
    factor = 100.0 if percent else 1.0
    found = spread(ratio * factor for ratio in ratios(over, under))
    return Row(label, found, unit, target)


def total_row(
    samples: Samples, label: str, keys: Iterable[Key], target: Target | None = None
) -> Row:
    """Return the sum of counts over all rounds: one lost record is too many."""
    total = sum(sum(_figures(samples, key) or ()) for key in keys)
    return Row(label, Spread(total, total, total), "", target)


def _figures(samples: Samples, key: Key) -> list[float] | None:
    measurement, figure = key
    rounds = samples.get(measurement)
    return [figures[figure] for figures in rounds] if rounds else None


__all__ = ["NOT_MEASURED", "Key", "ratio_row", "total_row", "value_row"]
