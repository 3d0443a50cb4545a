"""
The page of the documentation: targets, pictures, tables, and how each was measured.

Made from the outcomes of a run and from what the scenarios say of themselves; nothing
on it is written by hand.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence

from bench import report, targets
from bench.environment import Environment
from bench.harness import Outcome
from bench.model import Effort, Row
from bench.pictures import draw, pictures_of
from bench.plot import THEMES

PICTURES_DIR = "figures"

INTRODUCTION = """\
Printed by `python -m bench --write-docs`; do not edit by hand. Where a value has a
range, it is the median of {rounds}, with the lowest and highest beside it. Both sides
of a ratio were measured in the same round of the same run, and ratios are what carries
over to other machines; times do not. What the scenarios have in common, and how to run
them: [the benchmark](../explanation/benchmark.md).

Measured with {environment}.{effort}{peers}{again}"""


def write(
    directory: str,
    outcomes: Sequence[Outcome],
    environment: Environment,
    effort: Effort,
    machine: str | None,
) -> None:
    """Write ``figures.md`` and its pictures below *directory*, in place of the old."""
    place = os.path.join(directory, PICTURES_DIR)
    os.makedirs(place, exist_ok=True)
    results = {o.scenario.name: o.samples for o in outcomes if not o.failure}
    for name, by_theme in draw(results).items():
        for theme, svg in by_theme.items():
            _write(os.path.join(place, f"{name}-{theme}.svg"), svg)
    text = markdown(outcomes, environment, effort, machine)
    _write(os.path.join(directory, "figures.md"), text)


def markdown(
    outcomes: Sequence[Outcome],
    environment: Environment,
    effort: Effort,
    machine: str | None,
) -> str:
    """Return the page; *machine* describes the machine in words."""
    rounds = max((len(o.seeds) for o in outcomes), default=0)
    versions = ", ".join(f"{k} {v}" for k, v in environment.peers.items())
    parts = [
        INTRODUCTION.format(
            rounds=f"up to {rounds} rounds" if rounds != 1 else "one round",
            environment=environment.line(machine),
            effort=f" A {effort.name} run: {effort.caveat}." if effort.caveat else "",
            peers=f" Peers: {versions}." if versions else "",
            again=_again(outcomes),
        ),
        _targets(targets.judge_outcomes(outcomes)),
    ]
    parts[0] = f"# Figures\n\n{_fill(parts[0])}\n"
    results = {o.scenario.name: o.samples for o in outcomes if not o.failure}
    drawn = set(draw(results))
    for outcome in outcomes:
        parts += _scenario(outcome, drawn)
    return "\n".join(parts)


def _again(outcomes: Sequence[Outcome]) -> str:
    names = [f"`{outcome.scenario.name}`" for outcome in outcomes if outcome.again]
    if not names:
        return ""
    return (
        "\n\nMeasured again after that run, by themselves, since what they measure had "
        f"changed: {', '.join(names)}."
    )


def _targets(rows: Sequence[Row]) -> str:
    met = sum(1 for row in rows if row.met)
    unknown = sum(1 for row in rows if row.value is None)
    head = f"**{met} of {len(rows)} targets met"
    head += f"; {unknown} not measured.**" if unknown else ".**"
    lines = ["## Targets", "", head, "", "| target | limit | measured | |"]
    lines += ["|---|---|---|---|"]
    for row in rows:
        cells = (row.label, report.target_text(row), report.value_text(row))
        lines.append(f"| {' | '.join(cells)} | {report.verdict_text(row)} |")
    return "\n".join([*lines, ""])


def _scenario(outcome: Outcome, drawn: set[str]) -> list[str]:
    scenario = outcome.scenario
    parts = [f"## {scenario.title}", "", _fill(scenario.how), ""]
    if scenario.read:
        parts += [_fill(f"**How to read it.** {scenario.read}"), ""]
    if outcome.failure:
        return [*parts, f"Failed: `{outcome.failure.splitlines()[0]}`", ""]
    for name, title in pictures_of(scenario.name):
        if name in drawn:
            parts += [_picture(name, title), ""]
    if outcome.rows:
        parts += ["| measure | measured | target | |", "|---|---|---|---|"]
        parts += [
            f"| {row.label} | {report.value_text(row)} | {report.target_text(row)} "
            f"| {report.verdict_text(row)} |"
            for row in outcome.rows
        ]
        parts.append("")
    if cells := report.matrix(outcome):
        lines = [f"| {' | '.join(line)} |" for line in cells]
        parts += [lines[0], f"|{'---|' * len(cells[0])}", *lines[1:], ""]
    return parts


def _picture(name: str, title: str) -> str:
    light, dark = (f"{PICTURES_DIR}/{name}-{theme.name}.svg" for theme in THEMES)
    return (
        f'<picture>\n<source media="(prefers-color-scheme: dark)" srcset="{dark}">\n'
        f'<img alt="{title}" src="{light}">\n</picture>'
    )


def _fill(text: str) -> str:
    paragraphs = text.split("\n\n")
    return "\n\n".join(textwrap.fill(p, 88, break_on_hyphens=False) for p in paragraphs)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


__all__ = ["PICTURES_DIR", "markdown", "write"]
