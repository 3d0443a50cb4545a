"""
All metrics, in one table: names, kinds, help texts, labels, and where values come from.

Names and units as Prometheus prescribes: base units, ``_total`` on counters.  The
reference page of the metrics is made from here.

Counters and histograms are those of the machine; gauges are what is at the moment of
the scrape.  What is in the log is counted there, since ``begun``.  What the pipeline
does is counted by the processes themselves: see pipeline.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple

from tokenpak.telemetry.metrics.health import Health
from tokenpak.telemetry.metrics.machine import View
from tokenpak.telemetry.metrics.pipeline import PipelineTotals
from tokenpak.telemetry.metrics.tally import BUCKETS, Labels
from tokenpak.telemetry.store import meters

Kind = Literal["counter", "gauge", "histogram"]
_BILLION: Final = 1e9
_AHEAD: Final = 60.0
"""Seconds by which the clocks of two processes may differ; see _last_success()."""


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
    bounds: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets, in its unit."""

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


def _pipeline(
    name: str,
    help_text: str,
    labels: tuple[str, ...],
    values: Callable[[PipelineTotals], Mapping[Labels, Any]],
    bounds: tuple[float, ...] = (),
) -> Family:
    """Return a metric that the processes count themselves."""
    return Family(
        name,
        "histogram" if bounds else "counter",
        help_text,
        labels,
        lambda view, health: values(view.pipeline(health.readings)),
        steady=False,
        bounds=bounds,
    )


def _last_success(view: View, health: Health) -> Mapping[Labels, Any]:
    # Not all who write count it where we see it (who recovers, has no spool, or is of
    # an older version): the log's file changed then.  A clock that was ahead once must
    # not hide for years that nothing is written.
    counted = view.pipeline(health.readings).last_success
    if counted > time.time() + _AHEAD:
        counted = 0.0
    last = max(counted, view.last_append)
    return _one(last) if last else {}


def _problems(view: View, health: Health) -> Mapping[Labels, Any]:
    pipeline = view.pipeline(health.readings)
    words = (*view.problems, *health.problems, *pipeline.problems)
    return {(problem,): 1 for problem in words}


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
        f"tokenpak_telemetry_process_{name}",
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
        bounds=BUCKETS,
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
        "What makes the counts inexact: damaged_counts (begun anew), "
        "damaged_counts_restored (by a process that still had them), begun_from_now_on "
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
        _last_success,
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
        "unreadable_spool, damaged_meters, other_version_meters, damaged_totals, "
        "unreadable_totals.",
        ("problem",),
        _problems,
        steady=False,
    ),
    _pipeline(
        "tokenpak_telemetry_batch_size_bytes",
        "Bytes that one append brought into the log; their sum is what was appended.",
        ("stream",),
        lambda totals: totals.histogram(meters.BATCH),
        meters.SIZES,
    ),
    _pipeline(
        "tokenpak_telemetry_append_duration_seconds",
        "How long one append took, the lock of the day's file being free.",
        ("stream",),
        lambda totals: totals.histogram(meters.APPEND, _BILLION),
        meters.TIMES,
    ),
    _pipeline(
        "tokenpak_telemetry_lock_wait_seconds",
        "How long an append waited for another process's lock of the day's file.",
        ("stream",),
        lambda totals: totals.histogram(meters.LOCK, _BILLION),
        meters.TIMES,
    ),
    _pipeline(
        "tokenpak_telemetry_given_up_records",
        "Records that were dropped, as the processes count them at once; the log tells "
        "of them later: tokenpak_telemetry_records_dropped_total.",
        ("reason", "stream"),
        lambda totals: totals.by_both(meters.DROPPED),
    ),
    _pipeline(
        "tokenpak_suppressed_errors",
        "Errors that were not recorded, on purpose: sampled away, or held back in a "
        "storm until its summary, which brings those into tokenpak_errors_total.",
        ("reason",),
        lambda totals: totals.by_label(meters.SUPPRESSED),
    ),
    _pipeline(
        "tokenpak_telemetry_write_errors",
        "Attempts to append that failed, by the error's name; they are made again.",
        ("error",),
        lambda totals: totals.by_label(meters.WRITE_ERRORS),
    ),
    _pipeline(
        "tokenpak_telemetry_archive_runs",
        "Looks for days to be archived, by what they came to: archived, nothing_to_do, "
        "put_off (something of the day still waits), failed.",
        ("result",),
        lambda totals: totals.by_label(meters.ARCHIVE_RUNS),
    ),
    _pipeline(
        "tokenpak_telemetry_recovered_spools",
        "Spools of dead processes that were emptied and deleted.",
        ("stream",),
        lambda totals: totals.by_stream(meters.RECOVERED, meters.SPOOLS),
    ),
    _pipeline(
        "tokenpak_telemetry_recovered_records",
        "Records of dead processes that were appended.",
        ("stream",),
        lambda totals: totals.by_stream(meters.RECOVERED, meters.RECORDS),
    ),
    _pipeline(
        "tokenpak_telemetry_recovered_damaged_lines",
        "Lines in spools of dead processes that no longer were records.",
        ("stream",),
        lambda totals: totals.by_stream(meters.RECOVERED, meters.DAMAGED_LINES),
    ),
    _pipeline(
        "tokenpak_telemetry_left_out_meters",
        "Processes whose counters of the pipeline are not in these metrics: damaged, "
        "of an other_version of the library, or not_saved when the process had ended.",
        ("reason",),
        lambda totals: totals.by_label(meters.LEFT_OUT),
    ),
    _process("batches", "Appends to the log.", "batches"),
    _process("appended_bytes", "Bytes of them.", "written_bytes"),
    _process(
        "write_errors",
        "Attempts to append that failed; they are made again.",
        "write_errors",
    ),
    _process(
        "given_up_records",
        "Records that were dropped, sampled away or held back in a storm.",
        "dropped",
        ("pid", "reason"),
    ),
)

__all__ = ["FAMILIES", "Family", "Kind"]
