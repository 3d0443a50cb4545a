"""S3: a range is split where the day changes, whatever it holds."""

from __future__ import annotations

import mmap
from itertools import pairwise
from unittest import mock

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from tests.queue.rig import make_line
from tokenpak.telemetry.store import days
from tokenpak.telemetry.store.days import day_of, split_days

DAYS = ("2026-03-24", "2026-03-25", "2026-03-23", "2024-02-29")

good = st.builds(
    lambda day, size: (make_line("x", size, day), day),
    st.sampled_from(DAYS),
    st.integers(0, 600),
)
damage = st.one_of(
    st.binary(max_size=80),
    st.integers(1, 200).map(bytes),
    st.sampled_from(
        (
            b"",
            b'{"timestamp":"',
            b'{"timestamp":"2026-02-30T00:00:00.000000Z"}',
            b'{"timestamp":"2026-03-2',
            b'{"timestamp":"\xff\xfe26-03-24T',
            b"\r",
            b' {"timestamp":"2026-03-24T00:00:00.000000Z"}',
            make_line("x")[:-1] + b"\0",
            b"\0" + make_line("x")[:-1],
        )
    ),
).map(lambda data: (data.replace(b"\n", b"") + b"\n", ""))


def mapped(data: bytes, before: int) -> mmap.mmap:
    """Return a mapping that holds *data* behind *before* bytes."""
    segment = mmap.mmap(-1, before + len(data) + 7)
    segment[before : before + len(data)] = data
    return segment


@settings(deadline=None)
@given(
    lines=st.lists(st.one_of(good, good, good, damage), max_size=60),
    before=st.integers(0, 50),
    chunk=st.sampled_from((1, 100, 500, 2_000, 128 * 1024)),
)
def test_s3_runs_have_no_gap_and_the_right_day(
    lines: list[tuple[bytes, str]], before: int, chunk: int
) -> None:
    """
    Any mix of days and damage, in chunks of any size: all bytes, all lines, each day.
    """
    data = b"".join(line for line, _ in lines)
    with mock.patch.object(days, "_CHUNK", chunk):
        segment = mapped(data, before)
        runs = split_days(segment, before, before + len(data))

    by_line = [
        (line + b"\n", run.day)
        for run in runs
        for line in segment[run.start : run.end].split(b"\n")[:-1]
    ]
    ends = [before, *(run.end for run in runs)]
    assert ends[:-1] == [run.start for run in runs]
    assert ends[-1] == before + len(data)
    assert sum(run.lines for run in runs) == len(lines)
    assert all(one.day != next_.day for one, next_ in pairwise(runs))
    assert by_line == lines


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b'{"timestamp":"2026-02-30T00:00:00.000000Z"}\n',
        b'{"timestamp":"2026-03-2\n',
        b'{"timestamp":"\xff\xff\xff\xff-03-24T"}\n',
        b'{"time":"2026-03-24T00:00:00.000000Z"}\n',
        b'{"timestamp":"2026-03-24T00:00:00.000000Z","\0"}\n',
    ],
)
def test_s3_what_is_no_line_of_ours_has_no_day(line: bytes) -> None:
    """
    Damage is not taken for a record: a page of zeros may be anywhere in it.
    """
    assert day_of(line) == ""


def test_a_line_longer_than_a_chunk_is_one_line() -> None:
    """
    Chunks end behind a newline, however far that is.
    """
    data = make_line("a", 5_000) + make_line("b", 300) + make_line("c", 9_000)
    with mock.patch.object(days, "_CHUNK", 1_000):
        (run,) = split_days(mapped(data, 3), 3, 3 + len(data))

    assert (run.day, run.start, run.end, run.lines) == (
        "2026-03-24",
        3,
        3 + len(data),
        3,
    )
