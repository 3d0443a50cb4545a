"""When an alert fires, and when it is over; also under odd clocks and odd names."""

from __future__ import annotations

import pytest

from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.watch.alerts import CRITICAL, NEW_TYPE, SPIKE, one_line
from tokenpak.telemetry.watch.conditions import (
    MOST_KNOWN,
    MOST_OF_A_NAME,
    Conditions,
    Failure,
)
from tokenpak.telemetry.watch.rules import DAY, HOUR, Rules
from tokenpak.telemetry.watch.windows import MOST_SERIES, OTHER, TOTAL

NOW = 20_000 * DAY


def taught(rules: Rules | None = None, days: int = 2) -> Conditions:
    """Conditions that have seen a TimeoutError every minute, up to NOW."""
    conditions = Conditions(rules or Rules())
    for minute in range(int(days * DAY // 60)):
        when = NOW - days * DAY + minute * 60
        conditions.take(Failure(when, "TimeoutError", "timeout", "no answer", 1), when)
        if minute % 5 == 0:
            conditions.tick(when, when)
    conditions.tick(NOW, NOW)
    assert keys(conditions) == set()
    return conditions


def keys(conditions: Conditions) -> set[str]:
    return set(conditions.firing)


def fail(
    conditions: Conditions,
    when: float,
    error_type: str = "TimeoutError",
    number: int = 1,
    kind: str = "",
    now: float | None = None,
) -> None:
    failure = Failure(when, error_type, kind, "why", number)
    conditions.take(failure, when if now is None else now)


def test_watch_a_spike_fires_before_its_window_is_over() -> None:
    """What is there already is more than a whole window could have."""
    conditions = taught()

    fail(conditions, NOW + 30, number=60)
    conditions.tick(NOW + 40, NOW + 40)

    (alert,) = conditions.firing.values()
    assert alert.key == f"{SPIKE}/TimeoutError"
    assert "60 times in 5 minutes, where" in alert.summary


def test_watch_a_spike_is_over_after_two_quiet_windows() -> None:
    """And what is over is so once."""
    conditions = taught()
    fail(conditions, NOW + 30, number=60)
    conditions.tick(NOW + 310, NOW + 310)
    assert keys(conditions) == {f"{SPIKE}/TimeoutError"}

    conditions.tick(NOW + 620, NOW + 620)
    conditions.tick(NOW + 1300, NOW + 1300)

    assert keys(conditions) == set()
    (ended,) = conditions.ended
    assert ended.ends_at == NOW + 300
    conditions.tick(NOW + 2000, NOW + 2000)
    assert len(conditions.ended) == 1


def test_watch_a_spike_of_many_small_types_is_one_of_all_errors() -> None:
    """No type alone is many, together they are."""
    conditions = taught()

    for number in range(40):
        fail(conditions, NOW + number, f"Type{number % 20}Error", now=NOW + 60)
    conditions.tick(NOW + 60, NOW + 60)

    assert f"{SPIKE}/{TOTAL}" in keys(conditions)
    assert not any(key.startswith(f"{SPIKE}/Type") for key in keys(conditions))


def test_watch_few_failures_are_no_spike_however_quiet_it_was() -> None:
    """Nobody is woken for nine."""
    conditions = taught()

    fail(conditions, NOW + 1, "TimeoutError", number=9 - 5)
    fail(conditions, NOW + 1, "RareError", number=5)
    conditions.tick(NOW + 400, NOW + 400)

    assert {key for key in keys(conditions) if key.startswith(SPIKE)} == set()


def test_watch_a_new_type_is_told_and_a_known_one_is_not() -> None:
    """Once, and it is over when it has not come for a while."""
    conditions = taught()

    fail(conditions, NOW, "TimeoutError")
    fail(conditions, NOW, "NovelError")
    fail(conditions, NOW + 10, "NovelError")
    conditions.tick(NOW + 10, NOW + 10)

    (alert,) = conditions.firing.values()
    assert (alert.name, alert.error_type, alert.count) == (NEW_TYPE, "NovelError", 2)
    conditions.tick(NOW + 1000, NOW + 1000)
    assert keys(conditions) == set()
    fail(conditions, NOW + 5000, "NovelError")
    assert keys(conditions) == set()


def test_watch_says_nothing_of_spikes_and_new_types_while_it_learns() -> None:
    """On the first day all is new."""
    conditions = Conditions(Rules())

    for minute in range(60):
        fail(conditions, NOW + minute * 60, f"Type{minute}Error", number=minute)
        conditions.tick(NOW + minute * 60, NOW + minute * 60)

    assert keys(conditions) == set()


@pytest.mark.parametrize(
    ("error_type", "kind"),
    [("AuthenticationError", ""), ("ApiError", "quota"), ("RecordsDropped", "")],
)
def test_watch_tells_critical_types_and_kinds_at_once(
    error_type: str, kind: str
) -> None:
    """Also on the first day, and only once, not as new too."""
    conditions = Conditions(Rules())

    fail(conditions, NOW, error_type, kind=kind)
    fail(conditions, NOW + 1, error_type, kind=kind)

    (alert,) = conditions.firing.values()
    assert (alert.name, alert.severity, alert.count) == (CRITICAL, "critical", 2)


def test_watch_patterns_say_what_is_critical() -> None:
    """In place of the default; case counts, as it does for class names."""
    conditions = Conditions(Rules(critical=("*Auth*", "kind:[x]")))

    for error_type in ("MyAuthError", "authError", "MemoryError", "[x]"):
        fail(conditions, NOW, error_type)

    assert keys(conditions) == {f"{CRITICAL}/MyAuthError"}


def test_watch_old_records_that_were_recovered_wake_nobody() -> None:
    """What a spool held for two days is no news; what it held for an hour is."""
    conditions = taught()

    fail(conditions, NOW - 2 * DAY, "AuthenticationError", number=500, now=NOW)
    fail(conditions, NOW - 2 * DAY, "TimeoutError", number=500, now=NOW)
    conditions.tick(NOW, NOW)
    assert keys(conditions) == set()

    fail(conditions, NOW - HOUR, "AuthenticationError", now=NOW)
    assert keys(conditions) == {f"{CRITICAL}/AuthenticationError"}


def test_watch_records_of_a_clock_that_is_ahead_count_as_of_now() -> None:
    """A machine's wrong clock hides nothing."""
    conditions = taught()

    fail(conditions, NOW + 900 * DAY, "TimeoutError", number=60, now=NOW + 10)
    conditions.tick(NOW + 10, NOW + 10)

    assert f"{SPIKE}/TimeoutError" in keys(conditions)


@pytest.mark.parametrize("leap", [-400 * DAY, -2 * HOUR, 2 * DAY, 400 * DAY])
def test_watch_goes_on_after_the_clock_has_leapt(leap: float) -> None:
    """Ahead or back: no false alarm, and a spike after it is found."""
    conditions = taught()
    now = NOW + leap

    for minute in range(90):
        fail(conditions, now + minute * 60)
        conditions.tick(now + minute * 60, now + minute * 60)
    assert keys(conditions) == set()

    now += 90 * 60
    fail(conditions, now, number=60)
    conditions.tick(now + 5, now + 5)
    assert f"{SPIKE}/TimeoutError" in keys(conditions)


def test_watch_an_alert_ends_also_if_the_clock_was_set_back() -> None:
    """Or it would fire until the clock is there again."""
    conditions = taught()
    fail(conditions, NOW, "AuthenticationError")

    for minute in range(60):
        then = NOW - 30 * DAY + minute * 60
        conditions.tick(then, then)

    assert keys(conditions) == set()


def test_watch_100_000_types_take_bounded_memory_and_a_few_alerts() -> None:
    """Whoever puts a number into each type's name gets no 100,000 messages."""
    conditions = taught()

    for number in range(100_000):
        fail(conditions, NOW + number / 400, f"Error{number}")
        if number % 10_000 == 0:
            conditions.tick(NOW + number / 400, NOW + number / 400)

    assert len(conditions.firing) <= MOST_OF_A_NAME + 3
    assert f"{NEW_TYPE}/{OTHER}" in keys(conditions)
    data = conditions.as_data()
    assert len(data["known"]) <= MOST_KNOWN
    assert len(data["windows"]["series"]) <= MOST_SERIES + 1
    assert sum(map(len, data["windows"]["open"].values())) <= 2_100


def test_watch_restored_conditions_know_what_they_knew() -> None:
    """What fires goes on firing, what was known is not new."""
    conditions = taught()
    fail(conditions, NOW, "NovelError")
    fail(conditions, NOW, "TimeoutError", number=3)

    again = Conditions(Rules())
    again.restore(conditions.as_data())

    assert keys(again) == {f"{NEW_TYPE}/NovelError"}
    fail(again, NOW + 1, "NovelError", number=4)
    fail(again, NOW + 2, "TimeoutError", number=60)
    again.tick(NOW + 3, NOW + 3)
    assert keys(again) == {f"{NEW_TYPE}/NovelError", f"{SPIKE}/TimeoutError"}
    assert again.firing[f"{NEW_TYPE}/NovelError"].count == 5


@pytest.mark.parametrize(
    "text",
    ["two\nlines", "\x1b[31mred", "\0", "\ud800", "\u202eback", "x" * 10_000, 7, None],
)
def test_watch_any_text_becomes_one_printable_line(text: object) -> None:
    """No newline, no escape sequence, no half surrogate, no novel."""
    line = one_line(text)

    assert line.isprintable()
    assert len(line) <= 300
    line.encode()


@pytest.mark.parametrize(
    "wrong",
    [{"window": 5.0}, {"window": float("nan")}, {"spike_factor": 0.5}, {"quiet": 0.0}],
)
def test_watch_thresholds_that_make_no_sense_are_refused(
    wrong: dict[str, float],
) -> None:
    """With what is expected instead."""
    with pytest.raises(SettingError, match=next(iter(wrong))):
        Rules(**wrong)  # type: ignore[arg-type]
