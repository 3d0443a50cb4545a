"""Values of a query that make no sense, or no time: refused in words, never a crash."""

from __future__ import annotations

import contextlib
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.read.log_making import as_lines, make_record, read_all, write_log
from tokenpak.cli import main
from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.read import Query, parse_when
from tokenpak.telemetry.report import make_report

FAR_EAST, FAR_WEST = timezone(timedelta(hours=14)), timezone(timedelta(hours=-14))
EDGES = [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
ODD: list[tuple[str, Any]] = [
    ("since", datetime.min.replace(tzinfo=FAR_EAST)),
    ("since", "99999999999d"),
    ("since", "2026-03-24"),
    ("since", 7),
    ("until", datetime.max.replace(tzinfo=FAR_WEST)),
    ("until", 1e400),
    ("limit", "7"),
    ("limit", -1),
    ("limit", 1.5),
    ("last", True),
    ("last", 10**30),
    ("where", [7]),
    ("where", 7),
]


@pytest.mark.parametrize(("name", "value"), ODD)
def test_a_value_that_is_none_is_refused_by_its_name(name: str, value: Any) -> None:
    """As a ValueError that says what is expected."""
    with pytest.raises(SettingError) as caught:
        Query(**{name: value})

    assert isinstance(caught.value, ValueError)
    assert caught.value.setting == name
    assert str(caught.value)


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        st.dates(),
        st.datetimes(timezones=st.timezones() | st.none()),
        st.sampled_from(EDGES).flatmap(
            lambda edge: st.integers(-1439, 1439).map(
                lambda m: edge.replace(tzinfo=timezone(timedelta(minutes=m)))
            )
        ),
    ),
    st.booleans(),
)
def test_any_time_at_all_is_refused_or_read_by(
    tmp_path_factory: pytest.TempPathFactory, when: date, end: bool
) -> None:
    """Also at the ends of what a datetime can be, by whoever reads."""
    try:
        query = Query(until=when) if end else Query(since=when)
    except SettingError:
        return
    log_dir = tmp_path_factory.mktemp("log")
    stamp = datetime(2026, 3, 24, 17, 35, 22, tzinfo=UTC)
    record = make_record()
    write_log(log_dir, as_lines([record]))
    instant = (
        when.replace(tzinfo=UTC)
        if isinstance(when, datetime) and when.tzinfo is None
        else when
    )
    if not isinstance(instant, datetime):
        wanted = stamp.date() <= instant if end else stamp.date() >= instant
    else:
        wanted = stamp <= instant if end else stamp >= instant

    assert read_all(log_dir, query)[0] == [record] * wanted
    with contextlib.suppress(SettingError):  # it begins after now
        make_report(log_dir, query)


@pytest.mark.parametrize(
    "when",
    [
        *("99999999999d", "999999999w", "0000-01-01", "10000-01-01", "2026-02-30"),
        *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "-1d", "", " "),
        *("\x1b[2J", "2026-03-24T17:35:22+99:00", "9" * 5000, "\u0663d", "1e3d"),
    ],
)
@pytest.mark.parametrize("command", ["export", "tail", "report", "sql"])
def test_a_time_beyond_all_is_wrong_usage_on_the_command_line(
    tmp_path: Path, command: str, when: str
) -> None:
    """Status 2, a sentence, and nothing that acts on the terminal."""
    words = ["telemetry", command, "--log-dir", str(tmp_path), "--since", when]
    result = CliRunner().invoke(main, words + ["SELECT 1"] * (command == "sql"))

    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    assert "\x1b" not in result.output


def test_now_at_the_end_of_time_is_refused_too() -> None:
    """It can be given."""
    with pytest.raises(SettingError):
        parse_when("1h", now=datetime.min.replace(tzinfo=FAR_EAST))
