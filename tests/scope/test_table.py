"""Each kind of callable, each way of failing: the table of the reference, run."""

from __future__ import annotations

import asyncio
import re
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from tests.docs.pages import DOCS, rows_of, sections_of
from tokenpak.telemetry.error_logger import ErrorLogger, log_exception

from .callables import (
    CANCELLED,
    CLOSED,
    INTERRUPTED,
    KINDS,
    RAISES,
    THROWN,
    WAYS,
    Kind,
    undecorated,
)
from .rig import records_of

PAGE = DOCS / "reference" / "logged-calls.md"
RECORDED, PASSES, NEVER = "recorded", "passes", "–"  # noqa: RUF001
OUTCOMES = {
    RAISES: RECORDED,
    INTERRUPTED: PASSES,
    CANCELLED: PASSES,
    CLOSED: PASSES,
    THROWN: RECORDED,
}
CELLS = [(kind, way) for kind, (_, drives) in KINDS.items() for way in drives]
CLASSES: dict[str, tuple[type[BaseException], ...]] = {
    RAISES: (ValueError, KeyError),
    INTERRUPTED: (KeyboardInterrupt, SystemExit),
    CANCELLED: (asyncio.CancelledError,),
    CLOSED: (GeneratorExit,),
    THROWN: (ValueError, KeyError),
}

ANEW = {
    "coroutine function",
    "`functools.partial` of one",
    "object with `async def __call__`",
    "`types.coroutine` generator",
    "generator",
}
"""Where Python itself closes what a layer waits for: by another GeneratorExit."""

Make = Callable[..., ErrorLogger]


def fail(
    kind: Kind, way: str, function: Callable[..., Any], error: BaseException
) -> BaseException | None:
    """Return what comes out of *function*."""
    try:
        kind.drives[way](function, error)
    except BaseException as raised:
        return raised
    return None


def frames(error: BaseException | None) -> list[tuple[str, str, int | None]]:
    """Return by which frames *error* has come."""
    if error is None:
        return []
    return [
        (frame.filename, frame.name, frame.lineno)
        for frame in traceback.extract_tb(error.__traceback__)
    ]


@pytest.mark.parametrize("asked", [False, True], ids=["default", "asked for"])
@pytest.mark.parametrize(("name", "way"), CELLS)
def test_each_way_to_fail_is_recorded_once_or_passes(
    name: str, way: str, asked: bool, make_logger: Make
) -> None:
    """
    And what comes out is the same object, by the same traceback as undecorated.

    Through two layers.  Asked for are all classes.
    """
    kind, logger = KINDS[name], make_logger()
    classes: Any = BaseException if asked else Exception
    outer = log_exception("outer", {"layer": 2}, exceptions=classes, logger=logger)
    inner = log_exception("inner", {"layer": 1}, exceptions=classes, logger=logger)
    recorded = asked or OUTCOMES[way] == RECORDED
    for cls in CLASSES[way]:
        notes: list[str] = []
        error, twin = cls("why"), cls("why")
        function = kind.make(lambda f: outer(inner(f)), (outer, inner), notes)

        raised = fail(kind, way, function, error)
        plain = fail(kind, way, undecorated(kind), twin)

        assert type(raised) is type(plain)
        if way not in {CANCELLED, CLOSED}:
            assert raised is error
        if recorded:
            assert frames(raised) == frames(plain)
        assert way in {RAISES, INTERRUPTED} or notes == ["closed"]

    found = records_of(logger)
    expected = [cls.__name__ for cls in CLASSES[way]] if recorded else []
    anew = asked and way == CLOSED and name in ANEW
    if anew:
        assert found.pop()["request_id"] == "outer"
    assert [record["error_type"] for record in found] == expected
    for record in found:
        assert (record["request_id"], record["context"]) == ("inner", {"layer": 1})
        if anew:
            continue
        assert re.search(r'File ".*callables.py", line', record["stack_trace"])
        assert "wrappers.py" not in record["stack_trace"]


def test_the_table_of_the_reference_says_what_the_tests_show() -> None:
    """Each cell of the page is one of the tests above, and the other way round."""
    rows = rows_of(sections_of(PAGE)["The table"])

    assert {row[0]: row[1:] for row in rows} == {
        name: [OUTCOMES[way] if way in kind.drives else NEVER for way in WAYS]
        for name, kind in KINDS.items()
    }
