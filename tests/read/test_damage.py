"""Any damage to a log file costs only the lines that it touches."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.read.log_making import (
    as_lines,
    make_record,
    make_records,
    read_all,
    write_log,
)
from tokenpak.telemetry.read import MalformedLine, Record

JUNK = st.binary(max_size=8) | st.sampled_from(
    [
        b"\n",
        b"\r\n",
        b"\0" * 5000,
        b'{"timestamp"',
        b'{"timestamp":',
        b'"',
        b"\\",
        b"{",
        b"}",
        b"]}",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"{}\n",
        b"[1]\n",
        b"null",
    ]
)
EDITS = st.lists(
    st.tuples(
        st.integers(0, 1 << 20),
        st.integers(0, 3) | st.integers(0, 3000),
        JUNK,
    ),
    min_size=1,
    max_size=4,
)


def record_of(number: int) -> Record:
    """Return one of several kinds of record, each with a number of its own."""
    inner = make_record(number + 500)
    contexts: list[object] = [
        {"provider": "openai", "cost": 0.5},
        {"inner": inner, "list": [inner, inner]},
        {"text": 'é{"timestamp": "no"}\u2028'},
        {},
    ]
    return make_record(number, context=contexts[number % len(contexts)])


def damage(data: bytes, edits: list[tuple[int, int, bytes]]) -> tuple[bytes, set[int]]:
    """
    Replace ranges of *data*; return the result and the numbers of the lines touched.

    A line is touched if one of its bytes, its newline included, is replaced, or
    something is inserted between two of them.
    """
    starts = [0]
    for line in data.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    touched = set()
    pieces = []
    done = 0
    for at, length, junk in sorted(edits):
        begin = max(done, at % (len(data) + 1))
        end = min(begin + length, len(data))
        for number, (a, b) in enumerate(pairwise(starts)):
            if (begin < b and end > a) if end > begin else (a < begin < b and junk):
                touched.add(number)
        pieces += [data[done:begin], junk]
        done = end
    return b"".join([*pieces, data[done:]]), touched


@settings(deadline=None, max_examples=400)
@given(count=st.integers(1, 8), edits=EDITS)
@example(count=3, edits=[(396, 1, b"}")])
def test_r1_damage_costs_only_the_lines_that_it_touches(
    count: int, edits: list[tuple[int, int, bytes]]
) -> None:
    """Bytes replaced, inserted, deleted and cut off; never an exception."""
    records = [record_of(number) for number in range(count)]
    data, touched = damage(as_lines(records), edits)
    with tempfile.TemporaryDirectory() as folder:
        path = write_log(Path(folder), data)

        found, reports = read_all(Path(folder))

    untouched = [r for number, r in enumerate(records) if number not in touched]
    in_order = iter(found)
    assert all(record in in_order for record in untouched)
    assert touched or [r for r in found if r] == records
    skipped = 0
    for report in reports:
        assert isinstance(report, MalformedLine)
        assert report.file == str(path)
        assert report.reason
        assert skipped <= report.offset
        skipped = report.offset + report.length
    assert skipped <= len(data)


@settings(deadline=None, max_examples=300)
@given(count=st.integers(1, 5), edits=EDITS)
def test_r1_each_byte_is_in_a_record_or_in_a_report(
    count: int, edits: list[tuple[int, int, bytes]]
) -> None:
    """With what is reported cut out, the file reads the same, and is whole."""
    data, _ = damage(as_lines([record_of(n) for n in range(count)]), edits)
    with tempfile.TemporaryDirectory() as folder:
        write_log(Path(folder), data)
        found, reports = read_all(Path(folder))
        kept = bytearray(data)
        for report in reversed(reports):
            assert isinstance(report, MalformedLine)
            kept[report.offset : report.offset + report.length] = b"\n"
        write_log(Path(folder), bytes(kept))

        again = read_all(Path(folder))

    assert again == (found, [])


def test_r1_a_cut_at_every_byte_loses_only_the_last_line(tmp_path: Path) -> None:
    """All lines that are complete are read, and a torn one is reported."""
    records = make_records(3)
    data = as_lines(records)
    for cut in range(len(data) + 1):
        write_log(tmp_path, data[:cut])

        found, reports = read_all(tmp_path)

        complete = data[:cut].count(b"\n")
        if data[:cut] + b"\n" == data[: cut + 1]:
            complete += 1  # all but the newline
        torn = len(data[:cut].rpartition(b"\n")[2])
        assert found == records[:complete]
        if torn and complete == data[:cut].count(b"\n"):
            (report,) = reports
            assert isinstance(report, MalformedLine)
            assert (report.offset, report.length) == (cut - torn, torn)
            assert report.reason.startswith("unfinished: ")
        else:
            assert reports == []


def test_r1_every_bit_of_a_file_flipped_costs_one_line(tmp_path: Path) -> None:
    """Each sixteenth bit, one after the other; a newline's costs none but its own."""
    records = [record_of(number) for number in range(4)]
    data = as_lines(records)
    ends = [n for n, byte in enumerate(data) if byte == 0x0A]
    for bit in range(0, len(data) * 8, 16 + 1):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        write_log(tmp_path, bytes(damaged))

        found, _ = read_all(tmp_path)

        hit = sum(end < bit // 8 for end in ends)
        assert all(r in found for n, r in enumerate(records) if n != hit)
