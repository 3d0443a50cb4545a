"""
The alert rules for Prometheus, as data and as YAML.

    https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/

Each has a severity (``critical``: wake somebody; ``warning``: in working hours), and an
annotation ``runbook`` that says what to look at and what to do.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from tokenpak.telemetry.alerts.promql import (
    INSTANCE,
    Series,
    pattern,
    span,
    string,
)
from tokenpak.telemetry.alerts.thresholds import DAY, HOUR, Thresholds
from tokenpak.telemetry.alerts.yaml import dump

ERRORS: Final = "tokenpak_errors_total"
COST: Final = "tokenpak_cost_usd_total"
DROPPED: Final = "tokenpak_telemetry_records_dropped_total"
UNTOLD: Final = "tokenpak_telemetry_untold_drops"
PENDING: Final = "tokenpak_telemetry_pending_records"
PENDING_BYTES: Final = "tokenpak_telemetry_pending_bytes"
LAST: Final = "tokenpak_telemetry_last_success_timestamp_seconds"
PROBLEMS: Final = "tokenpak_telemetry_scrape_problems"
WRITERS: Final = "tokenpak_telemetry_writers"

GROUP: Final = "tokenpak-telemetry"
_CHOSEN_DROPS: Final = 'reason!~"storm|sampled|sampling"'
"""What sampling and storm control hold back was wanted, and is counted apart."""


class AlertRule(NamedTuple):
    """One rule."""

    name: str
    expr: str
    hold: int
    """Seconds that the expression must hold."""
    severity: str
    summary: str
    description: str
    runbook: str


def alert_rules(limits: Thresholds) -> list[AlertRule]:
    """Return all rules, for *limits*."""
    job = f"job={string(limits.job)}" if limits.job else ""
    all_errors = Series(ERRORS, job)
    of_type = Series(ERRORS, job, by="error_type")
    of_provider = Series(ERRORS, 'provider!=""', job, by="provider")
    types = f"error_type=~{string(pattern(limits.critical))}"
    critical = Series(ERRORS, types, job, by="error_type")
    auth = Series(ERRORS, 'kind="auth"', job, by="provider")
    cost = Series(COST, 'stream="errors"', job)
    drops = Series(DROPPED, _CHOSEN_DROPS, job, by="reason")
    untold = Series(UNTOLD, _CHOSEN_DROPS, job, by="reason")
    window = span(limits.window)
    # This metric is there from the first scrape on, also of an empty log.
    scraped = Series(WRITERS, job)
    # Also for that moment: where a scrape has failed, all that ever was would be new.
    known = f"and on ({INSTANCE}) {scraped.at(limits.window)}"
    learnt = f"{known} and on ({INSTANCE}) {scraped.at(limits.usual)}"
    seen = f"and on ({INSTANCE}) {scraped.at(limits.new_for)}"
    if limits.usual > limits.new_for:
        seen += f" and on ({INSTANCE}) {scraped.at(limits.usual)}"
    an_hour = limits.budget / 24 * limits.burn
    a_window = an_hour * limits.window / HOUR
    return [
        AlertRule(
            "TokenpakErrorSpike",
            f"{_spike(all_errors, limits)} {learnt}",
            limits.hold,
            "warning",
            "{{ $labels.instance }}: {{ $value | humanize }} errors in " + window,
            f"More than {limits.spike_factor:g} times the usual.",
            "See which type, provider and model they are of: tokenpak telemetry export "
            "--since TIME, or the dashboard. One provider only: see its status page. "
            "All of them: what was deployed, or does the network work?",
        ),
        AlertRule(
            "TokenpakNewErrorType",
            f"{of_type.at()} unless on ({INSTANCE}, error_type) "
            f"{of_type.at(limits.new_for)} {seen}",
            0,
            "warning",
            "{{ $labels.instance }}: {{ $labels.error_type }} was never seen before",
            f"It is told of for {span(limits.new_for)}.",
            "Export the records of that type and read one stack trace. A deployment "
            "just before is the usual cause.",
        ),
        AlertRule(
            "TokenpakProviderFailing",
            f"{_spike(of_provider, limits)} {learnt}",
            limits.hold,
            "warning",
            "{{ $labels.instance }}: {{ $labels.provider }} fails, "
            "{{ $value | humanize }} errors in " + window,
            f"More than {limits.spike_factor:g} times what is usual for that provider.",
            "See the provider's status page, and the kind of the errors: rate_limit "
            "and overloaded pass, quota and auth do not. Route its calls to another "
            "one if you can.",
        ),
        AlertRule(
            "TokenpakCriticalErrors",
            f"{critical.rise(limits.window)} > 0 {known}",
            0,
            "critical",
            "{{ $labels.instance }}: {{ $labels.error_type }}",
            f"{{{{ $value | humanize }}}} in {window}; one is enough.",
            "Export the records of that type, and read the newest.",
        ),
        AlertRule(
            "TokenpakAuthFailures",
            f"{auth.rise(limits.window)} >= {limits.auth_count} {known}",
            0,
            "critical",
            "{{ $labels.instance }}: {{ $labels.provider }} refuses the key",
            f"{{{{ $value | humanize }}}} refusals in {window}.",
            "Was the key rotated, revoked, or is it missing in a new deployment? "
            "Retrying does not help.",
        ),
        AlertRule(
            "TokenpakFailedCallBudget",
            f"{cost.rise(HOUR)} > {an_hour:g} and "
            f"{cost.rise(limits.window)} > {a_window:g} "
            f"and on ({INSTANCE}) {scraped.at(HOUR)}",
            limits.hold,
            "warning",
            "{{ $labels.instance }}: failed calls cost {{ $value | humanize }} dollars "
            "in an hour",
            f"At that rate the {limits.budget:g} dollars a day for them are gone "
            f"{limits.burn:g} times too early.",
            "Find the type with the largest cost on the dashboard. Retries of long "
            "prompts are the usual cause: bound them, or lower max_tokens.",
        ),
        AlertRule(
            "TokenpakRecordsDropped",
            f"({drops.rise(limits.window)} > 0 {known}) or {untold.at()} > 0",
            0,
            "critical",
            "{{ $labels.instance }}: records were dropped ({{ $labels.reason }})",
            f"{{{{ $value | humanize }}}} in {window}: the log has gaps.",
            "queue_full, day_full, directory_full: see the disk and the bounds in the "
            "settings. Otherwise: tokenpak telemetry doctor.",
        ),
        AlertRule(
            "TokenpakDiskTrouble",
            _trouble(limits, job),
            max(limits.hold, 2 * limits.interval),
            "critical",
            "{{ $labels.instance }}: the log cannot be written or read",
            "Records wait for longer than they should, or the directory is not "
            "readable.",
            "Is the disk full, read-only or gone? tokenpak telemetry doctor says what "
            "is in the way. Nothing is lost as long as the queue has room.",
        ),
        AlertRule(
            "TokenpakNoWriter",
            f"{scraped.at()} == 0",
            limits.no_writer,
            "warning",
            "{{ $labels.instance }}: nobody logs",
            "No process has a spool of this log.",
            "Does the application run? Does it use the same log directory and "
            "$TOKENPAK_SPOOL_DIR? A process that has not logged anything yet does not "
            "count.",
        ),
        AlertRule(
            "TokenpakMetricsAbsent",
            f"absent({WRITERS}{{{job}}})",
            max(limits.hold, limits.no_writer),
            "warning",
            "No metrics of tokenpak telemetry",
            "Without them no other of these alerts can fire.",
            "See Prometheus's page of targets; is tokenpak telemetry metrics --serve "
            "running?",
        ),
    ]


def _spike(series: Series, limits: Thresholds) -> str:
    """Return how many there are, if that is more than usual."""
    window, usual = limits.window, limits.usual
    now = series.rise(window)
    before = series.rise(usual, window)
    share = f"{limits.spike_factor * window / usual:.6g}"
    text = f"({now} >= {limits.spike_count} and {now} > {share} * {before}"
    if usual >= DAY:
        # What is usual at this time of day; unknown where there was no yesterday.
        yesterday = series.rise(HOUR, DAY - HOUR // 2)
        share = f"{limits.spike_factor * window / HOUR:.6g}"
        text += f" unless {now} <= {share} * {yesterday}"
    return text + ")"


def _trouble(limits: Thresholds, job: str) -> str:
    waiting = Series(PENDING, job)
    problems = Series(PROBLEMS, 'problem=~"unreadable_directory|not_saved"', job)
    last = f"max by ({INSTANCE}) ({LAST}{{{job}}})"
    return (
        f"{Series(PENDING_BYTES, job).at()} > {limits.pending_bytes} or "
        f"({waiting.at()} > 0 and time() - {last} > {limits.stuck}) or "
        f"({waiting.at()} > 0 unless {last}) or "
        f"{problems.at()} > 0"
    )


def rules_yaml(limits: Thresholds) -> str:
    """Return the file that Prometheus's ``rule_files`` names."""
    rules: list[dict[str, Any]] = []
    for rule in alert_rules(limits):
        data: dict[str, Any] = {"alert": rule.name, "expr": rule.expr}
        if rule.hold:
            data["for"] = span(rule.hold)
        data["labels"] = {"severity": rule.severity}
        data["annotations"] = {
            "summary": rule.summary,
            "description": rule.description,
            "runbook": rule.runbook,
        }
        rules.append(data)
    group = {"name": GROUP, "interval": span(limits.interval), "rules": rules}
    return dump(
        {"groups": [group]},
        "Made by `tokenpak telemetry rules`.  Change its options, not this file.",
    )


__all__ = ["AlertRule", "alert_rules", "rules_yaml"]
