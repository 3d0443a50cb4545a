"""
A report as one page of HTML, complete in itself (the extra ``report``: jinja2).

Messages are hostile input.  All text goes through autoescape, and what cannot be seen
is made visible first.  The data for the script is JSON in which no ``<`` stands.  A
Content-Security-Policy names the page's one style and one script by their hashes, and
allows nothing else: no other host, no image, no form, no script that was smuggled in.
Without JavaScript the tables are all there.
"""

from __future__ import annotations

import base64
import hashlib
import math
import os
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import orjson
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.read.replacing import replacing
from tokenpak.telemetry.read.visible import visible
from tokenpak.telemetry.report import wording
from tokenpak.telemetry.report.model import DIMENSIONS
from tokenpak.telemetry.report.sections import chance, lacks
from tokenpak.telemetry.report.tally import OTHER
from tokenpak.telemetry.store.names import parse_log_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jinja2 import Template

    from tokenpak.telemetry.report.model import Count, Report, Rise, Spread

_RISES: Final = 1.5
_NOWHERE: Final = 999
"""The index of a name that no table has a row for."""
_WIDTH, _HEIGHT = 150, 26


def as_page(report: Report) -> bytes:
    """Return *report* as a page of HTML."""
    style, script = _asset("page.css"), _asset("page.js")
    length = wording.span(wording.window_seconds(report))
    total = report.total
    messages = {kind.fingerprint: kind for kind in report.kinds}

    def rise_name(rise: Rise) -> str:
        kind = messages.get(rise.name)
        if rise.by == "all":
            return ""
        return rise.name if kind is None else f"{kind.error_type}: {kind.message}"

    page = _template().render(
        report=report,
        # Ours, not the log's: nothing in them is to be escaped.
        style=Markup(style),  # noqa: S704
        script=Markup(script),  # noqa: S704
        data=Markup(_data(report)),  # noqa: S704
        style_hash=_hash(style),
        script_hash=_hash(script),
        headline=wording.headline(report),
        noun=wording.noun(report).capitalize(),
        what=wording.kind_noun(report),
        failures=total.now + total.held_back,
        length=length,
        slot=wording.span(report.slot_seconds),
        course=_course(report),
        titles={**wording.TITLES, "fingerprint": wording.kind_noun(report)},
        tables=[
            (name, _with_bars(report.by[name]))
            for name in DIMENSIONS
            if wording.has_names(report.by[name])
        ],
        places=_ranges(report),
        lacks=lacks(report),
        rises=_rises,
        rise_name=rise_name,
        bars=_bars,
    )
    return page.encode()


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.filters.update(
        number=wording.number,
        moment=wording.moment,
        duration=wording.duration,
        cost=wording.cost,
        ratio=lambda value, now=1: wording.ratio(value, now=now),
        chance=chance,
        visible=visible,
    )
    return environment.from_string(_asset("page.html.j2"))


@cache
def _asset(name: str) -> str:
    folder = resources.files("tokenpak.telemetry.report") / "assets"
    return (folder / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return the source expression of CSP that allows *text*, and nothing else."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _data(report: Report) -> str:
    """Return what the script needs, as JSON that may stand in a script element."""
    names = {
        dimension: [visible(count.name) for count in report.by[dimension]]
        for dimension in DIMENSIONS
    }
    places = {d: {name: i for i, name in enumerate(names[d])} for d in DIMENSIONS}
    cells = []
    for cell in report.cells:
        where = [
            places[d].get(visible(getattr(cell, d)), places[d].get(OTHER, _NOWHERE))
            for d in DIMENSIONS
        ]
        series = [[i, n] for i, n in enumerate(cell.series) if n]
        cells.append([where, cell.before, series])
    text = orjson.dumps(
        {
            "since": int(wording.instant(report.since).timestamp() * 1000),
            "slot": report.slot_seconds * 1000,
            "slots": len(report.series_before),
            "before": report.series_before,
            "names": names,
            "titles": wording.TITLES,
            "cells": cells,
        }
    ).decode()
    # Inside a script element, "</script" and "<!--" would end or change it.
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def _course(report: Report) -> list[tuple[str, int, int]]:
    begin = wording.instant(report.since).timestamp()
    rows = []
    for i, (now, before) in enumerate(
        zip(report.total.series, report.series_before, strict=True)
    ):
        seconds = begin + i * report.slot_seconds
        rows.append((wording.moment(_stamp(seconds), seconds=True), now, before))
    return rows


def _stamp(seconds: float) -> str:
    from datetime import UTC, datetime  # noqa: PLC0415

    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _bars(series: Sequence[int]) -> Markup:
    """Return a small chart: numbers only, nothing of the log."""
    most, step = max(series, default=0), _WIDTH / max(1, len(series))
    bars = "".join(
        f"M{i * step:.1f} {_HEIGHT}V{_HEIGHT - max(1.5, n * _HEIGHT / most):.1f}"
        f"H{(i + 0.8) * step:.1f}V{_HEIGHT}Z"
        for i, n in enumerate(series)
        if n
    )
    return Markup('<path fill="currentColor" d="{}"/>').format(bars)


def _with_bars(counts: Sequence[Count]) -> list[tuple[Count, float, float]]:
    most = max(1, *(max(count.now, count.before) for count in counts))
    return [
        (count, round(100 * count.now / most, 2), round(99 * count.before / most, 2))
        for count in counts
    ]


def _rises(count: Count) -> bool:
    now = count.now + count.held_back
    return now > 0 and (count.ratio is None or count.ratio >= _RISES)


def _ranges(report: Report) -> list[tuple[Any, Any, Any]]:
    """Return the places, and from where to where their bars go."""
    spreads = [
        spread
        for place in report.places
        for spread in (place.duration_ms, place.duration_ms_before)
        if spread.p95 is not None
    ]
    low = math.log(max(0.1, min((s.p50 or 0.1 for s in spreads), default=1)))
    high = math.log(max(0.2, max((s.p95 or 0.2 for s in spreads), default=1)))

    def place_on(spread: Spread) -> tuple[float, float] | None:
        if spread.p50 is None or spread.p95 is None:
            return None
        ends = []
        for value in (spread.p50, spread.p95):
            part = (math.log(max(0.1, value)) - low) / max(1e-9, high - low)
            ends.append(round(5 + 190 * min(1.0, max(0.0, part)), 1))
        return ends[0], max(ends[0] + 0.1, ends[1])

    return [
        (place, place_on(place.duration_ms), place_on(place.duration_ms_before))
        for place in report.places
    ]


def write_whole(target: str, data: bytes) -> None:
    """
    Write *data* to the file *target*, all of it or nothing, for its owner to read.

    A symbolic link is followed; a pipe or device is written to as it is.

    Raises:
        OSError: it cannot be written.
        SettingError: it is called like a file of the log.

    """
    if parse_log_name(os.path.realpath(target)) is not None:
        raise SettingError("html", target, "a file that is not called like a log's own")
    with replacing(target) as out:
        out.write(data)


__all__ = ["as_page", "write_whole"]
