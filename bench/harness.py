"""
Run a scenario: each measurement in a process of its own, rounds interleaved.

The harness itself measures nothing and imports no logger, so that whatever a
measurement does to its process (threads, forks, imports, a crash) ends with it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bench.adapters import ADAPTERS

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    from bench.model import Effort, Figures, Row, Scenario

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
"""Children start here, so that they measure the tree that this file belongs to."""


NOT_ASKED = "not asked for"


class MeasurementError(Exception):
    """A measurement crashed or did not end; the message says which, and why."""


@dataclass(slots=True)
class Outcome:
    """What came of one scenario: its rows, and the figures that they were made from."""

    scenario: Scenario
    rows: list[Row]
    samples: dict[str, list[Figures]] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=list)
    failure: str | None = None
    notes: dict[str, str] = field(default_factory=dict)
    """Why a measurement is missing: its peer is not installed, crashed, or hung."""
    seconds: float = 0.0
    """How long all of it took."""
    again: bool = False
    """Measured by itself, after the run that the others are of."""

    def judge(self) -> None:
        """Make the rows from the figures."""
        rows = self.scenario.judge(self.samples)
        self.rows = [_explain(row, self.notes) for row in rows]


def run_scenario(
    scenario: Scenario,
    effort: Effort,
    directory: str,
    seed: int,
    progress: Callable[[str], None],
    loggers: frozenset[str] | None = None,
    most_rounds: int | None = None,
) -> Outcome:
    """
    Run all rounds of *scenario* below *directory* and judge them.

    A measurement whose peer is not installed is left out, and its rows say so; so is
    one that may fail and does, in whatever round.  Any other that fails ends the
    scenario, not the run: the outcome carries the failure.

    Args:
        scenario: what to measure.
        effort: how much of it.
        directory: below which each measurement gets a directory of its own.
        seed: that of the first round.
        progress: called with a line for a person, before each measurement.
        loggers: those of the measurements that may fail which are to be made;
            all of them if None.
        most_rounds: instead of what the effort says.

    """
    started = time.monotonic()
    place = tempfile.mkdtemp(prefix="bench-", dir=directory)
    try:
        outcome = _run_rounds(
            scenario, effort, place, seed, progress, loggers, most_rounds
        )
    finally:
        shutil.rmtree(place, ignore_errors=True)
    outcome.seconds = time.monotonic() - started
    return outcome


def _run_rounds(
    scenario: Scenario,
    effort: Effort,
    directory: str,
    seed: int,
    progress: Callable[[str], None],
    loggers: frozenset[str] | None,
    most_rounds: int | None,
) -> Outcome:
    rounds = min(scenario.rounds, most_rounds or effort.max_rounds)
    outcome = Outcome(scenario, [], seeds=[seed + i for i in range(rounds)])
    if loggers is not None:
        for name in scenario.may_fail:
            logger = name.partition(", ")[0]
            if logger in ADAPTERS and logger not in loggers:
                outcome.notes[name] = NOT_ASKED
    try:
        for number, round_seed in enumerate(outcome.seeds, 1):
            for names in _groups(scenario, effort, outcome.notes):
                shown = names[0] if len(names) == 1 else f"{len(names)} peers"
                progress(f"{scenario.name}: {shown}, round {number} of {rounds}")
                answers = _try_all(scenario, names, effort, directory, round_seed)
                for name, answer in zip(names, answers, strict=True):
                    if isinstance(answer, str):
                        outcome.notes[name] = answer
                        # Rounds of which some are missing could not be compared.
                        outcome.samples.pop(name, None)
                    else:
                        outcome.samples.setdefault(name, []).append(answer)
        outcome.judge()
    except MeasurementError as error:
        outcome.failure = str(error)
    return outcome


def _groups(
    scenario: Scenario, effort: Effort, notes: Container[str]
) -> Iterator[list[str]]:
    """
    Yield the measurements of a round that are to be made, those together that may be.

    What must not fail is measured by itself in any run: it is what counts.
    """
    together: list[str] = []
    for name in scenario.measurements:
        if name in notes:
            continue
        if scenario.side_by_side and effort.at_once > 1 and name in scenario.may_fail:
            together.append(name)
        else:
            yield [name]
    if together:
        yield together


def _try_all(
    scenario: Scenario, names: list[str], effort: Effort, directory: str, seed: int
) -> list[Figures | str]:
    """Return what ``_try`` does for each of *names*, several of them at once."""

    def measured(name: str) -> Figures | str:
        return _try(scenario, name, effort, directory, seed)

    if len(names) == 1:
        return [measured(names[0])]
    with ThreadPoolExecutor(effort.at_once) as pool:
        return list(pool.map(measured, names))


def _try(
    scenario: Scenario, name: str, effort: Effort, directory: str, seed: int
) -> Figures | str:
    """Return the figures of a measurement, or why there are none."""
    try:
        return _measure(scenario, name, effort, directory, seed)
    except MeasurementError as error:
        if name not in scenario.may_fail:
            raise
        lines = str(error).strip().splitlines()
        reason = lines[-1] if len(lines) > 1 else lines[0].partition(") ")[2]
        return f"failed: {reason}"


def _explain(row: Row, notes: dict[str, str]) -> Row:
    found = [notes[source] for source in row.sources if source in notes]
    if row.value is not None or not found:
        return row
    return replace(row, note=f"not measured: {found[0]}")


def _measure(
    scenario: Scenario, name: str, effort: Effort, directory: str, seed: int
) -> Figures | str:
    """Return the figures of one measurement, or why its peer is missing."""
    place = tempfile.mkdtemp(prefix="bench-", dir=directory)
    answer = os.path.join(place, "answer.json")
    logs = os.path.join(place, "logs")
    os.mkdir(logs)
    shared = os.path.join(directory, "shared")
    os.makedirs(shared, exist_ok=True)
    command = [sys.executable, "-m", "bench.measure", scenario.name, name]
    command += [logs, shared, answer, "--effort", effort.name, "--seed", str(seed)]
    try:
        what = f"{scenario.name}: {name} (seed {seed})"
        may_fail = name in scenario.may_fail
        patience = scenario.patience * effort.patience
        _run(command, what, patience if may_fail else scenario.timeout)
        with open(answer, encoding="utf-8") as file:
            found = json.load(file)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    figures: Figures | str = found.get("figures", found.get("missing"))
    return figures


def _run(command: list[str], what: str, timeout: float) -> None:
    # A session of its own: the forked children of a measurement that hangs are killed
    # with it.  Nothing of the caller's environment may change the defaults.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TOKENPAK_")}
    child = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _, errors = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as expired:
        raise MeasurementError(f"{what} did not end within {timeout:g} s") from expired
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
    if child.returncode:
        raise MeasurementError(f"{what} failed ({child.returncode}):\n{errors.strip()}")


__all__ = ["NOT_ASKED", "ROOT", "MeasurementError", "Outcome", "run_scenario"]
