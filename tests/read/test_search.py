"""What finds bytes quickly finds what ``bytes.find`` does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenpak.telemetry.read import search
from tokenpak.telemetry.read.search import WORTH_BYTES, finder

if TYPE_CHECKING:
    from collections.abc import Iterator

FILLER = b"a" * WORTH_BYTES
WANTED = st.binary(min_size=1, max_size=5).filter(lambda what: b"\0" not in what)


@pytest.fixture
def other_library(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No glibc."""
    monkeypatch.setattr(os, "confstr", lambda _name: None)
    search._c_functions.cache_clear()
    yield
    search._c_functions.cache_clear()


@given(
    before=st.lists(st.sampled_from([b"a", b"ab", b"b", b'"', b"\\u00"]), max_size=9),
    what=WANTED | st.sampled_from([b"ab", b'"ab"', b"\\u00", b"aab"]),
    behind=st.binary(max_size=9),
    position=st.integers(0, WORTH_BYTES),
)
def test_the_place_is_the_one_that_bytes_find_names(
    before: list[bytes], what: bytes, behind: bytes, position: int
) -> None:
    """From any position on, with NULs and without, also where it is not."""
    for data in (
        b"".join(before) + FILLER + what + behind,
        FILLER + b"".join(before) + behind,
    ):
        find = finder(data)
        for start in (position, len(data) - len(behind), len(data)):
            assert find(what, start) == data.find(what, start)


def test_what_is_behind_a_nul_is_found() -> None:
    """Where a C string would end."""
    data = FILLER + b"\0" + b"needle"

    assert finder(data)(b"needle", 3) == len(FILLER) + 1


@pytest.mark.skipif(not search._c_functions(), reason="no glibc")
def test_c_searches_what_is_large_and_python_the_rest() -> None:
    """Else the tests above would have shown nothing."""
    assert finder(FILLER).__module__ == search.__name__
    assert finder(FILLER[1:]).__module__ is None


@pytest.mark.usefixtures("other_library")
def test_with_another_c_library_python_searches() -> None:
    """It finds the same."""
    data = FILLER + b"needle"

    assert finder(data).__module__ is None
    assert finder(data)(b"needle", 0) == len(FILLER)
