"""C2: what is recorded is a snapshot, and nothing is kept alive."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

import pytest

from tests.capture.strict_line import ERROR_FIELDS, EVENT_FIELDS, raised_by, strictly
from tokenpak.telemetry.capture.encode import Encoder
from tokenpak.telemetry.capture.stack import MAX_STACKS
from tokenpak.telemetry.metrics.counters import MAX_TYPES, ErrorCounts


@pytest.fixture
def encoder() -> Encoder:
    """One that has seen nothing."""
    return Encoder(32_000)


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What dies here dies because nothing refers to it: no cycle either."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Big:
    """Stands for what a frame holds, and can be watched."""


class WatchedError(Exception):
    """Holds something, too."""

    def __init__(self, text: str, held: object = None) -> None:
        super().__init__(text)
        self.held = held


def fail(watched: list[weakref.ref[Any]], message: str) -> None:
    """Raise with a big local variable in the frame."""
    local = Big()
    held = Big()
    watched += [weakref.ref(local), weakref.ref(held)]
    raise WatchedError(message, held)


def fail_while_handling(watched: list[weakref.ref[Any]], message: str) -> None:
    """Raise with a cause whose frame holds a big variable."""
    try:
        fail(watched, message)
    except WatchedError as error:
        raise WatchedError(message) from error


def fail_with_note(watched: list[weakref.ref[Any]], message: str) -> None:
    """Raise what only traceback itself can print."""
    try:
        fail(watched, message)
    except WatchedError as error:
        error.add_note("note")
        raise


def fail_by_name(watched: list[weakref.ref[Any]], message: str) -> None:
    """Raise what is looked up in the locals of the frame."""
    local = Big()
    watched += [weakref.ref(local)]
    print(locl, message)  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("message", ["text", "lone \udc80", "x" * 40_000])
@pytest.mark.parametrize(
    "function", [fail, fail_while_handling, fail_with_note, fail_by_name]
)
def test_c2_exceptions_frames_and_locals_die(
    encoder: Encoder, function: Callable[..., None], message: str
) -> None:
    """At once, without the collector, after the first and the second sight."""
    for _ in range(2):
        watched: list[weakref.ref[Any]] = []
        error: BaseException | None = raised_by(function, watched, message)
        assert error is not None
        if isinstance(error, WatchedError):
            watched.append(weakref.ref(error))

        encoder.error("r", error, {"error": error, "tb": error.__traceback__})
        del error

        assert watched
        assert [ref() for ref in watched] == [None] * len(watched)


@pytest.mark.usefixtures("no_collector")
def test_c2_context_and_request_id_die(encoder: Encoder) -> None:
    """Plain, odd and refused ones."""

    class Text(str):
        __slots__ = ("__weakref__",)

    class Context(dict[str, object]):
        pass

    watched: list[weakref.ref[Any]] = []
    for extra in (1, 2**70, "\udc80", Big(), Text("x")):
        request_id, big, context = Text("id"), Big(), Context(extra=extra)
        context["big"] = big
        watched += [weakref.ref(request_id), weakref.ref(big), weakref.ref(context)]

        encoder.error(request_id, ValueError(), context)
        encoder.event(Text("e"), request_id, context)
        del request_id, big, context

    assert [ref() for ref in watched] == [None] * len(watched)


@pytest.mark.usefixtures("no_collector")
def test_c2_what_user_code_raises_dies(encoder: Encoder) -> None:
    """An exception that is caught on the way does not hold the frames of the caller."""
    watched: list[weakref.ref[Any]] = []

    class RaisingError(Exception):
        def __str__(self) -> str:
            fail(watched, "from str()")
            return ""

    class Raising:
        def __str__(self) -> str:
            fail(watched, "from str()")
            return ""

    encoder.error("r", RaisingError(), {"a": Raising()})
    encoder.event("e", None, {"a": Raising()})

    assert len(watched) >= 6
    assert [ref() for ref in watched] == [None] * len(watched)


def test_c2_changes_after_the_call_change_nothing(encoder: Encoder) -> None:
    """The line is bytes of its own."""
    inner: list[object] = [1]
    contexts: list[dict[str, object]] = [
        {"a": inner},
        {"a": inner, "big": 2**80},
        {"a": inner, "long": "x" * 50_000},
    ]

    lines = [encoder.error("r", ValueError(), context) for context in contexts]
    inner.append(2)
    for context in contexts:
        context["a"] = "changed"

    for line in lines[:2]:
        assert strictly(line, ERROR_FIELDS)["context"]["a"] == [1]
    assert strictly(lines[2], ERROR_FIELDS)["context"]["a"] == [1]


def test_c2_names_of_events_do_not_pile_up(encoder: Encoder) -> None:
    """Made-up and huge names are not kept for ever."""
    for number in range(5_000):
        record = strictly(encoder.event(f"call {number}", None, None), EVENT_FIELDS)
        assert record["event"] == f"call {number}"
    encoder.event("x" * 10_000, None, None)

    assert len(encoder._events) <= 1_000
    assert max(map(len, encoder._events)) < 200


def test_c2_classes_that_are_made_up_do_not_pile_up(encoder: Encoder) -> None:
    """Thousands of classes and stacks, in a bounded room."""
    counts = ErrorCounts()
    classes: list[weakref.ref[type]] = []
    codes: list[weakref.ref[CodeType]] = []

    for number in range(6_000):
        made = type("MadeUpError", (Exception,), {})
        code = compile(f"raise E({number})", "<made>", "exec")
        error = raised_by(exec, code, {"E": made})
        counts.add(made)
        encoder.error("r", error, {"number": number})
        classes.append(weakref.ref(made))
        codes.append(weakref.ref(code))
        del made, code, error
    gc.collect()

    assert sum(ref() is not None for ref in classes) <= MAX_STACKS + MAX_TYPES
    assert sum(ref() is not None for ref in codes) <= MAX_STACKS
    assert counts.by_type() == {"MadeUpError": 6_000}


def test_c2_lines_are_told_by_the_clock_of_the_call(encoder: Encoder) -> None:
    """The stamp is that of the call, with microseconds, also when the clock jumps."""
    now = [0]
    encoder = Encoder(32_000, clock=lambda: now[0])
    stamps = {
        0: "1970-01-01T00:00:00.000000Z",
        1_774_373_722_123_456_789: "2026-03-24T17:35:22.123456Z",
        1_774_373_722_999_999_999: "2026-03-24T17:35:22.999999Z",
        1_774_373_723_000_000_000: "2026-03-24T17:35:23.000000Z",
        1_774_373_722_000_000_999: "2026-03-24T17:35:22.000000Z",
        1_709_164_800_000_000_000: "2024-02-29T00:00:00.000000Z",
        -1: "1969-12-31T23:59:59.999999Z",
    }

    found = {}
    for moment in stamps:
        now[0] = moment
        lines = [
            encoder.event("e", None, None),
            encoder.event("e", None, {"slow": 2**70}),
            encoder.error("r", ValueError(), None),
            encoder.error("r", "slow", None),
        ]
        (found[moment],) = {json.loads(line)["timestamp"] for line in lines}

    assert found == stamps


def test_s3_changes_of_the_day_are_counted() -> None:
    """Forward and back, and not within a day."""
    day = 86_400 * 10**9
    now = [0]
    encoder = Encoder(32_000, clock=lambda: now[0])

    counts = []
    for moment in (5, 6, day - 1, day, day + 1, day - 1, 3 * day, 3 * day + 5):
        now[0] = moment
        encoder.event("e", None, None)
        counts.append(encoder.day_changes)

    assert counts == [0, 0, 0, 1, 1, 2, 3, 3]
