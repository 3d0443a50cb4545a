"""
The dashboard as JSON that Grafana imports.

    https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/

The data source is a variable, so the file is the same everywhere; the others (job,
instance, provider, model, type) are filled from the metrics, and all of each are shown
at first.
"""

from __future__ import annotations

import json
from typing import Any, Final

from tokenpak.telemetry.alerts.panels import FILTER, ROWS, Panel

SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
UID: Final = "tokenpak-telemetry"
_HEIGHT: Final = 8
_COLUMNS: Final = 24
_SCHEMA: Final = 38

VARIABLES: Final = {
    "job": "label_values(tokenpak_telemetry_writers, job)",
    "instance": 'label_values(tokenpak_telemetry_writers{job=~"$job"}, instance)',
    "provider": "label_values(tokenpak_errors_total, provider)",
    "model": 'label_values(tokenpak_errors_total{provider=~"$provider"}, model)',
    "error_type": "label_values(tokenpak_errors_total, error_type)",
}
"""Name -> what Grafana fills it with."""


def dashboard(title: str) -> dict[str, Any]:
    """Return the dashboard."""
    panels: list[dict[str, Any]] = []
    y = 0
    for row in ROWS:
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": row.title,
                "collapsed": False,
                "gridPos": {"x": 0, "y": y, "w": _COLUMNS, "h": 1},
                "panels": [],
            }
        )
        y += 1
        x = 0
        for panel in row.panels:
            if x + panel.width > _COLUMNS:
                x, y = 0, y + _HEIGHT
            place = {"x": x, "y": y, "w": panel.width, "h": _HEIGHT}
            panels.append(_panel(panel, len(panels) + 1, place))
            x += panel.width
        y += _HEIGHT
    return {
        "uid": UID,
        "title": title,
        "tags": ["tokenpak", "llm"],
        "schemaVersion": _SCHEMA,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timepicker": {},
        "timezone": "",
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": [_data_source(), *map(_variable, VARIABLES)]},
        "panels": panels,
    }


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    targets = [
        {
            "refId": chr(ord("A") + index),
            "datasource": SOURCE,
            "editorMode": "code",
            "expr": query.expr.replace("$filter", FILTER),
            "legendFormat": query.legend,
            "instant": query.instant,
            "range": not query.instant,
            "format": "table" if panel.kind == "table" else "time_series",
        }
        for index, query in enumerate(panel.queries)
    ]
    made: dict[str, Any] = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "options": _OPTIONS[panel.kind],
        "targets": targets,
    }
    if panel.kind == "table":
        hidden = {"Time": True, "__name__": True}
        made["transformations"] = [
            {"id": "organize", "options": {"excludeByName": hidden}}
        ]
    return made


_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "stat": {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "none",
    },
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "table": {"showHeader": True},
}


def _data_source() -> dict[str, Any]:
    return {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "current": {},
        "hide": 0,
        "multi": False,
        "includeAll": False,
        "refresh": 1,
    }


def _variable(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": name.replace("_", " ").capitalize(),
        "type": "query",
        "datasource": SOURCE,
        "definition": VARIABLES[name],
        "query": {"query": VARIABLES[name], "refId": f"variable-{name}"},
        "includeAll": True,
        "multi": True,
        # Not the list of all values: what has no provider is shown, too.
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "hide": 0,
        "refresh": 2,
        "sort": 1,
    }


def dashboard_json(title: str) -> str:
    """Return the dashboard as JSON, with a newline at its end."""
    return json.dumps(dashboard(title), indent=2, ensure_ascii=True) + "\n"


__all__ = ["SOURCE", "UID", "VARIABLES", "dashboard", "dashboard_json"]
