"""
The results as a table on the screen, and as JSON that the page is made from.

Each shows the measured value beside its target and says ``met`` or ``NOT met``.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from bench.environment import Environment
from bench.harness import NOT_ASKED, Outcome
from bench.model import EFFORTS, Effort, Row
from bench.quantiles import spread
from bench.scenarios import find_scenario

if TYPE_CHECKING:
    from collections.abc import Sequence


def number(value: float) -> str:
    """Return *value* with three digits that count, and all of a whole number's."""
    if value == int(value) or abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def value_text(row: Row) -> str:
    """Return the value of *row* with its unit, and its range where it has one."""
    if row.value is None:
        return "\N{EN DASH}"
    median = _with_unit(number(row.value.median), row.unit)
    if row.value.low == row.value.high:
        return median
    return f"{median} ({number(row.value.low)} to {number(row.value.high)})"


def target_text(row: Row) -> str:
    """Return the target of *row*, or nothing."""
    if row.target is None:
        return ""
    limit = _with_unit(number(row.target.limit), row.unit)
    if row.target.at_most and row.target.limit == 0:
        return limit
    return f"{'≤' if row.target.at_most else '≥'} {limit}"


def verdict_text(row: Row) -> str:
    """Return whether the target is met, or why there is no value."""
    if row.value is None:
        return row.note
    return {None: "", True: "met", False: "NOT met"}[row.met]


def _with_unit(text: str, unit: str) -> str:
    return f"{text} {unit}" if unit else text


def table(outcome: Outcome) -> str:
    """Return the rows of one scenario, aligned for a terminal."""
    took = f"{outcome.seconds:.0f} s" if outcome.seconds else ""
    lines = [f"\n{outcome.scenario.title}  [{outcome.scenario.name}]  {took}".rstrip()]
    if outcome.failure:
        return "\n".join([*lines, f"  FAILED: {outcome.failure}"])
    cells = [
        (row.label, value_text(row), target_text(row), verdict_text(row))
        for row in outcome.rows
    ]
    widths = [max((len(cell[i]) for cell in cells), default=0) for i in range(3)]
    for label, value, target, verdict in cells:
        columns = (label.ljust(widths[0]), value.ljust(widths[1]))
        lines.append(
            "  ".join(("", *columns, target.ljust(widths[2]), verdict)).rstrip()
        )
    if loggers := matrix(outcome):
        lines += ["", *_aligned(loggers)]
    return "\n".join(lines)


def matrix(outcome: Outcome) -> list[list[str]]:
    """Return the cells of the table of loggers, its head first; empty without one."""
    columns = outcome.scenario.columns
    if not columns or outcome.failure:
        return []
    cells = [["", *(column.label for column in columns)]]
    for name in outcome.scenario.measurements:
        rounds = outcome.samples.get(name)
        if rounds:
            values = [
                Row("", spread(r[c.figure] * c.factor for r in rounds), c.unit)
                for c in columns
            ]
            cells.append([name, *map(value_text, values)])
        elif (note := outcome.notes.get(name)) != NOT_ASKED:
            cells.append([name, note or "", *[""] * (len(columns) - 1)])
    return cells


def _aligned(cells: list[list[str]]) -> list[str]:
    # A note is as long as it likes: only what has a neighbour is aligned.
    widths = [
        max(
            (len(line[i]) for line in cells if i + 1 < len(line) and line[i + 1]),
            default=0,
        )
        for i in range(len(cells[0]))
    ]
    return [
        "  ".join(
            ("", *(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))
        ).rstrip()
        for line in cells
    ]


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return one line: how many targets are met, and which are not."""
    judged = [(o, row) for o in outcomes for row in o.rows if row.target is not None]
    missed = [
        f"{o.scenario.name}: {row.label}" for o, row in judged if row.met is False
    ]
    unknown = [f"{o.scenario.name}: {row.label}" for o, row in judged if not row.value]
    unknown += [f"{o.scenario.name}: failed" for o in outcomes if o.failure]
    text = f"{sum(1 for _, row in judged if row.met)} of {len(judged)} targets met"
    if missed:
        text += "; NOT met: " + "; ".join(missed)
    if unknown:
        text += "; not measured: " + "; ".join(unknown)
    return text


def results(
    outcomes: Sequence[Outcome], environment: Environment, effort: Effort
) -> str:
    """Return everything as JSON: rows, figures of each round, seeds, environment."""
    document = {
        "environment": dataclasses.asdict(environment),
        "effort": effort.name,
        "scenarios": [
            {
                "name": outcome.scenario.name,
                "rows": [{**dataclasses.asdict(r), "met": r.met} for r in outcome.rows],
                "samples": outcome.samples,
                "seeds": outcome.seeds,
                "failure": outcome.failure,
                "notes": outcome.notes,
                "seconds": round(outcome.seconds, 1),
                "again": outcome.again,
            }
            for outcome in outcomes
        ],
    }
    return json.dumps(document, indent=1)


def read_results(text: str) -> tuple[list[Outcome], Environment, Effort]:
    """
    Return what results() was given, judged anew by the scenarios as they are now.

    Raises:
        KeyError: a scenario is not known any more, or lacks a figure that it needs now.

    """
    document = json.loads(text)
    outcomes = []
    for saved in document["scenarios"]:
        outcome = Outcome(find_scenario(saved["name"]), [])
        outcome.samples, outcome.seeds = saved["samples"], saved["seeds"]
        outcome.failure, outcome.notes = saved["failure"], saved["notes"]
        outcome.seconds = saved.get("seconds", 0.0)  # not in files of before
        outcome.again = saved.get("again", False)
        if not outcome.failure:
            outcome.judge()
        outcomes.append(outcome)
    environment = Environment(**document["environment"])
    return outcomes, environment, EFFORTS[document["effort"]]


def table_of_targets(rows: Sequence[Row]) -> str:
    """Return the targets, aligned for a terminal."""
    cells = [["target", "limit", "measured", ""]]
    cells += [[r.label, target_text(r), value_text(r), verdict_text(r)] for r in rows]
    met = sum(1 for row in rows if row.met)
    return "\n".join([f"\nTargets: {met} of {len(rows)} met", *_aligned(cells)])


__all__ = [
    "matrix",
    "number",
    "read_results",
    "results",
    "summary",
    "table",
    "table_of_targets",
    "target_text",
    "value_text",
    "verdict_text",
]
