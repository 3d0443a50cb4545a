"""The suite itself says what falls short, and never calls met what was not measured."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bench import report, targets
from bench.__main__ import main
from bench.adapters import PEERS
from bench.environment import Environment
from bench.harness import NOT_ASKED, Outcome
from bench.model import SMOKE, Figures
from bench.scenarios import MODULES, all_scenarios, find_scenario, interrupted

if TYPE_CHECKING:
    from pathlib import Path


def burst(ours: float, loguru: float, formatting: float) -> Outcome:
    """
    Return the outcome of the burst scenario for these medians, in nanoseconds.
    """

    def figures(median: float) -> Figures:
        return {
            "median": median,
            "p999": 2 * median,
            "format_median": formatting,
            "dropped": 0,
        }

    outcome = Outcome(find_scenario("caller_burst"), [], seeds=[1])
    outcome.samples = {"tokenpak": [figures(ours)], "loguru": [figures(loguru)]}
    outcome.notes = {"structlog": "structlog is not installed", "stdlib": NOT_ASKED}
    outcome.judge()
    return outcome


def test_every_target_belongs_to_a_scenario_and_has_a_limit() -> None:
    """
    Without results, each row is not measured, and says which scenario it waits for.
    """
    rows = targets.judge({}, {})

    assert {goal.scenario for goal in targets.GOALS} <= set(MODULES)
    assert len(rows) == len(targets.GOALS)
    for row, goal in zip(rows, targets.GOALS, strict=True):
        assert row.target is not None
        assert (row.value, row.met) == (None, None)
        assert row.note == f"not measured: `{goal.scenario}` was not run"


@pytest.mark.parametrize(
    ("ours", "verdicts"), [(2_000, [True, True]), (3_000, [False, True])]
)
def test_a_target_is_met_or_not_by_what_was_measured(
    ours: float, verdicts: list[bool]
) -> None:
    """
    Fifteen times the fastest peer, by its name, and 2.5 % of formatting.
    """
    rows = targets.judge_outcomes([burst(ours, 40_000, 200_000)], only={"caller_burst"})

    assert [row.met for row in rows] == verdicts
    assert "the fastest peer (loguru), over ours" in rows[0].label


def test_the_fastest_peer_is_not_a_floor_and_not_ourselves() -> None:
    """
    What takes a ready line competes with nobody.
    """
    assert not {"tokenpak", "deque", "os.write"} & set(PEERS)


def test_the_page_is_made_again_from_the_results(tmp_path: Path) -> None:
    """
    --from measures nothing; table, page and notes are those of the run.
    """
    environment = Environment("CPython 3.11.7", 2, "Linux 6.1", "ext4", {"loguru": "1"})
    saved = tmp_path / "results.json"
    outcome = burst(2_000, 40_000, 200_000)
    saved.write_text(report.results([outcome], environment, SMOKE))
    page = tmp_path / "page.md"

    assert main(["--from", str(saved), "--markdown", str(page)]) == 0

    text = page.read_text()
    assert f"**2 of {len(targets.GOALS)} targets met; " in text
    assert (
        "CPython 3.11.7, 2 cores, Linux 6.1, ext4. A smoke run: "
        "its times mean nothing. Peers: loguru 1."
    ) in " ".join(text.split())
    assert "| tokenpak | 2 µs | 4 µs | 200 µs |" in text
    assert "| structlog | structlog is not installed |  |  |" in text
    assert "| stdlib |" not in text
    assert 'srcset="figures/caller-burst-dark.svg"' in text
    assert json.loads(saved.read_text())["scenarios"][0]["notes"] == outcome.notes


def test_a_scenario_is_measured_again_and_the_others_stay(tmp_path: Path) -> None:
    """
    --from and --only: the page names what is not of the run that the others are of.
    """
    environment = Environment("CPython 3.11.7", 2, "Linux 6.1", "ext4", {})
    saved, page = tmp_path / "results.json", tmp_path / "page.md"
    saved.write_text(
        report.results([burst(2_000, 40_000, 200_000)], environment, SMOKE)
    )
    options = ["--from", str(saved), "--only", "writer_work", "--smoke"]
    options += ["--results", str(tmp_path / "results"), "--markdown", str(page)]

    assert main(options) == 0

    text = page.read_text()
    assert "| tokenpak | 2 µs | 4 µs | 200 µs |" in text
    assert "since what they measure had changed: `writer_work`." in " ".join(
        text.split()
    )
    (made,) = (tmp_path / "results").iterdir()
    scenarios = json.loads(made.read_text())["scenarios"]
    assert [(each["name"], each["again"]) for each in scenarios] == [
        ("caller_burst", False),
        ("writer_work", True),
    ]
    with pytest.raises(SystemExit, match="is of a smoke run"):
        main(["--from", str(saved), "--only", "writer_work", "--quick"])


def test_every_scenario_explains_itself() -> None:
    """
    How it is measured, and how to read it; whoever may fail is one of its measurements.
    """
    for scenario in all_scenarios():
        assert scenario.how
        assert scenario.may_fail <= set(scenario.measurements)
        if scenario.columns:
            assert scenario.read


def test_a_process_that_interrupts_itself_and_hangs_is_a_result() -> None:
    """What is not known of it is said to be so, and is not zero."""
    rows = interrupted.judge({"tokenpak": [{"hung": 1}]})

    assert [row.met for row in rows] == [False, *[None] * (len(rows) - 1)]
    assert [row.value is None for row in rows] == [False, *[True] * (len(rows) - 1)]
