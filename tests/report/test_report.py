"""What a report says of a log: counts, what is new, what rose, what it lacks."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.read.log_making import summary_of
from tests.report.logs import NOW, failure, report_of, write
from tokenpak.telemetry.queue.notice import NOTICE_TYPE
from tokenpak.telemetry.read import Query
from tokenpak.telemetry.report import as_json, make_report
from tokenpak.telemetry.report.page import as_page
from tokenpak.telemetry.report.tally import NOTICE
from tokenpak.telemetry.report.text import as_text

if TYPE_CHECKING:
    from pathlib import Path


def spread(number: int, first: float, hours: float = 24.0, **more: Any) -> list[Any]:
    """Return so many records, evenly over some hours."""
    return [failure(first + (i + 0.5) * hours / number, **more) for i in range(number)]


def with_context(record: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    return {**record, "context": {**record["context"], **context}}


def test_counts_are_of_the_window_and_the_one_before(tmp_path: Path) -> None:
    """By each name, and both ends of the window are where they should be."""
    records = [
        *spread(6, 0, provider="anthropic", model="claude", kind="timeout"),
        *spread(4, 24, error_type="KeyError"),
        failure(0.0),  # midnight: the next day
        failure(24.0),  # the first instant of the window
        failure(48.0),  # and of the window before
        failure(48.1),
    ]

    report = report_of(tmp_path, records)

    assert (report.total.now, report.total.before) == (7, 5)
    assert report.total.ratio == 1.4
    by = {
        dimension: {count.name: (count.now, count.before) for count in counts}
        for dimension, counts in report.by.items()
    }
    assert by["error_type"] == {"ValueError": (7, 1), "KeyError": (0, 4)}
    assert by["provider"] == {"anthropic": (6, 0), "openai": (1, 5)}
    assert by["model"] == {"claude": (6, 0), "gpt-4o": (1, 5)}
    assert by["kind"] == {"timeout": (6, 0), "(none)": (1, 5)}
    assert sum(report.total.series) == 7
    assert report.total.series[0] == 1
    assert sum(sum(cell.series) for cell in report.cells) == 7


def test_new_is_what_was_in_neither_the_window_before_nor_the_history(
    tmp_path: Path,
) -> None:
    """And --history says how far that goes."""
    records = [
        failure(2, "NewError", "req 17 refused"),
        failure(1, "NewError", "req 18 refused"),
        failure(3, "OldError"),
        failure(24 * 5, "OldError"),
        failure(4, "AncientError"),
        failure(24 * 20, "AncientError"),
        failure(5, "TypeError", file="other"),
        failure(30, "TypeError"),  # another function: another kind
        failure(6),
        failure(30, line=99),  # another line: the same kind
    ]

    report = report_of(tmp_path, records)

    found = {(kind.error_type, kind.now): kind for kind in report.new}
    assert set(found) == {("NewError", 2), ("AncientError", 1), ("TypeError", 1)}
    kind = found["NewError", 2]
    assert kind.message == "req 17 refused"
    assert kind.request_id == "req-2"
    assert kind.where == "/srv/app/parse.py:answer"
    assert kind.first == "2026-03-24T22:00:00.000000Z"
    assert kind.last == "2026-03-24T23:00:00.000000Z"
    assert kind.places == (("openai/gpt-4o", 2),)
    assert report.new_total == 3

    from datetime import timedelta

    longer = report_of(tmp_path, history=timedelta(days=30))
    assert {kind.error_type for kind in longer.new} == {"NewError", "TypeError"}


def test_what_rose_is_told_with_its_chance(tmp_path: Path) -> None:
    """And what is as it was is not, nor what is new as a kind."""
    records = [
        *spread(90, 0, error_type="TimeoutError"),
        *spread(30, 24, error_type="TimeoutError"),
        *spread(40, 0, error_type="KeyError", provider="google"),
        *spread(42, 24, error_type="KeyError", provider="google"),
        failure(1, "OnceError", provider="x"),
    ]

    report = report_of(tmp_path, records)

    rose = {(rise.by, rise.name): rise for rise in report.rose}
    timeout = rose["error_type", "TimeoutError"]
    assert (timeout.now, timeout.before, timeout.ratio) == (90, 30, 3.0)
    assert timeout.chance <= timeout.corrected < 1e-6
    assert ("provider", "openai") in rose
    assert any(by == "fingerprint" for by, _ in rose)
    assert not any(name in {"KeyError", "google", "OnceError"} for _, name in rose)


def test_noise_is_seldom_told_as_a_rise(tmp_path: Path) -> None:
    """Many types with the same rate in both windows: next to none is found."""
    import random

    dice = random.Random(5)
    records = [
        failure(dice.uniform(0.01, 47.99), f"Error{dice.randrange(60)}")
        for _ in range(2400)
    ]

    assert len(report_of(tmp_path, records).rose) <= 1


def test_durations_and_costs_come_from_the_context(tmp_path: Path) -> None:
    """By provider and model, now and before."""
    records = [
        *(failure(i + 1, duration_ms=100 * i, cost_estimate=0.5) for i in range(11)),
        failure(30, duration_ms=70, cost_estimate=2),
        failure(3, provider="p", model="m", duration_ms=5.5),
    ]

    report = report_of(tmp_path, records)

    assert report.duration_ms.count == 12
    assert report.cost.sum == 5.5
    assert report.cost_before.sum == 2
    first, second = report.places
    assert (first.model, first.duration_ms.p50, first.duration_ms.p95) == (
        "gpt-4o",
        500,
        950,
    )
    assert first.duration_ms_before.p50 == 70
    assert (second.provider, second.duration_ms.p95, second.cost.count) == ("p", 5.5, 0)


@pytest.mark.parametrize(
    "value",
    ["abc", float("nan"), float("inf"), -1, 1e300, 10**40, True, [], {"a": 1}, ""],
)
@pytest.mark.parametrize("key", ["duration_ms", "cost_estimate"])
def test_what_is_no_number_is_counted_and_left_out(
    tmp_path: Path, key: str, value: object
) -> None:
    """The record counts all the same."""
    record = json.dumps(with_context(failure(1), {key: value}))
    good = json.dumps(with_context(failure(2), {key: 4}))
    (tmp_path / "errors-2026-03-24.jsonl").write_text(f"{good}\n{record}\n{record}\n")

    report = report_of(tmp_path)

    assert report.total.now == 3
    assert report.health.unusable == {key: 2}
    assert (report.duration_ms.count, report.cost.count) in {(1, 0), (0, 1)}


@pytest.mark.parametrize(
    "change",
    [
        {"context": None},
        {"context": []},
        {"context": {"provider": ["a"], "model": {"b": 1}, "kind": 7}},
        {"context": {"provider": "p" * 10_000, "storm": True}},
        {"context": {"storm": {"held_back": "many"}}},
        {"error_type": None},
        {"error_type": {"a": []}},
        {"error_type": "RecordsDropped"},
        {"message": None},
        {"message": 5},
        {"message": "\ud800 \x00 \x1b[31m"},
        {"stack_trace": None},
        {"stack_trace": 17},
        {"request_id": {"a": 1}},
    ],
)
def test_a_record_of_any_form_counts_once(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    """Wrong types, missing fields, names of any length: no exception, no loss."""
    record = {**failure(1), **change}
    lines = (json.dumps(record) + "\n") * 3
    (tmp_path / "errors-2026-03-24.jsonl").write_text(lines)

    report = report_of(tmp_path)

    assert report.total.now == 3
    assert report.new_total == 1
    assert report.health.malformed == 0
    json.loads(as_json(report))


@pytest.mark.parametrize(
    "stamp",
    [
        None,
        5,
        "",
        "soon",
        "2026-03-24T99:00:00.000000Z",
        "2026-03-24T23:00\x1b]0;x\x07....Z",
    ],
)
def test_a_record_without_a_time_is_told_of(tmp_path: Path, stamp: object) -> None:
    """It is in no other figure."""
    record = {**failure(1), "timestamp": stamp}
    good = json.dumps(failure(1)) + "\n"
    # Between records of the same minute and kind, which are counted the fast way.
    lines = good * 2 + json.dumps(record) + "\n" + good
    (tmp_path / "errors-2026-03-24.jsonl").write_text(lines)

    report = report_of(tmp_path)

    assert (report.total.now, report.health.undated) == (3, 1)
    assert report.kinds[0].last == failure(1)["timestamp"]


def test_malformed_lines_and_unreadable_files_are_told_of(tmp_path: Path) -> None:
    """By file; and everything else is read (R1)."""
    write(tmp_path, [failure(1), failure(30)])
    day = tmp_path / "errors-2026-03-24.jsonl"
    day.write_bytes(day.read_bytes() + b'{"timestamp":"2026-\n\xff\n' + b"[1]\n" + b"{")
    (tmp_path / "errors-2026-03-22.jsonl").mkdir()

    report = report_of(tmp_path)

    assert (report.total.now, report.total.before) == (1, 1)
    assert report.health.malformed == 4
    assert list(report.health.malformed_files) == [str(day)]
    (unreadable,) = report.health.unreadable
    assert unreadable[0].endswith("errors-2026-03-22.jsonl")
    assert not report.health.is_well


def test_dropped_records_are_summed_from_the_notices(tmp_path: Path) -> None:
    """A notice is no failure."""
    assert NOTICE == NOTICE_TYPE
    notice = {"dropped": 12, "reason": "queue_full", "pid": 1}
    records = [
        with_context(failure(1, NOTICE, "12 records were dropped"), notice),
        with_context(failure(2, NOTICE, "12 records were dropped"), notice),
        with_context(failure(30, NOTICE), {**notice, "reason": "closed"}),
        failure(3),
    ]

    report = report_of(tmp_path, records)

    assert report.health.dropped == {"queue_full": 24}
    assert report.health.dropped_before == {"closed": 12}
    assert (report.total.now, report.total.before) == (1, 0)


def test_what_a_storm_held_back_counts_in_ratios(tmp_path: Path) -> None:
    """As one failure each; the summary itself is none."""
    records = [
        failure(1),
        failure(2),
        failure(1.5) | summary_of(998),
        *spread(10, 24),
    ]

    report = report_of(tmp_path, records)

    (count,) = report.by["error_type"]
    assert (count.now, count.held_back, count.before) == (2, 998, 10)
    assert count.ratio == 100
    assert report.health.held_back == 998
    rose = {(rise.by, rise.name): rise.now for rise in report.rose}
    assert rose["error_type", "ValueError"] == 1000
    assert report.kinds_total == 1


@pytest.mark.parametrize("number", [2**63 - 1, 10**30, 10**400])
def test_r2_a_log_may_claim_any_number_of_failures(tmp_path: Path, number: int) -> None:
    """What no process can have counted is no summary, but a record like any other."""
    held = summary_of(0)["context"]["storm"] | {"held_back": number}
    claims = [
        failure(hours, error_type, "x", storm=held, dropped=number)
        for hours in (1, 2, 25, 26)
        for error_type in ("ValueError", "RecordsDropped")
    ]
    lines: dict[str, list[str]] = {"2026-03-23": [], "2026-03-24": []}
    for record in claims:
        lines[record["timestamp"][:10]].append(json.dumps(record))
    for day, found in lines.items():
        (tmp_path / f"errors-{day}.jsonl").write_text("\n".join(found) + "\n")

    report = report_of(tmp_path)

    assert (report.total.now, report.total.before) == (4, 4)
    assert (report.total.held_back, report.health.dropped) == (0, {})
    assert json.loads(as_json(report))["total"]["now"] == 4


def test_a_kind_that_storm_control_held_back_before_is_not_new(tmp_path: Path) -> None:
    """If all that is left of it is the summary."""
    records = [failure(1), failure(25) | summary_of(998)]

    assert report_of(tmp_path, records).new == ()


def test_a_message_cannot_hide_a_kind(tmp_path: Path) -> None:
    """Not even if it is the name of what finds no room."""
    report = report_of(tmp_path, [failure(1, message="(other)")])

    assert (report.kinds_complete, report.new_total) == (True, 1)
    assert report.new[0].message == "(other)"


def test_an_empty_log_is_no_error(tmp_path: Path) -> None:
    """Nothing at all, nothing in the window, nothing before."""
    nothing = report_of(tmp_path)
    assert (nothing.total.now, nothing.total.ratio, nothing.new) == (0, None, ())
    assert nothing.health.is_well

    only_before = report_of(tmp_path, [failure(30)])
    assert (only_before.total.now, only_before.total.ratio) == (0, 0.0)

    (tmp_path / "errors-2026-03-23.jsonl").unlink()
    only_now = report_of(tmp_path, [failure(3)])
    assert (only_now.total.now, only_now.total.ratio) == (1, None)


def test_a_filter_of_the_query_is_a_filter_of_the_report(tmp_path: Path) -> None:
    """In all windows."""
    records = [failure(1), failure(30), failure(2, provider="google")]

    report = report_of(tmp_path, records, query={"provider": "google"})

    assert (report.total.now, report.total.before) == (1, 0)


def test_events_are_reported_by_their_names(tmp_path: Path) -> None:
    """They have no stack and no message."""
    event = {"timestamp": "2026-03-24T01:00:00.000000Z", "request_id": None}
    lines = [
        json.dumps({**event, "event": name, "context": {"provider": "p"}})
        for name in ("served", "served", "shed")
    ]
    (tmp_path / "events-2026-03-24.jsonl").write_text("\n".join(lines) + "\n")

    report = report_of(tmp_path, query={"stream": "events"})

    assert [(c.name, c.now) for c in report.by["error_type"]] == [
        ("served", 2),
        ("shed", 1),
    ]


@pytest.mark.parametrize(
    ("stream", "head", "total"),
    [("events", "3 events in 24 hours", 3), ("all", "5 records in 24 hours", 5)],
)
def test_events_are_not_called_errors(
    tmp_path: Path, stream: str, head: str, total: int
) -> None:
    """Nor failures: neither on a terminal nor on a page."""
    event = {"request_id": None, "event": "served", "context": {"provider": "p"}}
    lines = [
        json.dumps({"timestamp": f"2026-03-24T01:00:0{i}.000000Z", **event})
        for i in range(3)
    ]
    (tmp_path / "events-2026-03-24.jsonl").write_text("\n".join(lines) + "\n")
    write(tmp_path, [failure(1, "A"), failure(2, "B", provider="p", duration_ms=1)])

    report = report_of(tmp_path, query={"stream": stream})

    assert report.total.now == total
    assert {count.name: count.now for count in report.by["provider"]}["p"] >= 3
    text, page = as_text(report), as_page(report).decode()
    assert text.startswith(head)
    for shown in (text, re.sub(r"(?s)<style.*?</style>|<script.*?</script>", "", page)):
        assert not re.search(r"\b(errors?|failures?)\b", shown, re.IGNORECASE)


def test_a_report_goes_to_json_and_back(tmp_path: Path) -> None:
    """Strict JSON, in one line."""
    report = report_of(tmp_path, [failure(1), failure(30, duration_ms=5)])

    text = as_json(report)

    assert text.count(b"\n") == 1
    data = json.loads(text)
    assert data["version"] == 1
    assert data["total"]["now"] == 1
    assert data["since"] == "2026-03-24T00:00:00.000000Z"


def test_without_a_query_it_is_of_the_last_24_hours(tmp_path: Path) -> None:
    """Up to now, which is given or asked for."""
    write(tmp_path, [failure(0), failure(23.9), failure(24.1)])

    report = make_report(tmp_path, now=NOW)

    assert (report.total.now, report.total.before) == (2, 1)
    assert make_report(tmp_path, Query()).total.now == 0
