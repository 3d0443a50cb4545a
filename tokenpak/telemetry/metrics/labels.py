"""
What a record says becomes the value of a label, whatever it is.

Any text may come: a hundred kilobytes, NULs, half a surrogate pair.  What comes out is
short, encodes to UTF-8, and holds no control character but newline and tab, which both
expositions escape or take.  (Prometheus's own parser stops at a NUL.)

How many different ones there are is the business of ``tally``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

MOST_CHARACTERS: Final = 128
"""Of a label's value; what is longer ends with an ellipsis."""
EXEMPLAR_CHARACTERS: Final = 100
"""Of a request id: OpenMetrics allows an exemplar 128, its label's name included."""
OTHER: Final = "other"
"""The value of all labels of what came when there were label sets enough."""

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def label_value(value: Any, most: int = MOST_CHARACTERS) -> str:
    """Return *value*, of a record, as the value of a label; None is empty."""
    if value is None:
        return ""
    if type(value) is not str:
        value = str(value)
    if len(value) <= most and value.isprintable():
        return str(value)
    if len(value) > most:
        value = value[: most - 1] + "\u2026"
    text = value.encode("utf-8", "replace").decode()
    return _CONTROL.sub("\ufffd", text)


def escaped(value: str) -> str:
    """Return *value* as it stands between quotes in an exposition."""
    if "\\" in value or "\n" in value or '"' in value:
        value = value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return value


def bound_text(bound: float) -> str:
    """Return the upper *bound* of a bucket as Go, and so Prometheus, writes it."""
    if bound < 1e6:
        return str(float(bound))
    mantissa, exponent = f"{bound:.15e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{exponent}"


def label_set(names: Sequence[str], values: Sequence[str]) -> str:
    """Return *names* with *values* as they stand between braces."""
    return ",".join(
        f'{name}="{escaped(value)}"' for name, value in zip(names, values, strict=True)
    )


__all__ = [
    "EXEMPLAR_CHARACTERS",
    "MOST_CHARACTERS",
    "OTHER",
    "bound_text",
    "escaped",
    "label_set",
    "label_value",
]
