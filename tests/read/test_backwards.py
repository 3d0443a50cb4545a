"""The last records, read from the end, are those of reading all."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from tests.read.log_making import DAY, as_lines, make_record, make_records, write_log
from tokenpak.telemetry.read import Query, backwards, iter_records
from tokenpak.telemetry.read.backwards import last_of
from tokenpak.telemetry.read.source import OpenFile
from tokenpak.telemetry.store.names import parse_log_name

PIECE = st.one_of(
    st.integers(0, 9).map(lambda n: as_lines([make_record(n)])),
    st.integers(0, 9).map(
        lambda n: as_lines([make_record(n, context={"provider": "anthropic"})])
    ),
    st.sampled_from([b"\n", b"garbage\n", b"\0" * 300, b"{\n", b'{"timestamp":"']),
    st.binary(max_size=30),
)


def last(path: Path, count: int, query: Query | None = None) -> list[object]:
    query = query or Query()
    file = parse_log_name(str(path))
    assert file is not None
    fd = os.open(path, os.O_RDONLY)
    try:
        opened = OpenFile(file, fd, os.fstat(fd).st_size)
        return [
            item[0] if isinstance(item, tuple) else item
            for item in last_of(opened, count, query.predicate(file.day))
        ]
    finally:
        os.close(fd)


@given(
    pieces=st.lists(PIECE, max_size=12),
    count=st.integers(1, 14),
    chunk=st.sampled_from([7, 64, 300, 4096]),
    limit=st.sampled_from([400, 10**6]),
    filtered=st.booleans(),
    compressed=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_r1_the_end_of_a_file_is_what_an_export_of_it_ends_with(
    tmp_path_factory: pytest.TempPathFactory,
    pieces: list[bytes],
    count: int,
    chunk: int,
    limit: int,
    filtered: bool,
    compressed: bool,
) -> None:
    """Records and damage among them, wherever the chunks are cut."""
    place = tmp_path_factory.mktemp("log")
    path = write_log(place, b"".join(pieces), compressed=compressed)
    query = Query(provider="anthropic") if filtered else Query()
    everything: list[object] = list(iter_records(place, query))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backwards, "CHUNK", chunk)
        patch.setattr(backwards, "LONG_LINE", limit)
        found = last(path, count, query)

    records = [item for item in everything if isinstance(item, dict)]
    assert [item for item in found if isinstance(item, dict)] == records[-count:]
    if filtered:  # damage in what cannot match need not be told of
        return
    if len(found) and isinstance(found[0], dict) and len(records) >= count:
        assert everything[-len(found) :] == found or compressed or limit == 400
    if len(records) < count:
        assert sorted(map(str, found)) == sorted(map(str, everything))


def test_r2_of_a_large_file_only_the_end_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two chunks for ten records, whatever is before them."""
    path = write_log(tmp_path, as_lines(make_records(5000)))
    read = 0
    pread = os.pread

    def counted(fd: int, size: int, offset: int) -> bytes:
        nonlocal read
        read += size
        return pread(fd, size, offset)

    monkeypatch.setattr(os, "pread", counted)

    assert [item["request_id"] for item in last(path, 3)] == [  # type: ignore[index]
        "req-4997",
        "req-4998",
        "req-4999",
    ]
    assert read <= 2 * backwards.CHUNK < path.stat().st_size


def test_r1_a_bad_place_on_the_disk_is_read_around(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Backwards it is in the way; forwards, what is behind it is read."""
    path = write_log(tmp_path, as_lines(make_records(3)))

    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", fail)

    assert len(last(path, 2)) == 2


def test_a_file_of_another_day_is_named_as_it_is(tmp_path: Path) -> None:
    """The helper above reads the file that it is given."""
    path = write_log(tmp_path, as_lines([make_record(day="2026-03-25")]), DAY)

    assert len(last(path, 1)) == 1
