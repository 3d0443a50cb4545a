"""
All metrics, in one table: names, kinds, help texts, labels, and where values come from.

Names and units as Prometheus prescribes: base units, ``_total`` on counters.  The
reference page of the metrics is made from here.

Counters and the histogram are those of the machine, since ``begun``; gauges are what is
at the moment of the scrape.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple

from tokenpak.telemetry.metrics.health import Health
from tokenpak.telemetry.metrics.machine import View
from tokenpak.telemetry.metrics.tally import Labels

Kind = Literal["counter", "gauge", "histogram"]
_BILLION: Final = 1e9


class Family(NamedTuple):
    """A metric."""

    name: str
    """As OpenMetrics has it: without the ``_total`` of a counter."""
    kind: Kind
    help: str
    labels: tuple[str, ...]
    values: Callable[[View, Health], Mapping[Labels, Any]]
    """By label values, in the order of ``labels``; numbers, Count or Durations."""
    steady: bool = True
    """Whether it changes only with the edition of the counts."""

    @property
    def sample(self) -> str:
        """The name under which it is queried."""
        return f"{self.name}_total" if self.kind == "counter" else self.name

    @property
    def unit(self) -> str:
        """Its unit, if OpenMetrics knows one for it."""
        for unit in ("seconds", "bytes"):
            if self.name.endswith(f"_{unit}"):
                return unit
        return ""


def _one(value: float) -> Mapping[Labels, Any]:
    return {(): value}


def _dollars(view: View) -> Mapping[Labels, Any]:
    return {labels: nano / _BILLION for labels, nano in view.tally.cost.items()}


def _process(
    name: str, help_text: str, key: str, labels: tuple[str, ...] = ("pid",)
) -> Family:
    def values(_view: View, health: Health) -> Mapping[Labels, Any]:
        if health.process is None:
            return {}
        pid, value = str(os.getpid()), health.process[key]
        if isinstance(value, Mapping):
            return {(pid, reason): number for reason, number in value.items()}
        return {(pid,): value}

    return Family(
        f"tokenpak_telemetry_{name}",
        "counter",
        f"{help_text}  Of the process that answers, if its logger was named.",
        labels,
        values,
        steady=False,
    )


FAMILIES: Final = (
    Family(
        "tokenpak_errors",
        "counter",
        "Errors in the log, those that a storm's summary stands for included.",
        ("error_type", "provider", "model", "kind"),
        lambda view, _: view.tally.errors,
    ),
    Family(
        "tokenpak_events",
        "counter",
        "Events in the log.",
        ("event", "provider", "model"),
        lambda view, _: view.tally.events,
    ),
    Family(
        "tokenpak_request_duration_seconds",
        "histogram",
        "How long calls took, failed ones too: duration_ms of the context.",
        ("provider", "model"),
        lambda view, _: view.tally.durations,
    ),
    Family(
        "tokenpak_cost_usd",
        "counter",
        "What calls cost, in US dollars: cost_estimate of the context.  The stream "
        "tells failed calls (errors) from others (events).",
        ("provider", "model", "stream"),
        lambda view, _: _dollars(view),
    ),
    Family(
        "tokenpak_tokens",
        "counter",
        "Tokens of calls: input_tokens or prompt_tokens, and output_tokens or "
        "completion_tokens, of the context.",
        ("provider", "model", "direction", "stream"),
        lambda view, _: view.tally.tokens,
    ),
    Family(
        "tokenpak_telemetry_records_accepted",
        "counter",
        "Accepted records that are in the log.  Those that still wait are "
        "tokenpak_telemetry_pending_records.",
        ("stream",),
        lambda view, _: view.tally.accepted,
    ),
    Family(
        "tokenpak_telemetry_records_written",
        "counter",
        "Records in the log, those included by which the logger tells of drops.",
        ("stream",),
        lambda view, _: view.tally.written,
    ),
    Family(
        "tokenpak_telemetry_records_dropped",
        "counter",
        "Records that were given up, as the log tells of them: by reason, and storm "
        "for those that storm control held back.",
        ("reason", "stream"),
        lambda view, _: view.tally.dropped,
    ),
    Family(
        "tokenpak_telemetry_malformed_lines",
        "counter",
        "Stretches of log files that are no record.",
        ("stream",),
        lambda view, _: view.tally.malformed,
    ),
    Family(
        "tokenpak_telemetry_archived_files",
        "counter",
        "Finished archives that were counted.",
        ("stream",),
        lambda view, _: view.tally.archived,
    ),
    Family(
        "tokenpak_telemetry_label_sets_overflowed",
        "counter",
        "Records that were counted under other, because the metric had label sets "
        "enough.",
        ("metric",),
        lambda view, _: view.tally.overflowed,
    ),
    Family(
        "tokenpak_telemetry_values_ignored",
        "counter",
        "Values of contexts that were left out: no numbers, negative or immense.",
        ("field",),
        lambda view, _: view.tally.ignored,
    ),
    Family(
        "tokenpak_telemetry_count_troubles",
        "counter",
        "What makes the counts inexact: damaged_counts (begun anew), begun_from_now_on "
        "(the log was too large to be counted at first), file_cut_short, "
        "damaged_archive.",
        ("trouble",),
        lambda view, _: view.tally.trouble,
    ),
    Family(
        "tokenpak_telemetry_counts_begun_timestamp_seconds",
        "gauge",
        "Since when the counters count, in seconds since the epoch; what the log held "
        "before is included, unless count_troubles says begun_from_now_on.",
        (),
        lambda view, _: _one(view.begun),
        steady=False,
    ),
    Family(
        "tokenpak_telemetry_last_success_timestamp_seconds",
        "gauge",
        "When something was last written to the log, in seconds since the epoch.",
        (),
        lambda view, _: _one(view.last_append) if view.last_append else {},
        steady=False,
    ),
    Family(
        "tokenpak_telemetry_pending_records",
        "gauge",
        "Records that are accepted and not in the log yet.",
        ("stream",),
        lambda _, health: health.pending_records,
        steady=False,
    ),
    Family(
        "tokenpak_telemetry_pending_bytes",
        "gauge",
        "Bytes of them.",
        ("stream",),
        lambda _, health: health.pending_bytes,
        steady=False,
    ),
    Family(
        "tokenpak_telemetry_untold_drops",
        "gauge",
        "Records that were given up and that the log does not tell of yet; once it "
        "does, they are in tokenpak_telemetry_records_dropped_total.",
        ("reason", "stream"),
        lambda _, health: health.untold,
        steady=False,
    ),
    Family(
        "tokenpak_telemetry_writers",
        "gauge",
        "Processes that are logging now.",
        ("stream",),
        lambda _, health: health.writers,
        steady=False,
    ),
    Family(
        "tokenpak_telemetry_orphans",
        "gauge",
        "Spools of dead processes that nobody has recovered yet.",
        ("stream",),
        lambda _, health: health.orphans,
        steady=False,
    ),
    Family(
        "tokenpak_telemetry_scrape_problems",
        "gauge",
        "What this scrape could not do: not_saved, unreadable_counts, "
        "unreadable_directory, unreadable_file, vanished_file, damaged_archive, "
        "unreadable_spool.",
        ("problem",),
        lambda view, health: {(p,): 1 for p in (*view.problems, *health.problems)},
        steady=False,
    ),
    _process("batches", "Appends to the log.", "batches"),
    _process("appended_bytes", "Bytes of them.", "written_bytes"),
    _process(
        "write_errors",
        "Attempts to append that failed; they are made again.",
        "write_errors",
    ),
    _process(
        "recovered_records",
        "Records of dead processes that were appended.",
        "recovered",
    ),
    _process(
        "given_up_records",
        "Records that were dropped, sampled away or held back in a storm.",
        "dropped",
        ("pid", "reason"),
    ),
)

__all__ = ["FAMILIES", "Family", "Kind"]
