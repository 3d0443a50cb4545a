"""
The questions, one file each.

To add one, write a module with a SCENARIO and name it here; the order is that of the
table.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bench.model import Scenario

MODULES: Final = (
    "caller_burst",
    "caller_paced",
    "caller_busy",
    "caller_sites",
    "caller_first",
    "caller_deep",
    "caller_events",
    "caller_storm",
    "redaction",
    "throughput",
    "threads",
    "processes",
    "loop_lag",
    "cpu_bound",
    "fork_latency",
    "cost",
    "memory",
    "scaling",
    "budget",
    "instructions",
    "writer_work",
    "scrape",
    "import_time",
    "deaths",
    "kill",
    "fork",
    "interrupted",
    "outage",
    "follow",
    "report_time",
    "read_export",
)


def all_scenarios() -> list[Scenario]:
    """Return every scenario, in the order of the table."""
    return [_load(module) for module in MODULES]


def find_scenario(name: str) -> Scenario:
    """Return the scenario *name*; KeyError if there is none."""
    if name not in MODULES:
        raise KeyError(name)
    return _load(name)


def _load(module: str) -> Scenario:
    scenario: Scenario = importlib.import_module(f"bench.scenarios.{module}").SCENARIO
    return scenario


__all__ = ["MODULES", "all_scenarios", "find_scenario"]
