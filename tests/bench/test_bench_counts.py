"""The hot path executes no more than was agreed upon: no noise can trip this."""

from __future__ import annotations

import functools
import json
import subprocess
import sys

import pytest

from bench import counts
from bench.counts import Counts
from bench.harness import ROOT


def test_the_hot_path_executes_no_more_than_its_baseline() -> None:
    """
    In a process of its own, whose clock stands still; see bench/counts.py.

    A change that means to do more updates the baseline, with each version of Python:
    python -m bench.counts --update
    """
    if counts.version() not in counts.read_baseline():
        pytest.skip(f"no baseline for {counts.version()}")
    done = subprocess.run(
        [sys.executable, "-m", "bench.counts"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "log_error" in done.stdout


def test_what_a_call_executes_is_counted_exactly() -> None:
    """
    Twice the loop is twice the instructions, and each call of a kind is one.
    """

    def work(times: int) -> None:
        for _ in range(times):
            helper()
            len("")

    def helper() -> None:
        pass

    none, few, more = (
        counts.count(functools.partial(work, times))[0] for times in (0, 10, 20)
    )

    assert few.instructions > none.instructions
    grown = few.instructions - none.instructions
    assert more.instructions - few.instructions == grown
    assert few.python_calls - none.python_calls == 10
    assert few.c_calls - none.c_calls == 10
    assert none.c_calls <= 1


def test_more_than_the_baseline_and_its_tolerance_is_said_in_words() -> None:
    """
    Which call, which count, how many; and a call without a baseline is not let through.
    """
    agreed = {"a": Counts(100, 5, 10)}

    assert counts.excess({"a": Counts(102, 5, 10)}, agreed) == []
    assert counts.excess({"a": Counts(90, 4, 9)}, agreed) == []
    assert counts.excess({"a": Counts(103, 6, 10)}, agreed) == [
        "a: 103 instructions, 100 were agreed upon",
        "a: 6 python calls, 5 were agreed upon",
    ]
    assert counts.excess({"b": Counts(1, 1, 1)}, agreed) == ["b has no baseline"]


def test_the_baseline_is_as_the_command_writes_it() -> None:
    """
    Versions of Python, calls, and three counts each.
    """
    with open(counts.BASELINE, encoding="utf-8") as file:
        saved = json.load(file)

    assert {"cpython-3.11", "cpython-3.12", "cpython-3.13"} <= set(saved)
    assert len({tuple(calls) for calls in saved.values()}) == 1
    assert all(
        c.instructions > 0 for v in counts.read_baseline().values() for c in v.values()
    )
