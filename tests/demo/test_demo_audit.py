"""The audit finds what the demo says that there is none of."""

from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING

import pytest

from tokenpak.demo.audit import Audit, audit
from tokenpak.demo.workers import request_id

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

RUN = "0a1b2c3d"
DAY = date(2026, 3, 24)


def line(name: str, **fields: object) -> str:
    record = {"timestamp": f"{DAY}T17:35:22.123456Z", "request_id": name, **fields}
    return json.dumps(record) + "\n"


def write_log(log_dir: Path, names: Iterable[str]) -> None:
    text = "".join(line(name, error_type="ValueError") for name in names)
    (log_dir / f"errors-{DAY}.jsonl").write_text(text)


def names_of(worker: int, numbers: Iterable[int]) -> list[str]:
    return [request_id(RUN, worker, number) for number in numbers]


def look(log_dir: Path, acknowledged: list[int], killed: Collection[int] = ()) -> Audit:
    return audit(str(log_dir), RUN, DAY, acknowledged, killed)


def test_a_log_with_each_record_once_is_in_order(tmp_path: Path) -> None:
    """Both streams count, workers are told apart, and the size is that of the file."""
    write_log(tmp_path, names_of(0, [1, 3]) + names_of(1, [1]))
    (tmp_path / f"events-{DAY}.jsonl").write_text(
        line(request_id(RUN, 0, 2), event="completion")
    )
    found = look(tmp_path, [3, 1])

    assert found.in_log == 4
    assert found.missing == found.doubled == found.unknown == found.in_flight == 0
    assert found.malformed == 0
    assert found.log_bytes == sum(f.stat().st_size for f in tmp_path.iterdir())


def test_an_acknowledged_record_that_is_not_there_is_missing(tmp_path: Path) -> None:
    """Wherever in the sequence it is, the last one included."""
    write_log(tmp_path, names_of(0, [2, 4]))
    found = look(tmp_path, [5, 2], killed={1})

    assert found.missing == 3 + 2
    assert found.in_log == 2


def test_a_record_that_is_there_again_is_doubled(tmp_path: Path) -> None:
    """Each time beyond the first counts."""
    write_log(tmp_path, names_of(0, [1, 2, 2, 2]))
    found = look(tmp_path, [2])

    assert found.doubled == 2
    assert found.in_log == 4
    assert found.missing == 0


def test_a_killed_worker_may_have_one_record_more(tmp_path: Path) -> None:
    """Its last call had not returned, but its record was in the spool."""
    write_log(tmp_path, names_of(0, [1, 2, 3]))
    found = look(tmp_path, [2], killed={0})

    assert found.in_flight == 1
    assert found.unknown == found.missing == found.doubled == 0


def test_the_record_under_way_may_not_be_there_twice(tmp_path: Path) -> None:
    """Nobody acknowledged it, and still it must not be doubled."""
    write_log(tmp_path, names_of(0, [1, 2, 2]))
    found = look(tmp_path, [1], killed={0})

    assert (found.in_flight, found.doubled) == (1, 1)


@pytest.mark.parametrize(
    "name",
    [
        request_id(RUN, 0, 3),  # killed, but two ahead of what it acknowledged
        request_id(RUN, 1, 2),  # came to its end, so all its calls returned
        request_id(RUN, 2, 1),  # there is no third worker
        request_id(RUN, 0, 0),
        f"{RUN}-w0-1",
        f"{RUN}-w0-000001x",
    ],
)
def test_what_no_worker_can_have_logged_is_unknown(tmp_path: Path, name: str) -> None:
    """It is counted, and neither taken for a record of the run nor passed over."""
    write_log(tmp_path, [*names_of(0, [1]), *names_of(1, [1]), name])
    found = look(tmp_path, [1, 1], killed={0})

    assert found.unknown == 1
    assert found.missing == found.doubled == found.in_flight == 0


def test_records_of_others_are_left_alone(tmp_path: Path) -> None:
    """A directory may be used again, and by others at the same time."""
    write_log(tmp_path, [*names_of(0, [1]), "req-123", request_id("ffffffff", 0, 1)])
    found = look(tmp_path, [1])

    assert found.in_log == 1
    assert found.unknown == 0


def test_two_records_in_one_line_are_missing_and_malformed(tmp_path: Path) -> None:
    """A valid line that was merged with a torn one does not pass for a record."""
    write_log(tmp_path, names_of(0, [1, 2]))
    path = tmp_path / f"errors-{DAY}.jsonl"
    path.write_text(path.read_text()[20:])
    found = look(tmp_path, [2])

    assert found.missing == 1
    assert found.malformed == 1
