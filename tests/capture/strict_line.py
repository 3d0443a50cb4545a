"""A reader that forgives nothing, and stacks to read."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import orjson

ERROR_FIELDS = [
    "timestamp",
    "request_id",
    "error_type",
    "message",
    "stack_trace",
    "context",
]
EVENT_FIELDS = ["timestamp", "request_id", "event", "context"]


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    assert len(keys) == len(set(keys)), f"doubled keys in {keys}"
    return dict(pairs)


def strictly(line: bytes, fields: list[str], limit: int = 32_000) -> dict[str, Any]:
    """Return the record in *line*, which must be exactly one valid line of them."""
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert b"\0" not in line
    assert len(line) <= limit
    record = json.loads(
        line.decode(), parse_constant=_no_constant, object_pairs_hook=_no_doubles
    )
    assert list(record) == fields
    assert isinstance(record["context"], dict)
    assert isinstance(record["timestamp"], str)
    assert len(record["timestamp"]) == 27
    assert list(orjson.loads(line)) == fields
    assert isinstance(record, dict)
    return record


def raised_by(function: Callable[..., object], *args: object) -> BaseException:
    """Return what *function* raises."""
    try:
        function(*args)
    except BaseException as error:
        return error
    raise AssertionError(f"{function} raised nothing")


def raising(error: BaseException) -> BaseException:
    """Return *error* with a traceback of its own."""

    def thrower() -> None:
        raise error

    return raised_by(thrower)
