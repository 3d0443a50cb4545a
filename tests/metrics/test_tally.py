"""M1: what a record adds to the counts, whatever it holds."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.read.log_making import summary_of
from tokenpak.telemetry.metrics.labels import MOST_CHARACTERS, label_value
from tokenpak.telemetry.metrics.tally import NOTICE, Count, Tally
from tokenpak.telemetry.queue.notice import NOTICE_TYPE

ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner)
    ),
    max_leaves=5,
)
KEYS = st.sampled_from(
    [
        *("error_type", "event", "request_id", "timestamp", "context"),
        *("model", "provider", "kind", "duration_ms", "cost_estimate"),
        *("input_tokens", "output_tokens", "dropped", "reason", "pid", "storm"),
    ]
)
RECORDS = st.dictionaries(KEYS, ANYTHING | st.dictionaries(KEYS, ANYTHING))


def error(error_type: str = "ValueError", **context: Any) -> dict[str, Any]:
    return {"error_type": error_type, "request_id": "r", "context": context}


def sums(tally: Tally) -> int:
    return sum(count.value for count in tally.errors.values())


def test_m1_the_notice_of_drops_is_the_loggers() -> None:
    """Its name is written down twice, since neither side imports the other."""
    assert NOTICE == NOTICE_TYPE


def test_m1_errors_are_counted_by_type_provider_model_and_kind() -> None:
    """And events by theirs."""
    tally = Tally()

    for kind in ("rate_limit", "rate_limit", "quota"):
        tally.add(error(provider="openai", model="gpt-4", kind=kind), "errors")
    tally.add({"event": "done", "context": {"model": "m"}}, "events")

    assert {k: c.value for k, c in tally.errors.items()} == {
        ("ValueError", "openai", "gpt-4", "rate_limit"): 2,
        ("ValueError", "openai", "gpt-4", "quota"): 1,
    }
    assert {k: c.value for k, c in tally.events.items()} == {("done", "", "m"): 1}


def test_m1_durations_costs_and_tokens_are_sums_of_integers() -> None:
    """Of errors and of events; what they are named by other providers counts too."""
    tally = Tally()
    context: dict[str, Any] = {"model": "m", "provider": "p", "duration_ms": 2350}

    tally.add(error(**context, cost_estimate=0.045, input_tokens=7), "errors")
    tally.add(error(**context, cost_estimate=0.1, prompt_tokens=2), "errors")
    tally.add(
        {"event": "e", "context": {**context, "duration_ms": 0, "output_tokens": 1}},
        "events",
    )

    found = tally.durations["p", "m"]
    assert found.microseconds == 4_700_000
    assert found.buckets == [1, 0, 0, 0, 2, *[0] * 9]
    assert tally.cost == {("p", "m", "errors"): 145_000_000}
    assert tally.tokens == {
        ("p", "m", "input", "errors"): 9,
        ("p", "m", "output", "events"): 1,
    }


@pytest.mark.parametrize(
    "value", [-1, float("nan"), float("inf"), "12", True, 10**30, [1], -0.5]
)
def test_m1_a_value_that_is_no_amount_is_left_out_and_counted(value: object) -> None:
    """It would make a counter go down, or is none."""
    tally = Tally()

    tally.add(error(duration_ms=value, cost_estimate=value), "errors")

    assert sums(tally) == 1
    assert not tally.durations
    assert not tally.cost
    assert tally.ignored == {("duration_ms",): 1, ("cost_estimate",): 1}


def test_m1_records_of_drops_are_no_errors() -> None:
    """What they tell of is counted by reason."""
    tally = Tally()
    notice = error(NOTICE, dropped=7, reason="queue_full", pid=1)

    tally.add(notice, "errors")
    tally.add(error(NOTICE), "errors")  # an application's own class of that name

    assert sums(tally) == 1
    assert tally.dropped["queue_full", "errors"] == 7
    assert tally.written["errors",] == 2
    assert tally.accepted["errors",] == 1


def test_m1_a_storms_summary_counts_for_those_that_it_stands_for() -> None:
    """So that a spike is seen with storm control, too."""
    tally = Tally()

    tally.add(error() | summary_of(500), "errors")

    assert sums(tally) == 500
    assert tally.dropped["storm", "errors"] == 500
    assert tally.accepted["errors",] == 1


def test_m1_label_sets_are_bounded_and_what_is_left_out_is_counted() -> None:
    """A hundred thousand made-up types."""
    tally = Tally(max_label_sets=100)

    for number in range(100_000):
        tally.add(error(f"Error{number}", model=f"m{number}", duration_ms=1), "errors")

    assert len(tally.errors) == len(tally.durations) == 101
    assert sums(tally) == 100_000
    assert tally.errors["other", "other", "other", "other"].value == 99_900
    assert tally.overflowed["tokenpak_errors_total",] == 99_900
    assert tally.overflowed["tokenpak_request_duration_seconds",] == 99_900


def test_m1_sums_stop_where_the_saved_form_ends() -> None:
    """A machine word; beyond it nothing is saved any more."""
    tally = Tally()
    labels = ("ValueError", "", "", "")
    tally.errors[labels] = Count(2**63 - 2)

    for _ in range(3):
        tally.add(error() | summary_of(500), "errors")

    assert sums(tally) == 2**63 - 1
    assert orjson.dumps(tally.saved())


@given(st.lists(st.tuples(RECORDS, st.sampled_from(["errors", "events"])), max_size=8))
def test_m1_any_record_is_counted_and_survives_being_saved(
    records: list[tuple[dict[str, Any], str]],
) -> None:
    """What another program wrote into the log, too."""
    tally = Tally(max_label_sets=3)

    for record, stream in records:
        tally.add(record, stream)

    saved = orjson.dumps(tally.saved())
    again = Tally.restored(orjson.loads(saved), 3)
    assert orjson.dumps(again.saved()) == saved
    assert sum(tally.written.values()) == len(records)


@given(st.dictionaries(st.text(max_size=9), ANYTHING) | ANYTHING)
def test_m1_counts_that_are_none_are_refused(saved: Any) -> None:
    """By one of the errors that say so, never another."""
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError)):
        Tally.restored(saved, 10)


@pytest.mark.parametrize("value", [-1, True, "1", 1.5, None])
def test_m1_a_saved_count_is_a_natural_number(value: object) -> None:
    """A counter that was negative would be a reset to Prometheus."""
    saved = Tally().saved()
    saved["errors"] = [[["a", "b", "c", "d"], value, None]]

    with pytest.raises(TypeError):
        Tally.restored(saved, 10)


@given(st.text(st.characters(), max_size=300) | ANYTHING)
def test_m1_a_label_value_is_short_and_can_be_shown(value: Any) -> None:
    """No half of a surrogate pair, no NUL, no terminal's escape."""
    text = label_value(value)

    assert len(text) <= MOST_CHARACTERS
    assert text.encode().decode() == text
    assert not set(map(chr, [*range(9), *range(11, 32), 127])) & set(text)


def test_m1_hundred_kilobytes_and_half_a_pair_are_a_label() -> None:
    """Cut, and replaced."""
    assert label_value("x" * 100_000) == "x" * (MOST_CHARACTERS - 1) + "\u2026"
    assert label_value("a\ud800b\0c\nd") == "a?b\ufffdc\nd"
    assert label_value(None) == ""


def test_m1_an_exemplar_is_the_last_request() -> None:
    """Whose record one looks for."""
    tally = Tally()

    for name in ("first", "last", "", None):
        tally.add({**error(), "request_id": name, "timestamp": "then"}, "errors")

    assert [count.exemplar for count in tally.errors.values()] == [["last", 1, "then"]]
    assert all(isinstance(count, Count) for count in tally.errors.values())
