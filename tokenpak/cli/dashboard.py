"""``tokenpak telemetry dashboard``: a dashboard for Grafana."""

from __future__ import annotations

import click

from tokenpak.cli.options import HELP
from tokenpak.cli.rules import write_text


@click.command(
    context_settings=HELP,
    epilog="""
\b
Examples:
  tokenpak telemetry dashboard -o tokenpak.json

In Grafana: Dashboards, New, Import, and the file.  Or put it where a provider of
Grafana's provisioning finds it.

Exit status: 0 written; 1 it could not be; 2 wrong usage.
""",
)
@click.option("--output", "-o", metavar="FILE", help="Write to FILE, not to stdout.")
@click.option(
    "--title",
    default="tokenpak telemetry",
    show_default=True,
    help="Its title in Grafana.",
)
def dashboard(output: str | None, title: str) -> None:
    """
    Write a dashboard for Grafana, to be imported.

    Errors by type, provider, model and time, latency, cost and tokens, and the health
    of the log, from the metrics of `tokenpak telemetry metrics`.  The data source is a
    variable: choose a Prometheus in the dashboard.
    """
    from tokenpak.telemetry.alerts.dashboard import dashboard_json  # noqa: PLC0415

    write_text(dashboard_json(title), output)


__all__ = ["dashboard"]
