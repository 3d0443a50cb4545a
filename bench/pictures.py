"""Which pictures the page has: one dot for each logger, and how the cost grows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.adapters import FLOORS, OURS
from bench.model import Samples
from bench.plot import THEMES, Dot, Panel, Theme, dots, panels
from bench.quantiles import Spread, spread


def show_seconds(value: float) -> str:
    """Return a time, given in seconds, in the unit that suits it."""
    for unit, factor in (("ns", 1e9), ("µs", 1e6), ("ms", 1e3)):
        if value * factor < 999.5:
            return f"{_digits(value * factor)} {unit}"
    return f"{_digits(value)} s"


def show_count(value: float) -> str:
    """Return a count with thousands as k and millions as M."""
    if value >= 999_500:
        return f"{_digits(value / 1e6)}M"
    return f"{_digits(value / 1e3)}k" if value >= 999.5 else _digits(value)


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 99.5 else f"{value:.3g}"


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart of dots: a figure of each logger in a scenario."""

    name: str
    scenario: str
    title: str
    subtitle: str
    figure: str
    factor: float
    """To seconds, or to a count."""
    show: Callable[[float], str]
    lower_is_better: bool = True
    suffix: str = ""
    """Of the measurements that are meant, where a scenario has others too."""


_TIME = (
    "Logarithmic; dot: median of the rounds, line: lowest to highest; left is better"
)
_RATE = _TIME.replace("left", "right")

PICTURES: Sequence[Picture] = (
    Picture(
        "caller-burst",
        "caller_burst",
        "One call, at full speed",
        f"Median of the calls. {_TIME}",
        "median",
        1e-9,
        show_seconds,
    ),
    Picture(
        "caller-paced",
        "caller_paced",
        "One call, at 1,000 a second",
        f"p99.9 of the calls. {_TIME}",
        "p999",
        1e-9,
        show_seconds,
    ),
    Picture(
        "caller-busy",
        "caller_busy",
        "One call, among four busy threads",
        f"p99.9 of the calls. {_TIME}",
        "p999",
        1e-9,
        show_seconds,
    ),
    Picture(
        "throughput",
        "throughput",
        "Failures a second into the file, one thread",
        _RATE,
        "rate",
        1,
        show_count,
        lower_is_better=False,
    ),
    Picture(
        "threads",
        "threads",
        "Failures a second into the file, eight threads",
        _RATE,
        "rate",
        1,
        show_count,
        lower_is_better=False,
        suffix=", 8 threads",
    ),
    Picture(
        "processes",
        "processes",
        "Failures a second into one file, eight processes",
        _RATE,
        "rate",
        1,
        show_count,
        lower_is_better=False,
        suffix=", 8 processes",
    ),
    Picture(
        "loop-lag",
        "loop_lag",
        "Lag of an event loop, at 5,000 failures a second",
        f"p99 of the ticks. {_TIME}",
        "p99",
        1,
        show_seconds,
    ),
    Picture(
        "cost",
        "cost",
        "CPU time of all threads, for a record",
        _TIME,
        "cpu",
        1,
        show_seconds,
    ),
)

_PANELS: Mapping[str, tuple[str, str, float, Callable[[float], str]]] = {
    "records": ("records", "time for all", 1, show_seconds),
    "threads": ("threads", "time for the same records", 1, show_seconds),
    "processes": ("processes", "time for the same records", 1, show_seconds),
    "depth": ("frames", "median call", 1e-9, show_seconds),
    "context": ("fields", "median call", 1e-9, show_seconds),
    "days": ("day files", "first record in the file", 1, show_seconds),
}


def draw(results: Mapping[str, Samples]) -> dict[str, dict[str, str]]:
    """Return the pictures that *results* allow, as SVG by name and by theme."""
    drawn = {}
    for picture in PICTURES:
        lines = _lines(picture, results.get(picture.scenario, {}))
        if lines:
            drawn[picture.name] = {
                theme.name: _draw(picture, lines, theme) for theme in THEMES
            }
    charts = _panels(results.get("scaling", {}))
    if charts:
        subtitle = (
            "Both axes logarithmic; median of the rounds, with the lowest and highest"
        )
        drawn["scaling"] = {
            theme.name: panels("How the cost grows", subtitle, charts, theme)
            for theme in THEMES
        }
    return drawn


def pictures_of(scenario: str) -> list[tuple[str, str]]:
    """Return name and title of the pictures of *scenario*."""
    if scenario == "scaling":
        return [("scaling", "How the cost grows")]
    return [(p.name, p.title) for p in PICTURES if p.scenario == scenario]


def _draw(picture: Picture, lines: list[Dot], theme: Theme) -> str:
    return dots(picture.title, picture.subtitle, lines, picture.show, theme)


def _lines(picture: Picture, samples: Samples) -> list[Dot]:
    lines = []
    for measurement, rounds in samples.items():
        name = measurement.removesuffix(picture.suffix)
        if picture.suffix and name == measurement:
            continue
        # A clock may be too coarse for what takes no time.
        values = [max(r[picture.figure] * picture.factor, 1e-9) for r in rounds]
        floor = name in FLOORS or name == "no logger"
        kind = "ours" if name == OURS else "floor" if floor else "other"
        lines.append(Dot(name, spread(values), kind))
    return sorted(
        lines, key=lambda line: line.value.median, reverse=not picture.lower_is_better
    )


def _panels(samples: Samples) -> list[Panel]:
    charts = []
    for name, (x_label, y_label, factor, show) in _PANELS.items():
        rounds = samples.get(name)
        if not rounds:
            continue
        keys = [key for key in rounds[0] if key.startswith("at_")]
        xs = [float(key.removeprefix("at_")) for key in keys]
        ys: list[Spread] = [spread(r[key] * factor for r in rounds) for key in keys]
        charts.append(Panel(name, x_label, y_label, xs, ys, show))
    return charts


__all__ = ["PICTURES", "Picture", "draw", "pictures_of", "show_count", "show_seconds"]
