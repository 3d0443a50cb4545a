"""Which times are compared, and into which slots they fall."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.report.window import (
    BEFORE,
    HISTORY,
    OUTSIDE,
    Slots,
    iso,
    make_window,
)

NOW = datetime(2026, 3, 24, 17, 35, 22, 123456, UTC)
WEEK = timedelta(days=7)
DAY = date(2026, 3, 24)


def test_the_window_is_the_last_24_hours_by_default() -> None:
    """Up to now, which counts; and the history goes back a week from there."""
    window = make_window(None, None, NOW, WEEK)

    assert window.until == NOW + timedelta(microseconds=1)
    assert window.length == timedelta(hours=24)
    assert window.before == window.since - timedelta(hours=24)
    assert window.history == window.since - WEEK
    assert window.slot_length == timedelta(minutes=30)


def test_a_day_is_the_whole_day() -> None:
    """As for every query."""
    window = make_window(DAY, DAY, NOW, WEEK)

    assert iso(window.since) == "2026-03-24T00:00:00.000000Z"
    assert iso(window.until) == "2026-03-25T00:00:00.000000Z"


@pytest.mark.parametrize(
    ("hours", "slot"),
    [
        (1, 60),
        (6, 600),
        (24, 1800),
        (48, 3600),
        (24 * 7, 3 * 3600),
        (24 * 30, 12 * 3600),
    ],
)
def test_a_slot_is_as_long_as_a_person_would_choose(hours: int, slot: int) -> None:
    """One minute of an hour, half an hour of a day, half a day of a month."""
    window = make_window(NOW - timedelta(hours=hours), NOW, NOW, WEEK)

    assert round(window.slot_length.total_seconds()) == slot


def test_the_window_before_is_read_however_short_the_history_is() -> None:
    """Or nothing could be compared."""
    window = make_window(DAY, DAY, NOW, timedelta(hours=1))

    assert window.history == window.before


def test_a_window_without_length_is_refused() -> None:
    """In words."""
    with pytest.raises(SettingError, match="since"):
        make_window(date(2026, 3, 25), date(2026, 3, 24), NOW, WEEK)


@pytest.mark.parametrize(
    "when",
    [date.min, date.max, datetime.min, datetime.max],  # noqa: DTZ901  (a Query may)
)
def test_the_ends_of_time_are_windows_too(when: date) -> None:
    """No OverflowError, in whatever combination."""
    for since, until in ((when, when), (None, when), (date.min, when)):
        window = make_window(since, until, NOW, timedelta(days=10**6))

        assert window.history <= window.before <= window.since < window.until
        assert Slots(window).find(iso(NOW)) is not None
        assert window.slots >= 1


@settings(max_examples=200, deadline=None)
@given(
    st.datetimes(
        datetime(2026, 3, 10),  # noqa: DTZ001  (as hypothesis wants them)
        datetime(2026, 3, 27),  # noqa: DTZ001
    ),
    st.sampled_from(["", "Z", "+00:00"]),
)
def test_a_slot_is_found_the_same_way_twice(when: datetime, zone: str) -> None:
    """By parsing the first time, by its minute the second; and it is the right one."""
    window = make_window(DAY, DAY, NOW, WEEK)
    slots = Slots(window)
    stamp = when.isoformat(timespec="microseconds") + zone

    slot = slots.find(stamp)

    moment = when.replace(tzinfo=UTC)
    if moment >= window.until or moment < window.history:
        expected = OUTSIDE
    elif moment < window.before:
        expected = HISTORY
    else:
        expected = BEFORE + int((moment - window.before) / window.slot_length)
    assert slot == expected
    assert slots.minutes.get(stamp[:16], slot) == slot


@pytest.mark.parametrize("stamp", ["", "yesterday", "2026-13-01T00:00:00Z", "\ud800"])
def test_what_is_no_time_has_no_slot(stamp: str) -> None:
    """And does not raise."""
    assert Slots(make_window(DAY, DAY, NOW, WEEK)).find(stamp) is None
