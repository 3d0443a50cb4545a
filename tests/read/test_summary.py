"""Which record is the summary of a storm: what storm control wrote, nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.read.log_making import as_lines, make_record, summary_of, write_log
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.metrics.tally import Tally
from tokenpak.telemetry.read import Query, iter_records, parse_when
from tokenpak.telemetry.read.summary import held_back
from tokenpak.telemetry.report import make_report

REAL = make_record(**summary_of(1_232))


def test_m1_what_storm_control_writes_is_a_summary(tmp_path: Path) -> None:
    """Whatever else is recorded, and however little of it."""
    for extra in (
        {},
        {"fields": ("process", "fingerprint")},
        {"max_context_bytes": 512},
    ):
        place = tmp_path / str(len(str(extra)))
        logger = ErrorLogger(
            log_dir=place, storm_first=1, storm_every=0, storm_window=86_400, **extra
        )
        for _ in range(1_500):
            try:
                raise ConnectionError("refused")
            except ConnectionError as e:
                logger.log_error("r", e, {"storm": {"held_back": 7}})
        assert logger.close(timeout=240)

        found = [held_back(r) for r in iter_records(place) if isinstance(r, dict)]

        assert found == [None, 1_499]


@pytest.mark.parametrize(
    "storm",
    [
        {"held_back": 500},
        {"name": "Kyrill", "held_back": 500, "since": "1", "until": "2"},
        {"held_back": 500, "since": 1, "until": 2, "fingerprint": None},
        summary_of(500)["context"]["storm"],
        [],
        "storm",
        None,
    ],
)
def test_m1_a_storm_of_the_users_own_is_one_failure(tmp_path: Path, storm: Any) -> None:
    """In the metrics and in a report: it holds nothing back."""
    record = make_record(context={"storm": storm})
    write_log(tmp_path, as_lines([record]))
    tally = Tally()
    tally.add(record, "errors")
    day = parse_when("2026-03-24")
    report = make_report(tmp_path, Query(since=day, until=day))

    assert held_back(record) is None
    assert [count.value for count in tally.errors.values()] == [1]
    assert tally.dropped["storm", "errors"] == 0
    assert (report.total.now, report.total.held_back) == (1, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"request_id": "r"},
        {"message": "1,231 more like this were held back: x"},
        {"message": "1,232 more"},
        {"message": None},
        {"context": REAL["context"] | {"provider": "openai"}},
        {"context": {"storm": REAL["context"]["storm"] | {"held_back": True}}},
        {"context": {"storm": REAL["context"]["storm"] | {"held_back": 10**30}}},
        {"context": {"storm": REAL["context"]["storm"] | {"held_back": -1}}},
        {"context": {"storm": REAL["context"]["storm"] | {"more": 1}}},
    ],
)
def test_m1_what_is_a_little_different_is_no_summary(change: dict[str, Any]) -> None:
    """Each part of it is looked at."""
    assert held_back(REAL) == 1_232
    assert held_back(REAL | change) is None


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: st.dictionaries(
            st.sampled_from([*REAL, *REAL["context"]["storm"], "storm"]), inner
        ),
    ).filter(lambda value: isinstance(value, dict))
)
def test_m1_any_record_at_all_can_be_asked(record: Any) -> None:
    """Nothing raises."""
    assert held_back(record) is None
