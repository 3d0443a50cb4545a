"""One link of the chain."""

from __future__ import annotations

import subprocess
import sys
import threading

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from tests.queue.rig import SEGMENT
from tokenpak.telemetry.store.segment import LockedSegment, Segment


def memory_segment(size: int = SEGMENT) -> Segment:
    return Segment(-1, size)


@settings(deadline=None)
@given(lines=st.lists(st.integers(1, 2_000)))
def test_q1_a_segment_ends_behind_the_last_line_that_fits(lines: list[int]) -> None:
    """
    Whether or not it is sealed; and what does not fit leaves no trace.
    """
    segment, accepted = memory_segment(), b""
    for size in lines:
        line = b"x" * (size - 1) + b"\n"
        try:
            segment.write(line)
        except ValueError:
            continue
        accepted += line
    before = segment.end()
    segment.seal()
    segment.seal()

    assert before == segment.end() == len(accepted)
    assert segment[: len(accepted)] == accepted
    assert not any(segment[len(accepted) :])


def test_q1_write_is_one_step_copy_and_position() -> None:
    """
    What the queue rests on: mmap's own write, also from several threads at once.
    """
    segment = memory_segment(4 * 1024 * 1024)

    def write(thread: int) -> None:
        for number in range(5_000):
            segment.write(b"%d %05d\n" % (thread, number))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = segment[: segment.end()].split(b"\n")[:-1]

    assert len(lines) == 40_000
    for name in range(8):
        assert [line for line in lines if line.startswith(b"%d " % name)] == [
            b"%d %05d" % (name, number) for number in range(5_000)
        ]


def test_q1_a_line_that_does_not_fit_changes_nothing() -> None:
    """
    ValueError, and the position stays: a shorter one still fits.
    """
    segment = memory_segment()
    segment.write(bytes(SEGMENT - 5))
    with pytest.raises(ValueError, match="range"):
        segment.write(b"12345\n")
    segment.write(b"1234\n")

    assert segment.sealed
    assert segment[-5:] == b"1234\n"


def test_q1_a_sealed_segment_refuses_every_line() -> None:
    """
    Also a method that was fetched before.
    """
    segment = memory_segment()
    write = segment.write
    segment.write(b"line\n")
    segment.seal()
    for _ in range(2):
        with pytest.raises(ValueError, match="range"):
            write(b"\n")

    assert segment.end() == 5


def test_a_segment_without_a_gil_takes_a_lock() -> None:
    """
    And is otherwise the same.
    """
    segment = LockedSegment(-1, SEGMENT)
    segment.lock = threading.RLock()
    segment.write(b"line\n")
    ends = (segment.end(), segment.tell(), segment.sealed)
    segment.seal()

    assert ends == (5, 5, False)
    assert segment.sealed
    assert segment.end() == 5
    with pytest.raises(ValueError, match="range"):
        segment.write(b"line\n")


_IMPORT_TRACED = """
import sys

def look(frame, event, argument):
    if "segment" in frame.f_code.co_filename:
        frame.f_locals  # what a debugger shows; it refers to all variables
    return look

sys.settrace(look)
from tokenpak.telemetry.store import segment
sys.settrace(None)

def unshared():
    return segment.is_first_unshared([object()])

def shared():
    late = object()
    return segment.is_first_unshared([late])

answers = [unshared(), shared()]
sys.settrace(look)
answers += [unshared(), shared()]
sys.settrace(None)
print(answers)
"""


def test_q2_a_debugger_does_not_hide_who_else_has_a_segment() -> None:
    """
    Neither at the import nor later: what frames refer to depends on who looks at them.
    """
    answers = subprocess.run(
        [sys.executable, "-c", _IMPORT_TRACED],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=240,
    ).stdout

    assert answers == "[True, False, True, False]\n"
