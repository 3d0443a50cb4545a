"""
The dashboard has the form that Grafana's classic dashboard model asks for.

Grafana's own library reads it, with the types that are made from Grafana's schemas.
What else is stated here are the model's rules, field by field, as its documentation and
the panels' own pages have them; an import into a running Grafana is none of the tests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from tokenpak.telemetry.alerts.dashboard import SOURCE, VARIABLES, dashboard

UNITS = {"short", "none", "percentunit", "s", "ms", "bytes", "Bps", "cps", "ops"} | {
    "currencyUSD"
}
"""Ids of Grafana's list of units; those that the dashboard may use."""
KINDS = {
    "row": set[str](),
    "stat": {"reduceOptions"},
    "timeseries": {"legend", "tooltip"},
    "table": {"showHeader"},
}
"""Types of panels that are part of Grafana -> options that they need."""
DASHBOARD = {
    "uid": str,
    "title": str,
    "tags": list,
    "schemaVersion": int,
    "version": int,
    "editable": bool,
    "graphTooltip": int,
    "refresh": str,
    "time": dict,
    "timepicker": dict,
    "timezone": str,
    "annotations": dict,
    "templating": dict,
    "links": list,
    "panels": list,
}
BUILT_IN = {"__rate_interval", "__range", "__interval"}
BOARD: dict[str, Any] = json.loads(json.dumps(dashboard("Errors")))
PANELS: list[dict[str, Any]] = BOARD["panels"]
SHOWN = [panel for panel in PANELS if panel["type"] != "row"]


def walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for of in value.values():
            yield from walk(of)
    elif isinstance(value, list):
        for of in value:
            yield from walk(of)


def test_watch_the_dashboard_has_the_fields_of_the_model_and_no_others() -> None:
    """Each of its type; ``id`` is Grafana's to give."""
    assert {name: type(value) for name, value in BOARD.items()} == DASHBOARD
    # 36 is the first with references to data sources by type and uid (Grafana 9).
    assert 36 <= BOARD["schemaVersion"] <= 42
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,40}", BOARD["uid"])
    assert re.fullmatch(r"\d+[smh]", BOARD["refresh"])
    assert BOARD["graphTooltip"] in {0, 1, 2}
    assert set(BOARD["time"]) == {"from", "to"}


def missing_in(other: Any, value: Any, place: str = "") -> list[str]:
    """Return where *value* has what *other* has not."""
    if isinstance(value, dict) and isinstance(other, dict):
        found = [f"{place}/{key}" for key in value if key not in other]
        for key in value.keys() & other.keys():
            found += missing_in(other[key], value[key], f"{place}/{key}")
        return found
    if isinstance(value, list) and isinstance(other, list) and len(value) == len(other):
        pairs = enumerate(zip(other, value, strict=True))
        return [
            hit
            for number, (theirs, ours) in pairs
            for hit in missing_in(theirs, ours, f"{place}/{number}")
        ]
    return [] if value == other else [place]


def test_watch_grafanas_own_library_reads_all_of_the_dashboard() -> None:
    """Each panel, query and option as its type, and nothing is unknown to it."""
    register_default_plugins()
    read = Dashboard.from_json(BOARD)
    lost = missing_in(json.loads(JSONEncoder().encode(read)), BOARD)

    assert read.panels is not None
    shown = [panel for panel in read.panels if isinstance(panel, Panel)]
    assert len(shown) == len(SHOWN)
    kinds = {type(t).__module__ for panel in shown for t in panel.targets or []}
    assert kinds == {"grafana_foundation_sdk.models.prometheus"}
    # Grafana writes it beside the query when it saves a variable; no schema has it.
    assert {place.rpartition("/")[2] for place in lost} <= {"definition"}


def test_watch_no_data_source_is_named_but_by_the_variable() -> None:
    """So there is nothing to fill in before an import, and it can be provisioned."""
    text = json.dumps(BOARD)
    assert "__inputs" not in text
    assert "${DS_" not in text
    found = [each["datasource"] for each in walk(BOARD) if "datasource" in each]
    assert all(each == SOURCE for each in found)
    assert SOURCE["uid"] == "${datasource}"
    # Each panel, each query, and each variable that is filled by a query.
    number = len(SHOWN) + sum(len(panel["targets"]) for panel in SHOWN)
    assert len(found) == number + len(VARIABLES)


def test_watch_the_variables_are_defined_before_they_are_used() -> None:
    """In their order, which is that in which Grafana fills them."""
    known: set[str] = set()
    for variable in BOARD["templating"]["list"]:
        text = json.dumps(variable)
        used = set(re.findall(r"\$\{?(\w+)", text)) - {"__all"}
        assert used <= known, variable["name"]
        assert variable["type"] in {"datasource", "query"}
        assert variable["hide"] in {0, 1, 2}
        assert variable["refresh"] in {1, 2}
        if variable["type"] == "query":
            assert variable["definition"] == variable["query"]["query"]
            assert variable["query"]["refId"]
            assert variable["current"]["value"] == ["$__all"]
        known.add(variable["name"])
    assert known == {"datasource", *VARIABLES}


def test_watch_the_panels_lie_in_rows_without_gaps_or_overlaps() -> None:
    """On a grid of 24 columns; Grafana would push them about otherwise."""
    assert [panel["id"] for panel in PANELS] == list(range(1, len(PANELS) + 1))
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        assert set(place) == {"x", "y", "w", "h"}
        assert all(type(number) is int for number in place.values())
        assert place["x"] >= 0
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] == "row":
            assert (place["w"], place["h"], panel["panels"]) == (24, 1, [])
    assert {y for _, y in taken} == set(range(max(y for _, y in taken) + 1))


@pytest.mark.parametrize("panel", SHOWN, ids=lambda panel: panel["title"])
def test_watch_each_panel_has_what_its_type_needs(panel: dict[str, Any]) -> None:
    """A type that Grafana has, a unit that it knows, queries with letters."""
    assert panel["title"].strip()
    assert KINDS[panel["type"]] <= set(panel["options"])
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["fieldConfig"]["overrides"] == []
    letters = [target["refId"] for target in panel["targets"]]
    assert letters == [chr(ord("A") + number) for number in range(len(letters))]
    assert 1 <= len(letters) <= 26
    for target in panel["targets"]:
        assert target["instant"] is not target["range"]
        assert target["format"] in {"time_series", "table"}
        assert (target["format"] == "table") is (panel["type"] == "table")
        used = set(re.findall(r"\$\{?(\w+)", target["expr"]))
        assert used <= {*VARIABLES, *BUILT_IN}
        # A legend names labels that the query leaves, or is a plain name.
        labels = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        kept = re.findall(r"by \(([^)]*)\)", target["expr"])
        assert labels <= {name.strip() for of in kept for name in of.split(",")}
        assert target["legendFormat"] or panel["type"] == "table"


def test_watch_no_two_panels_of_a_row_have_one_title() -> None:
    """Who speaks of one knows which."""
    titles: set[str] = set()
    for panel in PANELS:
        if panel["type"] == "row":
            titles = set()
        else:
            assert panel["title"] not in titles
            titles.add(panel["title"])
