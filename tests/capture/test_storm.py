"""Storm control: what repeats itself is recorded now and then, and counted."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenpak.telemetry.capture.encode import Encoder
from tokenpak.telemetry.capture.privacy.redactor import Redactor
from tokenpak.telemetry.capture.stack import StackCache
from tokenpak.telemetry.capture.storm import MOST, MOST_MESSAGES, Held, Storms
from tokenpak.telemetry.error_logger import ErrorLogger, log_exception
from tokenpak.telemetry.metrics.counters import ErrorCounts

WINDOW = 60.0
"""Seconds."""


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_774_373_722.0
        """Seconds since the epoch."""

    def __call__(self) -> int:
        return int(self.now * 1e9)


class Rig:
    """Storm control without a logger."""

    def __init__(
        self, first: int = 3, every: int = 0, clock: Clock | None = None
    ) -> None:
        self.clock = clock or Clock()
        self.storms = Storms(StackCache(Redactor()), first, every, WINDOW, self.clock)
        self.told: list[Held] = []
        self.counts = ErrorCounts()
        recorded = threading.local()

        def record(*_: object) -> None:
            recorded.one = True

        log_error = self.storms.guard(record, self.counts.known, self.counts.add)

        def takes(error: BaseException) -> bool:
            recorded.one = False
            log_error("r", error)
            return bool(recorded.one)

        self.takes = takes
        """Return whether *error* was recorded."""

    def tell(self, *, last: bool = False) -> float:
        return self.storms.tell(self.told.append, last=last)


def refused(message: str = "connection refused") -> ConnectionError:
    try:
        raise ConnectionError(message)
    except ConnectionError as error:
        return error


def elsewhere(message: str = "connection refused") -> ConnectionError:
    try:
        raise ConnectionError(message)
    except ConnectionError as error:
        return error


def records_in(directory: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for path in sorted(directory.glob("errors-*.jsonl"))
        for line in path.read_bytes().splitlines()
    ]


# -- which are recorded ---------------------------------------------------------------


def test_the_first_of_a_window_are_recorded_then_every_so_many() -> None:
    """Counted from the first that is held back."""
    rig = Rig(first=3, every=4)
    taken = [rig.takes(refused()) for _ in range(16)]

    assert [n for n, took in enumerate(taken, 1) if took] == [1, 2, 3, 7, 11, 15]


def test_a_new_window_begins_anew() -> None:
    """Also if the storm has never ended."""
    rig = Rig(first=2)
    before = [rig.takes(refused()) for _ in range(5)]
    rig.clock.now += WINDOW
    after = [rig.takes(refused()) for _ in range(5)]

    assert before == after == [True, True, False, False, False]


def test_a_clock_that_is_set_back_ends_the_window() -> None:
    """Or what was recorded in the future would hold back all until then."""
    rig = Rig(first=1)
    before = [rig.takes(refused()) for _ in range(3)]
    rig.clock.now -= 86_400
    after = [rig.takes(refused()) for _ in range(3)]
    rig.tell()
    rig.clock.now += WINDOW
    rig.tell()

    assert before == after == [True, False, False]
    assert sum(held.number for held in rig.told) == 4


def test_an_error_that_is_held_back_is_not_counted_by_each_layer(
    tmp_path: Path,
) -> None:
    """Nor is one that is sampled away."""
    for settings in ({"storm_first": 1, "storm_every": 0}, {"sample": 0}):
        logger = ErrorLogger(log_dir=tmp_path, **settings)  # type: ignore[arg-type]

        @log_exception(logger=logger)
        @log_exception(logger=logger)
        def fail() -> None:
            raise ConnectionError("refused")

        for _ in range(5):
            with pytest.raises(ConnectionError):
                fail()
        counts = logger.get_metrics()
        logger.close(timeout=60)

        assert counts == {"ConnectionError": 5}


def test_numbers_in_the_message_do_not_make_it_new() -> None:
    """Nor do words that hold a digit, as most ids do."""
    rig = Rig(first=1)
    taken = [
        rig.takes(refused(f"after {n} ms: request req_{n}a{n} to 10.0.0.{n}:80"))
        for n in range(50)
    ]

    assert taken == [True] + [False] * 49


@pytest.mark.parametrize(
    "other",
    [
        lambda: refused("connection reset"),
        elsewhere,
        lambda: ConnectionError("connection refused"),
        lambda: TimeoutError("connection refused"),
    ],
    ids=["message", "stack", "no stack", "type"],
)
def test_what_is_new_is_never_held_back(other: Callable[[], BaseException]) -> None:
    """Another message, stack or type, in the middle of a storm."""
    rig = Rig(first=1)
    for _ in range(10):
        rig.takes(refused())

    assert rig.takes(other())
    assert not rig.takes(refused())


def test_stacks_that_only_traceback_can_print_are_told_apart_by_type_and_message() -> (
    None
):
    """A traceback that was made by hand has no instructions."""
    rig = Rig(first=1)

    def by_hand(message: str) -> BaseException:
        tb = refused().__traceback__
        assert tb is not None
        odd = type(tb)(None, tb.tb_frame, -1, 5)
        return ConnectionError(message).with_traceback(odd)

    taken = [rig.takes(by_hand(text)) for text in ("a", "a", "b", "a 5", "b")]

    assert taken == [True, False, True, True, False]


def test_forgotten_stacks_hold_nothing_back_that_is_new() -> None:
    """What is kept by address is checked: another stack may be there by now."""
    rig = Rig(first=1)
    stacks = rig.storms._stacks
    for number in range(300):
        rig.storms._messages.clear()
        names: dict[str, Any] = {}
        code = f"def fail():\n{chr(10) * number}    raise ValueError('same')\n"
        exec(compile(code, f"<{number}>", "exec"), names)
        with pytest.raises(ValueError, match="same") as caught:
            names["fail"]()
        stacks.kinds.clear()

        assert rig.takes(caught.value)


# -- what is told ---------------------------------------------------------------------


def test_what_was_held_back_is_told_once_when_the_window_is_over() -> None:
    """How many, of what, and from when to when."""
    rig = Rig(first=2)
    for number in range(10):
        rig.takes(refused(f"number {number}"))
    early = rig.tell()
    nothing = list(rig.told)
    rig.clock.now += WINDOW
    rig.tell()
    rig.clock.now += WINDOW
    rig.tell()
    (held,) = rig.told

    assert early == WINDOW
    assert nothing == []
    assert held.number == 8
    assert held.message == "number 9"
    assert held.fingerprint.cls is ConnectionError
    assert held.since == held.until == int(1_774_373_722e9)


def test_what_was_not_held_back_is_not_told() -> None:
    """And is no longer followed."""
    rig = Rig(first=2)
    rig.takes(refused())
    rig.clock.now += WINDOW
    rig.tell()

    assert rig.told == []
    assert rig.storms._storms == {}


def test_the_end_of_the_process_tells_of_what_goes_on() -> None:
    """Or nobody would ever know."""
    rig = Rig(first=1)
    for _ in range(3):
        rig.takes(refused())
    rig.tell(last=True)
    rig.tell(last=True)

    assert [held.number for held in rig.told] == [2]


def test_a_call_that_was_on_its_way_when_the_window_was_told_is_told_later() -> None:
    """It has found the storm before, and counts after."""
    rig = Rig(first=1)
    rig.takes(refused())
    (storm,) = rig.storms._storms.values()
    rig.clock.now += WINDOW
    rig.tell()
    storm.message = "late"
    storm.beyond()
    rig.clock.now += WINDOW
    rig.tell()

    assert [(held.number, held.message) for held in rig.told] == [(1, "late")]


@given(st.lists(st.sampled_from(["a", "b", "c", "tick", "tell"]), max_size=120))
def test_m1_every_failure_is_recorded_or_told_of(steps: list[str]) -> None:
    """Whatever comes when: the numbers add up."""
    rig = Rig(first=2, every=5)
    recorded = passed = 0
    for step in steps:
        if step == "tick":
            rig.clock.now += WINDOW / 3
        elif step == "tell":
            rig.tell()
        else:
            passed += 1
            recorded += rig.takes(refused(step))
    rig.tell(last=True)

    told = sum(held.number for held in rig.told)
    assert told == rig.storms.held_back == sum(rig.counts.by_type().values())
    assert recorded + told == passed


def test_m1_threads_lose_no_failure() -> None:
    """While another one tells all the time."""
    rig = Rig(first=1, every=7)
    recorded: list[int] = []
    done = threading.Event()

    def fail() -> None:
        recorded.append(sum(rig.takes(refused()) for _ in range(3_000)))

    def tell() -> None:
        while not done.is_set():
            rig.tell(last=True)

    threads = [threading.Thread(target=fail) for _ in range(4)]
    teller = threading.Thread(target=tell)
    for thread in [teller, *threads]:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    teller.join()
    rig.tell(last=True)

    told = sum(held.number for held in rig.told)
    assert told == rig.storms.held_back == rig.counts.by_type()["ConnectionError"]
    assert sum(recorded) + told == 12_000


# -- memory ---------------------------------------------------------------------------


def test_memory_is_bounded_however_many_fingerprints_there_are() -> None:
    """The oldest gives way, and what it held back is told all the same."""
    rig = Rig(first=1)
    for _ in range(3):
        rig.takes(refused("the first"))
    words = ["".join(chr(97 + int(digit)) for digit in str(n)) for n in range(3 * MOST)]
    for word in words:
        rig.takes(refused(word))
    rig.tell()

    assert len(rig.storms._storms) <= MOST
    assert len(rig.storms._known) <= MOST_MESSAGES
    assert len(rig.storms._messages) <= MOST_MESSAGES
    assert [(held.number, held.message) for held in rig.told] == [(2, "the first")]


def test_messages_that_are_all_different_do_not_fill_the_memory() -> None:
    """As those with an id in each would."""
    rig = Rig(first=1)
    for number in range(3 * MOST_MESSAGES):
        rig.takes(refused(f"id {number:x}"))
    rig.takes(refused("x" * 1_000_000))

    assert len(rig.storms._storms) <= MOST
    assert len(rig.storms._known) <= MOST_MESSAGES
    assert len(rig.storms._messages) <= MOST_MESSAGES
    assert max(len(message) for message in rig.storms._messages) < 3_000


# -- in the logger --------------------------------------------------------------------


def test_a_storm_is_in_the_log_as_its_first_records_and_a_summary(
    tmp_path: Path,
) -> None:
    """And in the counts of errors as what it was."""
    logger = ErrorLogger(log_dir=tmp_path, storm_first=2, storm_every=0)
    for number in range(1_234):
        logger.log_error(f"req-{number}", refused(f"number {number}"), {"n": number})
    logger.log_error("other", elsewhere("number 5"))
    assert logger.close(timeout=60)
    stats = logger.stats()
    *records, summary = records_in(tmp_path)

    assert [r["request_id"] for r in records] == ["req-0", "req-1", "other"]
    assert summary["error_type"] == "ConnectionError"
    assert summary["message"] == "1,232 more like this were held back: number 1233"
    assert summary["stack_trace"].startswith("Traceback (most recent call last):\n")
    assert summary["stack_trace"].endswith("\nConnectionError: number 1233\n")
    assert summary["context"]["storm"]["held_back"] == 1_232
    assert len(summary["context"]["storm"]["fingerprint"]) == 16
    assert logger.get_metrics() == {"ConnectionError": 1_235}
    assert stats.dropped == {"storm": 1_232}
    assert stats.summaries == 1
    assert stats.accepted - stats.summaries + 1_232 == 1_235


def test_a_summary_shows_no_secret_either(tmp_path: Path) -> None:
    """It repeats the last message."""
    secret = "sk-" + "proj-" + "Ab1" * 16
    logger = ErrorLogger(log_dir=tmp_path, storm_first=1, storm_every=0)
    for _ in range(3):
        logger.log_error("r", refused(f"wrong key {secret}"))
    logger.close(timeout=60)
    text = "".join(path.read_text() for path in tmp_path.glob("errors-*.jsonl"))

    assert "more like this were held back: wrong key [redacted:" in text
    assert secret not in text


def test_a_summary_comes_when_the_window_is_over(tmp_path: Path) -> None:
    """By itself, without another failure."""
    logger = ErrorLogger(log_dir=tmp_path, storm_first=1, storm_window=0.2)
    held = told = 0
    while not held:  # unless the window is over between two of them
        for _ in range(5):
            logger.log_error("r", refused())
        held = logger.stats().dropped.get("storm", 0)
    for _ in range(3_000):
        logger.flush(timeout=60)
        storms = [r["context"].get("storm") for r in records_in(tmp_path)]
        told = sum(storm["held_back"] for storm in storms if storm)
        if told == held:
            break
        threading.Event().wait(0.01)
    logger.close(timeout=60)

    assert told == held


def test_c1_whatever_is_logged_comes_through(tmp_path: Path) -> None:
    """What cannot be told apart is recorded."""

    class NoTextError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    logger = ErrorLogger(log_dir=tmp_path, storm_first=1)
    for _ in range(3):
        logger.log_error("r", NoTextError())
        logger.log_error("r", "no exception")  # type: ignore[arg-type]
    logger.close(timeout=60)

    assert len(records_in(tmp_path)) == 6


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_q5_a_forked_child_has_storms_of_its_own(tmp_path: Path) -> None:
    """What the parent held back, the parent tells of."""
    logger = ErrorLogger(log_dir=tmp_path, storm_first=1, storm_every=0)
    for _ in range(10):
        logger.log_error("parent", refused())
    pid = os.fork()
    if pid == 0:
        for _ in range(4):
            logger.log_error("child", refused())
        logger.close(timeout=60)
        os._exit(0)
    os.waitpid(pid, 0)
    logger.close(timeout=60)
    records = records_in(tmp_path)
    told = [
        r["context"]["storm"]["held_back"] for r in records if "storm" in r["context"]
    ]

    assert sorted(told) == [3, 9]
    assert [r["request_id"] for r in records if r["request_id"]].count("child") == 1


def test_neither_is_on_by_default(tmp_path: Path) -> None:
    """The hot path is the encoder's own function, and nothing around it."""
    logger = ErrorLogger(log_dir=tmp_path)
    code = Encoder(32_000).codes[0]

    assert logger.log_error.__code__ is code


def test_q6_two_who_tell_at_once_do_not_get_into_each_others_way() -> None:
    """The writer, and who closes the logger: each is told of once, nothing raises."""
    rig = Rig(first=1)
    for number in range(MOST + 5):
        for _ in range(2):
            rig.takes(refused("x" * (number + 1)))
    told: list[Held] = []

    def put(held: Held) -> None:
        told.append(held)
        if len(told) == 1:
            rig.storms.tell(told.append, last=True)

    rig.storms.tell(put, last=True)
    assert sum(held.number for held in told) == rig.storms.held_back == MOST + 5


def test_m1_while_nobody_tells_nothing_is_held_back_that_will_not_be_told() -> None:
    """As many as can be told are followed; what is new beyond is recorded."""
    rig = Rig(first=1)
    kinds, recorded = 2 * MOST + 500, 0
    for number in range(kinds):
        word = "".join(chr(97 + number // 26**place % 26) for place in range(3))
        recorded += sum(rig.takes(refused(word)) for _ in range(2))
    rig.tell(last=True)
    told = sum(held.number for held in rig.told)
    assert told == rig.storms.held_back
    assert told + recorded == 2 * kinds
