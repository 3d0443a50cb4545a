"""What makes two failures the same."""

from __future__ import annotations

import traceback

from tokenpak.telemetry.report.kinds import (
    Frames,
    frames_of,
    key_of,
    place_of,
    shape_of,
)


def raised(depth: int = 0, text: str = "no") -> str:
    try:
        if depth:
            raise ValueError(text) from KeyError("inner")
        raise ValueError(text)
    except ValueError as error:
        return "".join(traceback.format_exception(error))


def test_words_with_digits_are_left_out_of_a_message() -> None:
    """Ids and numbers, and nothing else."""
    assert shape_of("req_a81f took 12.5 s of model gpt-4o") == shape_of(
        "req_b1 took 7.25 s of model gpt-4o"
    )
    assert shape_of("timeout of openai") != shape_of("timeout of anthropic")


def test_the_numbers_of_lines_make_no_difference() -> None:
    """An edit further up in a file makes no new failures."""
    stack = raised()

    assert frames_of(stack) == frames_of(stack.replace("line 2", "line 9"))
    assert place_of(frames_of(stack)).endswith("test_kinds.py:raised")
    assert frames_of(stack) != frames_of(stack.replace("in raised", "in other"))


def test_the_stack_is_that_of_the_exception_itself() -> None:
    """Not of its causes."""
    assert "KeyError" in raised(1)
    assert frames_of(raised(1)) == frames_of(raised())


def test_a_stack_is_known_whatever_the_message_is() -> None:
    """It ends with the message; and one that does not is known as it is."""
    frames = Frames()

    first = frames.find(raised(0, "one"), "one")
    again = frames.find(raised(0, "two\nlines"), "two\nlines")

    assert first == again != ""
    assert len(frames.known) == 1
    assert key_of("x", "a longer message") == "x"
    assert key_of("no message in here\n", "no") == "no message in here\n"


def test_what_is_no_stack_has_no_frames() -> None:
    """Whatever stands there."""
    assert frames_of("") == frames_of("?") == frames_of("\x00\ud800") == ""
    assert place_of("") == ""


def test_r2_texts_that_never_repeat_are_forgotten() -> None:
    """The memory is bounded."""
    frames = Frames()

    for number in range(10_000):
        frames.find(f"{'x' * 3_000}{chr(0x4E00 + number)}", "")

    assert len(frames.known) < 5_000
    assert sum(map(len, frames.known)) <= 9 * 1024 * 1024
