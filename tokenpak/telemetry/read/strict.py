"""
A record becomes JSON that every other tool reads.

JSON has no NaN and no infinity (they become ``null``), UTF-8 has no lone surrogates
(they become U+FFFD), and orjson writes no integer over 64 bits (the standard ``json``
does, exactly).  No key comes twice, since what is written is a dict.
"""

from __future__ import annotations

import json
import math
import re
from functools import cache
from typing import Any, Final

import orjson

MAX_DEPTH: Final = 250
"""What is nested more deeply is replaced; orjson writes no more than 254 levels."""
TOO_DEEP: Final = "(nested too deeply to export)"


def encode(value: Any) -> bytes:
    """Return *value*, a record or part of one, as one line of strict JSON."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(
            _strict(value, MAX_DEPTH),
            ensure_ascii=False,
            allow_nan=False,
            separators=(",", ":"),
        ).encode()


def strict_text(text: str) -> str:
    """Return *text* with U+FFFD in place of each lone surrogate."""
    return _surrogates().sub("\ufffd", text)


@cache
def _surrogates() -> re.Pattern[str]:
    return re.compile("[\ud800-\udfff]")


def _strict(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return strict_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict | list) and depth == 0:
        return TOO_DEEP
    if isinstance(value, dict):
        return {strict_text(k): _strict(v, depth - 1) for k, v in value.items()}
    if isinstance(value, list):
        return [_strict(item, depth - 1) for item in value]
    return value


__all__ = ["MAX_DEPTH", "TOO_DEEP", "encode", "strict_text"]
