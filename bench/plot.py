"""
Pictures as SVG, written by hand: no plotting library is needed to run the benchmark.

Dots with whiskers, not bars: on a logarithmic axis a bar has no length that means
anything.  Each picture is drawn twice, for light and for dark pages.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from bench.fit import exponent
from bench.quantiles import Spread


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours of a picture."""

    name: str
    surface: str
    text: str
    muted: str
    grid: str
    ours: str
    other: str
    floor: str


LIGHT: Final = Theme(
    "light",
    surface="#ffffff",
    text="#1f2328",
    muted="#59636e",
    grid="#d8dee4",
    ours="#0969da",
    other="#57606a",
    floor="#8c6d1f",
)
DARK: Final = Theme(
    "dark",
    surface="#0d1117",
    text="#f0f6fc",
    muted="#9ea7b3",
    grid="#30363d",
    ours="#58a6ff",
    other="#b1bac4",
    floor="#d4a72c",
)
THEMES: Final = (LIGHT, DARK)

_WIDTH: Final = 760
_LEFT: Final = 190
_RIGHT: Final = 110
_ROW: Final = 24
_FONT: Final = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"


@dataclass(frozen=True, slots=True)
class Dot:
    """One line of a chart of dots."""

    label: str
    value: Spread
    kind: str
    """``ours``, ``other`` or ``floor``: its colour."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One small chart of points that should lie on a power."""

    title: str
    x_label: str
    y_label: str
    xs: Sequence[float]
    ys: Sequence[Spread]
    show: Callable[[float], str]


def dots(
    title: str,
    subtitle: str,
    lines: Sequence[Dot],
    show: Callable[[float], str],
    theme: Theme,
) -> str:
    """
    Return a chart with one dot for each of *lines*, on a logarithmic axis.

    Args:
        title: above the picture.
        subtitle: what is measured, in which unit, and which end is the better one.
        lines: from top to bottom; values above 0.
        show: how a value is written, with its unit.
        theme: the colours.

    """
    low = min(line.value.low for line in lines)
    high = max(line.value.high for line in lines)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    last = max(last, first + 1)
    inner = _WIDTH - _LEFT - _RIGHT

    def x(value: float) -> float:
        return _LEFT + inner * (math.log10(value) - first) / (last - first)

    top, bottom = 78, 78 + _ROW * len(lines)
    parts = [_text(16, 28, title, theme.text, size=17, weight=600)]
    parts.append(_text(16, 50, subtitle, theme.muted, size=13))
    for decade in range(first, last + 1):
        at = x(10.0**decade)
        parts.append(_line(at, top - 8, at, bottom, theme.grid))
        label = show(10.0**decade)
        parts.append(
            _text(at, bottom + 18, label, theme.muted, size=12, anchor="middle")
        )
    for number, line in enumerate(lines):
        y = top + _ROW * number + _ROW / 2 - 4
        colour = {"ours": theme.ours, "floor": theme.floor}.get(line.kind, theme.other)
        weight = 600 if line.kind == "ours" else 400
        parts.append(
            _text(
                _LEFT - 14, y + 4, line.label, theme.text, weight=weight, anchor="end"
            )
        )
        value = line.value
        parts.append(
            _line(_LEFT, y, x(value.median), y, theme.grid, width=1, dash="1 3")
        )
        parts.append(_line(x(value.low), y, x(value.high), y, colour, width=2))
        parts.append(
            _dot(x(value.median), y, colour, theme, hollow=line.kind == "floor")
        )
        parts.append(
            _text(
                max(x(value.high), x(value.median) + 5) + 8,
                y + 4,
                show(value.median),
                theme.text,
                weight=weight,
            )
        )
    return _document(title, _WIDTH, bottom + 34, parts, theme)


def panels(title: str, subtitle: str, charts: Sequence[Panel], theme: Theme) -> str:
    """Return small charts side by side, both axes logarithmic, with fitted powers."""
    across, width, height = 3, 253, 220
    rows = math.ceil(len(charts) / across)
    parts = [_text(16, 28, title, theme.text, size=17, weight=600)]
    parts.append(_text(16, 50, subtitle, theme.muted, size=13))
    for number, chart in enumerate(charts):
        left = (number % across) * width
        top = 66 + (number // across) * height
        parts += _panel(chart, left, top, width, height, theme)
    return _document(title, across * width, 72 + rows * height, parts, theme)


def _panel(
    chart: Panel, left: float, top: float, width: float, height: float, theme: Theme
) -> list[str]:
    box = (left + 64, top + 40, left + width - 18, top + height - 48)
    x_first, x_last = math.log10(min(chart.xs)), math.log10(max(chart.xs))
    low = math.log10(min(y.low for y in chart.ys))
    high = math.log10(max(y.high for y in chart.ys))
    # At least a factor of ten, or noise would look like growth; room above and below.
    spare = max(0.08 * (high - low), (1.0 - (high - low)) / 2)
    low, high = low - spare, high + spare

    def x(value: float) -> float:
        return box[0] + (box[2] - box[0]) * (math.log10(value) - x_first) / (
            x_last - x_first
        )

    def y(value: float) -> float:
        return box[3] - (box[3] - box[1]) * (math.log10(value) - low) / (high - low)

    found = exponent(chart.xs, [value.median for value in chart.ys])
    parts = [
        _text(
            left + 16,
            top + 14,
            f"{chart.title}: exponent {found:.2f}".replace("-", "\N{MINUS SIGN}"),
            theme.text,
            size=14,
            weight=600,
        ),
        _text(left + 16, top + 31, chart.y_label, theme.muted, size=12),
        _line(box[0], box[3], box[2], box[3], theme.grid),
        _line(box[0], box[1], box[0], box[3], theme.grid),
        _text(
            (box[0] + box[2]) / 2,
            box[3] + 34,
            chart.x_label,
            theme.muted,
            size=12,
            anchor="middle",
        ),
    ]
    for tick in _ticks(10**low, 10**high):
        parts.append(_line(box[0], y(tick), box[2], y(tick), theme.grid))
        parts.append(
            _text(
                box[0] - 6,
                y(tick) + 4,
                chart.show(tick),
                theme.muted,
                size=11,
                anchor="end",
            )
        )
    for value in (min(chart.xs), max(chart.xs)):
        anchor = "start" if value == min(chart.xs) else "end"
        parts.append(
            _text(
                x(value),
                box[3] + 17,
                f"{value:,.0f}",
                theme.muted,
                size=11,
                anchor=anchor,
            )
        )
    points = " ".join(
        f"{x(a):.1f},{y(b.median):.1f}" for a, b in zip(chart.xs, chart.ys, strict=True)
    )
    parts.append(
        f'<polyline points="{points}" fill="none" '
        f'stroke="{theme.ours}" stroke-width="1.5"/>'
    )
    for a, b in zip(chart.xs, chart.ys, strict=True):
        parts.append(_line(x(a), y(b.low), x(a), y(b.high), theme.ours, width=2))
        parts.append(_dot(x(a), y(b.median), theme.ours, theme, radius=3.5))
    return parts


def _ticks(low: float, high: float) -> list[float]:
    """Return a few round values between: decades, or 1-2-5 where there is none else."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [10.0**d for d in decades if low <= 10.0**d <= high]
    if len(ticks) < 2:
        ticks = [
            m * 10.0**d
            for d in decades
            for m in (1, 2, 5)
            if low <= m * 10.0**d <= high
        ]
    return ticks


def _text(
    x: float,
    y: float,
    text: str,
    colour: str,
    *,
    size: int = 13,
    weight: int = 400,
    anchor: str = "start",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" font-size="{size}" '
        f'font-weight="{weight}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _line(
    x1: float,
    y1: float,
    x2: float,
    y2: float,
    colour: str,
    *,
    width: float = 1,
    dash: str = "",
) -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="{colour}" stroke-width="{width:g}"{dashed}/>'
    )


def _dot(
    x: float,
    y: float,
    colour: str,
    theme: Theme,
    *,
    radius: float = 5,
    hollow: bool = False,
) -> str:
    fill = theme.surface if hollow else colour
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{fill}" '
        f'stroke="{colour}" stroke-width="2"/>'
    )


def _document(
    title: str, width: float, height: float, parts: list[str], theme: Theme
) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img" '
        f'font-family="{_FONT}">\n'
        f"<title>{escape(title)}</title>\n"
        f'<rect width="100%" height="100%" fill="{theme.surface}"/>\n{body}\n</svg>\n'
    )


__all__ = ["DARK", "LIGHT", "THEMES", "Dot", "Panel", "Theme", "dots", "panels"]
