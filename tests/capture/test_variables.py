"""Local variables of the innermost frames: redacted, bounded, and harmless."""

from __future__ import annotations

import gc
import json
import sys
import threading
import weakref
from typing import Any

import pytest

from tests.capture.odd_things import ODD
from tests.capture.verbose_rig import asking, caught, error_of, event_of
from tokenpak.telemetry.capture.variables import MOST_VARIABLES

SECRET = "sk-ant-api03-" + "aB3dE5gH7j" * 9


class Loud:
    """Anything asked of it ends the test."""

    def __repr__(self) -> str:
        raise SystemExit("repr")

    __str__ = __repr__

    def __getattribute__(self, name: str) -> Any:
        raise SystemExit(name)


def inner(number: int, held: object) -> None:
    """Raise, with some variables."""
    text = "gpt-4"
    numbers = [1, 2.5, None, True, float("inf"), 2**70, b"bytes", {3: {"a": (1,)}}]
    del held
    raise ValueError(text, number, numbers)


def outer(number: int) -> None:
    """Call it."""
    where = "outer"
    inner(number, where)


def shown(error: object, frames: int = 1, limit: int = 32_000, **wanted: Any) -> Any:
    """Return what the record of *error* has in its field locals."""
    encoder = asking(limit, frames=frames, **wanted)
    return error_of(encoder, error, None, limit).get("locals")


def test_the_variables_of_the_innermost_frames_are_shown() -> None:
    """The innermost first; what is deleted is not there."""
    found = shown(caught(outer, 7), 2)

    assert [entry["function"] for entry in found] == ["inner", "outer"]
    assert all(type(entry["line"]) is int for entry in found)
    assert found[0]["variables"] == {
        "number": 7,
        "text": "gpt-4",
        "numbers": [
            *(1, 2.5, None, True, "inf", "<int of 71 bits>", "<bytes of 5 bytes>"),
            {"3": {"a": "<tuple of 1>"}},
        ],
    }
    assert found[1]["variables"] == {"number": 7, "where": "outer"}


def test_an_error_without_a_traceback_and_an_event_have_none() -> None:
    """Nor has what is no exception."""
    encoder = asking(frames=3)

    assert shown(ValueError("never raised")) is None
    assert shown("no exception") is None
    assert "locals" not in event_of(encoder, {"a": 1})


def test_c1_nothing_of_the_applications_is_run() -> None:
    """What is no builtin is named by its type, also in containers and as a key."""

    class Hash:
        __hash__ = object.__hash__

    def fail() -> None:
        loud = Loud()
        table = {Hash(): 1, "loud": [loud], (1, 2): 3}
        raise ValueError(str(len(table)))

    (entry,) = shown(caught(fail))
    name = f"<{__name__}.Loud>"

    assert entry["variables"]["loud"] == name
    assert entry["variables"]["table"] == {
        f"<{__name__}.Hash>": 1,
        "loud": [name],
        "<tuple>": 3,
    }


@pytest.mark.parametrize("what", ODD)
def test_c1_odd_things_as_variables_make_one_line(what: str) -> None:
    """Whatever they are, the line has its bound."""

    def fail(odd: object) -> None:
        several = [odd, {"a": odd}]
        raise ValueError(str(len(several)))

    error = caught(fail, ODD[what]())
    for limit in (32_000, 4_000):
        (entry,) = shown(error, 1, limit)
        # A module or a class itself would not be shown.
        assert "several" in entry["variables"]
        assert set(entry["variables"]) <= {"odd", "several"}


def test_modules_functions_classes_and_dunders_are_left_out() -> None:
    """As at the top of a module, where there would be little else."""
    names = {"__name__": "made", "json": json, "cls": Loud, "length": len, "n": 5}
    names["function"] = names["generator"] = outer

    (entry,) = shown(caught(exec, "raise ValueError(n)", names))

    assert entry["variables"] == {"n": 5}


def test_secrets_are_replaced_by_their_form_and_by_the_name_of_the_variable() -> None:
    """At any depth."""

    def fail() -> None:
        password = "hunter2"
        api_key = 12345678
        header = f"Bearer {SECRET}"
        nested = {"auth": [{"client_secret": "x1y2"}], "long": "a" * 190 + SECRET}
        raise ValueError(str(len((password, api_key, header, nested))))

    error = caught(fail)
    line = asking(frames=1).error("r", error, None)

    for secret in (b"hunter2", b"12345678", SECRET[:30].encode(), b"x1y2"):
        assert secret not in line
    assert line.count(b"[redacted:") >= 4
    assert b"hunter2" in asking(frames=1, level="off").error("r", error, None)


def test_secrets_are_replaced_in_a_list_of_headers_that_is_cut() -> None:
    """What says so is no pair of name and value, as all others are."""

    def fail() -> None:
        headers = [("authorization", "hunter2")] + [("accept", "x")] * 20
        raise ValueError(len(headers))

    (entry,) = shown(caught(fail))

    (_, mark), *others = entry["variables"]["headers"]
    assert mark.startswith("[redacted:")
    assert others[-1] == "<11 more left out>"


def test_what_is_large_is_bounded() -> None:
    """In number, depth, characters and bytes, and it says so."""

    def fail() -> None:
        text = "x" * 1_000_000
        many = list(range(10_000))
        table = dict.fromkeys(range(10_000), text)
        deep: list[Any] = []
        for _ in range(100):
            deep = [deep]
        raise ValueError(str(len(text) + len(many) + len(table) + len(deep)))

    (entry,) = shown(caught(fail))
    found = entry["variables"]

    assert "999,800 more characters" in found["text"]
    assert found["many"][-1] == "<9,990 more left out>"
    assert found["table"]["<more left out>"] == 9_990
    assert found["deep"] == [[["<list of 1>"]]]

    source = "\n".join(f"    v{n} = 'x' * 150" for n in range(200))
    names: dict[str, Any] = {}
    exec(f"def many():\n{source}\n    raise ValueError", names)
    for limit in (32_000, 4_000, 1_000):
        entries = shown(caught(names["many"]), 1, limit)
        assert len(json.dumps(entries, separators=(",", ":"))) <= min(8_000, limit / 4)
        if limit == 32_000:
            assert len(entries[0]["variables"]) <= MOST_VARIABLES + 1


def test_many_frames_take_no_more_room_than_one() -> None:
    """The innermost are kept."""

    def fall(depth: int) -> None:
        text = "x" * 150
        if depth:
            fall(depth - 1)
        raise ValueError(text)

    found = shown(caught(fall, 100), 50)

    assert 10 < len(found) < 50
    assert [entry["variables"]["depth"] for entry in found] == list(range(len(found)))


def test_c2_variables_are_not_kept_alive() -> None:
    """Not even those of a frame that goes on, and drops them afterwards."""

    class Watched:
        pass

    encoder = asking(frames=2)
    gc.collect()
    gc.disable()
    try:
        held = Watched()
        gone = weakref.ref(held)
        try:
            raise ValueError("x")
        except ValueError as error:
            encoder.error("r", error, None)
        del held

        assert gone() is None
    finally:
        gc.enable()


def test_the_frames_own_locals_are_what_they_were() -> None:
    """What locals() has given, and what exec() has put there, is left alone."""
    encoder = asking(frames=1)
    number = 5
    exec("made = 6")
    try:
        raise ValueError(number)
    except ValueError as error:
        encoder.error("r", error, None)
    if sys.version_info < (3, 13):  # from then on, it is each time another dict
        assert eval("made", None, locals()) == 6
    mine = locals()
    try:
        raise ValueError(number)
    except ValueError as error:
        encoder.error("r", error, None)

    assert mine["number"] == 5


def test_c1_containers_that_change_meanwhile_are_survived() -> None:
    """By another thread, as a cache would."""
    table: dict[int, int] = {}
    end = threading.Event()

    def change() -> None:
        number = 0
        while not end.is_set():
            number += 1
            table[number] = number
            table.pop(number - 5, None)

    def fail() -> None:
        mine = table
        raise ValueError(str(len(mine) >= 0))

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(300):
            assert shown(caught(fail))
    finally:
        end.set()
        thread.join()
