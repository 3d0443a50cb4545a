"""The harness reports what goes wrong in a measurement, and leaves nothing behind."""

from __future__ import annotations

import dataclasses
import os
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from bench import harness
from bench.harness import MeasurementError, run_scenario
from bench.model import FULL, QUICK, SMOKE, Effort, Figures, Job, Row, Samples, Scenario
from bench.rows import value_row
from bench.scenarios import all_scenarios

if TYPE_CHECKING:
    from pathlib import Path


def scenario(*names: str, rounds: int = 1) -> Scenario:
    """
    Return a scenario of which the harness runs a stand-in.
    """

    def measure(job: Job) -> Figures:
        raise NotImplementedError(job)

    def judge(samples: Samples) -> list[Row]:
        return [value_row(samples, name, (name, "n"), "") for name in names]

    return Scenario(
        "s", "A title", "How.", rounds, dict.fromkeys(names, measure), judge
    )


def test_rounds_are_interleaved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    a, b, a, b and never a, a, b, b; both sides of a round have the same seed.
    """
    order: list[tuple[str, int]] = []

    def measure(
        _scenario: Scenario, name: str, _effort: Effort, _directory: str, seed: int
    ) -> Figures:
        order.append((name, seed))
        return {"n": float(len(order))}

    monkeypatch.setattr(harness, "_measure", measure)
    twice = Effort("twice", 1.0, 2)
    outcome = run_scenario(scenario("a", "b", rounds=5), twice, str(tmp_path), 7, print)

    assert order == [("a", 7), ("b", 7), ("a", 8), ("b", 8)]
    assert outcome.samples == {
        "a": [{"n": 1.0}, {"n": 3.0}],
        "b": [{"n": 2.0}, {"n": 4.0}],
    }


def test_a_missing_peer_is_asked_once_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The rest of the scenario is measured without it.
    """
    asked: list[str] = []

    def measure(_scenario: Scenario, name: str, *_: object) -> Figures | str:
        asked.append(name)
        return "not installed" if name == "peer" else {"n": 1.0}

    monkeypatch.setattr(harness, "_measure", measure)
    both = scenario("ours", "peer", rounds=2)
    outcome = run_scenario(both, Effort("twice", 1.0, 2), str(tmp_path), 7, print)

    assert asked == ["ours", "peer", "ours"]
    assert [row.value is None for row in outcome.rows] == [False, True]
    assert outcome.failure is None


def test_a_measurement_that_crashes_is_a_failure_with_its_traceback(
    tmp_path: Path,
) -> None:
    """
    The name of the measurement, the seed to repeat it, and what it said.
    """
    outcome = run_scenario(scenario("absent"), SMOKE, str(tmp_path), 7, print)

    assert outcome.failure is not None
    assert "s: absent (seed 7) failed" in outcome.failure
    assert "KeyError" in outcome.failure
    assert os.listdir(tmp_path) == []


def test_a_measurement_that_hangs_is_killed_with_its_children() -> None:
    """
    Also what it has started: the pipe that both hold is closed only by the last death.
    """
    program = "import os, time\nos.fork()\ntime.sleep(600)\n"

    with pytest.raises(MeasurementError, match="a test did not end within"):
        harness._run([sys.executable, "-c", program], "a test", 0.5)


def test_a_measurement_that_may_fail_is_a_note_and_not_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Also in a later round: rounds of which some are missing could not be compared.
    """
    rounds: list[str] = []

    def measure(_scenario: Scenario, name: str, *_: object) -> Figures | str:
        rounds.append(name)
        if rounds == ["ours", "peer", "ours", "peer"]:
            raise MeasurementError("s: peer (seed 8) did not end within 60 s")
        return {"n": 1.0}

    monkeypatch.setattr(harness, "_measure", measure)
    both = dataclasses.replace(
        scenario("ours", "peer", rounds=3), may_fail=frozenset({"peer"})
    )
    outcome = run_scenario(both, Effort("three", 1.0, 3), str(tmp_path), 7, print)

    assert rounds == ["ours", "peer", "ours", "peer", "ours"]
    assert outcome.failure is None
    assert outcome.notes == {"peer": "failed: did not end within 60 s"}
    assert [(row.value is None, row.note) for row in outcome.rows] == [
        (False, ""),
        (True, "not measured: failed: did not end within 60 s"),
    ]


def test_only_the_loggers_that_were_asked_for_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Ours always, and what is no logger; --rounds is the most, whatever the effort says.
    """
    asked: list[str] = []

    def measure(_scenario: Scenario, name: str, *_: object) -> Figures | str:
        asked.append(name)
        return {"n": 1.0}

    monkeypatch.setattr(harness, "_measure", measure)
    names = ("tokenpak", "stdlib", "loguru, 8 threads", "os.write", "callgrind")
    some = dataclasses.replace(
        scenario(*names, rounds=9), may_fail=frozenset(names[1:])
    )
    effort = Effort("many", 1.0, 9)
    loggers = frozenset({"loguru"})
    outcome = run_scenario(some, effort, str(tmp_path), 7, print, loggers, 1)

    assert asked == ["tokenpak", "loguru, 8 threads", "callgrind"]
    assert set(outcome.notes) == {"stdlib", "os.write"}


def test_what_the_rounds_of_a_scenario_share_is_kept_until_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A gigabyte of log is made once, and does not stay behind; nor do two scenarios meet.
    """
    places: list[str] = []

    def measure(
        _scenario: Scenario, _name: str, _effort: Effort, directory: str, _seed: int
    ) -> Figures:
        assert os.path.isdir(directory)
        places.append(directory)
        return {"n": 1.0}

    monkeypatch.setattr(harness, "_measure", measure)
    for _ in range(2):
        outcome = run_scenario(
            scenario("a", rounds=2), Effort("two", 1.0, 2), str(tmp_path), 7, print
        )
        assert outcome.seconds > 0

    assert places[0] == places[1] != places[2] == places[3]
    assert os.listdir(tmp_path) == []


def test_peers_are_measured_side_by_side_where_no_time_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Ours before them and by itself; each answer goes to the one who gave it.
    """
    peers = ("stdlib", "loguru", "logbook")
    main, met = threading.main_thread(), threading.Barrier(len(peers), timeout=60)
    alone: list[str] = []

    def measure(_scenario: Scenario, name: str, *_: object) -> Figures | str:
        if threading.current_thread() is main:
            alone.append(name)
            return {"n": 1.0}
        met.wait()  # broken, and so a failure, where they come one after the other
        if name == "loguru":
            raise MeasurementError("s: loguru (seed 7) did not end within 60 s")
        return {"n": float(len(name))}

    monkeypatch.setattr(harness, "_measure", measure)
    several = dataclasses.replace(
        scenario("stdlib", "ours", "loguru", "logbook"),
        may_fail=frozenset(peers),
        side_by_side=True,
    )
    effort = Effort("rough", 0.1, 1, at_once=len(peers))
    outcome = run_scenario(several, effort, str(tmp_path), 7, print)

    assert alone == ["ours"]
    assert outcome.samples == {
        "ours": [{"n": 1.0}],
        "stdlib": [{"n": 6.0}],
        "logbook": [{"n": 7.0}],
    }
    assert outcome.notes == {"loguru": "failed: did not end within 60 s"}


@pytest.mark.parametrize(
    ("effort", "side_by_side"), [(FULL, True), (QUICK, False), (SMOKE, False)]
)
def test_all_else_is_measured_one_by_one(
    effort: Effort, side_by_side: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A full run in any scenario, and any run where times are measured.
    """
    threads: list[threading.Thread] = []

    def measure(*_: object) -> Figures:
        threads.append(threading.current_thread())
        return {"n": 1.0}

    monkeypatch.setattr(harness, "_measure", measure)
    several = dataclasses.replace(
        scenario("ours", "stdlib", "loguru"),
        may_fail=frozenset({"stdlib", "loguru"}),
        side_by_side=side_by_side,
    )
    run_scenario(several, effort, str(tmp_path), 7, print)

    assert threads == [threading.main_thread()] * 3


def test_only_scenarios_that_measure_no_time_are_side_by_side() -> None:
    """
    And those only that have peers to wait for.
    """
    found = {one.name for one in all_scenarios() if one.side_by_side}

    assert found == {"deaths", "memory"}


def test_a_full_run_is_the_whole_work() -> None:
    """
    What is cut is cut from the others; and they say so.
    """
    assert FULL.choose(2, 1) == 2
    assert QUICK.choose(2, 1) == SMOKE.choose(2, 1) == 1
    assert (FULL.patience, FULL.at_once, FULL.caveat) == (1.0, 1, "")
    assert "rough" in QUICK.caveat
