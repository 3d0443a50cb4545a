"""C3: a stack trace is what ``traceback.format_exception`` prints, byte for byte."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import traceback
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, TracebackType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.capture.exceptions import (
    MAKERS,
    FalseError,
    Outer,
    chain_of,
    recursive,
    with_cause,
)
from tests.capture.strict_line import ERROR_FIELDS, raised_by, raising, strictly
from tokenpak.telemetry.capture import stack
from tokenpak.telemetry.capture.encode import Encoder

ROOM = 1_000_000


def printed(error: BaseException) -> str:
    """What Python prints; a line cannot hold lone surrogates but as escapes."""
    text = "".join(traceback.format_exception(error))
    return text.encode(errors="backslashreplace").decode()


def assert_exact(error: BaseException, encoder: Encoder | None = None) -> None:
    """At first sight, and when the stack is known."""
    encoder = encoder or Encoder(ROOM)
    for _ in range(3):
        record = strictly(encoder.error("req", error, {}), ERROR_FIELDS, ROOM)
        assert record["stack_trace"] == printed(error)


@pytest.mark.parametrize("what", MAKERS)
def test_c3_a_stack_trace_is_what_python_prints(what: str) -> None:
    """At first sight, when it is known, and when the same comes up once more."""
    encoder = Encoder(ROOM)

    first, again = MAKERS[what](), MAKERS[what]()

    assert_exact(first, encoder)
    assert_exact(again, encoder)


@pytest.mark.parametrize("error_class", [ValueError, KeyError, Outer.InnerError])
def test_c3_a_known_stack_takes_each_message(error_class: type[Exception]) -> None:
    """Only the last line changes from one failure to the next at the same place."""
    encoder = Encoder(ROOM)

    for message in ("first", "", "second\nline", "\udcff", '"', "first", "\\n"):
        assert_exact(raising(error_class(message)), encoder)


def test_c3_frames_are_told_apart_by_the_instruction() -> None:
    """Two places in one function, and one place by way of two others."""

    def place(number: int) -> None:
        if number % 2:
            raise ValueError("odd")
        raise ValueError("even")

    def way(number: int) -> None:
        place(number)
        place(number + 1)

    encoder = Encoder(ROOM)

    for function in (place, way):
        for number in (0, 1, 2):
            assert_exact(raised_by(function, number), encoder)


def test_c3_one_line_may_raise_in_two_columns() -> None:
    """Python marks which part of the line it was."""

    def divide(a: float, b: float, c: float) -> float:
        return (1 / a) + (1 / b) + (1 / c)

    encoder = Encoder(ROOM)

    for values in ((0, 1, 1), (1, 0, 1), (1, 1, 0)):
        assert_exact(raised_by(divide, *values), encoder)


def test_c3_equal_code_from_two_files_is_told_apart(tmp_path: Path) -> None:
    """Code objects of one text are equal but for the file that they name."""
    encoder = Encoder(ROOM)
    texts = []

    for name in ("one.py", "two.py"):
        path = tmp_path / name
        path.write_text("raise ValueError('x')\n")
        error = raised_by(exec, compile(path.read_text(), str(path), "exec"), {})
        assert_exact(error, encoder)
        texts.append(printed(error))

    assert texts[0] != texts[1]


def test_c3_code_that_is_made_and_thrown_away_is_never_mixed_up() -> None:
    """An address is used again after its code died, so the cache keeps code alive."""
    encoder = Encoder(ROOM)

    for number in range(300):
        text = f"def made_{number}():\n{chr(10) * (number % 7)} raise ValueError\n"
        names: dict[str, Any] = {}
        exec(compile(text, f"<made {number}>", "exec"), names)
        assert_exact(raised_by(names.pop(f"made_{number}")), encoder)


def test_c3_tracebacklimit_counts_when_it_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Set, changed and taken back, with a stack that is known already."""
    encoder = Encoder(ROOM)
    error = raised_by(recursive, 2)
    assert_exact(error, encoder)

    for limit in (2, 0, 1, None):
        monkeypatch.setattr(sys, "tracebacklimit", limit, raising=False)
        assert_exact(error, encoder)
    monkeypatch.delattr(sys, "tracebacklimit")

    assert_exact(error, encoder)
    assert_exact(raised_by(recursive, 1), encoder)


def hand_made(lasti: int, lineno: int) -> TracebackType:
    """Return a traceback such as a template engine puts together."""
    tb = raised_by(recursive, 1).__traceback__
    assert tb is not None
    return TracebackType(None, tb.tb_frame, lasti, lineno)


@pytest.mark.parametrize("lineno", [1, 100_000])
def test_c3_a_traceback_may_be_made_by_hand(lineno: int) -> None:
    """With a line of its own, and no instruction that would tell one."""
    error = ValueError("made").with_traceback(hand_made(-1, lineno))

    assert_exact(error)


def test_c3_hand_made_tracebacks_with_one_instruction_differ_by_line() -> None:
    """The line counts where the instruction tells none."""
    encoder = Encoder(ROOM)

    for lineno in (5, 6, 7):
        error = ValueError("made").with_traceback(hand_made(-1, lineno))
        assert_exact(error, encoder)


def test_c3_code_that_knows_no_lines_is_printed_with_those_of_the_traceback() -> None:
    """A compiler of its own may leave the table of lines out."""
    encoder = Encoder(ROOM)
    # Entries that say "no line", for eight units of code each: more than there are.
    code = recursive.__code__.replace(co_linetable=b"\xff" * 100)
    tb = raised_by(FunctionType(code, recursive.__globals__), 0).__traceback__
    while tb is not None and tb.tb_frame.f_code is not code:
        tb = tb.tb_next
    assert tb is not None
    assert_exact(ValueError("real").with_traceback(tb), encoder)

    for lineno in (5, 6, 7):
        made = TracebackType(None, tb.tb_frame, tb.tb_lasti, lineno)
        assert_exact(ValueError("made").with_traceback(made), encoder)


@pytest.mark.parametrize("known", [0, 1])
def test_c3_a_limit_that_is_set_while_a_stack_is_learned_is_not_learned(
    monkeypatch: pytest.MonkeyPatch, known: int
) -> None:
    """By another thread, for a moment: it would cut the stack short for ever."""
    encoder = Encoder(ROOM)
    for depth in range(known):
        assert_exact(raised_by(recursive, depth + 1), encoder)

    def format_limited(*args: Any, **options: Any) -> Any:
        sys.tracebacklimit = 1
        try:
            return extract(*args, **options)
        finally:
            del sys.tracebacklimit

    extract = traceback.StackSummary._extract_from_extended_frame_gen  # type: ignore[attr-defined]
    error = raised_by(recursive, 6)
    with monkeypatch.context() as patch:
        patch.setattr(
            traceback.StackSummary,
            "_extract_from_extended_frame_gen",
            format_limited,
        )
        encoder.error("r", error, None)

    assert_exact(error, encoder)


def test_c1_an_instruction_that_no_code_has_is_survived() -> None:
    """Python itself cannot print such a traceback; a record is made all the same."""
    error = ValueError("made").with_traceback(hand_made(1_000_000, 3))

    record = strictly(Encoder(ROOM).error("r", error, None), ERROR_FIELDS, ROOM)

    assert "could not be formatted" in record["stack_trace"]
    assert record["message"] == "made"


def test_c3_classes_that_call_themselves_equal_are_told_apart() -> None:
    """A metaclass decides what is equal; we don't ask it."""

    class ByName(type):
        def __eq__(cls, other: object) -> bool:
            return isinstance(other, ByName) and cls.__name__ == other.__name__

        def __hash__(cls) -> int:
            return hash(cls.__name__)

    encoder = Encoder(ROOM)

    for module in ("one", "two"):
        made = ByName("SameError", (Exception,), {"__module__": module})
        assert_exact(raising(made("x")), encoder)


def test_c3_a_class_without_a_hash_is_printed() -> None:
    """A metaclass that defines equality takes the hash away."""

    class Unhashable(type):  # noqa: PLW1641
        def __eq__(cls, other: object) -> bool:
            return cls is other

    made: Any = Unhashable("OddError", (Exception,), {})

    assert_exact(raising(made("x")))
    assert_exact(with_cause(ValueError("effect"), raising(made("x"))))


def test_c3_an_exception_of_the_main_module_has_no_module_in_its_title() -> None:
    """As in a script, where everything is called ``__main__``."""
    code = (
        "import json, traceback\n"
        "from tokenpak.telemetry.capture.encode import Encoder\n"
        "class OwnError(Exception): pass\n"
        "encoder = Encoder(32_000)\n"
        "try:\n"
        "    raise OwnError('x')\n"
        "except OwnError as error:\n"
        "    for _ in range(2):\n"
        "        record = json.loads(encoder.error('r', error, None))\n"
        "        text = ''.join(traceback.format_exception(error))\n"
        "        own = text.endswith('\\nOwnError: x\\n')\n"
        "        print(record['stack_trace'] == text, own)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )

    assert done.stdout.split() == ["True"] * 4


def all_codes(code: CodeType) -> Iterator[CodeType]:
    """Yield *code* and what is nested in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from all_codes(constant)


def test_c3_instructions_are_inside_their_code_object() -> None:
    """What makes ``id(code) + tb_lasti`` a name for the two: see stack."""
    for file in (traceback.__file__, ast.__file__):
        source = Path(file).read_text(encoding="utf-8")
        for code in all_codes(compile(source, file, "exec")):
            # The object has fields of its own before the first instruction.
            assert sys.getsizeof(code) > len(code.co_code)


@pytest.mark.parametrize(("stacks", "frames"), [(5, 50_000), (2_048, 20)])
def test_c3_the_cache_stays_within_its_bounds(
    monkeypatch: pytest.MonkeyPatch, stacks: int, frames: int
) -> None:
    """It is emptied when it is full, and what comes back is exact again."""
    monkeypatch.setattr(stack, "MAX_STACKS", stacks)
    monkeypatch.setattr(stack, "MAX_FRAMES", frames)
    encoder = Encoder(ROOM)
    made: list[weakref.ref[CodeType]] = []

    for number in range(40):
        code = compile(f"raise ValueError({number})", f"<made {number}>", "exec")
        made.append(weakref.ref(code))
        error = raised_by(exec, code, {})
        assert_exact(error, encoder)
        assert_exact(raised_by(recursive, number % 12), encoder)
        del code, error

    alive = sum(ref() is not None for ref in made)
    assert alive <= 10


def test_c3_a_known_stack_is_not_formatted_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That is what makes a call cheap."""
    encoder = Encoder(ROOM)
    errors = [raised_by(recursive, 5), chain_of(4)]
    for error in errors:
        encoder.error("r", error, None)
    expected = [printed(error) for error in errors]

    def no_more(*_: object, **__: object) -> None:
        raise AssertionError("formatted again")

    monkeypatch.setattr(traceback, "format_exception", no_more)
    monkeypatch.setattr(traceback, "TracebackException", no_more)
    monkeypatch.setattr(traceback, "format_tb", no_more)
    lines = [encoder.error("r", error, None) for error in errors]

    assert [json.loads(line)["stack_trace"] for line in lines] == expected


def test_c3_a_new_stack_is_formatted_without_an_exception(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From the second one on: the work for the exception itself is saved."""
    encoder = Encoder(ROOM)
    encoder.error("r", raised_by(recursive, 5), None)
    new = raised_by(recursive, 6)
    expected = printed(new)

    def no_more(*_: object, **__: object) -> None:
        raise AssertionError("formatted as an exception")

    monkeypatch.setattr(traceback, "format_exception", no_more)
    monkeypatch.setattr(traceback, "TracebackException", no_more)

    assert json.loads(encoder.error("r", new, None))["stack_trace"] == expected


def test_c3_a_python_whose_format_tb_prints_something_else_costs_the_saving_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first stack tells whether the two agree."""
    monkeypatch.setattr(traceback, "format_tb", lambda *_, **__: ["  in another way\n"])
    encoder = Encoder(ROOM)

    for depth in (1, 2, 3):
        assert_exact(raised_by(recursive, depth), encoder)


SHARED = Encoder(ROOM)
"""One cache for all examples, so that they meet what others have left."""

makers = st.sampled_from(sorted(MAKERS)).map(MAKERS.__getitem__)
messages = st.text(st.characters(exclude_categories=()), max_size=20)
classes = st.sampled_from(
    [ValueError, KeyError, NameError, Outer.InnerError, FalseError, SyntaxError]
)


@st.composite
def chains(draw: st.DrawFn) -> BaseException:
    """Exceptions that are linked at random, in circles too."""
    made: list[BaseException] = [
        draw(makers)() if draw(st.booleans()) else draw(classes)(draw(messages))
        for _ in range(draw(st.integers(1, 5)))
    ]
    for error in made:
        if draw(st.booleans()):
            raising(error)
        for attribute in ("__cause__", "__context__"):
            if draw(st.booleans()):
                setattr(error, attribute, draw(st.sampled_from(made)))
        error.__suppress_context__ = draw(st.booleans())
        if draw(st.integers(0, 4)) == 0:
            error.add_note(draw(messages))
    return made[0]


@settings(deadline=None)
@given(chains())
def test_c3_any_chain_is_what_python_prints(error: BaseException) -> None:
    """Whatever hangs together with whatever."""
    try:
        printed(error)
    except RecursionError:  # older traceback modules cannot print some circles
        return

    assert_exact(error, SHARED)
