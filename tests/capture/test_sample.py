"""Sampling: some failures are not recorded, on purpose, and all are counted."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from tokenpak.telemetry.error_logger import ErrorLogger, Stats


def fails(logger: ErrorLogger, *errors: BaseException) -> Stats:
    """Log *errors*, close the logger, and return what became of them."""
    for number, error in enumerate(errors):
        logger.log_error(f"req-{number}", error, {"number": number})
    stats = logger.stats()
    assert logger.close(timeout=60)
    return stats


def records_in(directory: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for path in sorted(directory.glob("errors-*.jsonl"))
        for line in path.read_bytes().splitlines()
    ]


@pytest.mark.parametrize(("rate", "least", "most"), [(0, 0, 0), (0.5, 700, 1300)])
def test_a_rate_is_how_many_are_recorded_and_all_are_counted(
    tmp_path: Path, rate: float, least: int, most: int
) -> None:
    """Of 2,000 tossed coins, fewer than 700 heads come once in 10^40 times."""
    logger = ErrorLogger(log_dir=tmp_path, sample=rate)
    stats = fails(logger, *(ValueError("x") for _ in range(2_000)))
    found = len(records_in(tmp_path))

    assert least <= found <= most
    assert logger.get_metrics() == {"ValueError": 2_000}
    assert stats.accepted == found
    assert stats.dropped == {"sampled": 2_000 - found}


def test_rates_may_differ_by_type(tmp_path: Path) -> None:
    """By the name of the class; the star is for all others."""
    logger = ErrorLogger(log_dir=tmp_path, sample={"KeyError": 1, "*": 0})
    fails(logger, ValueError("x"), KeyError("y"), TypeError("z"), KeyError("y"))

    assert [record["error_type"] for record in records_in(tmp_path)] == ["KeyError"] * 2
    assert logger.get_metrics() == {"ValueError": 1, "KeyError": 2, "TypeError": 1}


def test_types_that_are_not_named_are_recorded_without_a_star(tmp_path: Path) -> None:
    """Nothing is left out that nobody has asked to leave out."""
    logger = ErrorLogger(log_dir=tmp_path, sample={"KeyError": 0})
    fails(logger, ValueError("x"), KeyError("y"))

    assert [r["error_type"] for r in records_in(tmp_path)] == ["ValueError"]


def test_a_callable_decides_by_error_and_context(tmp_path: Path) -> None:
    """By yes or no, or by a rate."""

    def choose(error: BaseException, context: Any) -> float:
        return isinstance(error, KeyError) or context["number"] == 2

    logger = ErrorLogger(log_dir=tmp_path, sample=choose)
    fails(logger, ValueError("0"), KeyError("1"), ValueError("2"), ValueError("3"))

    assert [r["context"]["number"] for r in records_in(tmp_path)] == [1, 2]


@pytest.mark.parametrize("answer", [None, "yes", -1, 2, float("nan"), object()])
def test_c1_what_a_callable_answers_wrongly_costs_no_record(
    tmp_path: Path, answer: object, caplog: pytest.LogCaptureFixture
) -> None:
    """It is recorded, and a warning says what is wrong."""
    logger = ErrorLogger(log_dir=tmp_path, sample=lambda *_: answer)  # type: ignore[arg-type]
    fails(logger, ValueError("x"))

    assert len(records_in(tmp_path)) == 1
    assert "True, False or a number" in caplog.text


def test_c1_a_callable_that_raises_costs_no_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor does the caller see what it raised."""

    def choose(*_: object) -> bool:
        raise RuntimeError("no choice")

    logger = ErrorLogger(log_dir=tmp_path, sample=choose)
    fails(logger, ValueError("x"))

    assert len(records_in(tmp_path)) == 1
    assert "raised RuntimeError" in caplog.text


def test_ctrl_c_in_a_callable_ends_the_program(tmp_path: Path) -> None:
    """As it does anywhere else."""

    def choose(*_: object) -> bool:
        raise KeyboardInterrupt

    logger = ErrorLogger(log_dir=tmp_path, sample=choose)
    with pytest.raises(KeyboardInterrupt):
        logger.log_error("r", ValueError("x"))
    logger.close(timeout=60)


def test_the_numbers_of_the_application_are_left_alone(tmp_path: Path) -> None:
    """Who has seeded the module's generator gets what he would have got."""
    random.seed(7)
    expected = [random.random() for _ in range(3)]
    random.seed(7)
    logger = ErrorLogger(log_dir=tmp_path, sample=0.5)
    fails(logger, *(ValueError("x") for _ in range(50)))

    assert [random.random() for _ in range(3)] == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_q5_a_forked_child_draws_other_numbers(tmp_path: Path) -> None:
    """Or all workers would keep and leave out the same of their failures."""
    logger = ErrorLogger(log_dir=tmp_path, sample=0.5)
    children = []
    for child in range(4):
        pid = os.fork()
        if pid == 0:
            for number in range(64):
                logger.log_error(f"{child}", ValueError("x"), {"number": number})
            logger.close(timeout=60)
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    logger.close(timeout=60)
    kept: dict[str, list[int]] = {}
    for record in records_in(tmp_path):
        kept.setdefault(record["request_id"], []).append(record["context"]["number"])

    assert len({tuple(numbers) for numbers in kept.values()}) == 4


def test_what_is_no_exception_is_sampled_too(tmp_path: Path) -> None:
    """Whatever is passed as the error."""
    logger = ErrorLogger(log_dir=tmp_path, sample={"str": 0})
    logger.log_error("r", "not an exception")  # type: ignore[arg-type]
    logger.log_error("r", 5)  # type: ignore[arg-type]
    logger.close(timeout=60)

    assert [r["error_type"] for r in records_in(tmp_path)] == ["int"]
