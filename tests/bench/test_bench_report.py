"""The table and the page say what was measured, and what was not."""

from __future__ import annotations

import json
import platform

import pytest

from bench import page as pages
from bench import report
from bench.environment import Environment, describe
from bench.harness import Outcome
from bench.model import FULL, SMOKE, Figures, Job, Row, Scenario, at_least, at_most
from bench.quantiles import Spread, spread
from bench.rows import ratio_row, total_row, value_row

ENVIRONMENT = Environment("CPython 3.11.7", 2, "Linux 6.1", "ext4")
SAMPLES = {"ours": [{"n": 20.0}, {"n": 30.0}], "peer": [{"n": 2.0}, {"n": 2.0}]}


def outcome(*rows: Row, failure: str | None = None) -> Outcome:
    """
    Return the outcome of a scenario with these rows.
    """

    def measure(job: Job) -> Figures:
        raise NotImplementedError(job)

    scenario = Scenario("s", "A title", "How.", 1, {"m": measure}, lambda _: [])
    return Outcome(scenario, list(rows), {"m": [{"n": 1.0}]}, [7], failure)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (Row("r", spread([3.0]), "%", at_most(3)), "met"),
        (Row("r", spread([3.01]), "%", at_most(3)), "NOT met"),
        (Row("r", spread([25.0]), "%", at_least(25)), "met"),
        (Row("r", spread([24.9]), "%", at_least(25)), "NOT met"),
        (Row("r", spread([float("nan")]), "%", at_most(3)), "NOT met"),
        (Row("r", spread([3.0]), "%"), ""),
        (Row("r", None, "%", at_most(3), "no peer"), "no peer"),
    ],
)
def test_a_row_says_whether_its_target_is_met(row: Row, expected: str) -> None:
    """
    The limit itself is met; no value is neither met nor missed.
    """
    assert report.verdict_text(row) == expected


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    """
    Each round is divided by itself, and the spread shows all of them.
    """
    row = ratio_row(SAMPLES, "r", ("ours", "n"), ("peer", "n"), at_least(12))

    assert row.value == Spread(10.0, 10.0, 15.0)
    assert row.met is False


def test_a_missing_peer_leaves_the_row_without_a_value() -> None:
    """
    The table says that a peer is not installed, and does not call its target missed.
    """
    row = ratio_row(SAMPLES, "r", ("ours", "n"), ("absent", "n"), at_least(1))

    assert (row.value, row.met) == (None, None)
    assert "not measured: pip install" in report.verdict_text(row)
    assert report.summary([outcome(row)]) == "0 of 1 targets met; not measured: s: r"
    assert value_row(SAMPLES, "r", ("absent", "n"), "s").value is None


def test_counts_are_added_over_all_rounds() -> None:
    """
    One loss in one round is not lost in a median.
    """
    row = total_row(SAMPLES, "r", [("ours", "n"), ("peer", "n")], at_most(0))

    assert row.value == Spread(54.0, 54.0, 54.0)
    assert row.met is False


def test_the_table_and_the_page_show_value_target_and_verdict() -> None:
    """
    A reader sees the three beside each other, and the summary names what is not met.
    """
    done = outcome(
        Row("median", Spread(2.2, 2.1, 2.6), "%", at_most(3)),
        Row("lost", spread([1.0]), "", at_most(0)),
    )
    page = pages.markdown([done], ENVIRONMENT, FULL, "2 shared cores")

    assert "2.2 % (2.1 to 2.6)  ≤ 3 %  met" in report.table(done)
    assert "| median | 2.2 % (2.1 to 2.6) | ≤ 3 % | met |" in page
    assert "| lost | 1 | 0 | NOT met |" in page
    assert "CPython 3.11.7, 2 shared cores, Linux 6.1, ext4" in page
    assert report.summary([done]) == "1 of 2 targets met; NOT met: s: lost"


def test_a_failed_scenario_is_shown_as_failed() -> None:
    """
    A crash is not an empty table, and no target counts as met.
    """
    failed = outcome(failure="it broke\nat a place")

    assert "FAILED: it broke" in report.table(failed)
    assert "Failed: `it broke`" in pages.markdown([failed], ENVIRONMENT, SMOKE, None)
    assert report.summary([failed]) == "0 of 0 targets met; not measured: s: failed"


def test_the_results_hold_what_is_needed_to_judge_again() -> None:
    """
    JSON with rows, the figures of each round, the seeds and the environment.
    """
    done = outcome(Row("median", Spread(2.2, 2.1, 2.6), "%", at_most(3)))

    found = json.loads(report.results([done], ENVIRONMENT, FULL))

    assert found["environment"]["file_system"] == "ext4"
    assert found["scenarios"][0]["samples"] == {"m": [{"n": 1.0}]}
    assert found["scenarios"][0]["seeds"] == [7]
    assert found["scenarios"][0]["rows"][0]["met"] is True


def test_the_environment_names_no_machine(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Interpreter, cores, kernel, file system; neither host nor path.
    """
    # Of their own: a host may be called "linux".
    monkeypatch.setattr(platform, "node", lambda: "the-host")
    monkeypatch.setattr(platform, "release", lambda: "6.18.44-the-build")

    line = describe(str(tmp_path)).line()

    assert line.startswith(f"{platform.python_implementation()} 3.")
    assert str(tmp_path) not in line
    assert "6.18, " in line
    assert "the-build" not in line
    assert "the-host" not in line
