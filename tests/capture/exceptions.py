"""Exceptions of every kind that traceback treats in its own way."""

from __future__ import annotations

import ast
import json
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

from tests.capture.strict_line import raised_by, raising


class Outer:
    """Has an exception class of its own."""

    class InnerError(Exception):
        """Nested."""


class FalseError(Exception):
    """An exception that is false."""

    def __bool__(self) -> bool:
        return False


class EmptyError(Exception):
    """An exception with a length."""

    def __len__(self) -> int:
        return 0


class SilentError(Exception):
    """An exception that cannot say what it is."""

    def __str__(self) -> str:
        raise ValueError("no text")


class NoTextError(Exception):
    """An exception whose text is none."""

    def __str__(self) -> str:
        return 5  # type: ignore[return-value]  # noqa: PLE0307


class LoudStr(str):
    """A str with ideas of its own."""

    __slots__ = ()

    def __str__(self) -> str:
        return "said"

    def __format__(self, spec: str) -> str:
        return "formatted"


class LoudError(Exception):
    """An exception whose text is no plain str."""

    def __str__(self) -> str:
        return LoudStr("held")


def recursive(depth: int) -> None:
    """Raise, *depth* calls further down."""
    if depth == 0:
        raise ValueError("bottom")
    recursive(depth - 1)


def local_class() -> BaseException:
    """Return an exception of a class that is local to a function."""

    class LocalError(Exception):
        pass

    return raising(LocalError("local"))


def with_cause(error: BaseException, cause: BaseException | None) -> BaseException:
    """Return *error*, raised from *cause*."""

    def thrower() -> None:
        raise error from cause

    return raised_by(thrower)


def during(error: BaseException, first: BaseException) -> BaseException:
    """Return *error*, raised while *first* was handled."""

    def thrower() -> None:
        try:
            raise first
        except BaseException:
            raise error  # noqa: B904

    return raised_by(thrower)


def suppressed() -> BaseException:
    """Return one raised `from None`."""

    def thrower() -> None:
        try:
            raise KeyError("hidden")
        except KeyError:
            raise ValueError("shown") from None

    return raised_by(thrower)


def chain_of(length: int) -> BaseException:
    """Return an exception at the end of causes and contexts in turn."""
    error = raising(ValueError("link 0"))
    for number in range(1, length):
        follow = with_cause if number % 2 else during
        error = follow(RuntimeError(f"link {number}"), error)
    return error


def cycle() -> BaseException:
    """Return an exception that caused itself, by way of another."""
    first, second = raising(ValueError("hen")), raising(ValueError("egg"))
    first.__cause__, second.__cause__ = second, first
    return first


def context_cycle() -> BaseException:
    """Return an exception that is in its own context."""
    first, second = raising(ValueError("hen")), raising(ValueError("egg"))
    first.__context__, second.__context__ = second, first
    return first


def noted(*notes: Any) -> BaseException:
    """Return an exception with notes, whatever they are."""
    error = raising(ValueError("with notes"))
    error.__notes__ = list(notes)
    return error


def noted_cause() -> BaseException:
    """Return an exception whose cause has a note."""
    return with_cause(RuntimeError("effect"), noted("a note on the cause"))


def groups() -> BaseException:
    """Return a group in a group, with tracebacks in both."""
    leaves = [raising(KeyError("k")), OSError(2, "no")]
    inner = raising(BaseExceptionGroup("inner", leaves))
    return raising(BaseExceptionGroup("outer", [raising(KeyboardInterrupt()), inner]))


def group_as_cause() -> BaseException:
    """Return an exception caused by a group."""
    return with_cause(ValueError("effect"), groups())


def syntax_error() -> BaseException:
    """Return one from the compiler, with its caret."""
    return raised_by(compile, "a = (1,\nb c\n", "<made up>", "exec")


def name_error() -> BaseException:
    """Return one that suggests a name from the locals of the frame."""

    def thrower() -> None:
        temperature = 1
        print(temperatur, temperature)  # type: ignore[name-defined]  # noqa: F821

    return raised_by(thrower)


def attribute_error() -> BaseException:
    """Return one that suggests another attribute."""
    return raised_by(lambda: Outer.InnerErro)  # type: ignore[attr-defined]


def import_error() -> BaseException:
    """Return one that suggests another name to import."""

    def thrower() -> None:
        from collections import defaultdic  # type: ignore[attr-defined]  # noqa: F401

    return raised_by(thrower)


def suggestion_as_context() -> BaseException:
    """Return an exception raised while one with a suggestion was handled."""
    return during(ValueError("later"), name_error())


def from_generator() -> BaseException:
    """Return one that came through generator frames."""

    def inner() -> Iterator[int]:
        yield 1
        raise ValueError("inside a generator")

    def outer() -> Iterator[int]:
        yield from inner()

    return raised_by(list, outer())


def without_source() -> BaseException:
    """Return one from code that has no file."""
    return raised_by(exec, "def f():\n    raise ValueError('x')\nf()", {})


def with_other_module() -> BaseException:
    """Return one whose module is no text."""
    cls = type("OddError", (Exception,), {"__module__": 7})
    return raising(cls("odd"))


def with_surrogate_module() -> BaseException:
    """Return one whose class has a lone surrogate in its module's name."""
    return raising(type("GrößeError", (Exception,), {"__module__": "m\udc80"})("x"))


def with_surrogate_file() -> BaseException:
    """Return one from a file whose name is not UTF-8."""
    code = compile("raise ValueError('x')", "bad\udc80.py", "exec")
    return raised_by(exec, code, {})


MAKERS: dict[str, Callable[[], BaseException]] = {
    "never raised": lambda: ValueError("no traceback"),
    "raised": lambda: raising(ValueError("plain")),
    "no message": lambda: raising(ValueError()),
    "empty message": lambda: raising(ValueError("")),
    "message None": lambda: raising(ValueError(None)),
    "several lines": lambda: raising(ValueError("one\ntwo\n\nthree\n")),
    "quotes and controls": lambda: raising(ValueError('"\\/\b\f\t\r\0\x1b\x7f\x85')),
    "unicode": lambda: raising(ValueError("Grüße \U0001f980 \u2028 \ufeff")),
    "lone surrogates": lambda: raising(ValueError("a\udc80b\ud800")),
    "escape lookalike": lambda: raising(ValueError("\\udc80 \udc80")),
    "key error": lambda: raising(KeyError("key")),
    "two arguments": lambda: raising(OSError(2, "No such file", "name")),
    "unicode error": lambda: raised_by(b"\xff".decode),
    "json error": lambda: raised_by(json.loads, "{"),
    "from C": lambda: raised_by(math.sqrt, -1),
    "keyboard interrupt": lambda: raising(KeyboardInterrupt()),
    "system exit": lambda: raising(SystemExit(3)),
    "stop iteration": lambda: raising(StopIteration(1)),
    "nested class": lambda: raising(Outer.InnerError("nested")),
    "local class": local_class,
    "false": lambda: raising(FalseError("false")),
    "false cause": lambda: with_cause(ValueError("a"), raising(FalseError("false"))),
    "false, with a cause": lambda: with_cause(FalseError("f"), raising(KeyError("k"))),
    "length 0": lambda: during(EmptyError("empty"), KeyError("first")),
    "str raises": lambda: raising(SilentError()),
    "str of a cause raises": lambda: with_cause(ValueError("a"), SilentError()),
    "str returns no text": lambda: raising(NoTextError()),
    "str with own methods": lambda: raising(LoudError()),
    "cause with such a str": lambda: with_cause(ValueError("a"), LoudError()),
    "cause": lambda: with_cause(ValueError("effect"), raising(KeyError("cause"))),
    "cause without traceback": lambda: with_cause(ValueError("effect"), KeyError("c")),
    "context": lambda: during(ValueError("second"), KeyError("first")),
    "from None": suppressed,
    "from None, bare": lambda: with_cause(ValueError("shown"), None),
    "chain of 5": lambda: chain_of(5),
    "chain of 60": lambda: chain_of(60),
    "cycle of causes": cycle,
    "cycle of contexts": context_cycle,
    "one note": lambda: noted("a note"),
    "notes of all kinds": lambda: noted("two\nlines", 5, "\udc80", ""),
    "no notes": noted,
    "note on the cause": noted_cause,
    "groups": groups,
    "group as cause": group_as_cause,
    "syntax error": syntax_error,
    "syntax error of one's own": lambda: raising(SyntaxError("made", ("f", 1, 2, "x"))),
    "bad literal": lambda: raised_by(ast.literal_eval, "[1,"),
    "name error": name_error,
    "attribute error": attribute_error,
    "import error": import_error,
    "suggestion in a context": suggestion_as_context,
    "recursion of 2": lambda: raised_by(recursive, 2),
    "recursion of 3": lambda: raised_by(recursive, 3),
    "recursion of 4": lambda: raised_by(recursive, 4),
    "recursion of 300": lambda: raised_by(recursive, 300),
    "recursion error": lambda: raised_by(recursive, sys.getrecursionlimit() + 5),
    "generators": from_generator,
    "no source": without_source,
    "module that is no text": with_other_module,
    "module with a surrogate": with_surrogate_module,
    "file name with a surrogate": with_surrogate_file,
}
