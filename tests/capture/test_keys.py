"""Which keys of the context are recorded: context_allow and context_deny."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.capture.odd_things import ODD
from tests.capture.verbose_rig import asking, error_of, event_of
from tokenpak.telemetry.capture.keys import UNFILTERED
from tokenpak.telemetry.error_logger import bind

CONTEXT: dict[str, Any] = {
    "model": "gpt-4",
    "usage": {"total": 3, "user": "ann"},
    "messages": [{"role": "user", "content": "hello"}, "text"],
    "a.b": 1,
}


@dataclass
class Usage:
    """A value that is no dict."""

    total: int
    user: str


@pytest.mark.parametrize(
    ("allow", "deny", "expected"),
    [
        (("model",), (), {"model": "gpt-4"}),
        (("usage.total",), (), {"usage": {"total": 3}}),
        (("usage", "usage.total"), (), {"usage": {"total": 3, "user": "ann"}}),
        (("usage.total", "usage"), (), {"usage": {"total": 3, "user": "ann"}}),
        (("model.x",), (), {}),
        (("messages.role",), (), {"messages": [{"role": "user"}]}),
        (("a.b",), (), {"a.b": 1}),
        (("usage",), ("usage.user",), {"usage": {"total": 3}}),
        (("model",), ("model",), {}),
        ((), ("usage", "messages", "a.b"), {"model": "gpt-4"}),
        (
            (),
            ("usage.user", "messages.content", "a", "model.x"),
            {
                "model": "gpt-4",
                "usage": {"total": 3},
                "messages": [{"role": "user"}, "text"],
                "a.b": 1,
            },
        ),
        ((), ("usage", "usage.user", "messages"), {"model": "gpt-4", "a.b": 1}),
    ],
)
def test_only_what_is_allowed_and_not_denied_is_recorded(
    allow: tuple[str, ...], deny: tuple[str, ...], expected: dict[str, Any]
) -> None:
    """By the names of keys, also of those in values; what is denied is never there."""
    encoder = asking(allow=allow, deny=deny)

    assert error_of(encoder, ValueError("x"), CONTEXT)["context"] == expected
    assert event_of(encoder, CONTEXT)["context"] == expected


def test_what_is_bound_and_what_the_exception_knows_is_filtered_too() -> None:
    """Whoever denies a key does not ask where it came from."""

    class APIStatusError(Exception):
        status_code = 429

    APIStatusError.__module__ = "openai"
    error = APIStatusError("slow down")
    with bind(request_id="bound", prompt="hidden", model="gpt-4"):
        denied = asking(deny=("prompt", "status_code")).error(None, error, {"n": 1})
        allowed = asking(allow=("status_code",)).error(None, error, {"n": 1})
        asked_not = asking(allow=("status_code",), facts=False)
        without = asked_not.error(None, error, None)

    assert b'"request_id":"bound"' in denied
    assert b"hidden" not in denied
    assert b"status_code" not in denied
    assert b'"model":"gpt-4","n":1' in denied
    assert b'"context":{"status_code":429}' in allowed
    assert b'"context":{}' in without


def test_what_is_no_dict_is_filtered_all_the_same() -> None:
    """Mappings, dataclasses, keys that are no text."""

    class Own(Mapping[str, Any]):
        def __getitem__(self, key: str) -> Any:
            return {"prompt": "hidden", "n": 1}[key]

        def __iter__(self) -> Any:
            return iter(("prompt", "n"))

        def __len__(self) -> int:
            return 2

    encoder = asking(deny=("prompt", "usage.user", "5"))

    assert event_of(encoder, Own())["context"] == {"n": 1}
    shown = event_of(encoder, {"usage": Usage(3, "ann"), 5: "hidden", 6: 1})
    assert shown["context"] == {"usage": {"total": 3}, "6": 1}
    assert event_of(encoder, {"usage": Own()})["context"]["usage"]["n"] == 1
    assert event_of(encoder, ["prompt"])["context"] == {"value": ["prompt"]}


class Call(NamedTuple):
    """A value that is no dict either, and has names."""

    model: str
    prompt: str


@pytest.mark.parametrize(
    ("name", "context"),
    [
        ("prompt", {b"prompt": "hidden", "n": 1}),
        ("x.prompt", {"x": {b"prompt": "hidden"}, "n": 1}),
        ("x.prompt", {"x": [Call("m", "hidden")], "n": 1}),
        ("x.user.mail", {"x": {"user.mail": "hidden"}, "n": 1}),
        ("x.user.mail", {"x.user": {"mail": "hidden"}, "n": 1}),
        ("x.user.mail", {"x": [{"user": {b"mail": "hidden"}}], "n": 1}),
        ("5", {"5": "hidden", 5: "hidden", "n": 1}),
        ("x.5", {"x": {5: "hidden", "5": "hidden"}, "n": 1}),
    ],
)
def test_a_key_is_denied_however_it_is_written(
    name: str, context: dict[Any, Any]
) -> None:
    """As bytes, as a number, with its points in it, as the name of a tuple's item."""
    encoder = asking(deny=(name,))

    for _ in range(3):
        line = encoder.event("e", "r", context)
        assert b"hidden" not in line
        assert event_of(encoder, context)["context"]["n"] == 1
        assert b"hidden" not in encoder.error("r", ValueError("x"), context)


@pytest.mark.parametrize(
    ("name", "context"),
    [
        ("model", {b"model": "shown", b"prompt": "hidden"}),
        ("x.model", {"x": {b"model": "shown", b"prompt": "hidden"}}),
        ("x.model", {"x": Call("shown", "hidden")}),
        ("x.y.model", {"x": {"y.model": "shown", "y.prompt": "hidden"}}),
        ("x.y.model", {"x.y": {"model": "shown", "prompt": "hidden"}}),
    ],
)
def test_a_key_is_allowed_however_it_is_written(
    name: str, context: dict[Any, Any]
) -> None:
    """Likewise, and nothing else with it."""
    line = asking(allow=(name,)).event("e", "r", context)

    assert b"shown" in line
    assert b"hidden" not in line


def test_a_key_that_only_looks_numbered_is_another_one() -> None:
    """``prompt (2)`` is the caller's own where there is no ``prompt`` beside it."""
    context = {"prompt (2)": "shown", "prompt (x)": "shown", "n": 1}

    assert event_of(asking(deny=("prompt",)), context)["context"] == context


@pytest.mark.parametrize("what", ODD)
def test_c1_odd_things_are_filtered_and_make_one_line(what: str) -> None:
    """As the context, and under a key that is looked into."""
    encoder = asking(allow=("odd.a", "value", "model"), deny=("odd.b", "prompt"))
    make = ODD[what]

    for context in (make(), {"odd": make(), "prompt": "hidden", "model": 1}):
        line = encoder.error("r", ValueError("x"), context)

        assert b"hidden" not in line
        error_of(encoder, make(), context)


def test_what_cannot_be_filtered_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that was to be left out must not come through because something failed."""
    encoder = asking(deny=("prompt",))

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("tokenpak.telemetry.capture.keys.KeyFilter.keep", fail)

    assert event_of(encoder, {"prompt": "hidden"})["context"] == UNFILTERED


def test_c2_the_callers_context_is_not_changed() -> None:
    """It is filtered in a copy."""
    context = {"usage": {"user": "ann", "total": 1}, "prompt": "p"}
    event_of(asking(deny=("usage.user", "prompt")), context)

    assert context == {"usage": {"user": "ann", "total": 1}, "prompt": "p"}


names = st.sampled_from(["a", "b", "c", "a.b", "a.c", "b.a.c", "c.c"])
values = st.recursive(
    st.integers(),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner) | st.lists(inner),
    max_leaves=8,
)


def _paths(value: Any, above: str = "") -> set[str]:
    if isinstance(value, list):
        return set().union(*(_paths(item, above) for item in value))
    if not isinstance(value, dict):
        return set()
    own = {f"{above}{key}" for key in value}
    return own.union(*(_paths(item, f"{above}{k}.") for k, item in value.items()))


@given(st.lists(names), st.dictionaries(st.sampled_from("abc"), values))
def test_no_path_that_is_denied_is_recorded_and_all_others_are(
    deny: list[str], context: dict[str, Any]
) -> None:
    """Whatever the names and the context are."""
    encoder = asking(deny=tuple(deny) or ("none",))

    found = _paths(event_of(encoder, context)["context"])

    def denied(path: str) -> bool:
        return any(path == name or path.startswith(f"{name}.") for name in deny)

    assert found == {path for path in _paths(context) if not denied(path)}


@given(st.lists(names, min_size=1), st.dictionaries(st.sampled_from("abc"), values))
def test_no_path_that_is_not_allowed_is_recorded(
    allow: list[str], context: dict[str, Any]
) -> None:
    """But for the keys on the way to what is."""
    encoder = asking(allow=tuple(allow))

    for path in _paths(event_of(encoder, context)["context"]):
        assert any(
            path == name or path.startswith(f"{name}.") or name.startswith(f"{path}.")
            for name in allow
        )
