"""
The guarantees page and the fault tests are one list, checked both ways.

Each test that the page names exists, and each test that is marked ``fault`` is in a row
of the page.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from .pages import DOCS, ROOT, rows_of, sections_of

PAGE = DOCS / "explanation" / "guarantees.md"
TESTS = ROOT / "tests"
_NAMED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")
_TABLES = {
    heading: rows
    for heading, text in sections_of(PAGE).items()
    if (rows := rows_of(text))
}
ROWS = [row for rows in _TABLES.values() for row in rows]

Test = tuple[str, str]
"""The file, below tests/, and the name of the function."""


def named_in(text: str) -> list[Test]:
    """Return the tests that *text* names."""
    return _NAMED.findall(text)


def marks_of(source: str) -> dict[str, bool]:
    """Return the test functions of *source*, and whether each is marked ``fault``."""
    tree = ast.parse(source)
    everything = any(
        isinstance(node, ast.Assign | ast.AnnAssign)
        and any(
            isinstance(target, ast.Name) and target.id == "pytestmark"
            for target in (
                node.targets if isinstance(node, ast.Assign) else [node.target]
            )
        )
        and _marks_fault(node)
        for node in tree.body
    )
    return {
        node.name: everything or any(map(_marks_fault, node.decorator_list))
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    }


def _marks_fault(node: ast.AST) -> bool:
    """Whether ``pytest.mark.fault`` is anywhere in *node*, also in a ``param()``."""
    return any(
        isinstance(part, ast.Attribute)
        and part.attr == "fault"
        and isinstance(part.value, ast.Attribute)
        and part.value.attr == "mark"
        for part in ast.walk(node)
    )


def all_tests() -> dict[Test, bool]:
    """Return all test functions, and whether each is marked ``fault``."""
    return {
        (file.relative_to(TESTS).as_posix(), name): fault
        for file in TESTS.rglob("test_*.py")
        for name, fault in marks_of(file.read_text(encoding="utf-8")).items()
    }


def test_each_test_that_the_page_names_exists() -> None:
    """By file and name, also those of the prose."""
    missing = set(named_in(PAGE.read_text(encoding="utf-8"))) - set(all_tests())

    assert missing == set(), "these tests do not exist"


def test_each_fault_test_is_in_a_row() -> None:
    """A fault that is injected is a fault that a reader is told of."""
    named = {test for row in ROWS for test in named_in(row[-1])}
    fault = {test for test, marked in all_tests().items() if marked}

    assert fault - named == set(), f"add rows for these to {PAGE.name}"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_each_row_says_what_happens_what_holds_and_which_test_shows_it(
    row: list[str],
) -> None:
    """Four cells; only the numbers may be missing."""
    assert len(row) == 4
    happens, holds, _, tests = row
    assert happens
    assert holds
    assert named_in(tests), "name a test: `file.py::test_name`"
    rest = _NAMED.sub("", tests)
    assert rest.strip(" ,") == "", "what else is in the last cell?"


def test_no_test_is_named_twice() -> None:
    """A row is found where one looks for it."""
    named = [test for row in ROWS for test in named_in(row[-1])]

    assert sorted(named) == sorted(set(named))


def test_the_page_says_what_is_not_promised() -> None:
    """As plainly as what is."""
    text = sections_of(PAGE)["What is not promised"]

    for word in ("`fsync`", "Network", "in-memory", "SIGBUS", "rewrites", "shipper"):
        assert word in text, word


@pytest.mark.parametrize(
    "source",
    [
        "@pytest.mark.fault\ndef test_a(): ...",
        "@pytest.mark.slow\n@pytest.mark.fault\nasync def test_a(): ...",
        "pytestmark = pytest.mark.fault\ndef test_a(): ...",
        "pytestmark = [pytest.mark.timeout(9), pytest.mark.fault]\ndef test_a(): ...",
        "pytestmark: list = [pytest.mark.fault]\ndef test_a(): ...",
        "@parametrize('n', [param(1, marks=pytest.mark.fault)])\ndef test_a(n): ...",
        "class TestIt:\n    @pytest.mark.fault\n    def test_a(self): ...",
    ],
)
def test_a_mark_is_found_however_it_is_made(source: str) -> None:
    """On the function, on one of its cases, or on the module."""
    assert marks_of(source) == {"test_a": True}


@pytest.mark.parametrize(
    "source",
    [
        "def test_a(): ...",
        "@pytest.mark.slow\ndef test_a(): ...",
        "pytestmark = pytest.mark.slow\ndef test_a(): ...",
        "def test_a(): return pytest.mark.fault",
        "other = pytest.mark.fault\ndef test_a(): ...",
    ],
)
def test_what_is_not_marked_is_not_taken_for_marked(source: str) -> None:
    """The word alone is no mark."""
    assert marks_of(source) == {"test_a": False}


def test_a_name_is_understood_only_with_its_file() -> None:
    """Two files may have tests of one name."""
    assert named_in("`fault/test_x.py::test_one` `test_two` x.py::test_three") == [
        ("fault/test_x.py", "test_one")
    ]
    assert Path(TESTS / "fault").is_dir()
