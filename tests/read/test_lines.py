"""The scanner: where lines begin and end, and how much of a file is held."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenpak.telemetry.read.lines import RECORD_START, Block, split_lines

if TYPE_CHECKING:
    from collections.abc import Iterator


def located(blocks: Iterator[Block]) -> list[tuple[int, bytes]]:
    """Return each line with its offset in the file."""
    found = []
    for block in blocks:
        offset = block.offset
        for line in block.lines:
            found.append((offset, line))
            offset += len(line) + 1
    return found


def test_only_the_byte_newline_ends_a_line() -> None:
    """U+2028, U+0085, form feed and carriage return stay inside."""
    text = "a\u2028b\u0085c\x0cd\re\r\nf\n".encode()

    lines = [line for _, line in located(split_lines([text]))]

    assert lines == ["a\u2028b\u0085c\x0cd\re\r".encode(), b"f"]


@given(
    data=st.text("ab\n", max_size=60).map(str.encode),
    cuts=st.lists(st.integers(0, 60), max_size=8),
)
def test_where_chunks_are_cut_makes_no_difference(data: bytes, cuts: list[int]) -> None:
    """Lines, offsets and the unfinished end are those of the whole."""
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    chunks = [data[a:b] for a, b in pairwise(edges)]

    found = located(split_lines(chunks))

    expected = data.split(b"\n")
    if not expected[-1]:
        expected.pop()
    assert [line for _, line in found] == expected
    assert all(data[o : o + len(line)] == line for o, line in found)


def test_an_unfinished_end_is_told_from_a_line() -> None:
    """The last line without a newline is a block of its own, and says so."""
    blocks = list(split_lines([b"one\ntw", b"o"]))

    assert blocks == [Block(0, [b"one"], "newline"), Block(4, [b"two"], "file")]


@given(st.lists(st.integers(1, 300), max_size=40), st.integers(0, 20))
def test_r2_a_line_without_end_is_given_out_in_pieces(
    sizes: list[int], start: int
) -> None:
    """Nothing of it is held beyond the limit, nothing of it is left out."""
    data = b"x" * start + RECORD_START + b"y" * 9000
    edges = [0]
    for size in sizes:
        edges.append(min(edges[-1] + size, len(data)))
    edges.append(len(data))
    chunks = [data[a:b] for a, b in pairwise(edges)]
    largest = max(map(len, chunks))

    blocks = list(split_lines(chunks, limit=1600))

    assert b"".join(line for block in blocks for line in block.lines) == data
    assert max(len(block.lines[0]) for block in blocks) <= 1600 + largest
    position = 0
    for block in blocks:
        assert block.offset == position
        position += len(block.lines[0])


@pytest.mark.parametrize("junk", range(150, 290))
def test_r1_a_record_after_junk_over_the_limit_is_not_cut(junk: int) -> None:
    """Wherever the limit falls, the record that follows stays in one piece."""
    record = RECORD_START + b':"2026", "x": {"timestamp": 1}}'
    data = b"\0" * junk + record + b"\n"
    chunks = [data[i : i + 7] for i in range(0, len(data), 7)]

    lines = [line for _, line in located(split_lines(chunks, limit=1600))]

    assert sum(record in line for line in lines) == 1
