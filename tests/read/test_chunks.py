"""Bytes of plain and compressed files, also of damaged ones."""

from __future__ import annotations

import gzip
import os
import zlib
from datetime import date
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import pytest

from tests.read.log_making import (
    as_lines,
    make_record,
    make_records,
    read_all,
    write_log,
)
from tokenpak.telemetry.read import MalformedLine, UnreadableFile
from tokenpak.telemetry.read.chunks import CHUNK_BYTES, plain_chunks
from tokenpak.telemetry.read.scan import stretches_of
from tokenpak.telemetry.read.source import OpenFile
from tokenpak.telemetry.read.unpack import gzip_chunks
from tokenpak.telemetry.store.names import LogFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def unpack(path: Path, data: bytes) -> tuple[bytes, list[str]]:
    """Return what gzip_chunks() makes of *data*, and the problems it reports."""
    path.write_bytes(data)
    problems: list[str] = []
    fd = os.open(path, os.O_RDONLY)
    try:
        return b"".join(gzip_chunks(fd, problems.append)), problems
    finally:
        os.close(fd)


def read_plain(path: Path, size: int) -> bytes:
    problems: list[str] = []
    fd = os.open(path, os.O_RDONLY)
    try:
        data = b"".join(plain_chunks(fd, size, problems.append))
    finally:
        os.close(fd)
    assert problems == []
    return data


def test_a_growing_file_is_read_to_the_end_of_the_line_under_way(
    tmp_path: Path,
) -> None:
    """As far as it went when it was opened, and no line is cut by that."""
    path = tmp_path / "file"
    path.write_bytes(b"one\ntwo\nthree")

    assert read_plain(path, 4) == b"one\n"
    assert read_plain(path, 5) == b"one\ntwo\n"
    assert read_plain(path, 9) == b"one\ntwo\nthree"
    assert read_plain(path, 100) == b"one\ntwo\nthree"
    assert read_plain(path, 0) == b""


def test_r1_a_file_that_was_cut_meanwhile_ends_where_it_ends(tmp_path: Path) -> None:
    """It is shorter than when it was opened; that is its reader's last problem."""
    path = tmp_path / "file"
    path.write_bytes(b"one\n")

    assert read_plain(path, 10**12) == b"one\n"


def bad_pages(path: Path, pages: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let reads of *path* fail as far as they touch *pages*, as a disk does it."""
    real: Callable[[int, int], bytes] = os.read
    inode = path.stat().st_ino

    def failing(fd: int, size: int) -> bytes:
        if os.fstat(fd).st_ino != inode:
            return real(fd, size)
        at = os.lseek(fd, 0, os.SEEK_CUR)
        if at // 4096 in pages:
            raise OSError(5, "Input/output error")
        # What is before the bad page is read; the next call fails.
        behind = [4096 * page for page in pages if page * 4096 > at]
        return real(fd, min([size, *(end - at for end in behind)]))

    monkeypatch.setattr("tokenpak.telemetry.read.chunks.os.read", failing)


@pytest.mark.parametrize("pages", [{0}, {3}, {3, 4, 5}, {1, 7, 20}])
def test_r1_a_bad_place_on_the_disk_costs_the_lines_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pages: set[int]
) -> None:
    """What is behind it is read, at its right place, and so is the next file."""
    records = [make_record(n, message="x" * (n % 7 * 100)) for n in range(400)]
    lines = [as_lines([record]) for record in records]
    bad = write_log(tmp_path, b"".join(lines), "2026-03-23")
    write_log(tmp_path, as_lines(make_records(1)))
    bad_pages(bad, pages, monkeypatch)

    found, damage = read_all(tmp_path)

    starts = [0, *accumulate(map(len, lines))]
    touched = {
        n
        for n, (start, end) in enumerate(pairwise(starts))
        if pages & set(range(start // 4096, (end - 1) // 4096 + 1))
    }
    # Of a line of which only the newline is lost, the record is there.
    intact = [r for n, r in enumerate(records) if n not in touched]
    assert found.pop() == make_record(0)
    assert [r for r in found if r in intact] == intact
    assert len(found) <= len(intact) + len(pages)
    gaps = [report for report in damage if isinstance(report, UnreadableFile)]
    assert gaps == [
        UnreadableFile(str(bad), page * 4096, "Input/output error, for 4,096 bytes")
        for page in sorted(pages)
    ]
    malformed = [report for report in damage if isinstance(report, MalformedLine)]
    assert malformed
    assert all(
        pages & set(range(m.offset // 4096, (m.offset + m.length) // 4096 + 1))
        for m in malformed
    )


def test_r1_a_bad_place_at_the_end_of_a_file_ends_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last page is shorter than others."""
    data = as_lines(make_records(20))
    bad = write_log(tmp_path, data)
    last = len(data) // 4096
    bad_pages(bad, {last}, monkeypatch)

    found, damage = read_all(tmp_path)

    assert found == make_records(20)[: data[: last * 4096].count(b"\n")]
    assert (
        UnreadableFile(
            str(bad),
            last * 4096,
            f"Input/output error, for {len(data) - last * 4096:,} bytes",
        )
        in damage
    )


def test_r1_an_error_that_passes_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second try gives the bytes."""
    records = make_records(400)
    write_log(tmp_path, as_lines(records))
    real: Callable[[int, int], bytes] = os.read
    reads = 0

    def failing(fd: int, size: int) -> bytes:
        nonlocal reads
        reads += 1
        if reads == 2:
            raise OSError(5, "Input/output error")
        return real(fd, min(size, 50_000))

    monkeypatch.setattr("tokenpak.telemetry.read.chunks.os.read", failing)

    assert read_all(tmp_path) == (records, [])


def test_r1_a_disk_that_fails_everywhere_ends_one_file_and_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not asked for each page of a large file, and the next file is read."""
    bad = write_log(tmp_path, b"", "2026-03-23")
    os.truncate(bad, 2**30)
    write_log(tmp_path, as_lines(make_records(1)))
    bad_pages(bad, set(range(2**18)), monkeypatch)

    found, damage = read_all(tmp_path)

    assert found == make_records(1)
    assert len(damage) < 300
    assert damage[-1] == UnreadableFile(str(bad), 256 * 4096, "Input/output error")


@pytest.mark.parametrize("padding", [b"", b"\0" * 512])
def test_an_archive_of_several_members_is_read_whole(
    tmp_path: Path, padding: bytes
) -> None:
    """As ``cat a.gz b.gz`` makes it, and with the padding that tapes add."""
    packed = gzip.compress(b"one\n") + padding + gzip.compress(b"two\n") + padding

    assert unpack(tmp_path / "x.gz", packed) == (b"one\ntwo\n", [])


def test_r1_an_archive_cut_anywhere_gives_all_up_to_the_cut(tmp_path: Path) -> None:
    """As much as zlib can make of it, and the cut is reported."""
    data = as_lines(make_records(40))
    packed = gzip.compress(data)
    for cut in range(len(packed)):
        found, problems = unpack(tmp_path / "x.gz", packed[:cut])

        expected = zlib.decompressobj(31).decompress(packed[:cut])
        assert found == expected
        assert len(problems) == 1
        assert problems[0].startswith("the archive is ")


def test_r1_an_archive_damaged_anywhere_never_raises(tmp_path: Path) -> None:
    """Each byte in turn; what comes before the damage is read."""
    data = as_lines(make_records(40))
    packed = gzip.compress(data, mtime=0)
    silent = 0
    for place in range(len(packed)):
        damaged = bytearray(packed)
        damaged[place] ^= 0x55

        found, problems = unpack(tmp_path / "x.gz", bytes(damaged))

        silent += not problems
        if problems == [] and place >= 10:
            assert found == data
    # The time and the system in the header, which nothing depends on.
    assert silent <= 6


def test_r1_what_was_decompressed_before_the_damage_is_kept(tmp_path: Path) -> None:
    """Not thrown away with the buffer in which the damage was found."""
    data = as_lines(make_records(2000))
    packed = bytearray(gzip.compress(data, 1))
    packed[-8] ^= 0xFF  # the checksum

    found, problems = unpack(tmp_path / "x.gz", bytes(packed))

    assert found == data
    assert problems == ["the archive is damaged: incorrect data check"]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "the archive is empty: not even a gzip header is there"),
        (b"\x1f", "the archive is cut off: its end is missing"),
        (
            b"plain text\n",
            (
                "the archive is damaged: where gzip data should begin, "
                "there is something else"
            ),
        ),
    ],
)
def test_r1_what_is_no_archive_is_reported(
    tmp_path: Path, data: bytes, problem: str
) -> None:
    """An empty file, half a header, a file that was only named so."""
    assert unpack(tmp_path / "x.gz", data) == (b"", [problem])


def test_r1_text_behind_an_archive_is_reported(tmp_path: Path) -> None:
    """Somebody appended to it: the archive itself is read."""
    found, problems = unpack(tmp_path / "x.gz", gzip.compress(b"one\n") + b"two\n")

    assert found == b"one\n"
    assert len(problems) == 1


def test_r1_the_records_of_a_cut_archive_are_read(tmp_path: Path) -> None:
    """All that are complete; the torn one and the cut are reported with offsets."""
    records = [make_record(n, message=os.urandom(50).hex()) for n in range(50)]
    path = write_log(tmp_path, as_lines(records), archived=True, compressed=True)
    path.write_bytes(path.read_bytes()[:-400])

    found, damage = read_all(tmp_path)

    torn, cut = damage
    assert found == records[: len(found)]
    assert 30 < len(found) < 50
    assert isinstance(torn, MalformedLine)
    assert torn.offset == len(as_lines(found))
    assert cut == UnreadableFile(
        str(path),
        torn.offset + torn.length,
        "the archive is cut off: its end is missing",
    )


def test_r2_a_small_archive_of_much_data_comes_in_small_chunks(tmp_path: Path) -> None:
    """A megabyte of archive may hold a gigabyte of NULs."""
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(b"\0" * 50_000_000))
    fd = os.open(path, os.O_RDONLY)
    problems: list[str] = []

    sizes = [len(chunk) for chunk in gzip_chunks(fd, problems.append)]
    os.close(fd)

    assert sum(sizes) == 50_000_000
    assert max(sizes) <= CHUNK_BYTES
    assert problems == []


def test_r1_an_error_of_the_disk_ends_an_archive_and_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, not as a cut archive as well."""
    path = write_log(tmp_path, b"", archived=True, compressed=True)

    def failing(_fd: int, _size: int) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("tokenpak.telemetry.read.chunks.os.read", failing)

    assert read_all(tmp_path) == (
        [],
        [UnreadableFile(str(path), 0, "Input/output error")],
    )


def test_what_is_searched_is_read_in_larger_pieces_and_is_the_same(
    tmp_path: Path,
) -> None:
    """Of a plain file and of an archive: the same lines at the same places."""
    data = b"".join(b'{"n":%d}\n' % n for n in range(200_000))
    places = {"plain": data, "packed": gzip.compress(data, 1)}
    for name, stored in places.items():
        path = tmp_path / name
        path.write_bytes(stored)
        found = []
        for searched in (False, True):
            fd = os.open(path, os.O_RDONLY)
            try:
                packed = name == "packed"
                log = LogFile(str(path), "errors", date(2026, 3, 24), 0, packed)
                opened = OpenFile(log, fd, len(stored))
                found.append(list(stretches_of(opened, _refuse, searched=searched)))
            finally:
                os.close(fd)
        small, large = (
            b"\n".join(each.data[each.start : each.stop] for each in stretches) + b"\n"
            for stretches in found
        )

        assert small == large == data
        assert len(found[0]) > 2 * len(found[1])
        position = 0
        for each in found[1]:
            assert each.offset == position
            position += each.size


def _refuse(problem: object) -> None:
    raise AssertionError(problem)
