"""C1 holds with sampling and storm control, and their summaries hold no secret."""

from __future__ import annotations

import faulthandler
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tokenpak.telemetry.capture.encode import Encoder
from tokenpak.telemetry.capture.fingerprint import LONGEST
from tokenpak.telemetry.capture.gate import STORM, Gate
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.metrics.counters import ErrorCounts

SECRET = "AIza" + "Ab3xQ9_z" * 4 + "abc"


class Stop(BaseException):
    """No Exception."""


class StopsInStrError(Exception):
    def __str__(self) -> str:
        raise Stop


class ExitsInStrError(Exception):
    def __str__(self) -> str:
        raise SystemExit


class Text(str):
    __slots__ = ()

    def __hash__(self) -> int:
        raise Stop


class TextInStrError(Exception):
    def __str__(self) -> str:
        return Text("text")


class Named(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError


class NoNameError(Exception, metaclass=Named):
    pass


class Rate(float):
    def __bool__(self) -> bool:
        raise RuntimeError

    def __lt__(self, other: object) -> bool:
        raise RuntimeError

    __eq__ = __le__ = __gt__ = __ge__ = __lt__
    __hash__ = float.__hash__


def stops(*_: object) -> bool:
    raise Stop


def strange(*_: object) -> float:
    return Rate(0.5)


def records_in(directory: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for path in sorted(directory.glob("errors-*.jsonl"))
        for line in path.read_bytes().splitlines()
    ]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"storm_first": 1}, StopsInStrError()),
        ({"storm_first": 1}, ExitsInStrError()),
        ({"storm_first": 1}, TextInStrError()),
        ({"storm_first": 1}, "no exception"),
        ({"sample": {"KeyError": 0.0}}, NoNameError()),
        ({"sample": stops}, ValueError()),
        ({"sample": strange}, ValueError()),
    ],
)
def test_c1_what_cannot_be_judged_is_recorded(
    tmp_path: Path, options: dict[str, Any], error: Any
) -> None:
    logger = ErrorLogger(tmp_path, **options)
    for _ in range(3):
        logger.log_error("r", error)
    assert logger.close(timeout=60)
    assert len(records_in(tmp_path)) == 3


def raised_at_the_end_of_the_stack(log_error: Callable[..., None]) -> int:
    """Log at each depth, the deepest first; return how often that raised."""
    error, raised = ValueError("x"), 0

    def deeper() -> None:
        nonlocal raised
        try:
            deeper()
        except RecursionError:
            pass
        try:
            log_error("r", error)
        except RecursionError:
            raised += 1

    deeper()
    return raised


@pytest.mark.parametrize("options", [{"storm_first": 1}, {"sample": 0.5}])
def test_c1_at_the_end_of_the_stack_a_gate_changes_nothing(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    """What does not even reach log_error cannot be caught in it."""
    plain, gated = ErrorLogger(tmp_path), ErrorLogger(tmp_path, **options)
    for logger in (plain, gated):
        # What begins with the first record is not what is asked here.
        logger.log_event("begins")
        assert logger.flush(timeout=60)
    assert raised_at_the_end_of_the_stack(
        gated.log_error
    ) <= raised_at_the_end_of_the_stack(plain.log_error)
    assert plain.close(timeout=60)
    assert gated.close(timeout=60)


@pytest.mark.parametrize("options", [{}, {"storm_first": 1}, {"sample": 0.5}])
def test_x2_a_first_record_at_the_end_of_the_stack_is_written(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    """What begins with it breaks off at every depth, and begins anew at the next."""
    before = ErrorLogger(tmp_path)
    before.log_error("before", ValueError("x"))
    logger = ErrorLogger(tmp_path, **options)
    raised_at_the_end_of_the_stack(logger.log_error)
    stats = logger.stats()
    assert before.close(timeout=60)
    closed = logger.close(timeout=60)
    if not closed:
        faulthandler.dump_traceback(all_threads=True)
    assert closed, (stats, logger.stats(), vars(logger._pipeline._writer))
    stats = logger.stats()
    assert stats.written == stats.accepted + stats.notices > 0
    assert logger._pipeline._files.descriptors == {}
    assert list((tmp_path / "spool").iterdir()) == []


def test_no_half_of_a_secret_is_in_a_summary(tmp_path: Path) -> None:
    """Its message is cut, after it was searched."""
    for before in (LONGEST - 30, LONGEST - 10, LONGEST + 4_090):
        directory = tmp_path / str(before)
        logger = ErrorLogger(directory, storm_first=1, storm_every=0)
        for _ in range(3):
            logger.log_error("r", ValueError("x" * before + " " + SECRET))
        assert logger.close(timeout=60)
        text = "".join(path.read_text() for path in directory.glob("*.jsonl"))
        assert "2 more like this were held back" in text
        assert SECRET[:10] not in text


def test_a_held_back_message_of_any_size_takes_bounded_memory() -> None:
    """A storm keeps what its summary shows."""
    counts = ErrorCounts()
    gate = Gate(Encoder(32_000), 1, 1, 0, 60.0, counts, print)
    described: list[tuple[Any, ...]] = []
    log = gate.guard(lambda *_: None, lambda *each: described.append(each), int)
    for _ in range(3):
        log("r", ValueError("x" * 1_000_000))
    (storm,) = gate._storms._storms.values()  # type: ignore[union-attr]
    assert len(storm.message) < 10_000
    gate.tell(last=True)
    assert len(described) == 1


def test_what_cannot_be_marked_is_either_held_back_or_recorded() -> None:
    """Q3: not both."""

    class UnmarkableError(Exception):
        __slots__ = ()

        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError(name)

    recorded: list[object] = []
    gate = Gate(Encoder(32_000), 1, 1, 0, 60.0, ErrorCounts(), print)
    log = gate.guard(lambda *each: recorded.append(each), print, int)
    error = UnmarkableError("x")
    for _ in range(5):
        log("r", error)
    assert len(recorded) + gate.dropped[STORM] == 5


def test_c1_a_class_without_a_name_is_told_of(tmp_path: Path) -> None:
    """And does not keep the logger from being closed."""
    logger = ErrorLogger(tmp_path, storm_first=1, storm_every=0)
    for _ in range(3):
        logger.log_error("r", NoNameError("x"))
    assert logger.close(timeout=60)
    first, summary = records_in(tmp_path)
    assert first["error_type"] == summary["error_type"] == "NoNameError"
