"""
Every scenario runs, in its smallest form, and finds nothing lost or doubled.

No time is looked at: what a shared machine measures in a second is no result.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bench.__main__ import main
from bench.scenarios import MODULES, all_scenarios
from bench.workload import FRAMES, failure

if TYPE_CHECKING:
    from pathlib import Path

LONG = {"cpu_bound", "deaths", "fork_latency", "memory", "processes", "scaling"}

COUNTS = {
    "caller_paced": ["dropped meanwhile"],
    "caller_busy": ["dropped meanwhile"],
    "caller_deep": ["dropped meanwhile"],
    "redaction": ["dropped meanwhile"],
    "loop_lag": ["dropped meanwhile"],
    "threads": ["lost, doubled, merged, out of order, dropped"],
    "deaths": ["accepted records lost", "doubled", "processes that hung"],
    "throughput": ["lines missing, records dropped"],
    "processes": ["lost, doubled, merged, out of order, dropped"],
    "import_time": ["threads, files, click or prometheus_client"],
    "kill": [
        "accepted records lost",
        "doubled",
        "valid lines merged with a torn one",
        "out of order, or never logged",
        "processes that ended by themselves",
    ],
    "fork": [
        "children hung",
        "RuntimeError from the fork",
        "accepted records lost",
        "doubled",
        "merged, out of order, or never logged",
        "children that failed",
    ],
    "interrupted": [
        "processes that hung",
        "accepted records lost",
        "doubled",
        "torn, merged, or never logged",
        "dropped",
        "places from which nothing was logged",
    ],
    "outage": ["lost, doubled, dropped"],
    "follow": ["lost, doubled"],
    "report_time": ["records not counted"],
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.heavy if name in LONG else ())
        for name in MODULES
    ],
)
def test_a_scenario_runs_and_its_counts_are_exact(name: str, tmp_path: Path) -> None:
    """
    A table, a page and JSON come out, and what must be zero is zero.
    """
    page, results, work = tmp_path / "page.md", tmp_path / "results", tmp_path / "work"
    work.mkdir()
    options = ["--smoke", "--only", name, "--dir", str(work), "--seed", "20260324"]
    # One peer, which needs not be installed, stands for all: each has its own test.
    # (Eight more interpreters are too many.)
    peer = "tokenpak" if name == "processes" else "stdlib-queue"
    options += ["--loggers", peer]
    code = main([*options, "--results", str(results), "--markdown", str(page)])

    (answer,) = results.iterdir()
    (found,) = json.loads(answer.read_text())["scenarios"]
    rows = {row["label"]: row for row in found["rows"]}
    assert (code, found["failure"]) == (0, None)
    assert found["name"] == name
    assert rows
    assert {
        label: rows[label]["value"]["median"] for label in COUNTS.get(name, [])
    } == (dict.fromkeys(COUNTS.get(name, []), 0))
    assert "| measure | measured | target | |" in page.read_text()
    assert list(work.iterdir()) == []


def test_the_workload_is_ten_frames_deep() -> None:
    """
    Ten frames, none of which ``traceback`` folds into another.
    """
    trace, functions = failure().__traceback__, []
    while trace is not None:
        functions.append(trace.tb_frame.f_code)
        trace = trace.tb_next

    assert len(functions) == len(set(functions)) == FRAMES


def test_a_scenario_is_called_what_its_file_is_called() -> None:
    """
    ``--only`` takes the name that the table prints.
    """
    assert [scenario.name for scenario in all_scenarios()] == list(MODULES)
