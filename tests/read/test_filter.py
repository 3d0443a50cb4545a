"""Which records are wanted."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.read.log_making import make_record
from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.read import Query, parse_when

TODAY = date(2026, 3, 24)


def accepts(query: Query, record: dict[str, Any], day: date = TODAY) -> bool:
    predicate = query.predicate(day)
    return predicate is None or predicate(record)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-24", TODAY),
        (" 2026-03-24 ", TODAY),
        ("2026-03-24T17:35:22Z", datetime(2026, 3, 24, 17, 35, 22, tzinfo=UTC)),
        ("2026-03-24 17:35", datetime(2026, 3, 24, 17, 35, tzinfo=UTC)),
        (
            "2026-03-24T01:00:00.5+02:00",
            datetime(2026, 3, 23, 23, 0, 0, 500_000, tzinfo=UTC),
        ),
    ],
)
def test_dates_and_times_are_understood(text: str, expected: date) -> None:
    """A date stays a date, a whole day; a time is taken to UTC."""
    when = parse_when(text)

    assert when == expected
    assert type(when) is type(expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "24.03.2026",
        "2026-02-30",
        "2026-03-24T25:00",
        "0001-01-01T00:00+23:00",
    ],
)
def test_a_wrong_time_is_refused_with_an_example(text: str) -> None:
    """The message shows what would have been right."""
    with pytest.raises(SettingError, match="a date like 2026-03-24, or a time like"):
        parse_when(text)


def test_days_are_inclusive_and_whole() -> None:
    """From the first microsecond of the first to the last of the last, in UTC."""
    query = Query(since=TODAY, until=TODAY)

    inside = ["2026-03-24T00:00:00.000000Z", "2026-03-24T23:59:59.999999Z"]
    outside = ["2026-03-23T23:59:59.999999Z", "2026-03-25T00:00:00.000000Z"]
    assert [accepts(query, {"timestamp": t}) for t in inside] == [True, True]
    assert [accepts(query, {"timestamp": t}) for t in outside] == [False, False]
    assert query.covers(TODAY)
    assert not query.covers(TODAY - timedelta(days=1))
    assert not query.covers(TODAY + timedelta(days=1))


TIMES = st.integers(0, 4 * 86_400_000_000).map(
    lambda microseconds: (
        datetime(2026, 3, 22, tzinfo=UTC) + timedelta(microseconds=microseconds)
    )
)


@given(
    stamp=TIMES,
    offset=st.integers(-14, 14),
    form=st.sampled_from(["canonical", "seconds", "offset", "naive"]),
    since=st.none() | TIMES | TIMES.map(datetime.date),
    until=st.none() | TIMES | TIMES.map(datetime.date),
    provider=st.sampled_from([None, "openai", "anthropic"]),
)
def test_a_query_wants_what_a_naive_comparison_wants(
    *,
    stamp: datetime,
    offset: int,
    form: str,
    since: date | None,
    until: date | None,
    provider: str | None,
) -> None:
    """Whatever the form of a timestamp, and never a record of a file left closed."""
    match form:
        case "canonical":
            text = f"{stamp:%Y-%m-%dT%H:%M:%S.%f}Z"
        case "seconds":
            stamp = stamp.replace(microsecond=0)
            text = f"{stamp:%Y-%m-%dT%H:%M:%S}Z"
        case "offset":
            text = stamp.astimezone(timezone(timedelta(hours=offset))).isoformat()
        case _:
            text = stamp.replace(tzinfo=None).isoformat()
    try:
        query = Query(since=since, until=until, provider=provider)
    except SettingError:
        return

    wanted = provider in {None, "openai"}
    for bound, sign in ((since, 1), (until, -1)):
        if isinstance(bound, datetime):
            wanted &= (stamp - bound) * sign >= timedelta(0)
        elif bound is not None:
            wanted &= (stamp.date() - bound) * sign >= timedelta(0)
    assert accepts(query, make_record(timestamp=text), stamp.date()) == wanted
    assert query.covers(stamp.date()) or not wanted


@pytest.mark.parametrize("stamp", [None, 17, "", "soon", "0001-01-01T00:00+23:00"])
def test_a_record_without_a_time_counts_as_of_its_day(stamp: object) -> None:
    """It is not lost for want of a field."""
    record = make_record(timestamp=stamp)

    assert accepts(Query(since=TODAY), record)
    assert not accepts(Query(since=TODAY + timedelta(days=1)), record)


@pytest.mark.parametrize(
    "context", [None, [], "openai", {}, {"provider": None}, {"provider": ["openai"]}]
)
def test_a_record_without_the_provider_is_not_of_that_provider(context: object) -> None:
    """Also where the context is none."""
    assert not accepts(Query(provider="openai"), make_record(context=context))
    assert not accepts(Query(provider="openai"), {})
    assert accepts(Query(), make_record(context=context))


def test_a_query_that_makes_no_sense_is_refused() -> None:
    """Rather than find nothing, silently."""
    with pytest.raises(SettingError, match="not after 2026-03-24"):
        Query(since=TODAY + timedelta(days=1), until=TODAY)
    with pytest.raises(SettingError, match="errors, events"):
        Query(stream="warnings")
