"""
The metrics as text: Prometheus's format, OpenMetrics with exemplars, or JSON.

Written here, not by ``prometheus_client``, because a scrape of 10,000 label sets shall
take milliseconds: what stands between the braces of a label set is made once, and the
text of the counters once for each edition of the counts.  The tests hold it against
that library's parsers.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final, Literal

import orjson

from tokenpak.telemetry.metrics.families import FAMILIES, Family
from tokenpak.telemetry.metrics.health import Health, HealthLook, Logger
from tokenpak.telemetry.metrics.labels import bound_text, escaped, label_set
from tokenpak.telemetry.metrics.machine import MachineCounts, View
from tokenpak.telemetry.metrics.pipeline import Distribution
from tokenpak.telemetry.metrics.tally import Count, Durations, Exemplar, Labels, Parts

Form = Literal["prometheus", "openmetrics", "json"]
FORMS: Final[tuple[Form, ...]] = ("prometheus", "openmetrics", "json")
CONTENT_TYPES: Final[dict[Form, str]] = {
    "prometheus": "text/plain; version=0.0.4; charset=utf-8",
    "openmetrics": "application/openmetrics-text; version=1.0.0; charset=utf-8",
    "json": "application/json",
}


class Exposition:
    """
    The metrics of one directory, as text.  Any thread.

    Args:
        counts: of the directory.
        logger: of this process, if its own figures shall be shown.

    """

    def __init__(self, counts: MachineCounts, logger: Logger | None = None) -> None:
        self._counts = counts
        self._health = HealthLook(counts.log_dir, counts.spool_dir, logger)
        self._texts: dict[str, dict[Labels, str]] = {}
        self._made: dict[Form, tuple[int, list[str]]] = {}

    def render(self, form: Form = "prometheus") -> bytes:
        """Count what is new, and return all metrics; raises nothing of the files'."""
        health = self._health.look()
        if form == "json":
            return self._counts.read(lambda view: as_json(view, health))
        return self._counts.read(lambda view: self._as_text(view, health, form))

    def _as_text(self, view: View, health: Health, form: Form) -> bytes:
        # Called by one thread at a time: read() sees to that.
        edition, steady = self._made.get(form, (-1, []))
        if edition != view.edition:
            steady = [
                self._family(family, view, health, form)
                for family in FAMILIES
                if family.steady
            ]
            self._made[form] = (view.edition, steady)
        moving = [
            self._family(family, view, health, form)
            for family in FAMILIES
            if not family.steady
        ]
        end = ["# EOF\n"] if form == "openmetrics" else []
        return "".join([*steady, *moving, *end]).encode("utf-8", "replace")

    def _family(self, family: Family, view: View, health: Health, form: Form) -> str:
        values = family.values(view, health)
        strict = form == "openmetrics"
        name = family.name if strict else family.sample
        lines = [f"# HELP {name} {_help(family.help, strict=strict)}\n"]
        lines.append(f"# TYPE {name} {family.kind}\n")
        if strict and family.unit:
            lines.append(f"# UNIT {name} {family.unit}\n")
        texts = self._texts.setdefault(family.name, {})
        if len(texts) > 2 * len(values) + 100:
            texts.clear()  # the counters were begun anew
        sample = family.sample
        for labels, value in values.items():
            text = texts.get(labels)
            if text is None:
                text = texts[labels] = label_set(family.labels, labels)
            if type(value) is Count:
                line = f"{sample}{{{text}}} {value.value}"
                if strict and value.exemplar is not None:
                    line += _exemplar(value.exemplar)
                lines.append(line + "\n")
            elif type(value) is Durations or type(value) is Distribution:
                lines.append(_histogram(sample, text, value.parts, strict=strict))
            elif text:
                lines.append(f"{sample}{{{text}}} {value}\n")
            else:
                lines.append(f"{sample} {value}\n")
        return "".join(lines)


@functools.cache
def _les(bounds: tuple[float, ...]) -> tuple[str, ...]:
    return (*(f'le="{bound_text(bound)}"' for bound in bounds), 'le="+Inf"')


def _histogram(name: str, text: str, parts: Parts, *, strict: bool) -> str:
    bounds, buckets, exemplars, amount = parts
    lines = []
    total = 0
    comma = "," if text else ""
    for bound, number, exemplar in zip(_les(bounds), buckets, exemplars, strict=True):
        total += number
        line = f"{name}_bucket{{{text}{comma}{bound}}} {total}"
        if strict and exemplar is not None:
            line += _exemplar(exemplar)
        lines.append(line + "\n")
    lines.append(f"{name}_sum{{{text}}} {amount}\n")
    lines.append(f"{name}_count{{{text}}} {total}\n")
    return "".join(lines)


def _exemplar(exemplar: Exemplar) -> str:
    request_id, value, timestamp = exemplar
    seconds = timestamp_of(timestamp)
    at = "" if seconds is None else f" {seconds:.6f}"
    return f' # {{request_id="{escaped(request_id)}"}} {value}{at}'


def timestamp_of(text: Any) -> float | None:
    """Return a record's timestamp in seconds since the epoch; None: it is none."""
    try:
        seconds = datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    return seconds if math.isfinite(seconds) else None


def _help(text: str, *, strict: bool) -> str:
    text = " ".join(text.split()).replace("\\", r"\\")
    return text.replace('"', r"\"") if strict else text


def as_json(view: View, health: Health) -> bytes:
    """Return all metrics as JSON, for a script."""
    metrics = {
        family.sample: list(_json_samples(family, family.values(view, health)))
        for family in FAMILIES
    }
    return orjson.dumps({"begun": view.begun, "metrics": metrics}) + b"\n"


def _json_samples(
    family: Family, values: Mapping[Labels, Any]
) -> Iterator[dict[str, Any]]:
    for labels, value in values.items():
        sample: dict[str, Any] = dict(zip(family.labels, labels, strict=True))
        if isinstance(value, Durations | Distribution):
            bounds, buckets, _, total = value.parts
            yield {
                "labels": sample,
                "sum": total,
                "count": sum(buckets),
                "buckets": dict(zip([*map(str, bounds), "+Inf"], buckets, strict=True)),
            }
        else:
            number = value.value if isinstance(value, Count) else value
            yield {"labels": sample, "value": number}


__all__ = ["CONTENT_TYPES", "FORMS", "Exposition", "Form", "as_json", "timestamp_of"]
