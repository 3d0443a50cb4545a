"""
The counts of a directory for Prometheus: a collector, WSGI and ASGI apps, a text file.

    from tokenpak.telemetry.metrics.prometheus import register

    register()

Then every page that shows the registry of ``prometheus_client`` shows them, and any
worker answers for all processes of the machine, the dead included.  Nothing of that
library's multiprocess mode is used, or minded.

Where there is no such page, ``wsgi_app()`` and ``asgi_app()`` are one.

An answer is always made: what could not be read, or was left out, is itself a metric.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Exemplar, Sample
from prometheus_client.utils import floatToGoString

from tokenpak.telemetry.metrics.exposition import (
    CONTENT_TYPES,
    Exposition,
    Form,
    timestamp_of,
)
from tokenpak.telemetry.metrics.families import FAMILIES, Family
from tokenpak.telemetry.metrics.health import Health, HealthLook, Logger
from tokenpak.telemetry.metrics.machine import MachineCounts, View, machine_counts
from tokenpak.telemetry.metrics.pipeline import Distribution
from tokenpak.telemetry.metrics.tally import Count, Durations, Labels, Parts
from tokenpak.telemetry.metrics.textfile import replace_file

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApplication = Callable[[_Scope, _Receive, _Send], Awaitable[None]]


class Collector:
    """
    What a registry of ``prometheus_client`` asks at each scrape.  Any thread.

    Args:
        log_dir: default ``$TOKENPAK_LOG_DIR``, else ``~/.tokenpak/logs``.
        max_label_sets: of each metric, before further ones are counted as ``other``.
            Default 1,000.
        logger: this process's, to show the metrics that have its pid as well.

    Raises:
        SettingError: max_label_sets is less than 1.

    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] | None = None,
        *,
        max_label_sets: int | None = None,
        logger: Logger | None = None,
    ) -> None:
        self._counts: MachineCounts = machine_counts(log_dir, max_label_sets)
        self._health = HealthLook(self._counts.log_dir, self._counts.spool_dir, logger)
        self._steady: tuple[int, list[Metric]] = (-1, [])
        self._families = [(family.steady, _Samples(family)) for family in FAMILIES]

    @property
    def log_dir(self) -> str:
        """The log directory."""
        return self._counts.log_dir

    def describe(self) -> Iterator[Metric]:
        """Yield the metrics without samples: registering counts nothing."""
        for family in FAMILIES:
            yield _metric(family)

    def collect(self) -> list[Metric]:
        """Count what is new, and return all metrics."""
        # One thread at a time gets to _metrics(): read() sees to that.
        health = self._health.look()
        return self._counts.read(lambda view: self._metrics(view, health))

    def _metrics(self, view: View, health: Health) -> list[Metric]:
        edition, steady = self._steady
        if edition != view.edition:
            steady = [s.metric(view, health) for kept, s in self._families if kept]
            self._steady = (view.edition, steady)
        moving = [s.metric(view, health) for kept, s in self._families if not kept]
        return [*steady, *moving]


def register(
    registry: CollectorRegistry | None = None,
    log_dir: str | os.PathLike[str] | None = None,
    *,
    max_label_sets: int | None = None,
    logger: Logger | None = None,
) -> Collector:
    """
    Add the counts to *registry*; may be called again, also in each worker.

    Args:
        registry: default: that of ``prometheus_client`` itself.
        log_dir: as for Collector.
        max_label_sets: as for Collector.
        logger: as for Collector.

    Returns:
        The collector, which ``registry.unregister()`` takes.

    Raises:
        SettingError: max_label_sets is less than 1.
        ValueError: the registry has other metrics of these names, such as a Gauge
            ``tokenpak_errors_total``, or those of another directory.

    """
    if registry is None:
        from prometheus_client import REGISTRY  # noqa: PLC0415  (as it is now)

        registry = REGISTRY
    collector = Collector(log_dir, max_label_sets=max_label_sets, logger=logger)
    known, before = _registered.get(id(registry), (None, collector))
    if known is registry and before.log_dir == collector.log_dir:
        try:
            registry.unregister(before)
        except KeyError:
            pass  # somebody else has
    registry.register(collector)
    _registered[id(registry)] = (registry, collector)
    return collector


_registered: dict[int, tuple[CollectorRegistry, Collector]] = {}


class _Samples:
    """
    The samples of one family, made anew only where something has changed.

    Ten thousand of them, with a dictionary each, would take a scrape 40 ms.
    """

    def __init__(self, family: Family) -> None:
        self._family = family
        self._made: dict[Labels, tuple[Any, list[Sample]]] = {}

    def metric(self, view: View, health: Health) -> Metric:
        """Return the family, filled."""
        metric = _metric(self._family)
        values = self._family.values(view, health)
        made = self._made
        if len(made) > 2 * len(values) + 100:
            made.clear()  # the counters were begun anew
        for labels, value in values.items():
            state = value
            if type(value) is Count:
                # Each exemplar is a list of its own, and kept alive here.
                state = (value.value, id(value.exemplar), value.exemplar)
            elif type(value) is Durations:
                state = (value.microseconds, *value.buckets)
            before = made.get(labels)
            if before is None or before[0] != state:
                before = made[labels] = (state, self._samples(labels, value))
            metric.samples += before[1]
        return metric

    def _samples(self, labels: Labels, value: Any) -> list[Sample]:
        name = self._family.sample
        named = dict(zip(self._family.labels, labels, strict=True))
        if type(value) is Durations or type(value) is Distribution:
            return _histogram(name, named, value.parts)
        if type(value) is Count:
            return [Sample(name, named, value.value, None, _exemplar(value.exemplar))]
        return [Sample(name, named, value)]


def _metric(family: Family) -> Metric:
    return Metric(family.name, family.help, family.kind, family.unit)


def _histogram(name: str, labels: dict[str, str], parts: Parts) -> list[Sample]:
    bounds, buckets, exemplars, amount = parts
    total = 0
    samples = []
    for bound, number, exemplar in zip(_les(bounds), buckets, exemplars, strict=True):
        total += number
        named = {**labels, "le": bound}
        made = _exemplar(exemplar)
        samples.append(Sample(f"{name}_bucket", named, total, None, made))
    samples.append(Sample(f"{name}_sum", labels, amount))
    samples.append(Sample(f"{name}_count", labels, total))
    return samples


@functools.cache
def _les(bounds: tuple[float, ...]) -> tuple[str, ...]:
    return (*map(floatToGoString, bounds), "+Inf")


def _exemplar(saved: list[Any] | None) -> Exemplar | None:
    if saved is None:
        return None
    request_id, value, timestamp = saved
    return Exemplar({"request_id": request_id}, value, timestamp_of(timestamp))


# -- without a registry -------------------------------------------------------


def form_for(accept: str) -> Form:
    """Return the format that a scraper with the header ``Accept: accept`` takes."""
    wants = "application/openmetrics-text" in accept.lower()
    return "openmetrics" if wants else "prometheus"


def wsgi_app(
    log_dir: str | os.PathLike[str] | None = None,
    *,
    max_label_sets: int | None = None,
    logger: Logger | None = None,
) -> WSGIApplication:
    """
    Return a WSGI application that answers every request with the metrics.

    Args:
        log_dir: as for Collector.
        max_label_sets: as for Collector.
        logger: as for Collector.

    Raises:
        SettingError: max_label_sets is less than 1.

    """
    exposition = Exposition(machine_counts(log_dir, max_label_sets), logger)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        form = form_for(environ.get("HTTP_ACCEPT", ""))
        body = exposition.render(form)
        headers = [
            ("Content-Type", CONTENT_TYPES[form]),
            ("Content-Length", str(len(body))),
        ]
        start_response("200 OK", headers)
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [body]

    return app


def asgi_app(
    log_dir: str | os.PathLike[str] | None = None,
    *,
    max_label_sets: int | None = None,
    logger: Logger | None = None,
) -> AsgiApplication:
    """
    Return an ASGI application that answers every request with the metrics.

    Files are read in a thread, so that the event loop goes on.

    Args:
        log_dir: as for Collector.
        max_label_sets: as for Collector.
        logger: as for Collector.

    Raises:
        SettingError: max_label_sets is less than 1.

    """
    exposition = Exposition(machine_counts(log_dir, max_label_sets), logger)

    async def app(scope: _Scope, receive: _Receive, send: _Send) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": f"{message['type']}.complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        if scope["type"] != "http":
            raise TypeError(f"metrics are served by HTTP, not {scope['type']}")
        import asyncio  # noqa: PLC0415  (whoever calls this has it)

        headers = dict(scope["headers"])
        form = form_for(headers.get(b"accept", b"").decode("latin-1"))
        body = await asyncio.to_thread(exposition.render, form)
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    (b"content-type", CONTENT_TYPES[form].encode()),
                    (b"content-length", str(len(body)).encode()),
                ],
            }
        )
        sent = b"" if scope["method"] == "HEAD" else body
        await send({"type": "http.response.body", "body": sent})

    return app


def write_textfile(
    path: str | os.PathLike[str],
    log_dir: str | os.PathLike[str] | None = None,
    *,
    form: Form = "prometheus",
) -> None:
    """
    Write the metrics to *path*, for the textfile collector of node exporter.

    The file is renamed into place, so nobody reads half of it; its name must end with
    ``.prom`` for that collector.  Others may read it: mode 0644.

    Args:
        path: of the file.
        log_dir: as for Collector.
        form: the format.

    Raises:
        OSError: it cannot be written; what was there is left as it was.

    """
    body = Exposition(machine_counts(log_dir)).render(form)
    replace_file(os.fspath(path), body)


__all__ = [
    "AsgiApplication",
    "Collector",
    "asgi_app",
    "form_for",
    "register",
    "write_textfile",
    "wsgi_app",
]
