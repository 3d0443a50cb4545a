"""
What the dashboard shows: rows of panels, each with its queries.

``$filter`` stands for the matchers of the dashboard's variables.  What need not be
there (no trouble, no overflow) is 0, or a panel would say "No data" while all is well.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Query(NamedTuple):
    """One query of a panel."""

    expr: str
    legend: str
    instant: bool = False


class Panel(NamedTuple):
    """One panel."""

    title: str
    kind: str
    """Grafana's name of its type."""
    unit: str
    queries: tuple[Query, ...]
    width: int
    """Of 24."""
    description: str = ""


class Row(NamedTuple):
    """A row with a title."""

    title: str
    panels: tuple[Panel, ...]


_ERRORS: Final = "tokenpak_errors_total{$filter}"
_RATE: Final = "[$__rate_interval]"
_PLACE: Final = 'job=~"$job", instance=~"$instance"'
_CALLS: Final = f'{_PLACE}, provider=~"$provider", model=~"$model"'
_BUCKETS: Final = f"tokenpak_request_duration_seconds_bucket{{{_CALLS}}}"
FILTER: Final = f'{_CALLS}, error_type=~"$error_type"'
"""What ``$filter`` stands for."""


def _rate_by(label: str) -> tuple[Query, ...]:
    expr = f"sum by ({label}) (rate({_ERRORS}{_RATE}))"
    return (Query(expr, f"{{{{{label}}}}}"),)


def _quantile(part: float, by: str = "") -> Query:
    labels = f"le, {by}" if by else "le"
    expr = f"histogram_quantile({part}, sum by ({labels}) (rate({_BUCKETS}{_RATE})))"
    return Query(expr, f"{{{{{by}}}}}" if by else f"{part * 100:g} %")


def _health(name: str, by: str = "") -> Query:
    metric = f"tokenpak_telemetry_{name}{{{_PLACE}}}"
    if by:
        return Query(f"sum by ({by}) ({metric})", f"{{{{{by}}}}}")
    return Query(f"sum({metric}) or vector(0)", name.replace("_", " "))


def _health_rate(name: str, by: str) -> Query:
    return Query(
        f"sum by ({by}) (rate(tokenpak_telemetry_{name}{{{_PLACE}}}{_RATE}))",
        f"{name.removeprefix('records_').removesuffix('_total')} {{{{{by}}}}}",
    )


def _rate(name: str, legend: str, labels: str = "") -> Query:
    """Return the rate of what the processes count, added up."""
    matchers = f"{_PLACE}, {labels}" if labels else _PLACE
    expr = f"sum(rate(tokenpak_{name}{{{matchers}}}{_RATE})) or vector(0)"
    return Query(expr, legend)


def _health_quantile(part: float, name: str, legend: str) -> Query:
    buckets = f"tokenpak_telemetry_{name}_bucket{{{_PLACE}}}"
    expr = f"histogram_quantile({part}, sum by (le) (rate({buckets}{_RATE})))"
    return Query(expr, legend)


ROWS: Final = (
    Row(
        "Errors",
        (
            Panel(
                "Errors",
                "stat",
                "short",
                (Query(f"sum(increase({_ERRORS}[$__range]))", "errors", True),),
                4,
                "In the time that is shown.",
            ),
            Panel(
                "Types",
                "stat",
                "short",
                (
                    Query(
                        "count(sum by (error_type) "
                        f"(increase({_ERRORS}[$__range])) > 0) or vector(0)",
                        "types",
                        True,
                    ),
                ),
                4,
                "Different ones, in the time that is shown.",
            ),
            Panel("Errors by type", "timeseries", "cps", _rate_by("error_type"), 16),
            Panel("Errors by provider", "timeseries", "cps", _rate_by("provider"), 8),
            Panel("Errors by model", "timeseries", "cps", _rate_by("model"), 8),
            Panel("Errors by kind", "timeseries", "cps", _rate_by("kind"), 8),
            Panel(
                "Errors of each hour",
                "timeseries",
                "short",
                (Query(f"sum(increase({_ERRORS}[1h]))", "errors"),),
                12,
                "Of the hour before each point.",
            ),
            Panel(
                "Most errors",
                "table",
                "short",
                (
                    Query(
                        "topk(20, sum by (error_type, provider, model) "
                        f"(increase({_ERRORS}[$__range])))",
                        "",
                        True,
                    ),
                ),
                12,
                "In the time that is shown.",
            ),
        ),
    ),
    Row(
        "Latency",
        (
            Panel(
                "Durations of calls",
                "timeseries",
                "s",
                (_quantile(0.5), _quantile(0.95), _quantile(0.99)),
                8,
                "Failed ones too: duration_ms of the context.",
            ),
            Panel(
                "95 % by provider", "timeseries", "s", (_quantile(0.95, "provider"),), 8
            ),
            Panel(
                "Calls",
                "timeseries",
                "cps",
                (
                    Query(
                        "sum by (provider) (rate("
                        f"tokenpak_request_duration_seconds_count{{{_CALLS}}}{_RATE}))",
                        "{{provider}}",
                    ),
                ),
                8,
            ),
        ),
    ),
    Row(
        "Cost",
        (
            Panel(
                "Cost of each hour, by model",
                "timeseries",
                "currencyUSD",
                (
                    Query(
                        "sum by (model) (increase("
                        f"tokenpak_cost_usd_total{{{_CALLS}}}[1h]))",
                        "{{model}}",
                    ),
                ),
                8,
            ),
            Panel(
                "Cost of failed and other calls",
                "timeseries",
                "currencyUSD",
                (
                    Query(
                        "sum by (stream) (increase("
                        f"tokenpak_cost_usd_total{{{_CALLS}}}[1h]))",
                        "{{stream}}",
                    ),
                ),
                8,
                "Of each hour; errors are failed calls, events others.",
            ),
            Panel(
                "Tokens",
                "timeseries",
                "cps",
                (
                    Query(
                        "sum by (direction) (rate("
                        f"tokenpak_tokens_total{{{_CALLS}}}{_RATE}))",
                        "{{direction}}",
                    ),
                ),
                8,
            ),
        ),
    ),
    Row(
        "Health of the log",
        (
            Panel(
                "Processes that log",
                "stat",
                "short",
                (_health("writers", "stream"),),
                4,
            ),
            Panel(
                "Since the last write",
                "stat",
                "s",
                (
                    Query(
                        "time() - max("
                        "tokenpak_telemetry_last_success_timestamp_seconds"
                        f"{{{_PLACE}}})",
                        "since the last write",
                        True,
                    ),
                ),
                4,
            ),
            Panel(
                "Dropped",
                "stat",
                "short",
                (
                    Query(
                        "sum(increase(tokenpak_telemetry_records_dropped_total"
                        f"{{{_PLACE}}}[$__range])) or vector(0)",
                        "in the log",
                        True,
                    ),
                    Query(
                        f"sum(tokenpak_telemetry_untold_drops{{{_PLACE}}})",
                        "not told of yet",
                        True,
                    ),
                ),
                4,
                "Records that were given up, in the time that is shown.",
            ),
            Panel(
                "Records",
                "timeseries",
                "cps",
                (
                    _health_rate("records_accepted_total", "stream"),
                    _health_rate("records_written_total", "stream"),
                ),
                12,
            ),
            Panel(
                "Waiting",
                "timeseries",
                "short",
                (_health("pending_records", "stream"),),
                6,
                "Accepted, and not in the log yet.",
            ),
            Panel(
                "Waiting, in bytes",
                "timeseries",
                "bytes",
                (_health("pending_bytes", "stream"),),
                6,
            ),
            Panel(
                "Orphans",
                "timeseries",
                "short",
                (_health("orphans", "stream"),),
                6,
                "Spools of dead processes that nobody has recovered yet.",
            ),
            Panel(
                "Trouble",
                "timeseries",
                "short",
                (
                    _health("scrape_problems"),
                    _health("write_errors_total"),
                    _health("left_out_meters_total"),
                    _health("recovered_damaged_lines_total"),
                    _health("count_troubles_total"),
                    _health("malformed_lines_total"),
                    _health("label_sets_overflowed_total"),
                    _health("values_ignored_total"),
                ),
                6,
                "Should be 0.",
            ),
            Panel(
                "What the processes do",
                "timeseries",
                "cps",
                (
                    _rate("telemetry_batch_size_bytes_count", "appends"),
                    _rate("telemetry_recovered_records_total", "recovered records"),
                    _rate("telemetry_recovered_spools_total", "recovered spools"),
                    _rate("telemetry_given_up_records_total", "given up records"),
                    _rate("suppressed_errors_total", "suppressed errors"),
                    _rate(
                        "telemetry_archive_runs_total",
                        "days archived",
                        'result="archived"',
                    ),
                ),
                12,
                "Of all processes of the machine, the dead included.",
            ),
            Panel(
                "Bytes appended",
                "timeseries",
                "Bps",
                (_rate("telemetry_batch_size_bytes_sum", "appended bytes"),),
                6,
            ),
            Panel(
                "How long appends take",
                "timeseries",
                "s",
                (
                    _health_quantile(0.99, "append_duration_seconds", "append, 99 %"),
                    _health_quantile(0.5, "append_duration_seconds", "append, 50 %"),
                    _health_quantile(0.99, "lock_wait_seconds", "lock, 99 %"),
                ),
                6,
                "And how long they wait for another process's lock.",
            ),
        ),
    ),
)

__all__ = ["FILTER", "ROWS", "Panel", "Query", "Row"]
