"""Windows are counted and judged: with thousands of types, and over gaps in time."""

from __future__ import annotations

from tokenpak.telemetry.watch.conditions import Conditions, Failure
from tokenpak.telemetry.watch.rules import DAY, Rules
from tokenpak.telemetry.watch.windows import (
    MOST_SERIES,
    MOST_TYPES,
    OTHER,
    Judged,
    Windows,
)

START = 20_600 * DAY
STEP = 300.0


def spikes(judged: list[Judged]) -> list[str]:
    return [
        verdict.series
        for each in judged
        for verdict in each.verdicts
        if verdict.state == "spike"
    ]


def test_watch_a_flood_of_types_in_a_window_hides_none_of_later_ones() -> None:
    """What finds no room there takes none elsewhere: a day is read at once."""
    windows = Windows(Rules())
    for number in range(60_000):
        windows.add(START, f"Error{number}")
    windows.add(START + STEP, "TimeoutError")

    first, second = windows.open.values()
    assert len(first) == MOST_TYPES + 1
    assert first[OTHER] == 60_000 - MOST_TYPES
    assert second == {"TimeoutError": 1}


def test_watch_a_type_that_comes_often_keeps_its_series() -> None:
    """Where there is no room, types that come once do not push it out again."""
    windows = Windows(Rules())
    for step in range(200):
        when = START + step * STEP
        for number in range(MOST_SERIES):
            windows.add(when, f"Usual{number}", 3)
        if step >= 100:
            windows.add(when, "TimeoutError", 50)
            for number in range(5):
                windows.add(when, f"Once{step}{number}")
        windows.close(when + STEP)
        if step >= 100:
            assert "TimeoutError" in windows.series
        assert len(windows.series) == MOST_SERIES + 1
    assert not any(name.startswith("Once") for name in windows.series)


def test_watch_of_types_that_come_at_once_those_with_most_get_a_series() -> None:
    """In whatever order they come."""
    windows = Windows(Rules())
    for number in range(3 * MOST_SERIES):
        windows.add(START, f"Error{number}", 1 + number * 7 % (3 * MOST_SERIES))
    windows.close(START + STEP)

    least = sorted(1 + number for number in range(3 * MOST_SERIES))[-MOST_SERIES]
    given = {
        f"Error{number}"
        for number in range(3 * MOST_SERIES)
        if 1 + number * 7 % (3 * MOST_SERIES) >= least
    }
    assert set(windows.series) == {"", *given}


def test_watch_what_was_days_ago_is_no_part_of_what_is_now() -> None:
    """Windows in a row are judged together; over a gap, they are none in a row."""
    windows = Windows(Rules(learning=0.0))
    for step in range(600):
        windows.add(START + step * STEP, "TimeoutError")
        windows.close(START + (step + 1) * STEP)
    last = START + 600 * STEP
    windows.add(last, "TimeoutError", 200)
    assert "TimeoutError" in spikes(windows.close(last + STEP))

    later = last + 5 * DAY
    windows.add(later, "TimeoutError", 6)

    assert spikes(windows.close(later + STEP)) == []


def test_watch_what_a_clock_that_was_ahead_has_counted_is_not_before_it() -> None:
    """It is set back, and the window under way is the first one."""
    windows = Windows(Rules(learning=0.0))
    for step in range(600):
        windows.add(START + step * STEP, "TimeoutError")
        windows.close(START + (step + 1) * STEP)
    last = START + 600 * STEP
    windows.add(last, "TimeoutError", 200)
    windows.close(last + STEP)

    back = last - DAY
    windows.close(back)
    windows.add(back, "TimeoutError", 6)

    assert spikes(windows.close(back + STEP)) == []


def test_watch_an_error_without_a_type_is_not_taken_for_all() -> None:
    """The state of its spike would be that of all errors."""
    conditions = Conditions(Rules(learning=0.0, critical=()))
    for step in range(600):
        when = START + step * STEP
        conditions.take(Failure(when, "", "", "", 1), when)
        conditions.take(Failure(when, "TimeoutError", "", "", 3), when)
        conditions.tick(when + STEP, when + STEP)
    when = START + 600 * STEP
    for error_type in ("TimeoutError", "ValueError", "KeyError"):
        conditions.take(Failure(when, error_type, "", "", 100), when)
    conditions.take(Failure(when, "", "", "", 1), when)
    for now in (when + 100.0, when + STEP, when + 2 * STEP):
        conditions.tick(now, now)
        assert "ErrorSpike/" in conditions.firing
        assert conditions.firing["ErrorSpike/"].count == 301
    assert "(none)" in conditions.windows.series
