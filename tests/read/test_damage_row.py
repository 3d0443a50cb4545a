"""64 KiB with each kind of damage at each place: only the lines touched are lost."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.read.damage_row import (
    CUTS,
    FLIPS,
    LINES,
    SIZE,
    DamagedLog,
    flipped_bit,
    make_lines,
)
from tests.read.log_making import read_all, write_log
from tokenpak.telemetry.read import MalformedLine, UnreadableFile

PARTS = 8
SAMPLE = 211
"""Prime, so that the sample takes all bits of a byte and all places of a line."""

INSERTED = {
    "NUL": b"\0",
    "NULs": b"\0" * 4096,
    "BOM": b"\xef\xbb\xbf",
    "CRLF": b"\r\n",
    "CR": b"\r",
    "non-object": b"[1]\n",
    "number": b"12\n",
    "null": b"null\n",
    "text": b'"text"\n',
    "not UTF-8": b"\xff\xfe",
    "bracket": b"}",
    "start": b'{"timestamp":',
}
HARMLESS_BETWEEN = {"BOM", "CRLF", "CR"}
"""What may stand before a line, or be a line, and damages nothing there."""


@pytest.fixture
def log(tmp_path: Path) -> Iterator[DamagedLog]:
    log = DamagedLog(tmp_path)
    yield log
    log.close()


@pytest.mark.heavy
@pytest.mark.parametrize("part", range(PARTS))
def test_r1_one_bit_of_each_sixteen_flipped_costs_its_line(
    log: DamagedLog, part: int
) -> None:
    """
    All 32,768 files are read: no exception, no other line, the line reported.
    """
    for case in range(part, FLIPS, PARTS):
        log.check_flip(flipped_bit(case))


@pytest.mark.heavy
@pytest.mark.parametrize("part", range(PARTS))
def test_r1_a_cut_at_each_byte_costs_the_line_that_is_torn(
    log: DamagedLog, part: int
) -> None:
    """
    All 65,536 files are read: what is complete is there, what is torn is reported.
    """
    for cut in range(CUTS - part, -1, -PARTS):
        log.check_cut(cut)


def test_r1_some_bits_flipped_cost_their_lines(log: DamagedLog) -> None:
    """
    A sample of the above, and the first and last bytes of each line.
    """
    for case in range(0, FLIPS, SAMPLE):
        log.check_flip(flipped_bit(case))
    for start in log.starts[:-1]:
        for bit in (
            *range(8 * start - 16, 8 * start),
            *range(8 * start, 8 * start + 8),
        ):
            log.check_flip(bit % (8 * SIZE))


def test_r1_some_cuts_cost_the_lines_that_are_torn(log: DamagedLog) -> None:
    """
    A sample of the above, and around each end of a line.
    """
    near = {start + n for start in log.starts for n in (-2, -1, 0, 1)}
    cuts = {cut for cut in near if 0 <= cut <= SIZE} | set(range(0, CUTS + 1, SAMPLE))
    for cut in sorted(cuts, reverse=True):
        log.check_cut(cut)


@pytest.mark.parametrize("kind", INSERTED)
def test_r1_what_is_inserted_costs_the_line_that_it_is_put_into(
    tmp_path: Path, kind: str
) -> None:
    """
    At each end of a line nothing is lost; inside of one, that line, and it is reported.
    """
    log = DamagedLog(tmp_path)
    junk = INSERTED[kind]
    places = {*log.starts, *range(0, SIZE, SAMPLE * 3)}
    for at in sorted(places):
        write_log(tmp_path, log.data[:at] + junk + log.data[at:])

        found, reports = read_all(tmp_path)

        hit = max(n for n, start in enumerate(log.starts) if start <= at)
        where = f"{kind} at {at}"
        assert all(isinstance(report, MalformedLine) for report in reports), where
        if at == log.starts[hit]:
            assert found == log.records, where
            harmless = kind in HARMLESS_BETWEEN - ({"BOM"} if at == SIZE else set())
            assert [r.offset for r in reports] == ([] if harmless else [at]), where
            continue
        assert found[:hit] == log.records[:hit], where
        assert found[len(found) - LINES + hit + 1 :] == log.records[hit + 1 :], where
        if len(found) < LINES:
            assert reports[0].offset == log.starts[hit], where
            assert at <= reports[-1].offset + _length(reports[-1]) + len(junk), where
    log.close()


def _length(report: object) -> int:
    assert isinstance(report, MalformedLine)
    return report.length


def _pack(data: bytes) -> bytes:
    packer = zlib.compressobj(6, wbits=31)
    return packer.compress(data) + packer.flush()


def _lines_in(packed: bytes) -> int:
    """Return how many whole lines the beginning of an archive gives."""
    return zlib.decompressobj(31).decompress(packed).count(b"\n")


def test_r1_a_cut_archive_gives_all_lines_up_to_the_cut(tmp_path: Path) -> None:
    """
    With the offset in what was uncompressed where it ends.
    """
    log = DamagedLog(tmp_path / "plain")
    packed = _pack(log.data)
    path = write_log(tmp_path, b"", archived=True, compressed=True)
    for cut in [*range(0, len(packed), 23), *range(len(packed) - 12, len(packed))]:
        path.write_bytes(packed[:cut])

        found, reports = read_all(tmp_path)

        whole = _lines_in(packed[:cut])
        assert found[:whole] == log.records[:whole], f"cut at {cut}"
        assert len(found) - whole in {0, 1}, f"cut at {cut}"  # all but its newline
        assert isinstance(reports[-1], UnreadableFile), f"cut at {cut}"
        given = len(zlib.decompressobj(31).decompress(packed[:cut]))
        assert reports[-1].offset == given, f"cut at {cut}"
    log.close()


def test_r1_a_flipped_bit_in_an_archive_is_reported(tmp_path: Path) -> None:
    """
    All lines before it are there; whatever comes behind it, the damage is reported.
    """
    packed = _pack(b"".join(make_lines()))
    path = write_log(tmp_path, b"", archived=True, compressed=True)
    log = DamagedLog(tmp_path / "plain")
    # But for the flags, time and system in the header: they are no part of the content.
    for bit in [*range(24), *range(80, len(packed) * 8, 61)]:
        damaged = bytearray(packed)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)

        found, reports = read_all(tmp_path)

        whole = _lines_in(packed[: bit // 8])
        assert found[:whole] == log.records[:whole], f"bit {bit}"
        assert reports, f"bit {bit}"
    log.close()
