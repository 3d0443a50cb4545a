"""The dashboard can be imported, and each of its queries returns data."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tokenpak.cli import main
from tokenpak.telemetry.alerts.dashboard import VARIABLES, dashboard
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.metrics.families import FAMILIES

from .servers import ask, needs_prometheus, prometheus
from .traffic import calls, exposed

DEADLINE = 200.0
"""Seconds after which there is no data: on a busy machine many scrapes fail."""


def queries() -> list[tuple[str, str]]:
    """Return panel and query of all panels, as Grafana sends them."""
    found = []
    for panel in dashboard("x")["panels"]:
        for target in panel.get("targets", ()):
            expr = target["expr"]
            for variable in VARIABLES:
                expr = expr.replace(f'"${variable}"', '".*"')
            expr = expr.replace("$__rate_interval", "10s").replace("$__range", "5m")
            assert "$" not in expr, expr
            found.append((panel["title"], expr))
    return found


def has_data(answer: Any) -> bool:
    """Return whether there is a number in the answer to a query."""
    return any(
        not math.isnan(float(item["value"][1])) for item in answer["data"]["result"]
    )


@needs_prometheus
@pytest.mark.slow
def test_watch_each_query_of_the_dashboard_returns_data(
    log_dir: Path, tmp_path: Path, make_logger: Callable[..., ErrorLogger]
) -> None:
    """From a real Prometheus that scrapes a real log; its variables are filled, too."""
    logger = make_logger()
    calls(logger, 3)
    with (
        exposed(log_dir) as target,
        prometheus(tmp_path / "prometheus", target) as server,
    ):
        left = queries()
        assert len(left) > 25
        deadline = time.monotonic() + DEADLINE
        while left and time.monotonic() < deadline:
            calls(logger, 2)
            time.sleep(1)
            left = [
                (title, expr)
                for title, expr in left
                if not has_data(ask(f"{server}/api/v1/query", query=expr))
            ]
        assert left == []
        for name, definition in VARIABLES.items():
            match = re.fullmatch(r"label_values\((.*), (\w+)\)", definition)
            assert match is not None
            selector = re.sub(r"\$\w+", ".*", match[1])
            answer = ask(
                f"{server}/api/v1/label/{match[2]}/values", **{"match[]": selector}
            )
            assert answer["data"], name


def test_watch_the_dashboard_is_what_grafana_imports() -> None:
    """JSON, with the data source as a variable, and no two panels in one place."""
    result = CliRunner().invoke(main, ["telemetry", "dashboard", "--title", 'a"ü'])
    data = json.loads(result.output)

    assert data["title"] == 'a"ü'
    assert "id" not in data, "Grafana gives it one"
    first = data["templating"]["list"][0]
    assert (first["type"], first["query"]) == ("datasource", "prometheus")
    ids = [panel["id"] for panel in data["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in data["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"


def test_watch_the_dashboard_asks_for_metrics_that_there_are() -> None:
    """By name, and shows all that there are, but for what tells only of the counts."""
    known = {family.sample for family in FAMILIES}
    asked = {
        re.sub(r"_(bucket|count|sum)$", "", name)
        for _, expr in queries()
        for name in re.findall(r"tokenpak_\w+", expr)
    }

    assert asked - known == set()
    assert known - asked == {
        "tokenpak_events_total",
        "tokenpak_telemetry_archived_files_total",
        "tokenpak_telemetry_counts_begun_timestamp_seconds",
        # Of one process only, and all of them are in the others.
        "tokenpak_telemetry_process_appended_bytes_total",
        "tokenpak_telemetry_process_batches_total",
        "tokenpak_telemetry_process_given_up_records_total",
        "tokenpak_telemetry_process_write_errors_total",
    }
