"""Time order: exact whatever the order of the files, in bounded memory."""

from __future__ import annotations

import io
import json
import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.read.log_making import as_lines, make_record, write_log
from tokenpak.telemetry.read import Query, chunks, export_records, order, spill

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that a few kilobytes exceed."""
    shrink(monkeypatch)


def shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 1500)
    monkeypatch.setattr(spill, "RUN_BYTES", 3000)
    monkeypatch.setattr(order, "_SMALLEST_WINDOW", 100)
    before = order.Day.__init__

    def init(self: order.Day, *args: Any, **options: Any) -> None:
        before(self, *args, **{**options, "held": 2000, "window": 4000})

    monkeypatch.setattr(order.Day, "__init__", init)


def exported(log_dir: Path, query: Query | None = None) -> list[dict[str, Any]]:
    out = io.BytesIO()
    export_records(log_dir, out, query=query, form="jsonl")
    return [json.loads(line) for line in out.getvalue().splitlines()]


@settings(max_examples=40, deadline=None)
@given(
    times=st.lists(st.lists(st.integers(0, 60), max_size=60), min_size=1, max_size=3),
    odd=st.sets(st.integers(0, 60), max_size=3),
)
def test_rows_come_in_time_order_and_ties_in_that_of_the_files(
    tmp_path_factory: pytest.TempPathFactory,
    times: list[list[int]],
    odd: set[int],
) -> None:
    """Of any order of lines in several files of a day, larger than what may be held."""
    tmp_path = tmp_path_factory.mktemp("logs")
    everything = []
    for part, moments in enumerate(times):
        data = b""
        for i, moment in enumerate(moments):
            record = make_record(moment, request_id=f"{part}-{i}")
            everything.append(record)
            spaces = (", ", ": ") if moment in odd else (",", ":")
            data += json.dumps(record, separators=spaces).encode() + b"\n"
        suffix = f".{part}" if part else ""
        write_log(tmp_path, data, part=suffix, archived=True, compressed=part == 1)

    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        rows = exported(tmp_path)

    assert rows == sorted(everything, key=lambda record: str(record["timestamp"]))


@pytest.mark.usefixtures("small")
def test_what_was_recovered_hours_late_is_where_it_belongs(tmp_path: Path) -> None:
    """And damage of a day that is read twice is told once."""
    records = [make_record(n) for n in range(300)]
    late = [records.pop(100) for _ in range(50)]
    lines = as_lines([*records, *late]).splitlines(keepends=True)
    lines.insert(250, b"torn\n")
    path = write_log(tmp_path, b"".join(lines))
    out = io.BytesIO()

    done = export_records(tmp_path, out, form="jsonl")

    assert out.getvalue() == as_lines([make_record(n) for n in range(300)])
    assert (done.records, done.malformed) == (300, {str(path): 1})


@pytest.mark.usefixtures("small")
def test_errors_and_events_are_merged(tmp_path: Path) -> None:
    """``--stream all``, by time; of the same moment, errors first."""
    errors = [make_record(n) for n in range(0, 200, 2)]
    events = [
        {"timestamp": make_record(n)["timestamp"], "event": "e"} for n in range(200)
    ]
    write_log(tmp_path, as_lines(errors))
    write_log(tmp_path, as_lines(events), stream="events")

    rows = exported(tmp_path, Query(stream="all"))

    assert rows == sorted(errors + events, key=lambda r: str(r["timestamp"]))


@pytest.mark.usefixtures("small")
def test_a_record_without_a_time_stays_where_it_stands(tmp_path: Path) -> None:
    """Behind the record before it."""
    records = [make_record(n) for n in (1, 3, 2)]
    records.insert(2, make_record(9, timestamp="soon"))
    write_log(tmp_path, as_lines(records))

    assert [r["request_id"] for r in exported(tmp_path)] == [
        "req-1",
        "req-2",
        "req-3",
        "req-9",
    ]


def test_a_shuffled_day_is_sorted_through_many_runs(
    tmp_path: Path, small: None
) -> None:
    """The worst case: nearly all is late."""
    numbers = list(range(2000))
    random.Random(1).shuffle(numbers)
    write_log(tmp_path, as_lines([make_record(n) for n in numbers]))

    rows = exported(tmp_path)

    assert [r["request_id"] for r in rows] == [f"req-{n}" for n in range(2000)]


@pytest.mark.usefixtures("small")
def test_a_record_without_a_time_stays_there_in_a_large_day_too(tmp_path: Path) -> None:
    """Also behind blocks that are copied when they are read for the second time."""
    records = [make_record(n) for n in range(400)]
    for n in range(0, 400, 25):
        records[n]["timestamp"] = "soon"
    write_log(tmp_path, as_lines(records))

    assert exported(tmp_path) == records


@pytest.mark.usefixtures("small")
def test_r1_an_archive_that_is_cut_is_told_of_once(tmp_path: Path) -> None:
    """Of a day that is read twice, because of a second file."""
    packed = write_log(
        tmp_path, as_lines([make_record(1)]), archived=True, compressed=True
    )
    packed.write_bytes(packed.read_bytes()[:-8])
    write_log(tmp_path, as_lines([make_record(n) for n in range(300)]), part=".1")

    done = export_records(tmp_path, io.BytesIO(), form="jsonl")

    assert [damage.file for damage in done.unreadable] == [str(packed)]
