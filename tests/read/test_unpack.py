"""Archives are read alike with isal and without, whole, damaged and cut."""

from __future__ import annotations

import gzip
import os
import random
import sys
import zlib
from io import BytesIO
from typing import TYPE_CHECKING

import pytest

from tests.read.log_making import as_lines, make_record
from tokenpak.telemetry.read import unpack
from tokenpak.telemetry.read.chunks import CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATA = as_lines([make_record(n, message=f"{n * 7919:x}" * (n % 9)) for n in range(300)])


@pytest.fixture(params=["isal", "zlib"])
def library(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """What decompresses."""
    if request.param == "isal":
        pytest.importorskip("isal")
    else:
        monkeypatch.setitem(sys.modules, "isal", None)
    unpack._fast.cache_clear()
    yield request.param
    unpack._fast.cache_clear()


def both(path: Path, data: bytes) -> tuple[bytes, list[str]]:
    """Return what both ways give, and what they tell; it is the same."""
    path.write_bytes(data)
    fast: list[str] = []
    slow: list[str] = []
    found = []
    fd = os.open(path, os.O_RDONLY)
    try:
        for way in (
            unpack.gzip_chunks(fd, fast.append),
            unpack._carefully(fd, 0, 0, slow.append),
        ):
            os.lseek(fd, 0, os.SEEK_SET)
            found.append(b"".join(way))
    finally:
        os.close(fd)
    assert (found[0], fast) == (found[1], slow)
    return found[0], fast


def named(data: bytes) -> bytes:
    out = BytesIO()
    with gzip.GzipFile("errors.jsonl", "wb", 6, out) as file:
        file.write(data)
    return out.getvalue()


def test_the_library_is_isal_where_it_is_there(library: str) -> None:
    """Else zlib; both are tested."""
    make, _ = unpack._fast()

    assert (make is zlib.decompressobj) == (library == "zlib")


@pytest.mark.usefixtures("library")
def test_r1_a_damaged_archive_gives_the_same_with_isal_and_without(
    tmp_path: Path,
) -> None:
    """A bit of it wherever, also in what is around the data, and in several members."""
    rng = random.Random(5)
    path = tmp_path / "errors.gz"
    told = set()
    for archive in (gzip.compress(DATA, 6), named(DATA[:3000]) + gzip.compress(DATA)):
        assert both(path, archive) == (gzip.decompress(archive), [])
        edges = [*range(14), *range(len(archive) - 9, len(archive))]
        for place in edges + rng.sample(range(len(archive)), 60):
            for bit in (0, 5):
                damaged = bytearray(archive)
                damaged[place] ^= 1 << bit
                _, problems = both(path, bytes(damaged))
                told.update(problems)

    assert "the archive is damaged: incorrect data check" in told
    assert "the archive is damaged: unknown header flags set" in told


@pytest.mark.usefixtures("library")
def test_r1_a_cut_archive_gives_the_same_with_isal_and_without(tmp_path: Path) -> None:
    """Cut anywhere, also in a second member."""
    archive = gzip.compress(DATA[:2000]) + gzip.compress(DATA)
    path = tmp_path / "errors.gz"
    for size in (*range(30), *range(30, len(archive), 41), len(archive) - 1):
        data, problems = both(path, archive[:size])
        assert gzip.decompress(archive).startswith(data)
        assert len(problems) <= 1


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    ("behind", "problem"),
    [
        (b"", None),
        (bytes(100_000), None),
        (gzip.compress(b"more\n"), None),
        (bytes(5) + gzip.compress(b"more\n"), None),
        (b"\x1f", "the archive is cut off: its end is missing"),
        (
            b"junk",
            (
                "the archive is damaged: where gzip data should begin, "
                "there is something else"
            ),
        ),
    ],
)
def test_whatever_follows_a_member_is_read_alike(
    tmp_path: Path, behind: bytes, problem: str | None
) -> None:
    """Padding, another member, what is none."""
    data, problems = both(tmp_path / "errors.gz", gzip.compress(DATA) + behind)

    more = b"more\n" if behind.endswith(gzip.compress(b"more\n")[-8:]) else b""
    assert data == DATA + more
    assert problems == ([problem] if problem else [])


@pytest.mark.usefixtures("library")
def test_r1_damage_late_in_a_large_archive_repeats_nothing(tmp_path: Path) -> None:
    """What was given out before the damage is passed over, to the byte."""
    data = os.urandom(3 * CHUNK_BYTES)
    archive = bytearray(gzip.compress(data, 1))
    archive[-3] ^= 1

    found, problems = both(tmp_path / "errors.gz", bytes(archive))

    assert found == data
    assert problems == ["the archive is damaged: incorrect length check"]


def test_a_library_that_makes_no_progress_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And zlib reads the archive."""

    class Stuck:
        eof = False
        unused_data = b""
        unconsumed_tail = b""

        def __init__(self, _bits: int) -> None:
            pass

        def decompress(self, data: bytes, _size: int) -> bytes:
            self.unconsumed_tail = data
            return b""

    monkeypatch.setattr(unpack, "_fast", lambda: (Stuck, ValueError))

    assert both(tmp_path / "errors.gz", gzip.compress(DATA)) == (DATA, [])
