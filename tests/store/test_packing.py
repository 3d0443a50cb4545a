"""Compress in pieces, and tell an archive from what is none."""

from __future__ import annotations

import gzip
import os
import random
import sys
import zlib
from collections.abc import Generator
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from tests.store.archiving import FastEntries
from tokenpak.telemetry.store import packing
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.packing import OTHER, PART, SAME, compare, pack

DATA = b"".join(b'{"number":%d}\n' % number for number in range(20_000))


@pytest.fixture
def files() -> OsFiles:
    return OsFiles()


def packed(tmp_path: Path, data: bytes) -> bytes:
    """Return *data*, compressed."""
    (tmp_path / "plain").write_bytes(data)
    disk = FastEntries(OsFiles())
    source = disk.open_existing(str(tmp_path / "plain"))
    target = disk.create(str(tmp_path / "packed"), os.stat(tmp_path / "plain"))
    assert sum(pack(disk, source, len(data), target)) == len(data)
    disk.close(source)
    disk.close(target)
    made = (tmp_path / "packed").read_bytes()
    (tmp_path / "packed").unlink()
    return made


def verdict(tmp_path: Path, plain: bytes, other: bytes) -> str:
    """Return what compare() says of them."""
    disk = FastEntries(OsFiles())
    fds = []
    for name, data in (("one", plain), ("two", other)):
        (tmp_path / name).write_bytes(data)
        fds.append(disk.open_existing(str(tmp_path / name)))
    steps: Generator[int, None, str] = compare(disk, fds[0], len(plain), fds[1])
    try:
        while True:
            next(steps)
    except StopIteration as end:
        result: str = end.value
        return result
    finally:
        for fd in fds:
            disk.close(fd)


@pytest.mark.parametrize("size", [1, packing.PIECE, packing.PIECE + 1, len(DATA)])
def test_every_tool_unpacks_what_was_packed(tmp_path: Path, size: int) -> None:
    """Whole pieces and parts of one; text, and what does not get smaller."""
    for data in (DATA[:size], random.Random(1).randbytes(size)):
        assert gzip.decompress(packed(tmp_path, data)) == data


def test_a_large_file_leaves_the_page_cache_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each range is let go of once it is done."""
    let_go: list[tuple[int, int]] = []
    monkeypatch.setattr(
        FastEntries, "let_go", lambda _self, _fd, *range_: let_go.append(range_)
    )
    monkeypatch.setattr(packing, "_LET_GO", 100_000)

    packed(tmp_path, random.Random(1).randbytes(500_000))

    reached = {0}
    for offset, size in let_go:
        assert offset in reached, "no gap"
        reached.add(offset + size)
    assert max(reached) >= 400_000


def test_without_isal_zlib_is_taken_and_with_it_isal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The optional extra makes the same format."""
    used: list[int] = []

    class Fake(ModuleType):
        DEFLATED = zlib.DEFLATED

        @staticmethod
        def compressobj(level: int, method: int, window: int) -> Any:
            used.append(level)
            return zlib.compressobj(1, method, window)

    monkeypatch.setitem(sys.modules, "isal", None)
    plain = packed(tmp_path, DATA)
    package = ModuleType("isal")
    package.isal_zlib = Fake("isal.isal_zlib")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "isal", package)
    fast = packed(tmp_path, DATA)

    assert used == [packing.FAST_LEVEL]
    assert gzip.decompress(plain) == gzip.decompress(fast) == DATA
    assert plain != fast


def test_isal_itself_makes_what_gzip_reads(tmp_path: Path) -> None:
    """Where it is installed."""
    pytest.importorskip("isal")

    assert gzip.decompress(packed(tmp_path, DATA)) == DATA


def test_a_file_that_becomes_shorter_meanwhile_is_an_error(tmp_path: Path) -> None:
    """Not a short archive."""
    (tmp_path / "plain").write_bytes(b"short")
    disk = FastEntries(OsFiles())
    source = disk.open_existing(str(tmp_path / "plain"))
    target = disk.create(str(tmp_path / "packed"), os.stat(tmp_path / "plain"))

    with pytest.raises(OSError, match="shorter"):
        list(pack(disk, source, 6, target))

    disk.close(source)
    disk.close(target)


@pytest.mark.parametrize("level", [1, 6, 9])
def test_the_archive_of_the_same_bytes_is_the_same(tmp_path: Path, level: int) -> None:
    """Whoever made it: the bytes count, not how they are compressed."""
    assert verdict(tmp_path, DATA, gzip.compress(DATA, level)) == SAME
    assert verdict(tmp_path, b"x" * 500_000, gzip.compress(b"x" * 500_000)) == SAME


@given(cut=st.integers(0, 10**6), flip=st.booleans())
def test_a_damaged_archive_is_part_of_the_file(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: bool
) -> None:
    """Cut anywhere, or with a byte that ends it there."""
    data = gzip.compress(DATA)
    cut %= len(data)
    damaged = data[:cut]
    if flip:
        damaged += bytes([data[cut] ^ 0xFF]) + data[cut + 1 :]
    found = verdict(tmp_path_factory.mktemp("v"), DATA, damaged)

    # A byte that is changed may decompress to other text before it is noticed.
    assert found == PART or (flip and found in {OTHER, SAME})


def test_whatever_else_it_holds_is_told(tmp_path: Path) -> None:
    """More, less, something else, something behind it."""
    archive = gzip.compress(DATA)

    assert verdict(tmp_path, DATA + b"more", archive) == PART
    assert verdict(tmp_path, DATA[:-1], archive) == OTHER
    assert verdict(tmp_path, b"X" + DATA[1:], archive) == OTHER
    assert verdict(tmp_path, DATA[:-1] + b"X", archive) == OTHER
    assert verdict(tmp_path, DATA, archive + archive) == OTHER
    assert verdict(tmp_path, DATA, archive + b"x") == OTHER
    assert verdict(tmp_path, DATA, b"") == PART
    assert verdict(tmp_path, DATA, b"no archive") == PART
    other = gzip.compress(b"other" * 10_000)
    assert verdict(tmp_path, DATA, other[:-5]) == OTHER
    damaged = other[:-8] + bytes(8)
    assert verdict(tmp_path, DATA, damaged) == OTHER, "what comes before the damage"
