"""What the tests of verbosity share: encoders that ask for it, and their lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.capture.strict_line import ERROR_FIELDS, EVENT_FIELDS
from tokenpak.telemetry.capture.parts import Parts
from tokenpak.telemetry.capture.privacy.redactor import Redactor
from tokenpak.telemetry.capture.verbose import VerboseEncoder
from tokenpak.telemetry.capture.verbosity import Verbosity
from tokenpak.telemetry.options import FIELDS

EVERYTHING = Verbosity(Parts(2_000, 8_000, 6_000), (), ("secret_plan",), 3, FIELDS)


def asking(
    limit: int = 32_000,
    *,
    level: str = "credentials",
    facts: bool = True,
    **wanted: Any,
) -> VerboseEncoder:
    """Return an encoder that asks for *wanted*."""
    redactor = Redactor(level, key=lambda: b"k" * 32)
    return VerboseEncoder(limit, Verbosity(**wanted), facts=facts, redactor=redactor)


def loosely(line: bytes, limit: int, usual: list[str]) -> dict[str, Any]:
    """Return the record in *line*: one line, no key twice, the usual fields first."""
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert len(line) <= limit

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(pairs) == len(dict(pairs)), pairs
        return dict(pairs)

    record: dict[str, Any] = json.loads(line, object_pairs_hook=once)
    assert list(record)[: len(usual)] == usual
    return record


def error_of(
    encoder: VerboseEncoder, error: object, context: object = None, limit: int = 32_000
) -> dict[str, Any]:
    """Return the record that is made of *error*."""
    return loosely(encoder.error("req", error, context), limit, ERROR_FIELDS)


def event_of(
    encoder: VerboseEncoder, context: object = None, limit: int = 32_000
) -> dict[str, Any]:
    """Return the record that is made of an event."""
    return loosely(encoder.event("e", "req", context), limit, EVENT_FIELDS)


def caught(function: Callable[..., object], *args: object) -> BaseException:
    """Return what *function* raises."""
    try:
        function(*args)
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


__all__ = ["EVERYTHING", "asking", "caught", "error_of", "event_of", "loosely"]
